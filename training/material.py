"""The easy episodes of a run: for training, for stopping, and held out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from datasets import Dataset

from configs.plan import Plan
from console.errors import UserError
from core_model.reader import ActivationReader
from training.examples import Examples
from worlds.parts import split_by_cluster
from worlds.world import World


@dataclass(frozen=True)
class Material:
    """Easy episodes in four parts, and what heads see of the first two."""

    train: Dataset
    """Heads learn from these."""
    validation: Dataset
    """They stop a head and choose its weights."""
    test: Dataset
    """Held out: they measure competence."""
    probe: Dataset
    """Held out: they measure what the predictor itself knows."""
    examples: Examples
    """The activations and answers of `train`."""
    held_out: Examples
    """The same of `validation`."""


def draw_material(world: World, reader: ActivationReader, plan: Plan) -> Material:
    """Returns a run's easy episodes, with the activations of those that training uses.

    Raises:
        UserError: the human gives the same answer on all of them.
    """
    sizes = (plan.sizes.train, plan.sizes.validation, plan.sizes.test, plan.sizes.probe)
    easy = world.episodes("easy", sum(sizes), plan.seed)
    train, validation, test, probe = split_by_cluster(easy, sizes)
    examples = read_examples(reader, train)
    held_out = read_examples(reader, validation)
    return Material(train, validation, test, probe, examples, held_out)


def read_examples(reader: ActivationReader, episodes: Dataset) -> Examples:
    """Returns the activations of episodes and the human's answers on them.

    Raises:
        UserError: all answers are the same.
    """
    human_N = torch.tensor(episodes["human"][:], dtype=torch.float32)
    if human_N.min() == human_N.max():
        raise UserError(
            f"world: the human gives the same answer on all {len(human_N)} easy episodes, so no"
            " head can learn from them. Ask for more."
        )
    return Examples(reader.read(episodes), human_N)
