"""Where the figures of a fit are logged while it runs: a CSV file, TensorBoard, MLflow or Weights &
Biases, by Lightning's loggers. A choice of `logger=` returns a logger for the folder of a run.

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
from typing import TYPE_CHECKING, Any

from console.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger
    from torch import Tensor


@dataclass(frozen=True)
class NoLogger:
    """Logs nothing; training.parquet has the same figures once the run is finished."""

    def __call__(self, folder: Path) -> None:
        """Returns None: no logger."""


@dataclass(frozen=True)
class CSV:
    """Writes FOLDER/log/metrics.csv."""

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(folder, name="", version="log")


@dataclass(frozen=True)
class TensorBoard:
    """Writes FOLDER/tensorboard; `tensorboard --logdir SWEEP` shows all runs of a sweep."""

    def __post_init__(self) -> None:
        check_installed("tensorboard")

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(folder, name="", version="tensorboard")


@dataclass(frozen=True)
class MLflow:
    """Logs to a run of an MLflow experiment, with the folder's name.

    Args:
        experiment: its name.
        uri: of the tracking server; null is MLFLOW_TRACKING_URI, or, where that is not set,
            mlflow.db beside the run's folder, one for all runs of a sweep.
    """

    experiment: str
    uri: str | None

    def __post_init__(self) -> None:
        check_installed("mlflow")

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import MLFlowLogger

        beside = f"sqlite:///{folder.parent / 'mlflow.db'}"
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or beside
        return MLFlowLogger(self.experiment, run_name=folder.name, tracking_uri=uri)


@dataclass(frozen=True)
class WandB:
    """Logs to a run of a project of Weights & Biases, with the folder's name; a run that was
    stopped resumes as the same one.

    Args:
        project: its name.
        offline: whether the log is kept in the folder until `wandb sync`, and nothing is sent.
    """

    project: str
    offline: bool

    def __post_init__(self) -> None:
        check_installed("wandb")

    def __call__(self, folder: Path) -> Logger:
        from pytorch_lightning.loggers import WandbLogger

        class EndingLogger(WandbLogger):
            """Ends its run; otherwise the next run of a sweep would write into it."""

            def finalize(self, status: str) -> None:
                super().finalize(status)
                self.experiment.finish(exit_code=int(status != "success"))

        return EndingLogger(
            folder.name, save_dir=folder, offline=self.offline, id=folder.name, project=self.project
        )


@contextmanager
def keep_logger_open(logger: Logger | None, config: dict[str, Any]) -> Iterator[None]:
    """Logs the run's config, and closes the log at the end of the block, failed or not."""
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


def log_epoch(
    logger: Logger, strengths: Sequence[float], figures: dict[str, Tensor], epoch: int
) -> None:
    """Logs the figures of an epoch, each of shape (K,), as means over the heads of a strength."""
    logger.log_metrics(average_by_strength(figures, strengths), step=epoch)
    logger.save()


def average_by_strength(figures: dict[str, Tensor], strengths: Sequence[float]) -> dict[str, float]:
    """Returns the mean of each figure over the heads of each strength, under a name for each curve.
    A head whose figure is NaN is left out.

    >>> import torch
    >>> average_by_strength({"l_base": torch.tensor([1.0, 5.0, 3.0, torch.nan])}, [0.5, 1.0])
    {'l_base/strength_0.5': 2.0, 'l_base/strength_1': 5.0}
    """
    curves = {}
    for name, value_K in figures.items():
        mean_M = value_K.double().reshape(-1, len(strengths)).nanmean(dim=0)
        for strength, mean in zip(strengths, mean_M.tolist(), strict=True):
            if not math.isnan(mean):
                curves[f"{name}/strength_{strength:g}"] = mean
    return curves


def check_installed(package: str) -> None:
    """Raises UserError where a package is missing."""
    if find_spec(package) is None:
        raise UserError(f"logger: {package} is not installed. Run: pip install -e '.[{package}]'")
