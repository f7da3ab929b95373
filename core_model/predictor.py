"""The promise of a frozen predictor: its levels, its FLOPs, how to read a level, and how to write
one back and run on.

N: episodes, L: levels read, D: width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

import torch
from datasets import Dataset
from torch import Tensor

from console.errors import UserError
from console.progress import line
from worlds.world import World

if TYPE_CHECKING:
    from compute.trainer import Trainer

SHOWN = 20
"""Portions from which on a work shows how far it is."""
One = TypeVar("One")
Kind = Literal["mean", "resampled"]
KINDS: tuple[Kind, ...] = ("mean", "resampled")
"""What stands in for a component that is switched off; core_model/ablation.py says it in full."""


class Opinions(NamedTuple):
    """What the predictor itself predicts, as scores that rise with its belief."""

    concept_N: Tensor
    """Its prediction of what follows from X (the scale reads "heavy"), in nats of log-odds."""
    human_N: Tensor
    """Its prediction of what follows from H (the camera shows a diamond), in nats of log-odds."""


class Portion(NamedTuple):
    """Episodes that are read at once."""

    rows_B: Tensor
    read: Callable[[], Tensor]
    """From nothing to their activations z_BLD."""

    def into(self, rows_LND: Sequence[Tensor]) -> None:
        """Reads them, and writes what was read into their rows of each level's table."""
        for rows_ND, z_BD in zip(rows_LND, self.read().unbind(1), strict=True):
            rows_ND.index_copy_(0, self.rows_B, z_BD)


class Ablation(Protocol):
    """A frozen predictor whose components (an attention head, an MLP) can be switched off one by
    one.
    """

    components: int

    def inputs(self, episodes: Dataset) -> Tensor:
        """Returns what `read` takes of episodes."""
        ...

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        """Returns z_NLD where component c counts gates_C[c] of what it says, and the rest is its
        mean; differentiable in the gates.
        """
        ...


class Predictor(ABC):
    """A frozen model. Level 0 is the embedding, level i the residual stream after block i."""

    name: str
    """Plain name, as tables write it."""
    n_levels: int
    width: int
    identity: str
    """Hash of its weights: 16 hexadecimal digits."""
    can_write: bool
    """Whether `opinions` and `read_on` can run on from an activation that was written back."""
    can_ablate: bool = False
    """Whether its attention heads and MLPs can be switched off one by one."""
    dtype: torch.dtype = torch.float32
    """Of the numbers that it is read in."""

    @abstractmethod
    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        """Returns the activations z_NLD at one position (-1: the last) of the levels asked for;
        computes no deeper level and no logits.
        """

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        """Returns what `read` does in portions, of which none is read yet: their order is free,
        each episode is in one of them.
        """
        return [
            Portion(torch.arange(len(episodes)), partial(self.read, episodes, levels, position))
        ]

    def read_on(
        self, episodes: Dataset, levels: Sequence[int], level: int, z_ND: Tensor, position: int = -1
    ) -> Tensor:
        """Returns what `read` does after z_ND was written at one level and the position: that level
        as written, those below it as they were.

        Raises:
            UserError: it cannot run on from an activation that was written back.
        """
        raise UserError(
            f"core_model: {self.name} cannot run on from an activation that was written back. Use"
            " core_model=transformer."
        )

    @abstractmethod
    def opinions(
        self,
        episodes: Dataset,
        level: int | None = None,
        z_ND: Tensor | None = None,
        position: int = -1,
    ) -> Opinions:
        """Returns the predictor's own predictions for the last step; where a level is named, after
        z_ND was written there at the position.
        """

    @abstractmethod
    def flops(self, episodes: Dataset) -> Tensor:
        """Returns FLOPs an episode to reach each level, shape (n_levels,), float64, mean over the
        episodes. A multiply-add is 2 FLOPs.
        """

    def ablation(self, reference: Dataset, levels: Sequence[int], kind: Kind) -> Ablation:
        """Returns the predictor with switches on its components; `kind` says what stands in for one
        that is off.

        Args:
            reference: easy training episodes, over which means are taken.
            levels: the levels that the ablated predictor is read at.

        Raises:
            UserError: its components cannot be switched off.
        """
        raise UserError(
            f"core_model: the components of {self.name} cannot be switched off one by one. Use"
            " core_model=transformer."
        )


class CoreModel(ABC):
    """A recipe for a predictor: plain values from a config, and where the result is kept."""

    @abstractmethod
    def predictor(self, world: World, cache: Path, trainer: Trainer) -> Predictor:
        """Returns the frozen predictor for a world: from the cache where it is there and whole,
        made and kept otherwise.

        Args:
            trainer: how Lightning runs a fit, for a recipe that trains.
        """


def gathered(
    portions: Sequence[Portion], n: int, levels: int, width: int, dtype: torch.dtype
) -> Tensor:
    """Returns z_NLD of n episodes, read portion by portion."""
    z_NLD = torch.empty(n, levels, width, dtype=dtype)
    for portion in portions:
        portion.into(z_NLD.unbind(1))
    return z_NLD


def shown(portions: Sequence[One], doing: str) -> Iterator[One]:
    """Yields the portions of a work one by one; where there are many, a bar on stderr shows how far
    it is.
    """
    with line(doing, len(portions)) if len(portions) >= SHOWN else nullcontext() as bar:
        for number, portion in enumerate(portions):
            yield portion
            if bar:
                bar.at(number + 1)


def check_levels(predictor: Predictor, levels: Sequence[int]) -> None:
    """Raises UserError unless the predictor has every level, and each is named once."""
    for level in levels:
        if not 0 <= level < predictor.n_levels:
            raise UserError(
                f"levels: {predictor.name} has no level {level}. It has 0 to"
                f" {predictor.n_levels - 1}."
            )
    if not levels or len(set(levels)) < len(levels):
        raise UserError(
            f"levels: {list(levels)} is empty or names a level twice. Name each level once."
        )
