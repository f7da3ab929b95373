"""Memory that a step frees is kept for the next one: given back to the system, it would have to be
cleared again, which can take longer.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""What glibc's `mallopt` calls them, in malloc.h."""
MOST = 2**31 - 1
"""Bytes at the end of the heap above which some are given back: as many as `mallopt` takes."""


def keep_freed() -> None:
    """From now on this process keeps what it frees, where the C library is glibc; elsewhere nothing
    changes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, MOST)
