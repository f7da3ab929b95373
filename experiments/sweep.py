"""What a sweep does beside its runs, whichever launcher runs them: it checks every config first,
shows how far it is, and ends with a table.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from console.errors import UserError
from console.progress import QUIET, line
from storage.run_folder import FAILED, SUMMARY, find_failures, is_finished

EVERY = 1.0
"""Seconds between two looks at how far the runs are."""


class Sweep(Callback):
    """Hydra calls it before the first run of a sweep and after the last, in the process that
    launches them.
    """

    def __init__(self) -> None:
        self._close, self._runs = ExitStack(), dict[Path, dict[str, Any]]()

    def __reduce__(self) -> tuple[type[Sweep], tuple[()]]:
        return Sweep, ()  # launchers send it along with each run, and its thread stays here

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        try:
            self._runs = checked_runs(config)
        except UserError as refusal:
            sys.exit(f"error: {refusal}")
        atexit.register(self._close.close)
        finished = {folder for folder, values in self._runs.items() if is_finished(folder, values)}
        self._close.enter_context(Shown(list(self._runs), finished))
        warnings.filterwarnings(
            "ignore", "A worker stopped while some jobs"
        )  # joblib starts those anew that keep much memory; no run is lost
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network that nobody asked for
        if "basic_launcher" not in str(config.hydra.launcher._target_):
            os.environ[QUIET] = "1"

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        from report.write import summarise

        self._close.close()
        folder = Path(config.hydra.sweep.dir).absolute()
        failed = find_failures(self._runs)
        try:
            summarise([folder], folder)
            print(folder)
        except UserError as refusal:
            print(f"error: {refusal}", file=sys.stderr)
        if failed:
            sys.exit(
                "\n".join(
                    [
                        f"error: {len(failed)} of the sweep's runs failed:",
                        *(f"  {name}: {why}" for name, why in failed.items()),
                    ]
                )
            )


def checked_runs(config: DictConfig) -> dict[Path, dict[str, Any]]:
    """Returns the folder and config of each run of a sweep; refuses one that cannot run, before the
    first run starts.

    Args:
        config: the sweep's, before its own values are chosen.

    Raises:
        UserError: which run, and what is wrong with it.
    """
    from hydra.core.global_hydra import GlobalHydra

    from configs.plan import check_config
    from console.command_line import one_line, plain

    loader, runs, found = GlobalHydra.instance().config_loader(), overrides(config), {}
    with line("Checking every config", len(runs)) as shown:
        for number, words in enumerate(runs):
            shown.at(number)
            try:
                composed = loader.load_sweep_config(config, list(words))
                values = plain(composed)
                check_config(values)
                found[
                    Path(str(composed.hydra.sweep.dir), str(composed.hydra.sweep.subdir)).absolute()
                ] = values
            except Exception as error:
                why = one_line(error)
                if why is None:
                    raise
                raise UserError(
                    f"{why} (the run {' '.join(words)}; nothing was run)" if len(runs) > 1 else why
                ) from None
    return found


def overrides(config: DictConfig) -> Sequence[Sequence[str]]:
    """Returns what each run of a sweep sets on its command line."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params: Any = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create({}))
    words = [f"{key}={value}" for key, value in params.items()] + list(config.hydra.overrides.task)
    parsed = OverridesParser.create(
        config_loader=GlobalHydra.instance().config_loader()
    ).parse_overrides(words)
    return [run for batch in BasicSweeper.split_arguments(parsed, None) for run in batch]


class Shown:
    """Shows how many runs of a sweep are over, by looking at their folders: whoever runs them, and
    wherever, leaves its results there.

    Where stderr is no terminal, it prints a line for each.

    Args:
        finished: those of the folders whose runs were finished before.
    """

    def __init__(self, folders: Sequence[Path], finished: set[Path]) -> None:
        self.running, self.total = (
            [folder for folder in folders if folder not in finished],
            len(folders),
        )
        self.before = {mark: _written(mark) for folder in self.running for mark in _marks(folder)}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> Shown:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _look_on(self) -> None:
        with line("Sweep", self.total, self.total - len(self.running)) as shown:
            last = False
            while not last:
                last = self.over.wait(EVERY)
                for folder in [folder for folder in self.running if self._is_over(folder)]:
                    self.running.remove(folder)
                    if not sys.stderr.isatty():
                        print(
                            f"{self.total - len(self.running)} of {self.total}: {folder.name}",
                            file=sys.stderr,
                        )
                ended = self.total - len(self.running)
                shown.at(ended, f"Sweep: {ended} of {self.total} runs")

    def _is_over(self, folder: Path) -> bool:
        return any(_written(mark) not in (None, self.before[mark]) for mark in _marks(folder))


def _marks(folder: Path) -> tuple[Path, Path]:
    """Returns the files one of which a run leaves at its end."""
    return folder / FAILED, folder / SUMMARY


def _written(path: Path) -> int | None:
    """Returns when a file was written, in nanoseconds; None where it is not there."""
    return path.stat().st_mtime_ns if path.exists() else None
