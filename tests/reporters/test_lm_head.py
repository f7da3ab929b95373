"""The direction of a model's own answer: labels give it sign, scale and threshold alone."""

import torch

from reporters.lm_head import LMHead
from reporters.reporter import Lesson
from tests.reporters.test_mean_difference import draw_two_gaussians


def fit(direction_D: torch.Tensor, human_N: torch.Tensor, z_NLD: torch.Tensor) -> torch.Tensor:
    zero_LD = torch.zeros(1, len(direction_D))
    lesson = Lesson(z_NLD, human_N, zero_LD, zero_LD + 1, answer_LD=direction_D[None])
    return LMHead(1, len(direction_D)).fit(lesson)["weight_1D"][0]


def test_it_reads_the_models_direction_and_not_that_of_the_labels():
    """The labels lie along the first axis, which the model's direction hardly touches."""
    distance_D = torch.tensor([3.0, 0.0, 0.0, 0.0])
    z_NLD, human_N = draw_two_gaussians(distance_D, torch.zeros(4), n=4000)
    direction_D = torch.tensor([0.1, 1.0, -2.0, 0.5])
    weight_D = fit(direction_D, human_N, z_NLD)
    assert torch.cosine_similarity(weight_D, direction_D, dim=0) > 1 - 1e-6
    along_labels_D = fit(distance_D, human_N, z_NLD)
    assert along_labels_D.norm() > 10 * weight_D.norm()


def test_labels_turned_round_turn_it_round():
    z_NLD, human_N = draw_two_gaussians(torch.ones(4), torch.zeros(4), n=4000)
    first, second = (fit(torch.ones(4), answers, z_NLD) for answers in (human_N, 1 - human_N))
    torch.testing.assert_close(first, -second)
