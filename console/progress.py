"""Progress of the work: one line on stderr for each piece of work that runs, removed when it ends.
Where stderr is not a terminal, work that takes long is named in a line, and how far it is from time
to time.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET = "ELK_QUIET"
"""The environment variable that turns progress off: set in processes that share a terminal with the
process that shows the progress of all of them.
"""
PATIENCE = 5.0
"""Seconds of work before it is named in a log."""
PAUSE = 60.0
"""Seconds between two lines about the same work in a log."""
_LOCK = threading.Lock()


class Line:
    """One line: what runs, and how far it is."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display = display
        self._task = task

    def move_to(self, done: float, words: str | None = None) -> None:
        """Moves the bar to `done` of the line's total; with `words`, replaces the line's text."""
        self._display.update(self._task, completed=done)
        if words is not None:
            self._display.update(self._task, description=words)


class LogLine(Line):
    """A line where stderr is not a terminal: it is written when the work has taken long, and again
    from time to time.
    """

    def __init__(self, words: str, total: float | None, done: float) -> None:
        self.words, self.total, self.done = words, total, done
        self.is_over = threading.Event()
        self.began = time.monotonic()

    def move_to(self, done: float, words: str | None = None) -> None:
        self.done = done
        self.words = words or self.words

    def write_until_over(self) -> None:
        """Writes the line after `PATIENCE` and then after each `PAUSE`."""
        seconds = PATIENCE
        while not self.is_over.wait(seconds):
            far = f", {self.done / self.total:.0%}" if self.total else ""
            took = time.monotonic() - self.began
            print(f"{self.words}{far} ({took:.0f} s) ...", file=sys.stderr, flush=True)
            seconds = PAUSE


@contextmanager
def _log(words: str, total: float | None, done: float) -> Iterator[Line]:
    log_line = LogLine(words, total, done)
    writer = threading.Thread(target=log_line.write_until_over, daemon=True)
    writer.start()
    try:
        yield log_line
    finally:
        log_line.is_over.set()
        writer.join()


@contextmanager
def line(words: str, total: float | None = None, done: int = 0) -> Iterator[Line]:
    """Shows a line while the block runs.

    Args:
        total: the amount of work, in any unit; None where it is unknown.
        done: the part of it that was done before.
    """
    display = _get_display()
    if display.disable and QUIET not in os.environ:
        with _log(words, total, done) as log_line:
            yield log_line
        return
    with _LOCK:
        if not display.tasks:
            display.start()
        task = display.add_task(words, total=total, completed=done)
    try:
        yield Line(display, task)
    finally:
        with _LOCK:
            display.remove_task(task)
            if not display.tasks:
                display.stop()


@functools.cache
def _get_display() -> Progress:
    """Returns the one display of this process: two displays would write over each other."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    is_quiet = not console.is_terminal or QUIET in os.environ
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        transient=True,
        refresh_per_second=4,
        speed_estimate_period=3600,
        disable=is_quiet,
    )
