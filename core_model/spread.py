"""Reading by several devices: Lightning starts a process for each, which reads a share of the
episodes and writes it where it belongs.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from datasets import Dataset
from lightning_fabric.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.multiprocessing.spawn import ProcessExitedException
from torch.utils.data import DataLoader

from core_model.level_file import LevelFile
from progress import line
from refusal import Refusal

if TYPE_CHECKING:
    from core_model.predictor import Predictor

for _name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Spread:
    """The devices that share in a reading.

    Args:
        accelerator: as Lightning's Trainer takes it: auto, cpu, gpu.
        devices: how many, all of this machine.
        strategy: a strategy of Lightning's that starts processes for one call.
    """

    accelerator: str
    devices: int
    strategy: str

    def __call__(
        self, predictor: Predictor, episodes: Dataset, files: dict[int, LevelFile], position: int
    ) -> None:
        """Fills in the temporary files. Portions are those that one device would read, so what is
        read is the same.

        Raises:
            Refusal: Lightning cannot start the processes, or one of them was ended from outside.
        """
        share = Share(predictor, episodes, files, position)
        with line(f"{predictor.name} reads on {self.devices} devices"), _quiet():
            try:
                self._trainer().predict(share, return_predictions=False)
            except SystemExit:  # what Lightning makes of Ctrl-C
                raise KeyboardInterrupt from None
            except ProcessExitedException as error:
                why = (
                    f"one of {self.devices} processes that read was ended"
                    f" ({str(error).splitlines()[0]})"
                )
                raise Refusal(
                    f"trainer.devices: {why}. Has memory room for as many copies of the model? If"
                    " not, use fewer."
                ) from None
            except (MisconfigurationException, RuntimeError, ValueError) as error:
                why = (
                    f"{self.strategy} on {self.devices} {self.accelerator} devices cannot start"
                    f" here ({str(error).strip().splitlines()[0]})"
                )
                raise Refusal(
                    f"trainer.strategy: {why}. Use trainer.devices=1, or another strategy."
                ) from error

    def _trainer(self) -> pl.Trainer:
        return pl.Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            strategy=self.strategy,
            plugins=LightningEnvironment(),  # processes of this machine, also within a Slurm job
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            inference_mode=False,
        )


class Share(pl.LightningModule):
    """A frozen predictor that reads every so-manyth portion. Each episode is read once: no portion
    is repeated to make shares equal.
    """

    def __init__(
        self, predictor: Predictor, episodes: Dataset, files: dict[int, LevelFile], position: int
    ) -> None:
        super().__init__()
        self.model = getattr(predictor, "model", None)  # Lightning moves it to the device
        self.predictor, self.episodes, self.files, self.position = (
            predictor,
            episodes,
            files,
            position,
        )

    def setup(self, stage: str) -> None:
        _hide_advice()

    def predict_dataloader(self) -> DataLoader[int]:
        self.portions = self.predictor.portions(self.episodes, list(self.files), self.position)
        self.rows_LND = [file.rows() for file in self.files.values()]
        share = range(self.trainer.global_rank, len(self.portions), self.trainer.world_size)
        return DataLoader(range(len(self.portions)), sampler=share, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, portion: int) -> int:
        self.portions[portion].into(self.rows_LND)
        return portion


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides Lightning's advice, and takes back the port that it leaves in the environment, where a
    process of a sweep would find it taken.
    """
    port = os.environ.get("MASTER_PORT")
    with warnings.catch_warnings():
        _hide_advice()
        try:
            yield
        finally:
            os.environ.pop("MASTER_PORT", None)
            os.environ.update({"MASTER_PORT": port} if port else {})


def _hide_advice() -> None:
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning")
