"""Runs of a sweep whose process dies without an error: killed by the system, or by somebody.

Each run marks its folder with its process. The process that starts the sweep watches these
processes, and writes into a run's folder that it failed.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.run_folder import FAILED, record_failure

RUNNING = ".running"
"""The file that names the process of a run while it runs."""
STARTED = "ELK_SWEEP_STARTED"
"""The environment variable with the time at which the command was given, in nanoseconds."""
REASON = (
    "its process died without an error, as when memory runs out and the system kills it. The same"
    " command makes this run and keeps the others."
)
EVERY = 0.5
"""Seconds between two searches for new processes."""


def note_start() -> None:
    """Notes that a command is given now."""
    os.environ[STARTED] = str(time.time_ns())


@contextmanager
def mark_running(folder: Path) -> Iterator[None]:
    """Marks a run's folder with this process during the block."""
    mark = folder / RUNNING
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(
        json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8"
    )
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def has_failed(folder: Path) -> bool:
    """Whether a run failed since the command was given."""
    started, file = os.environ.get(STARTED), folder / FAILED
    return bool(started) and file.exists() and file.stat().st_mtime_ns >= int(started or 0)


def has_died(folder: Path) -> bool:
    """Whether the process of a run died since the command was given."""
    return has_failed(folder) and (folder / FAILED).read_text(encoding="utf-8").startswith(REASON)


def find_died(folders: Iterable[Path]) -> set[Path]:
    """Returns the folders of runs whose process died since the command was given."""
    return {folder for folder in folders if has_died(folder)}


def record_interrupted(folders: Iterable[Path]) -> None:
    """Writes into the folders of all interrupted runs that they failed, where it is not known which
    of their processes died.
    """
    for folder in folders:
        if (folder / RUNNING).exists():
            record_failure(folder, REASON)


@contextmanager
def note_killed_workers(killed: set[int]) -> Iterator[None]:
    """Notes the processes that joblib kills during the block: all others, if one of them dies."""
    from joblib.externals.loky import process_executor as loky

    kill = loky.kill_process_tree

    def note_and_kill(process: Any, *options: Any, **named: Any) -> None:
        if process.exitcode is None:
            killed.add(process.pid)
        kill(process, *options, **named)

    loky.kill_process_tree = note_and_kill
    try:
        yield
    finally:
        loky.kill_process_tree = kill


class DeathWatch:
    """Watches the processes of a sweep's runs on this machine during its block."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = list(folders)
        self.killed: set[int] = set()
        """Processes that joblib ends itself, because another one died."""
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.process_of: dict[int, int] = {}
        """From a file descriptor to its process."""

    def __enter__(self) -> DeathWatch:
        for folder in self.folders:  # marks of an earlier command
            (folder / RUNNING).unlink(missing_ok=True)
        if hasattr(os, "pidfd_open"):
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()

    def _watch(self) -> None:
        poll = select.poll()
        while not self.over.is_set():
            died = self._add_new(poll)
            for file, _ in poll.poll(EVERY * 1000):
                died.append(self.process_of.pop(file))
                poll.unregister(file)
                os.close(file)
            running = self._find_running()
            for process in died:
                if process in running:
                    if process not in self.killed:
                        record_failure(running[process], REASON)
                    (running[process] / RUNNING).unlink(missing_ok=True)

    def _add_new(self, poll: select.poll) -> list[int]:
        """Adds processes that have begun a run; returns those that have ended since."""
        ended = []
        for process in self._find_running().keys() - self.process_of.values():
            try:
                file = os.pidfd_open(process)
            except ProcessLookupError:
                ended.append(process)
                continue
            self.process_of[file] = process
            poll.register(file, select.POLLIN)
        return ended

    def _find_running(self) -> dict[int, Path]:
        """Returns the folder of each process of this machine that makes a run."""
        running = {}
        for folder in self.folders:
            try:
                mark = json.loads((folder / RUNNING).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if mark["host"] == socket.gethostname() and mark["pid"] != os.getpid():
                running[mark["pid"]] = folder
        return running
