"""The largest margin: found where it is known by hand, the limit of ever weaker weight decay, and
None where episodes cannot be separated.
"""

import pytest
import torch
from torch import Tensor

from priors.gaussian import Gaussian
from priors.none import NoPrior
from reporters.linear import Linear
from reporters.reporter import nll
from tests.training.tasks import SEPARABLE, build_task
from training.convex import Convex, solve_convex
from training.margin import REST, find_largest_margin
from training.settling import SETTLED

IS_WEIGHT_W = torch.tensor([True, True, False])
METHOD = Convex(tolerance=1e-12, steps=2000)


def find(points: list[list[float]], answers: list[float]) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns the parameters of largest margin, what they are multiplied with, and the answers."""
    a_NW = torch.cat([torch.tensor(points), torch.ones(len(points), 1)], dim=1).double()
    human_N = torch.tensor(answers).double()
    return find_largest_margin(a_NW, human_N, IS_WEIGHT_W), a_NW, human_N


def normalise(theta_W: Tensor) -> Tensor:
    return theta_W / theta_W[:2].norm()


def test_between_two_points_the_border_is_halfway():
    theta_W, _, _ = find([[1.0, 0.0], [5.0, 0.0], [9.0, 3.0]], [0.0, 1.0, 1.0])
    expected_W = torch.tensor([1.0, 0.0, -3.0]).double()
    torch.testing.assert_close(normalise(theta_W), expected_W, rtol=0, atol=1e-5)


def test_three_points_support_it_and_those_farther_away_do_not_matter():
    """The border is y = 2: two points below it and one above, all at a distance of 2."""
    points = [[-1.0, 0.0], [1.0, 0.0], [0.0, 4.0]]
    answers = [0.0, 0.0, 1.0]
    expected_W = torch.tensor([0.0, 1.0, -2.0]).double()
    for far in ([], [[30.0, 9.0], [-7.0, -50.0]]):
        theta_W, _, _ = find(points + far, answers + [1.0, 0.0][: len(far)])
        torch.testing.assert_close(normalise(theta_W), expected_W, rtol=0, atol=1e-5)
    nearer_W, _, _ = find([*points, [3.0, 3.0]], [*answers, 1.0])
    assert not torch.allclose(normalise(nearer_W), expected_W, rtol=0, atol=1e-2)


def test_biases_are_free():
    """However far all points are from 0, weights and border are where they would be near it."""
    near_W, _, _ = find([[1.0, 0.0], [5.0, 0.0]], [0.0, 1.0])
    far_W, _, _ = find([[1001.0, 0.0], [1005.0, 0.0]], [0.0, 1.0])
    torch.testing.assert_close(far_W[:2], near_W[:2], rtol=0, atol=1e-4)
    assert -far_W[2] / far_W[0] == pytest.approx(1003, abs=1e-3)


def test_its_length_leaves_a_thousandth_of_a_nat_of_errors():
    theta_W, a_NW, human_N = find([[1.0, 0.0], [5.0, 0.0], [9.0, 3.0]], [0.0, 1.0, 1.0])
    assert nll(a_NW @ theta_W, human_N).sum().item() == pytest.approx(REST, rel=1e-6)


def test_where_all_answers_are_the_same_the_bias_alone_gives_them():
    for answer in (0.0, 1.0):
        theta_W, a_NW, human_N = find([[1.0, 0.0], [5.0, 2.0]], [answer] * 2)
        assert not theta_W[:2].any()
        assert nll(a_NW @ theta_W, human_N).sum().item() == pytest.approx(REST, rel=1e-6)


def test_where_no_border_separates_the_answers_there_is_none():
    exclusive_or = [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    assert find(exclusive_or, [0.0, 0.0, 1.0, 1.0])[0] is None
    assert find(exclusive_or, [0.0, 1.0, 0.0, 1.0])[0] is not None


# Whole heads: of two levels, the first separates the answers.


def test_it_is_the_limit_of_weaker_and_weaker_weight_decay():
    strengths = (1e-6, 1.0)
    decayed = solve_convex(METHOD, build_task(Linear, Gaussian(1.0), SEPARABLE, (0,), strengths))
    margin = solve_convex(METHOD, build_task(Linear, NoPrior(), SEPARABLE))
    margin_D = margin.weights["weight_1D"][0, 0, 0, 0]
    cosine_M = torch.cosine_similarity(decayed.weights["weight_1D"][0, 0, :, 0], margin_D)
    assert cosine_M[0] > 0.9999
    assert cosine_M[1] < 0.999


def test_without_a_charge_heads_have_the_largest_margin_where_there_is_one():
    solution = solve_convex(METHOD, build_task(Linear, NoPrior(), SEPARABLE))
    total_G, gain_G = solution.total_GSM.flatten(), solution.gain_GSM.flatten()
    assert total_G[0].item() == pytest.approx(REST, rel=1e-3)
    assert total_G[1] > 10
    assert (gain_G <= SETTLED).all()
    assert gain_G[0] == total_G[0]


def test_at_strength_0_they_have_it_and_at_others_not():
    task = build_task(Linear, Gaussian(1.0), SEPARABLE, (0,), (0.0, 1.0))
    weight_MD = solve_convex(METHOD, task).weights["weight_1D"][0, 0, :, 0]
    margin = solve_convex(METHOD, build_task(Linear, NoPrior(), SEPARABLE))
    torch.testing.assert_close(weight_MD[0], margin.weights["weight_1D"][0, 0, 0, 0])
    assert weight_MD[1].norm() < weight_MD[0].norm() / 10
