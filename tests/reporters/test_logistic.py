"""Logistic regression: the solution of scikit-learn, and nothing learned from random labels."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.func import functional_call

from reporters.logistic import Logistic, solve_logistic
from reporters.reporter import nll


def draw(n: int, width: int, noise: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns activations, of which the first two decide the answer, and answers."""
    rng = torch.Generator().manual_seed(seed)
    z_NLD = torch.randn(n, 1, width, generator=rng, dtype=torch.float64)
    cause_N = z_NLD[:, 0, :2].sum(dim=1) + 0.3 + noise * torch.randn(n, generator=rng)
    return z_NLD, (cause_N > 0).double()


@pytest.mark.parametrize(
    ("n", "width", "noise", "C"),
    [(500, 6, 1.0, 1.0), (500, 6, 1.0, 1e-3), (40, 60, 1.0, 1.0), (200, 5, 0.0, 1000.0)],
    ids=["plenty", "shrunk", "fewer than inputs", "separable"],
)
def test_it_is_the_solution_of_scikit_learn(n, width, noise, C):
    z_NLD, human_N = draw(n, width, noise)
    expected = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(z_NLD[:, 0], human_N)
    actual = Logistic(1, width, C).solve(z_NLD, human_N)
    np.testing.assert_allclose(actual["weight_1D"], expected.coef_, rtol=1e-4, atol=1e-4)
    assert actual["bias"].item() == pytest.approx(expected.intercept_[0], rel=1e-4, abs=1e-4)


def test_the_gradient_is_zero_at_the_solution_and_the_bias_is_free():
    z_NLD, human_N = draw(300, 4)
    solution = Logistic(1, 4, 0.5).solve(z_NLD, human_N)
    weight_1D, bias = (value.requires_grad_() for value in solution.values())
    log_odds_N = (z_NLD[:, 0] @ weight_1D.T)[:, 0] + bias
    loss = 0.5 * nll(log_odds_N, human_N).sum() + weight_1D.square().sum() / 2
    for gradient in torch.autograd.grad(loss, [weight_1D, bias]):
        assert gradient.abs().max() < 1e-8


def test_without_a_bias_the_bias_is_zero():
    z_NLD, human_N = draw(300, 4)
    expected = LogisticRegression(C=1.0, tol=1e-10, fit_intercept=False).fit(z_NLD[:, 0], human_N)
    weight_D, bias = solve_logistic(z_NLD[:, 0], human_N, 1.0, has_bias=False)
    np.testing.assert_allclose(weight_D, expected.coef_[0], rtol=1e-4, atol=1e-4)
    assert bias == 0


def test_it_learns_nothing_from_shuffled_labels_and_the_concept_from_true_ones():
    z_NLD, human_N = draw(2000, 100)
    fresh_NLD, fresh_N = draw(2000, 100, seed=1)
    shuffled_N = human_N[torch.randperm(2000, generator=torch.Generator().manual_seed(2))]

    def measure_auroc(labels_N: Tensor) -> float:
        head = Logistic(1, 100, 1.0).double()
        reading = functional_call(head, head.solve(z_NLD, labels_N), (fresh_NLD,))
        return roc_auc_score(fresh_N, reading.log_odds_N)

    assert measure_auroc(human_N) > 0.85
    # Three standard deviations of the part of a random direction that is the concept's, 1 / √100.
    assert abs(measure_auroc(shuffled_N) - 0.5) < 0.12
