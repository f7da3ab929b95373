"""Several predictors of the ladder in one fit, each with episodes of its own.

Heads that are found in one fit share their answers. So the episodes of each predictor are put in an
order in which H is the same for all; everything else of an episode is the predictor's own. Without
that, predictors that differ in their coordinates alone would have almost the same heads.

N: episodes, P: predictors, D: width, K: heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from compute.trainer import Trainer
from console.errors import UserError
from core_model.predictor import CoreModel, Predictor, reseed
from priors.prior import Prior
from reporters.reporter import Reporter, nll
from storage.cache import find_cache_folder
from training.examples import Examples
from training.find_heads import build_task
from training.heads import Heads
from training.material import Answers, draw_decoupled
from training.planted_errors import choose_errors
from training.task import Task
from worlds.ladder import Ladder
from worlds.seeds import LEARNING_OFFSET


class Sample(NamedTuple):
    """Episodes of each predictor, as it reads them."""

    z_NPD: Tensor
    concept_PN: Tensor
    human_PN: Tensor


class Scores(NamedTuple):
    """What K heads do on the episodes of their predictors."""

    right_K: Tensor
    """Share of episodes that are answered correctly."""
    nll_K: Tensor
    """Nats an episode."""


@dataclass(frozen=True)
class SeveralPredictors:
    """Predictors of one recipe, read at one level.

    Args:
        seed: of the first predictor's episodes; the others have the seeds after it.
    """

    world: Ladder
    predictors: Sequence[Predictor]
    level: int
    seed: int

    @classmethod
    def build(
        cls,
        world: Ladder,
        core_model: CoreModel,
        number: int,
        level: int,
        seed: int,
        trainer: Trainer,
    ) -> SeveralPredictors:
        """Returns the predictors of a core model's seed and the seeds after it.

        Raises:
            UserError: they lack the level, or differ in nothing.
        """
        if number > 1 and not hasattr(core_model, "seed"):
            raise UserError(
                f"job.predictors: {type(core_model).__name__} has no seed, so all {number} would be"
                " the same. Use 1, or another core_model."
            )
        predictors = []
        for i in range(number):
            recipe = reseed(core_model, i)
            predictors.append(recipe.predictor(world, find_cache_folder(), trainer))
        n_levels = predictors[0].n_levels
        if level >= n_levels:
            raise UserError(
                f"job.level: {predictors[0].name} has no level {level}. It has 0 to {n_levels - 1}."
            )
        return cls(world, predictors, level, seed)

    @cached_property
    def seeds(self) -> range:
        """The seed of each predictor's episodes."""
        return range(self.seed, self.seed + len(self.predictors))

    def draw_training(self, n: int) -> Examples:
        """Returns easy episodes with their labels, some of which the world flips."""
        sample = self.draw_easy(n, 0)
        labels = self.world.episodes("easy", n, self.seed)["human"][:]
        return build_examples(sample.z_NPD, torch.tensor(labels, dtype=torch.float32))

    def draw_easy(self, n: int, offset: int = LEARNING_OFFSET) -> Sample:
        """Returns easy episodes whose labels are not flipped.

        Args:
            offset: added to the seed of episodes.
        """
        clean = replace(self.world, label_noise=0.0)
        return self._read(lambda seed: clean.episodes("easy", n, seed + offset), "human")

    def draw_disputed(self, n: int) -> Sample:
        """Returns disputed episodes."""
        return self._read(lambda seed: self.world.episodes("disputed", n, seed), "human")

    def draw_planting(self, n: int, answers: Answers, errors: float) -> Examples:
        """Returns episodes on which X and H are independent, with what a planted head learns.

        Args:
            answers: whether it learns X or H.
            errors: share of the answers that are flipped, to the nearest whole number, as often in
                each combination of X and H.
        """
        sample = self._read(partial(draw_decoupled, self.world, n), "concept", "human")
        answer_N = (sample.concept_PN if answers == "concept" else sample.human_PN)[0].clone()
        answer_N[choose_errors(sample.concept_PN[0], sample.human_PN[0], errors)] ^= True
        return build_examples(sample.z_NPD, answer_N.float())

    def build_task(
        self,
        make: Callable[[int, int], Reporter],
        prior: Prior,
        examples: Examples,
        seeds: Sequence[int],
        strengths: Sequence[float],
    ) -> Task:
        """Returns what the heads of all predictors are found from. Nothing is chosen on held-out
        episodes, so the training ones stand in their place.
        """
        flops = self.predictors[0].flops(self.world.episodes("easy", 2, self.seed))
        return build_task(
            make,
            prior,
            examples,
            examples,
            [self.level],
            flops[self.level].repeat(len(self.predictors)),
            float(flops[1]),
            seeds,
            strengths,
            keeps_scale=self.predictors[0].keeps_scale,
        )

    def _read(self, draw: Callable[[int], Dataset], *columns: str) -> Sample:
        """Returns the episodes that are drawn for each predictor, in an order in which these
        columns are the same for all.
        """
        episodes = align([draw(seed) for seed in self.seeds], columns)
        z_NPD = []
        for predictor, own in zip(self.predictors, episodes, strict=True):
            z_NPD.append(predictor.read(own, [self.level])[:, 0])
        concept_PN = torch.tensor(np.stack([own["concept"][:] for own in episodes]))
        human_PN = torch.tensor(np.stack([own["human"][:] for own in episodes]))
        return Sample(torch.stack(z_NPD, dim=1), concept_PN, human_PN)


def check_rising(key: str, values: Sequence[float], fewest: int) -> None:
    """Raises UserError where values do not rise, or are too few."""
    if len(values) < fewest or sorted(set(values)) != list(values):
        raise UserError(
            f"job.{key}: {list(values)} must be {fewest} or more numbers, each larger than the one"
            " before it."
        )


def align(episodes: Sequence[Dataset], columns: Sequence[str]) -> list[Dataset]:
    """Returns the episodes of each predictor in an order in which some columns are those of the
    first. Each combination of them must be as frequent with all.
    """
    keys = []
    for own in episodes:
        values = np.array([own[column][:] for column in columns], dtype=int)
        keys.append(2 ** np.arange(len(columns)) @ values)
    first_N = keys[0].argsort(kind="stable")
    aligned = []
    for own, key_N in zip(episodes, keys, strict=True):
        order_N = np.empty_like(first_N)
        order_N[first_N] = key_N.argsort(kind="stable")
        assert (key_N[order_N] == keys[0]).all()
        aligned.append(own.select(order_N))
    return aligned


def build_examples(z_NPD: Tensor, human_N: Tensor) -> Examples:
    """Returns what heads learn from.

    Raises:
        UserError: all answers are the same.
    """
    if human_N.min() == human_N.max():
        raise UserError(
            f"world: all {len(human_N)} answers are the same, so no head can learn from them. Use"
            " more episodes, or another seed."
        )
    return Examples(z_NPD, human_N)


def score(heads: Heads, z_NPD: Tensor, answer_PN: Tensor) -> Scores:
    """Returns how well heads give these answers, each head on the episodes of its predictor."""
    predictors, n = answer_PN.shape
    log_odds_PHN = heads.read(z_NPD).log_odds_KN.view(predictors, -1, n)
    answer_P1N = answer_PN[:, None].expand_as(log_odds_PHN)
    right_PH = ((log_odds_PHN > 0) == (answer_P1N > 0)).double().mean(dim=-1)
    nll_PH = nll(log_odds_PHN.double(), answer_P1N.double()).mean(dim=-1)
    return Scores(right_PH.flatten(), nll_PH.flatten())
