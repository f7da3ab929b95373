"""A predictor whose activations are known by hand, and that records each of its forward passes;
importable by processes that a test starts.
"""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor

from core_model.predictor import Opinions, Portion, Predictor, read_portions


class Planted(Predictor):
    """Holds the length of the text plus one hundred for each level; the position beside it.

    Args:
        broken: a level, and what its second episode holds there.
        passes: a file to which each forward pass adds a line: the process, the levels and the rows.
        seconds: the time of a forward pass.
        size: episodes that are read at once.
    """

    name, n_levels, can_write = "planted", 3, False

    def __init__(
        self,
        identity: str = "one",
        broken: tuple[int, float] | None = None,
        passes: Path | None = None,
        seconds: float = 0.0,
        size: int = 1000,
        width: int = 2,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.identity = identity
        self.broken = broken
        self.passes = passes
        self.seconds = seconds
        self.size = size
        self.width = width
        self.dtype = dtype
        self.readings: list[list[int]] = []
        """The levels of each reading."""

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        portions = self.portions(episodes, levels, position)
        return read_portions(portions, len(episodes), len(levels), self.width, self.dtype)

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        self.readings.append(list(levels))
        length_N = torch.tensor([len(text) for text in episodes["text"]])
        portions = []
        for rows_B in length_N.argsort().split(self.size):
            read = partial(self._pass, length_N, rows_B, levels, position)
            portions.append(Portion(rows_B, read))
        return portions

    def _pass(
        self, length_N: Tensor, rows_B: Tensor, levels: Sequence[int], position: int
    ) -> Tensor:
        if self.passes:
            with self.passes.open("a") as file:
                file.write(f"{os.getpid()} {list(levels)} {rows_B.tolist()}\n")
        time.sleep(self.seconds)
        z_BLD = torch.full((len(rows_B), len(levels), self.width), position, dtype=self.dtype)
        z_BLD[:, :, 0] = length_N[rows_B][:, None] + 100.0 * torch.tensor(levels)
        if self.broken and self.broken[0] in levels:
            level, value = self.broken
            z_BLD[rows_B == 1, list(levels).index(level), 0] = value
        return z_BLD

    def opinions(
        self,
        episodes: Dataset,
        level: int | None = None,
        z_ND: Tensor | None = None,
        position: int = -1,
    ) -> Opinions:
        raise NotImplementedError

    def flops(self, episodes: Dataset) -> Tensor:
        raise NotImplementedError


def make_texts(n: int) -> Dataset:
    """Returns n texts of different lengths, the long and the short ones mixed."""
    return Dataset.from_dict({"text": ["x" * (i * 7 % n + 1) for i in range(n)]})
