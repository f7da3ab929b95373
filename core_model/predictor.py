"""The contract of a frozen predictor: its levels, its FLOPs, how to read a level, and how to write
one back and run the rest.

N: episodes, B: episodes of a portion, C: components, L: levels that are read, D: width, R: rank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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

Item = TypeVar("Item")
LONG = 20
"""Work of this many portions or more shows a progress bar."""
AblationKind = Literal["mean", "resampled"]
"""What replaces a component that is switched off; core_model/ablation.py defines both kinds."""
ABLATION_KINDS: tuple[AblationKind, ...] = ("mean", "resampled")


def check_ablation_kind(kind: str) -> None:
    """Raises UserError if there is no such kind of ablation."""
    if kind not in ABLATION_KINDS:
        raise UserError(
            f"ablation: there is no kind {kind}. Use one of {', '.join(ABLATION_KINDS)}."
        )


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
    """Returns their activations z_BLD."""

    def read_into(self, rows_LND: Sequence[Tensor]) -> None:
        """Reads the episodes, and writes the activations into their rows of each level's table."""
        for rows_ND, z_BD in zip(rows_LND, self.read().unbind(1), strict=True):
            rows_ND.index_copy_(0, self.rows_B, z_BD)


class Ablation(Protocol):
    """A frozen predictor whose components (attention heads and MLPs, or products of a predictor
    that is built by hand) can be switched off one by one.
    """

    components: int

    def inputs(self, episodes: Dataset) -> Tensor:
        """Returns the inputs of `read` for these episodes."""
        ...

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        """Returns z_NLD if the output of component c is mixed with its replacement, in the
        proportions gates_C[c] and 1 - gates_C[c]; differentiable in the gates.
        """
        ...


class Predictor(ABC):
    """A frozen model. Level 0 is the embedding, level i the residual stream after block i."""

    name: str
    """A plain name, as tables show it."""
    n_levels: int
    width: int
    identity: str
    """A hash of everything that its forward pass uses (weights, settings, code): 16 hexadecimal
    digits.
    """
    can_write: bool
    """Whether `opinions` and `read_on` can run on from an activation that was written back."""
    can_ablate: bool = False
    """Whether its components can be switched off one by one: attention heads and MLPs, or what else
    a block adds to the stream.
    """
    opinions_are_log_odds: bool = True
    """Whether its opinions say yes above 0; otherwise they are scores that only rank episodes."""
    predicts_concept: bool = True
    """Whether `opinions` gives its own prediction of X; otherwise that of H stands for both."""
    predicts_human: bool = True
    """Whether `opinions` gives its own prediction of H; otherwise that of X stands for both."""
    keeps_scale: bool = False
    """Whether the amplitudes of its activations are part of the question, so that heads are given
    them as they are and not standardised.
    """
    dtype: torch.dtype = torch.float32
    """The number type of its activations."""

    @abstractmethod
    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        """Returns the activations z_NLD of these levels at one position (-1: the last); computes no
        deeper level and no logits.
        """

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        """Returns the portions of a reading, none of them read yet. They can be read in any order;
        each episode is in one of them.
        """
        rows_N = torch.arange(len(episodes))
        return [Portion(rows_N, partial(self.read, episodes, levels, position))]

    def read_on(
        self, episodes: Dataset, levels: Sequence[int], level: int, z_ND: Tensor, position: int = -1
    ) -> Tensor:
        """Returns what `read` returns after z_ND was written at one level and position: that level
        is as written, levels below it are unchanged.

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
        """Returns the predictor's own predictions for the last step; with a level, after z_ND was
        written there at the position.
        """

    @abstractmethod
    def flops(self, episodes: Dataset) -> Tensor:
        """Returns the FLOPs an episode that it takes to reach each level, shape (n_levels,),
        float64, mean over the episodes. A multiply-add is 2 FLOPs.
        """

    def known_subspaces(self, level: int) -> tuple[Tensor, Tensor] | None:
        """Returns orthonormal bases, each of shape (D, R), of the subspaces that hold X and H at a
        level, where they are known by construction.
        """
        return None

    def read_known_product(self, level: int, z_ND: Tensor) -> Tensor | None:
        """Returns the product of the parts of X that a level holds, shape (N,), where X is a
        product of several by construction and no linear probe can read it; None elsewhere.
        """
        return None

    def compute_log_perplexity(self, episodes: Dataset) -> Tensor | None:
        """Returns how unlikely each text is to a language model, in nats a token, shape (N,),
        float32; None for another predictor.
        """
        return None

    def find_answer_direction(self) -> Tensor:
        """Returns the direction of its last level, shape (D,), along which its own answer for X
        turns to yes.

        Raises:
            UserError: its answer for X is not read from its last level.
        """
        raise UserError(
            f"reporter: {self.name} does not answer for X at its last level. Use a language model"
            " that is asked (core_model.ask)."
        )

    def ablation(self, reference: Dataset, levels: Sequence[int], kind: AblationKind) -> Ablation:
        """Returns the predictor with a switch on each component.

        Args:
            reference: easy training episodes, over which means are taken.
            levels: the levels of the ablated predictor that are read.
            kind: what replaces a component that is switched off.

        Raises:
            UserError: its components cannot be switched off.
        """
        raise UserError(
            f"core_model: the components of {self.name} cannot be switched off one by one. Use"
            " core_model=transformer."
        )


class CoreModel(ABC):
    """A recipe for a predictor: the plain values of a config."""

    @abstractmethod
    def predictor(self, world: World, cache: Path, trainer: Trainer) -> Predictor:
        """Returns the frozen predictor for a world: loaded from the cache if it is there and whole,
        otherwise made and saved.

        Args:
            trainer: how Lightning runs a fit, for a recipe that trains.
        """

    @property
    def answers_concept(self) -> bool:
        """Whether the predictor is a language model that is asked for X."""
        return False

    def count_levels(self) -> int | None:
        """Returns the number of the predictor's levels, or None where it is known only when the
        predictor is made.
        """
        return None


def reseed(core_model: CoreModel, offset: int) -> CoreModel:
    """Returns the recipe with a seed that is higher by the offset."""
    if not offset:
        return core_model
    seed = core_model.seed + offset  # type: ignore[attr-defined]
    return replace(core_model, seed=seed)  # type: ignore[type-var]


def build_portions(batches: Sequence[Tensor], read: Callable[[Tensor], Tensor]) -> list[Portion]:
    """Returns a portion for each batch of inputs; batches hold the episodes in order.

    Args:
        read: from a batch to its activations z_BLD.
    """
    portions = []
    sizes = [len(batch) for batch in batches]
    for rows_B, batch in zip(torch.arange(sum(sizes)).split(sizes), batches, strict=True):
        portions.append(Portion(rows_B, partial(read, batch)))
    return portions


def read_portions(
    portions: Sequence[Portion], n: int, levels: int, width: int, dtype: torch.dtype
) -> Tensor:
    """Returns z_NLD of n episodes, read portion by portion."""
    z_NLD = torch.empty(n, levels, width, dtype=dtype)
    for portion in portions:
        portion.read_into(z_NLD.unbind(1))
    return z_NLD


def show_progress(portions: Sequence[Item], words: str) -> Iterator[Item]:
    """Yields the portions one by one; if there are many, a bar on stderr shows the progress."""
    if len(portions) < LONG:
        yield from portions
        return
    with line(words, len(portions)) as bar:
        for number, portion in enumerate(portions, start=1):
            yield portion
            bar.move_to(number)


def check_levels(predictor: Predictor, levels: Sequence[int]) -> None:
    """Checks that the predictor has every level, and that each is named once.

    Raises:
        UserError: a level is missing or repeated, or there is none.
    """
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
