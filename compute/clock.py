"""Seconds that the parts of a run took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class Clock:
    """Seconds that the parts of a run took, since it was last started; what others prepared before
    costs it nothing.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Ends a part."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now
