"""The difference of means: on two Gaussians its log-odds are those of Bayes, and from random labels
it learns nothing.
"""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.func import functional_call

from reporters.mean_difference import MeanDifference

N = 20_000


def draw_two_gaussians(
    difference_D: Tensor, centre_D: Tensor, std: float = 1.0, seed: int = 0, n: int = N
) -> tuple[Tensor, Tensor]:
    """Returns z_NLD at one level, with the same spread in every direction and class means at centre
    ± difference/2; and the classes, half and half.
    """
    rng = torch.Generator().manual_seed(seed)
    human_N = (torch.arange(n) % 2).float()
    noise_ND = std * torch.randn(n, len(difference_D), generator=rng)
    z_ND = noise_ND + centre_D + (human_N[:, None] - 0.5) * difference_D
    return z_ND[:, None], human_N


def solve(z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
    return MeanDifference(1, z_NLD.shape[2]).solve(z_NLD, human_N)


def compute_log_odds(weights: dict[str, Tensor], z_NLD: Tensor) -> Tensor:
    return functional_call(MeanDifference(1, z_NLD.shape[2]), weights, (z_NLD,)).log_odds_N


@pytest.mark.parametrize(
    ("difference", "centre", "std"),
    [(2.0, 0.0, 1.0), (1.0, 3.0, 1.0), (-1.5, -2.0, 1.0), (1.0, 0.0, 0.5), (6.0, 1.0, 2.0)],
)
def test_in_one_dimension_its_log_odds_are_those_of_bayes(difference, centre, std):
    z_NLD, human_N = draw_two_gaussians(torch.tensor([difference]), torch.tensor([centre]), std)
    weights = solve(z_NLD, human_N)
    slope = difference / std**2
    # Five standard errors of a difference of two means with unit variance, and about as many of the
    # variance that it is divided by.
    error = 5 * math.sqrt(4 / N)
    tolerance = error / std + abs(slope) * error
    assert weights["weight_1D"].item() == pytest.approx(slope, abs=tolerance)
    points_NLD = torch.tensor([-1.0, 0.0, 2.0]).add(centre)[:, None, None]
    bayes_N = slope * (points_NLD.flatten() - centre)
    actual_N = compute_log_odds(weights, points_NLD)
    torch.testing.assert_close(actual_N, bayes_N, rtol=0.05, atol=0.1)


def test_in_many_dimensions_its_log_odds_have_the_direction_of_bayes():
    difference_D = torch.randn(16, generator=torch.Generator().manual_seed(1)) * 0.6
    weights = solve(*draw_two_gaussians(difference_D, torch.ones(16)))
    weight_D = weights["weight_1D"][0]
    assert torch.cosine_similarity(weight_D, difference_D, dim=0) > 0.995
    assert weight_D.norm().item() == pytest.approx(difference_D.norm().item(), rel=0.05)
    z_NLD, _ = draw_two_gaussians(difference_D, torch.ones(16), seed=2, n=1000)
    bayes_N = (z_NLD[:, 0] - 1) @ difference_D
    actual_N = compute_log_odds(weights, z_NLD)
    torch.testing.assert_close(actual_N, bayes_N, rtol=0.05, atol=0.35)


def test_it_learns_nothing_from_shuffled_labels_and_what_bayes_knows_from_true_ones():
    z_NLD, human_N = draw_two_gaussians(torch.full((16,), 0.5), torch.zeros(16))
    shuffled_N = human_N[torch.randperm(N, generator=torch.Generator().manual_seed(3))]
    train, test = slice(N // 2), slice(N // 2, N)

    def measure_auroc(labels_N: Tensor) -> float:
        weights = solve(z_NLD[train], labels_N[train])
        return roc_auc_score(labels_N[test], compute_log_odds(weights, z_NLD[test]))

    assert measure_auroc(shuffled_N) == pytest.approx(0.5, abs=0.015)
    assert measure_auroc(human_N) == pytest.approx(0.921, abs=0.015)  # Φ(2 / √2): means 2 apart
