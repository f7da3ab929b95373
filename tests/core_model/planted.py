"""A predictor whose activations are known by hand, and that writes down each of its forward passes;
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

from core_model.predictor import Opinions, Portion, Predictor, gathered


class Planted(Predictor):
    """Holds the text's length at level 0, and one hundred more a level; the position beside it.

    Args:
        broken: a level, and what its second episode holds there.
        passes: a file to which each forward pass adds a line: the process, the levels and the rows.
        seconds: what a forward pass takes.
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
        self.identity, self.broken, self.passes, self.seconds, self.size, self.width, self.dtype = (
            identity,
            broken,
            passes,
            seconds,
            size,
            width,
            dtype,
        )
        self.asked: list[list[int]] = []

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        return gathered(
            self.portions(episodes, levels, position),
            len(episodes),
            len(levels),
            self.width,
            self.dtype,
        )

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        self.asked.append(list(levels))
        length_N = torch.tensor([len(text) for text in episodes["text"]])
        return [
            Portion(rows_B, partial(self._pass, length_N, rows_B, levels, position))
            for rows_B in length_N.argsort().split(self.size)
        ]

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
            z_BLD[rows_B == 1, list(levels).index(self.broken[0]), 0] = self.broken[1]
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


def texts(n: int) -> Dataset:
    """Returns n texts of different lengths, the long and the short ones mixed."""
    return Dataset.from_dict({"text": ["x" * (i * 7 % n + 1) for i in range(n)]})
