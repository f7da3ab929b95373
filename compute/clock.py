"""The seconds that each part of a run takes."""

from __future__ import annotations

import time


class Clock:
    """The seconds of each part of a run. A part begins where the part before it ended, the first
    one where the clock was created.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Ends a part, or a piece of one."""
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self._last
        self._last = now
