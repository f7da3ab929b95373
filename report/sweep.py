"""What a sweep ends with: one table over its runs, one plot, and the folder's path."""

from __future__ import annotations

from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepSummary(Callback):
    """Hydra calls it when the last run of a sweep is done."""

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        summarise(Path(config.hydra.sweep.dir).absolute())


def summarise(folder: Path) -> None:
    """Prints the comparison of a folder's runs, draws it, and prints the folder's path."""
    import pandas as pd

    from report.compare import compared
    from report.folder import finished_runs, read
    from report.plots import follows_by
    from report.summary import show

    runs = finished_runs([folder])
    show(runs, each_level=False)
    heads = pd.concat([read(run) for run in runs], ignore_index=True)
    follows_by("strength", compared(heads, each_level=False), folder / "follows_concept.png")
    print(folder)
