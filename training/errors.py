"""Easy episodes whose label is X, on which heads can settle before they meet the human's errors.

N: episodes.
"""

from __future__ import annotations

from dataclasses import replace

from datasets import Dataset

from console.errors import UserError
from training.material import TrainingMaterial, find_correct
from training.requests import Requests


def has_errors(episodes: Dataset) -> bool:
    """Whether the label of an episode is not X."""
    return len(find_correct(episodes)) < len(episodes)


def drop_errors(
    material: TrainingMaterial, requests: Requests
) -> tuple[TrainingMaterial, Requests]:
    """Returns the episodes whose label is X, and what a prior requested with them. Its pairs and
    what it observes are other episodes, and stay.

    Raises:
        UserError: those labels are all the same.
    """
    train_N, validation_N = find_correct(material.train), find_correct(material.validation)
    correct = material.select(train_N, validation_N)
    for examples in (correct.examples, correct.held_out):
        if len(examples.human_N.unique()) < 2:
            raise UserError(
                f"training.errors: the labels of {len(examples.human_N)} easy episodes are X, and"
                " these do not hold both answers, so no head can settle on them. Use more episodes"
                " (data.train, data.validation), or training.errors=from_start."
            )
    if requests.inputs:
        train, validation = requests.inputs
        requests = replace(requests, inputs=(train[train_N], validation[validation_N]))
    return correct, requests
