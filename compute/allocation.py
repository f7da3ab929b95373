"""Reuse of memory: a process keeps the memory that a step frees. Memory that was returned to the
system must be cleared before its next use, which can take longer than the step itself.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""The options of glibc's `mallopt`, as in malloc.h."""
LARGEST_THRESHOLD = 2**31 - 1
"""Bytes: free memory at the end of the heap is returned above this size; `mallopt` takes no larger
value.
"""


def keep_freed_memory() -> None:
    """Makes this process keep the memory that it frees, if the C library is glibc; does nothing
    elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, LARGEST_THRESHOLD)
