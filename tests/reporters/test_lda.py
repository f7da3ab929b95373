"""Fisher's discriminant: the solution of scikit-learn; where variance misleads, the direction of
Bayes, which the difference of means misses.
"""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from reporters.lda import LDA
from reporters.mean_difference import MeanDifference


def draw(n: int, share: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns activations whose first two inputs share loud noise, and answers that move the first
    alone; others are noise of several sizes.
    """
    rng = torch.Generator().manual_seed(seed)
    z_ND = torch.randn(n, 8, generator=rng, dtype=torch.float64)
    z_ND[:, 2:] *= torch.linspace(0.1, 3, 6, dtype=torch.float64)
    loud_N = 3 * torch.randn(n, generator=rng, dtype=torch.float64)
    z_ND[:, :2] += loud_N[:, None]
    human_N = (torch.rand(n, generator=rng) < share).double()
    z_ND[:, 0] += 2 * human_N
    return z_ND[:, None], human_N


@pytest.mark.parametrize("n", [400, 12], ids=["plenty", "few"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0, "ledoit_wolf"])
def test_it_is_the_solution_of_scikit_learn(shrinkage, n):
    z_NLD, human_N = draw(n, share=0.4)
    theirs = "auto" if shrinkage == "ledoit_wolf" else shrinkage
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=theirs)
    expected.fit(z_NLD[:, 0].numpy(), human_N.numpy())
    actual = LDA(1, 8, shrinkage).solve(z_NLD, human_N)
    np.testing.assert_allclose(actual["weight_1D"], expected.coef_, rtol=1e-6, atol=1e-8)
    assert actual["bias"].item() == pytest.approx(expected.intercept_[0], rel=1e-6, abs=1e-8)


def test_its_direction_is_that_of_bayes_and_the_difference_of_means_is_not():
    z_NLD, human_N = draw(20_000)
    covariance_22 = torch.tensor([[10.0, 9.0], [9.0, 10.0]], dtype=torch.float64)
    bayes_D = torch.zeros(8, dtype=torch.float64)
    bayes_D[:2] = torch.linalg.solve(covariance_22, torch.tensor([2.0, 0.0]).double())

    def measure_cosine(head: LDA | MeanDifference) -> float:
        weight_D = head.solve(z_NLD, human_N)["weight_1D"][0]
        return torch.cosine_similarity(weight_D, bayes_D, dim=0).item()

    assert measure_cosine(LDA(1, 8, "ledoit_wolf")) > 0.99
    assert measure_cosine(MeanDifference(1, 8)) < 0.8


def test_a_constant_input_and_fewer_episodes_than_inputs_give_a_finite_head():
    z_NLD, human_N = draw(6)
    z_NLD[:, :, 3] = 0
    human_N[:2] = torch.tensor([0.0, 1.0])
    for shrinkage in (0.0, "ledoit_wolf"):
        solution = LDA(1, 8, shrinkage).solve(z_NLD, human_N)
        assert all(value.isfinite().all() for value in solution.values())
        assert abs(solution["weight_1D"][0, 3]) < 1e-8
