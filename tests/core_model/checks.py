"""Checks that hold for every predictor that can be written back.   Not a test: what tests call."""

import torch
from datasets import Dataset

from core_model.predictor import Predictor


def check_reading_on(predictor: Predictor, episodes: Dataset, level: int) -> None:
    """Checks that reading on from the activations of other episodes gives, from that level on, what
    the others have, and their opinions.
    """
    levels = list(range(predictor.n_levels))
    own_NLD = predictor.read(episodes, levels)
    other_NLD = own_NLD.roll(-1, 0)
    on_NLD = predictor.read_on(episodes, levels, level, other_NLD[:, level])
    torch.testing.assert_close(on_NLD[:, :level], own_NLD[:, :level])
    torch.testing.assert_close(on_NLD[:, level:], other_NLD[:, level:])
    after = predictor.opinions(episodes, level, other_NLD[:, level])
    for after_N, plain_N in zip(after, predictor.opinions(episodes), strict=True):
        torch.testing.assert_close(after_N, plain_N.roll(-1))
