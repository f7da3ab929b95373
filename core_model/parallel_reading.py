"""Reading on several devices: each process reads its share of the episodes and writes it to disk.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from datasets import Dataset
from torch.utils.data import DataLoader

from compute.devices import Devices, hide_advice
from compute.lightning import pl
from console.progress import line
from core_model.predictor import Predictor
from storage.level_file import LevelFile


def read_in_parallel(
    devices: Devices,
    predictor: Predictor,
    episodes: Dataset,
    files: dict[int, LevelFile],
    position: int,
) -> None:
    """Fills the temporary files of the levels. The portions are those that one device would read,
    so the activations are the same.

    Raises:
        UserError: Lightning cannot start the processes, or one of them was killed.
    """
    with line(f"{predictor.name} reads on {devices.count} devices"):
        devices.predict(Share(predictor, episodes, files, position))


class Share(pl.LightningModule):
    """A frozen predictor that reads every n-th portion, in a process of its own. Each episode is
    read once: no portion is repeated to make the shares equal.
    """

    def __init__(
        self, predictor: Predictor, episodes: Dataset, files: dict[int, LevelFile], position: int
    ) -> None:
        super().__init__()
        self.model = getattr(predictor, "model", None)  # Lightning moves it to the device
        self.predictor = predictor
        self.episodes = episodes
        self.files = files
        self.position = position

    def setup(self, stage: str) -> None:
        hide_advice()

    def predict_dataloader(self) -> DataLoader[int]:
        self.portions = self.predictor.portions(self.episodes, list(self.files), self.position)
        self.rows_LND = [file.rows() for file in self.files.values()]
        numbers = range(len(self.portions))
        share = numbers[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(numbers, sampler=share, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, portion: int) -> int:
        self.portions[portion].read_into(self.rows_LND)
        return portion
