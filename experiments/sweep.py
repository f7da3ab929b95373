"""What a sweep does beside its runs, with any launcher: it checks every config first, shows how
many runs are over, and ends with a table.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from console.errors import UserError
from console.progress import QUIET, Line, line
from experiments.deaths import (
    DeathWatch,
    find_died,
    note_killed_workers,
    note_start,
    record_interrupted,
)
from storage.run_folder import FAILED, SUMMARY, find_failures, is_finished

EVERY = 1.0
"""Seconds between two looks at the folders of the runs."""

STARTED_SWEEPS: list[Sweep] = []
"""The sweep of this process that has started last, if any."""
Words = Sequence[str]
"""What one run sets on its command line."""


class Sweep(Callback):
    """Hydra calls it before the first run of a sweep and after the last, in the process that starts
    them.
    """

    def __init__(self) -> None:
        self._close = ExitStack()
        self._runs: dict[Path, dict[str, Any]] = {}
        self._died_before: set[Path] = set()

    def __reduce__(self) -> tuple[type[Sweep], tuple[()]]:
        # Launchers send this object along with each run; its thread cannot be sent.
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        try:
            self._runs = check_runs(config)
        except UserError as error:
            sys.exit(f"error: {error}")
        atexit.register(self._close.close)
        STARTED_SWEEPS.append(self)
        self._died_before = find_died(self._runs)
        finished = set()
        for folder, values in self._runs.items():
            if folder in self._died_before or is_finished(folder, values):
                finished.add(folder)
        launcher = str(config.hydra.launcher._target_)
        watch = self._close.enter_context(DeathWatch(self._runs))
        if "joblib" in launcher:
            self._close.enter_context(note_killed_workers(watch.killed))
        self._close.enter_context(Shown(list(self._runs), finished))
        # joblib replaces workers that keep much memory; no run is lost.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        # Ray would send usage data over the network.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if "basic_launcher" not in launcher:
            os.environ[QUIET] = "1"

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        from report.write import summarise

        self._close.close()
        folder = Path(config.hydra.sweep.dir).absolute()
        lines = []
        try:
            summarise([folder], folder)
            print(folder)
        except UserError as error:
            lines.append(f"error: {error}")
        failed = find_failures(self._runs)
        if failed:
            reasons = [f"  {name}: {reason}" for name, reason in failed.items()]
            lines += [f"error: {len(failed)} of the sweep's runs failed:", *reasons]
        if lines:
            sys.exit("\n".join(lines))

    def note_interruption(self) -> bool:
        """Ends the display of a sweep that an error of its launcher has stopped; returns whether a
        process died, so that other runs can go on.
        """
        self._close.close()
        died = find_died(self._runs) - self._died_before
        if not died:
            record_interrupted(self._runs)
            died = find_died(self._runs) - self._died_before
        return bool(died)


def run_to_end(main: Callable[[], None]) -> None:
    """Runs a command, and again where it is a sweep that was interrupted by the death of a process,
    until each run is finished or has failed.
    """
    note_start()
    while True:
        STARTED_SWEEPS.clear()
        try:
            return main()
        except Exception:
            if not STARTED_SWEEPS or not STARTED_SWEEPS[0].note_interruption():
                raise


def check_runs(config: DictConfig) -> dict[Path, dict[str, Any]]:
    """Checks the config of each run before the first one starts.

    Args:
        config: the sweep's, before its own values are chosen.

    Returns:
        The folder of each run, and its config as plain values.

    Raises:
        UserError: which run cannot be made, and what is wrong with it.
    """
    from console.command_line import describe_user_error

    all_words = split_runs(config)
    runs = {}
    with line("Checking every config", len(all_words)) as shown:
        for number, words in enumerate(all_words):
            shown.move_to(number)
            try:
                folder, values = check_run(config, words)
            except Exception as error:
                reason = describe_user_error(error)
                if reason is None:
                    raise
                if len(all_words) > 1:
                    reason = f"{reason} (the run {' '.join(words)}; nothing was run)"
                raise UserError(reason) from None
            runs[folder] = values
    return runs


def check_run(config: DictConfig, words: Words) -> tuple[Path, dict[str, Any]]:
    """Returns the folder and the config of one run of a sweep, or raises what is wrong with it."""
    from hydra.core.global_hydra import GlobalHydra

    from configs.plan import check_config
    from console.command_line import to_plain_values

    loader = GlobalHydra.instance().config_loader()
    composed = loader.load_sweep_config(config, list(words))
    values = to_plain_values(composed)
    check_config(values)
    folder = Path(str(composed.hydra.sweep.dir), str(composed.hydra.sweep.subdir))
    return folder.absolute(), values


def split_runs(config: DictConfig) -> list[Words]:
    """Returns what each run of a sweep sets on its command line.

    Raises:
        UserError: there is no run, because a key has no value.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params: Any = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create({}))
    words = [f"{key}={value}" for key, value in params.items()]
    words += config.hydra.overrides.task
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(words)
    for override in overrides:
        if override.is_sweep_override() and not any(True for _ in override.sweep_iterator()):
            raise UserError(
                f"{override.input_line}: it has no value, so the sweep has no run. Give it one or"
                " more."
            )
    batches = BasicSweeper.split_arguments(overrides, None)
    return [run for batch in batches for run in batch]


class Shown:
    """Shows how many runs of a sweep are over. It looks at their folders, because any process on
    any machine may make them, and leaves the results there.

    Where stderr is no terminal, it prints a line for each.

    Args:
        finished: those of the folders whose runs were finished before.
    """

    def __init__(self, folders: Sequence[Path], finished: set[Path]) -> None:
        self.total = len(folders)
        self.running = [folder for folder in folders if folder not in finished]
        marks = [mark for folder in self.running for mark in _list_marks(folder)]
        self.before = {mark: _read_time(mark) for mark in marks}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Shown:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        with line("Sweep", self.total, self.total - len(self.running)) as shown:
            while not self.over.wait(EVERY):
                self._update(shown)
            self._update(shown)

    def _update(self, shown: Line) -> None:
        ended = [folder for folder in self.running if self._is_over(folder)]
        for folder in ended:
            self.running.remove(folder)
            if not sys.stderr.isatty():
                count = self.total - len(self.running)
                print(f"{count} of {self.total}: {folder.name}", file=sys.stderr)
        count = self.total - len(self.running)
        shown.move_to(count, f"Sweep: {count} of {self.total} runs")

    def _is_over(self, folder: Path) -> bool:
        times = {mark: _read_time(mark) for mark in _list_marks(folder)}
        return any(time not in (None, self.before[mark]) for mark, time in times.items())


def _list_marks(folder: Path) -> tuple[Path, Path]:
    """Returns the two files of which a run writes one at its end."""
    return folder / FAILED, folder / SUMMARY


def _read_time(path: Path) -> int | None:
    """Returns when a file was written, in nanoseconds; None where it does not exist."""
    return path.stat().st_mtime_ns if path.exists() else None
