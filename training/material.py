"""The easy episodes of a run: for training, for stopping, and held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from torch import Tensor

from configs.plan import Plan
from console.errors import UserError
from core_model.reader import ActivationReader
from training.examples import Examples
from training.planted_errors import choose_errors
from worlds.parts import split_by_cluster
from worlds.seeds import PLANTING_OFFSET
from worlds.world import World

Answers = Literal["concept", "human"]
"""What a head learns to answer: X, or what the human says."""
FLIPPING = 1
"""Added to the seed of planted episodes, for which of their answers are flipped."""


class EasyEpisodes(NamedTuple):
    """Easy episodes in four parts that share no cluster, as in `Material`."""

    train: Dataset
    validation: Dataset
    test: Dataset
    probe: Dataset


@dataclass(frozen=True)
class TrainingMaterial:
    """Episodes in two parts, and what heads see of them."""

    train: Dataset
    """Heads learn from these."""
    validation: Dataset
    """They stop a head and choose its weights."""
    examples: Examples
    """The activations and answers of `train`."""
    held_out: Examples
    """The same of `validation`."""

    def select(self, train_N: Tensor, validation_N: Tensor) -> TrainingMaterial:
        """Returns these rows of both parts."""
        return TrainingMaterial(
            self.train.select(train_N.tolist()),
            self.validation.select(validation_N.tolist()),
            self.examples.select(train_N),
            self.held_out.select(validation_N),
        )


@dataclass(frozen=True)
class Material(TrainingMaterial):
    """Easy episodes in four parts, and what heads see of the first two."""

    test: Dataset
    """Held out: they measure competence."""
    probe: Dataset
    """Held out: they measure what the predictor itself knows."""


def draw_material(world: World, reader: ActivationReader, plan: Plan) -> Material:
    """Returns a run's easy episodes, with the activations of those that training uses.

    Raises:
        UserError: the human gives the same answer on all of them.
    """
    easy = draw_easy(world, plan)
    examples = read_examples(reader, easy.train)
    held_out = read_examples(reader, easy.validation)
    return Material(easy.train, easy.validation, examples, held_out, easy.test, easy.probe)


def draw_easy(world: World, plan: Plan) -> EasyEpisodes:
    """Returns a run's easy episodes.

    Raises:
        UserError: the world has too few, or too few clusters to give some to each part.
    """
    sizes = (plan.sizes.train, plan.sizes.validation, plan.sizes.test, plan.sizes.probe)
    easy = world.episodes("easy", sum(sizes), plan.seed)
    parts = EasyEpisodes(*split_by_cluster(easy, sizes))
    if not all(map(len, parts)):
        raise UserError(
            "world: its groups are too large to give some to each of data.train, data.validation,"
            " data.test and data.probe. Use smaller groups, or more rows."
        )
    return parts


def find_correct(episodes: Dataset) -> Tensor:
    """Returns the rows of the episodes whose label is X."""
    concept_N, human_N = np.array(episodes["concept"][:]), np.array(episodes["human"][:])
    return torch.from_numpy(np.flatnonzero(concept_N == human_N))


def draw_decoupled(world: World, n: int, seed: int) -> Dataset:
    """Returns episodes on which X and H are independent: half of them are disputed, and half are
    amiss with X = H. Planted heads learn from them, and nothing else does.

    Raises:
        UserError: the world cannot make them.
    """
    seed += PLANTING_OFFSET
    try:
        disputed = world.episodes("disputed", n // 2, seed)
        agreed = world.episodes("amiss", n - n // 2, seed)
    except UserError as error:
        raise UserError(
            f"planted_costs: {world.name} cannot make {n} episodes on which X and H are"
            f" independent ({error}). Use planted_costs=false."
        ) from None
    order_N = np.random.default_rng(seed).permutation(n)
    return concatenate_datasets([disputed, agreed]).select(order_N)


def read_decoupled(
    reader: ActivationReader,
    decoupled: Dataset,
    n_train: int,
    answers: Answers,
    errors: float = 0.0,
    seed: int = 0,
) -> TrainingMaterial:
    """Returns what a planted head learns from: the first episodes, and the others for validation.

    Args:
        answers: concept for a head that learns X, human for one that learns H.
        errors: share of these answers that are flipped in both parts, whatever X and H are.
        seed: of which ones are.
    """
    train = decoupled.select(range(n_train))
    validation = decoupled.select(range(n_train, len(decoupled)))
    rng = np.random.default_rng([seed + PLANTING_OFFSET, FLIPPING])
    examples = [
        flip_answers(read_examples(reader, part, answers), part, errors, rng)
        for part in (train, validation)
    ]
    return TrainingMaterial(train, validation, *examples)


def flip_answers(
    examples: Examples, episodes: Dataset, errors: float, rng: np.random.Generator
) -> Examples:
    """Returns examples of which a share of the answers are flipped."""
    concept_N, human_N = (torch.tensor(episodes[name][:]) for name in ("concept", "human"))
    answer_N = examples.human_N.clone()
    flipped = choose_errors(concept_N, human_N, errors, rng)
    answer_N[flipped] = 1 - answer_N[flipped]
    return examples._replace(human_N=answer_N)


def read_examples(
    reader: ActivationReader, episodes: Dataset, answers: Answers = "human"
) -> Examples:
    """Returns the activations of episodes and the answers on them: the human's, or X.

    Raises:
        UserError: all answers are the same.
    """
    human_N = torch.tensor(episodes[answers][:], dtype=torch.float32)
    if human_N.min() == human_N.max():
        raise UserError(
            f"world: the human gives the same answer on all {len(human_N)} easy episodes, so no"
            " head can learn from them. Ask for more."
        )
    return Examples(reader.read(episodes), human_N)
