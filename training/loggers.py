"""Where the figures of a fit go while it runs: a CSV file, TensorBoard, MLflow or Weights & Biases,
by Lightning's loggers.

K: heads, in the order of `Heads.table`; M: strengths.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from console.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger
    from torch import Tensor


class Logging(Protocol):
    """What a choice of `logger=` is."""

    def __call__(self, folder: Path) -> Logger | None:
        """Returns a logger for the run of a folder; None where nothing is logged."""


@dataclass(frozen=True)
class NoLogger:
    """Nothing is logged; training.parquet has the same figures once the run is finished."""

    def __call__(self, folder: Path) -> None:
        """Returns nothing."""


@dataclass(frozen=True)
class CSV:
    """FOLDER/log/metrics.csv."""

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(folder, name="", version="log")


@dataclass(frozen=True)
class TensorBoard:
    """FOLDER/tensorboard; `tensorboard --logdir SWEEP` shows all runs of a sweep."""

    def __post_init__(self) -> None:
        _wanted("tensorboard")

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(folder, name="", version="tensorboard")


@dataclass(frozen=True)
class MLflow:
    """A run of an MLflow experiment, with the folder's name.

    Args:
        experiment: its name.
        uri: of the tracking server; null is MLFLOW_TRACKING_URI, or else mlflow.db beside the run's
            folder, one for all runs of a sweep.
    """

    experiment: str
    uri: str | None

    def __post_init__(self) -> None:
        _wanted("mlflow")

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import MLFlowLogger

        uri = (
            self.uri
            or os.environ.get("MLFLOW_TRACKING_URI")
            or f"sqlite:///{folder.parent / 'mlflow.db'}"
        )
        return MLFlowLogger(self.experiment, run_name=folder.name, tracking_uri=uri)


@dataclass(frozen=True)
class WandB:
    """A run of a project of Weights & Biases, with the folder's name; a run that is stopped goes on
    as the same one.

    Args:
        project: its name.
        offline: whether it is kept in the folder until `wandb sync`, and nothing is sent.
    """

    project: str
    offline: bool

    def __post_init__(self) -> None:
        _wanted("wandb")

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import WandbLogger

        class Ended(WandbLogger):
            """Ends its run: the next run of a sweep would else write into it."""

            def finalize(self, status: str) -> None:
                super().finalize(status)
                self.experiment.finish(exit_code=int(status != "success"))

        return Ended(
            folder.name, save_dir=folder, offline=self.offline, id=folder.name, project=self.project
        )


@contextmanager
def open_until_done(logger: Logger | None, config: dict[str, Any]) -> Iterator[None]:
    """Tells a logger the run's config, and ends its log with the block, whole or not."""
    if not logger:
        yield
        return
    logger.log_hyperparams(config)
    status = "failed"
    try:
        yield
        status = "success"
    finally:
        logger.finalize(status)


def log(logger: Logger, strengths: Sequence[float], figures: dict[str, Tensor], epoch: int) -> None:
    """Logs the figures of an epoch, each of shape (K,), as means over the heads of each strength."""
    logger.log_metrics(by_strength(figures, strengths), step=epoch)
    logger.save()


def by_strength(figures: dict[str, Tensor], strengths: Sequence[float]) -> dict[str, float]:
    """Returns the mean over heads of each figure at each strength, one curve each; heads of which
    it is not known are left out.

    >>> import torch
    >>> by_strength({"l_base": torch.tensor([1.0, 5.0, 3.0, 7.0]), "l_int": torch.tensor([torch.nan] * 4)}, [0.5, 1.0])
    {'l_base/strength_0.5': 2.0, 'l_base/strength_1': 6.0}
    """
    means = {
        name: value_K.double().reshape(-1, len(strengths)).nanmean(dim=0).tolist()
        for name, value_K in figures.items()
    }
    curves = {
        f"{name}/strength_{at:g}": mean
        for name, mean_M in means.items()
        for at, mean in zip(strengths, mean_M, strict=True)
    }
    return {name: value for name, value in curves.items() if not math.isnan(value)}


def _wanted(package: str) -> None:
    if find_spec(package) is None:
        raise UserError(f"logger: {package} is not installed. Run: pip install -e '.[{package}]'")
