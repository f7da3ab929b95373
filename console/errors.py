"""Errors of the user: what is wrong, where, and the cure, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake or a missing thing. `train.py` prints its one line and exits with code 1;
    no file is left half-written.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a suggestion, or an empty text where no known word is similar."""
    similar = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {similar[0]}?" if similar else ""
