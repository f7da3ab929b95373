"""Finished heads as measures see them: a stack of weights, the training episodes, and where each
head stops.

K = G · S · M heads. G: groups of levels, S: seeds, M: strengths; N: episodes, L: levels, R: levels
that a head reads, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from bill.live_edges import find_live_edges
from bill.two_part_code import TwoPartCode, encode
from console.errors import UserError
from core_model.predictor import Ablation
from core_model.reader import ActivationReader
from core_model.timing import ReadingCosts
from reporters.reporter import Reporter, find_missing_weights
from reporters.stack import Weights, group_levels, map_over_heads
from training.heads import Heads, Predictions
from training.material import TrainingMaterial
from training.standardised import StandardisedAblation

T = TypeVar("T")


class Stops(NamedTuple):
    """Where K heads stop on N episodes of one kind."""

    level_KN: Tensor
    """The deepest level of the predictor that is read."""
    exit_KN: Tensor
    """The exit, from 0."""


class AblatablePredictor(NamedTuple):
    """A predictor whose components can be switched off, and the training episodes."""

    ablation: Ablation
    """Gives standardised activations."""
    inputs_N: Tensor
    """What `ablation.read` takes of the training episodes."""


@dataclass(frozen=True)
class FinishedHeads:
    """A stack of finished heads of one reporter. What several measures need is computed once.

    Args:
        weights: with leading axes (G, S, M).
        z_NLD: standardised activations of the training episodes.
        human_N: the human's answers on them, 0 or 1, float.
        stops: where the heads stop, on "train" episodes and on any other kinds.
        flops_by_level: FLOPs an episode that the predictor takes to reach each of its levels.
        seconds_by_level: its seconds for 1,000 episodes, by the clock; None if it was not timed.
        build_ablation: builds the predictor with switches on its components; None if it cannot be
            ablated.
    """

    reporter: Reporter
    weights: Weights
    z_NLD: Tensor
    human_N: Tensor
    stops: Mapping[str, Stops]
    flops_by_level: tuple[float, ...]
    seconds_by_level: tuple[float, ...] | None = None
    build_ablation: Callable[[], AblatablePredictor] | None = None

    @property
    def grid(self) -> tuple[int, int, int]:
        """The sizes of the axes G, S and M."""
        groups, seeds, strengths = next(iter(self.weights.values())).shape[:3]
        return groups, seeds, strengths

    @property
    def count(self) -> int:
        """K, the number of heads."""
        groups, seeds, strengths = self.grid
        return groups * seeds * strengths

    @property
    def z_GNRD(self) -> Tensor:
        """What each group of heads reads of the training episodes."""
        return group_levels(self.z_NLD, self.reporter)

    @property
    def same_at_every_strength(self) -> bool:
        """Whether a head has the same weights at every strength, as without a prior."""
        return all(bool((value == value[:, :, :1]).all()) for value in self.weights.values())

    @cached_property
    def live_edges(self) -> Weights:
        """Whether each weight is a live edge, with leading axes (G, S, M); empty for a reporter
        without weights.
        """
        rng = torch.Generator().manual_seed(0)
        sign_N = torch.randn(len(self.z_NLD), generator=rng).to(self.z_NLD)
        if find_missing_weights(self.reporter):
            return {}
        with torch.no_grad():
            return self.map(
                lambda weights, z_NRD: find_live_edges(self.reporter, weights, z_NRD, sign_N)
            )

    @cached_property
    def code(self) -> TwoPartCode:
        """The two-part code of each head, with leading axes (G, S, M)."""
        with torch.no_grad():
            return self.map(
                lambda weights, z_NRD: encode(self.reporter, weights, z_NRD, self.human_N)
            )

    def map(self, function: Callable[[Weights, Tensor], T]) -> T:
        """Returns a function of every head, its tensors with leading axes (G, S, M).

        Args:
            function: from the weights of one head, and what it reads of the training episodes.
        """
        axes = (0, 0), (0, None), (0, None)
        return map_over_heads(function, *axes)(self.weights, self.z_GNRD)

    def select(self, which: slice) -> FinishedHeads:
        """Returns some of the heads of every group, counted through seeds and strengths; their
        axes are (G, n, 1).
        """
        groups = self.grid[0]
        weights = {}
        for name, value in self.weights.items():
            weights[name] = value.flatten(1, 2)[:, which, None]

        def choose(value_KN: Tensor) -> Tensor:
            return value_KN.unflatten(0, (groups, -1))[:, which].flatten(0, 1)

        stops = {}
        for kind, (level_KN, exit_KN) in self.stops.items():
            stops[kind] = Stops(choose(level_KN), choose(exit_KN))
        return replace(self, weights=weights, stops=stops)

    def split(self, size: int) -> Iterator[FinishedHeads]:
        """Yields all heads in order, at most `size` of every group at a time."""
        _, seeds, strengths = self.grid
        if size >= seeds * strengths:
            yield self
            return
        for start in range(0, seeds * strengths, size):
            yield self.select(slice(start, start + size))


def check_finished(heads: FinishedHeads) -> None:
    """Raises UserError if a parameter is not a finite number, or a choice is still open."""
    hard = map_over_heads(heads.reporter.harden)(heads.weights)
    for name, value in heads.weights.items():
        if not value.isfinite().all():
            raise UserError(
                f"bill: the heads are not finished: {name} holds NaN or infinity. Bill the heads"
                " that training.find_heads returns."
            )
        if not torch.equal(hard[name], value):
            raise UserError(
                f"bill: the heads are not finished: {name} holds open choices. Pass the weights"
                " through reporter.harden first."
            )


def describe_finished(
    heads: Heads,
    reports: Mapping[str, Predictions],
    material: TrainingMaterial,
    reader: ActivationReader,
    costs: ReadingCosts,
) -> FinishedHeads:
    """Returns a run's heads as measures see them.

    Args:
        reports: what the heads report on the training, the easy and the disputed episodes.
    """

    @cache
    def build_ablation() -> AblatablePredictor:
        ablation = reader.predictor.ablation(material.train, reader.levels, "mean")
        standardised = StandardisedAblation(ablation, heads.mean_LD, heads.std_LD)
        return AblatablePredictor(standardised, ablation.inputs(material.train))

    stops = {}
    for kind, report in reports.items():
        stops[kind] = Stops(report.level_KN, report.exit_KN)
    return FinishedHeads(
        reporter=heads.reporter,
        weights=heads.weights,
        z_NLD=(material.examples.z_NLD - heads.mean_LD) / heads.std_LD,
        human_N=material.examples.human_N,
        stops=stops,
        flops_by_level=costs.flops,
        seconds_by_level=costs.seconds,
        build_ablation=build_ablation if reader.predictor.can_ablate else None,
    )
