"""A random direction: its seed draws it, labels give it no more than sign, scale and threshold."""

import torch

from reporters.random import Random
from tests.reporters.test_mean_difference import draw_two_gaussians


def build(seed: int, width: int) -> Random:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return Random(1, width)


def test_its_direction_is_the_seeds_and_not_that_of_the_labels():
    z_NLD, human_N = draw_two_gaussians(torch.full((64,), 0.5), torch.zeros(64), n=4000)
    directions = []
    for seed in range(2):
        head = build(seed, 64)
        weight_1D = head.solve(z_NLD, human_N)["weight_1D"]
        similar = torch.cosine_similarity(weight_1D, head.weight_1D)
        assert similar.abs().item() > 1 - 1e-6
        directions.append(weight_1D)
    assert torch.cosine_similarity(*directions).abs() < 0.5


def test_labels_turned_round_turn_its_answers_round():
    z_NLD, human_N = draw_two_gaussians(torch.full((8,), 0.5), torch.ones(8), n=4000)
    head = build(0, 8)
    first, second = head.solve(z_NLD, human_N), head.solve(z_NLD, 1 - human_N)
    for name in first:
        torch.testing.assert_close(first[name], -second[name])


def test_in_one_dimension_it_is_the_answer_of_bayes_whatever_its_sign():
    z_NLD, human_N = draw_two_gaussians(torch.tensor([2.0]), torch.zeros(1))
    slopes = [build(seed, 1).solve(z_NLD, human_N)["weight_1D"].item() for seed in range(4)]
    assert all(abs(slope - 2) < 0.1 for slope in slopes)
