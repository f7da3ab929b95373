"""What a user is told when something cannot be done: what is wrong, where, and the cure, in one
line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake or a missing thing. `train.py` prints its one line and exits with code 1;
    nothing is half-written.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a suggestion, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
