"""The difference of means: on two Gaussians its log-odds are Bayes's; on labels that say nothing it
knows nothing.
"""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.func import functional_call

from reporters.mean_difference import MeanDifference

N = 20_000


def two_gaussians(
    apart_D: Tensor, centre_D: Tensor, spread: float = 1.0, seed: int = 0, n: int = N
) -> tuple[Tensor, Tensor]:
    """Returns z_NLD at one level, the same spread in every direction, class means at centre ±
    apart/2; and the classes, half and half.
    """
    chance = torch.Generator().manual_seed(seed)
    human_N = (torch.arange(n) % 2).float()
    return (
        spread * torch.randn(n, len(apart_D), generator=chance)
        + centre_D
        + (human_N[:, None] - 0.5) * apart_D
    )[:, None], human_N


def solved(z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
    return MeanDifference(1, z_NLD.shape[2]).solve(z_NLD, human_N)


def says(weights: dict[str, Tensor], z_NLD: Tensor) -> Tensor:
    return functional_call(MeanDifference(1, z_NLD.shape[2]), weights, (z_NLD,)).log_odds_N


@pytest.mark.parametrize(
    ("apart", "centre", "spread"),
    [(2.0, 0.0, 1.0), (1.0, 3.0, 1.0), (-1.5, -2.0, 1.0), (1.0, 0.0, 0.5), (6.0, 1.0, 2.0)],
)
def test_on_a_line_its_log_odds_are_those_of_bayes(apart, centre, spread):
    weights, slope = (
        solved(*two_gaussians(torch.tensor([apart]), torch.tensor([centre]), spread)),
        apart / spread**2,
    )
    error = (
        5 * math.sqrt(4 / N)
        # of a difference of two means of unit spread, and roughly of the variance that it is divided by
    )
    assert weights["weight_1D"].item() == pytest.approx(
        slope, abs=error / spread + abs(slope) * error
    )
    z_NLD = torch.tensor([-1.0, 0.0, 2.0]).add(centre)[:, None, None]
    torch.testing.assert_close(
        says(weights, z_NLD), slope * (z_NLD.flatten() - centre), rtol=0.05, atol=0.1
    )


def test_in_many_directions_its_log_odds_point_where_those_of_bayes_do():
    apart_D = torch.randn(16, generator=torch.Generator().manual_seed(1)) * 0.6
    weights = solved(*two_gaussians(apart_D, torch.ones(16)))
    assert torch.cosine_similarity(weights["weight_1D"][0], apart_D, dim=0) > 0.995
    assert weights["weight_1D"].norm().item() == pytest.approx(apart_D.norm().item(), rel=0.05)
    z_NLD, _ = two_gaussians(apart_D, torch.ones(16), seed=2, n=1000)
    torch.testing.assert_close(
        says(weights, z_NLD), (z_NLD[:, 0] - 1) @ apart_D, rtol=0.05, atol=0.35
    )


def test_shuffled_labels_teach_it_nothing_and_true_ones_what_bayes_knows():
    z_NLD, human_N = two_gaussians(torch.full((16,), 0.5), torch.zeros(16))
    shuffled_N = human_N[torch.randperm(N, generator=torch.Generator().manual_seed(3))]
    train, test = slice(N // 2), slice(N // 2, N)
    for labels_N, auroc in (
        (shuffled_N, 0.5),
        (human_N, 0.921),
    ):  # the means are 2 apart: Φ(2 / √2)
        weights = solved(z_NLD[train], labels_N[train])
        assert roc_auc_score(labels_N[test], says(weights, z_NLD[test])) == pytest.approx(
            auroc, abs=0.015
        )
