"""Errors of the user: what is wrong, where, and the cure, in one line."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

DISK_CURES = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some of your quota there",
    errno.EIO: "Check that disk",
}
"""The errors of a disk that is full, or that fails, and what helps."""


class UserError(Exception):
    """A user's mistake or a missing thing. `train.py` prints its one line and exits with code 1;
    no file is left half-written.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a suggestion, or an empty text where no known word is similar."""
    similar = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {similar[0]}?" if similar else ""


def describe_disk_error(error: BaseException, path: Path | None = None) -> str | None:
    """Returns in one line that a disk is full, or that it fails; None for any other error.

    Args:
        error: an OSError, or an error of a library that was raised because of one or quotes it.
        path: what was being written; None where only the error may know it.
    """
    code = _find_disk_error(error)
    if code is None:
        return None
    where = path or getattr(error, "filename", None) or "a file could not be written"
    cure = f"{DISK_CURES[code]}, or name a folder on another disk"
    return f"{where}: {os.strerror(code)}. {cure}; then the same command continues."


def _find_disk_error(error: BaseException | None) -> int | None:
    """Returns which error of a disk an exception, or one that it was raised for, is or quotes."""
    while error is not None:
        if isinstance(error, UserError):
            return None
        for code in DISK_CURES:
            if getattr(error, "errno", None) == code or _quotes(error, code):
                return code
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _quotes(error: BaseException, code: int) -> bool:
    """Whether the text of an error quotes the system's error: safetensors and PyTorch raise errors
    of their own.
    """
    return not isinstance(error, OSError) and os.strerror(code) in str(error)
