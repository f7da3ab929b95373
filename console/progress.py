"""What is shown while work goes on: lines on stderr, one under the other, each gone when its work
is done; nothing where stderr is no terminal.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET = "ELK_QUIET"
"""Set in the environment of processes that share a terminal with the one that shows how far all of
them are.
"""


class Line:
    """One line: what is done, and how far it is."""

    def __init__(self, shown: Progress, task: TaskID) -> None:
        self._shown, self._task = shown, task

    def at(self, done: float, words: str | None = None) -> None:
        """Moves the bar to so much of the line's total; with words, says something else than
        before.
        """
        self._shown.update(self._task, completed=done)
        if words is not None:
            self._shown.update(self._task, description=words)


@contextmanager
def line(words: str, total: float | None = None, done: int = 0) -> Iterator[Line]:
    """Shows a line while the block runs.

    Args:
        total: how much there is to do, in any unit; None where nobody knows.
        done: how much of it was done before.
    """
    shown = _shown()
    with _COUNTED:
        if not shown.tasks:
            shown.start()
        task = shown.add_task(words, total=total, completed=done)
    try:
        yield Line(shown, task)
    finally:
        with _COUNTED:
            shown.remove_task(task)
            if not shown.tasks:
                shown.stop()


_COUNTED = threading.Lock()


@functools.cache
def _shown() -> Progress:
    """Returns the one display: two at once would write over each other."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    quiet = not console.is_terminal or QUIET in os.environ
    return Progress(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=4,
        speed_estimate_period=3600,
        disable=quiet,
    )
