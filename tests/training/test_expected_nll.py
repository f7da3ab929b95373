"""The expected error of Gaussian log-odds: as dense sums find it, with its slopes, for heads
stacked or alone; the error of the mean alone is another.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reporters.reporter import nll
from training.expected_nll import compute_expected_nll

MEAN_M = torch.linspace(-60, 60, 81, dtype=torch.float64)
DEVIATIONS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 12.0, 30.0)


def integrate(mean_M: Tensor, deviation: float, human: float) -> Tensor:
    """Returns the expected error as a sum over 2001 points within 10 standard deviations."""
    normal_P = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    share_P = torch.softmax(-normal_P.square() / 2, dim=0)
    log_odds_MP = mean_M[:, None] + deviation * normal_P
    return nll(log_odds_MP, torch.tensor(human)) @ share_P


@pytest.mark.parametrize("human", [0.0, 1.0])
def test_it_is_the_integral_to_two_millionths_of_a_nat(human):
    for deviation in DEVIATIONS:
        variance_M = torch.full_like(MEAN_M, deviation**2)
        found_M = compute_expected_nll(MEAN_M, variance_M, torch.tensor(human))
        expected_M = integrate(MEAN_M, deviation, human)
        torch.testing.assert_close(found_M, expected_M, rtol=0, atol=2e-6)


def test_the_error_of_the_mean_alone_is_another():
    mean_1, human = torch.zeros(1).double(), torch.tensor(1.0)
    noisy_1 = compute_expected_nll(mean_1, torch.full_like(mean_1, 100), human)
    assert noisy_1 - nll(mean_1, human) > 3
    exact_1 = compute_expected_nll(mean_1, torch.zeros_like(mean_1), human)
    torch.testing.assert_close(exact_1, nll(mean_1, human), rtol=0, atol=2e-6)


def differentiate(function: Callable[[float], Tensor]) -> Tensor:
    """Returns the slope at 0 by finite differences."""
    return (function(1e-4) - function(-1e-4)) / 2e-4


@pytest.mark.parametrize("human", [0.0, 1.0])
@pytest.mark.parametrize("deviation", DEVIATIONS[1:])
def test_its_slopes_are_those_of_the_integral(deviation, human):
    mean_M = MEAN_M.clone().requires_grad_()
    variance_M = torch.full_like(MEAN_M, deviation**2).requires_grad_()
    total = compute_expected_nll(mean_M, variance_M, torch.tensor(human)).sum()
    by_mean_M, by_variance_M = torch.autograd.grad(total, [mean_M, variance_M])
    slope_M = differentiate(lambda by: integrate(MEAN_M + by, deviation, human))
    torch.testing.assert_close(by_mean_M, slope_M, rtol=0, atol=2e-6)
    slope_M = differentiate(lambda by: integrate(MEAN_M, math.sqrt(deviation**2 + by), human))
    torch.testing.assert_close(by_variance_M, slope_M, rtol=0, atol=2e-6)


def test_stacked_heads_have_the_values_and_slopes_of_each_alone():
    rng = torch.Generator().manual_seed(0)
    mean_KN, variance_KN = (torch.rand(4, 7, generator=rng).double() for _ in range(2))
    human_N = (torch.arange(7) % 2).double()

    def total(mean_N: Tensor, variance_N: Tensor) -> Tensor:
        return compute_expected_nll(mean_N, variance_N, human_N).sum()

    both = torch.func.grad_and_value(total, argnums=(0, 1))
    (by_mean_KN, by_variance_KN), total_K = torch.func.vmap(both)(mean_KN, variance_KN)
    for k in range(4):
        (by_mean_N, by_variance_N), alone = both(mean_KN[k], variance_KN[k])
        torch.testing.assert_close(total_K[k], alone)
        torch.testing.assert_close(by_mean_KN[k], by_mean_N)
        torch.testing.assert_close(by_variance_KN[k], by_variance_N)
