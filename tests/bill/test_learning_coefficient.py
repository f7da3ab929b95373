"""The local learning coefficient of logistic regressions, where it is half the parameters; of heads
with idle parameters; and of chains cut short.

N: episodes, L: levels, D: width; heads are stacked along axes (G, S, M).
"""

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bill.learning_coefficient import Estimate, summarise
from reporters.linear import Linear
from reporters.reporter import Reading, Reporter, build_single_exit_reading
from reporters.stack import Weights
from tests.bill.made import describe, make_measure

N = 2000


def planted(width: int, seed: int, n: int = N) -> tuple[Tensor, Tensor, Tensor]:
    """Returns activations, answers that a logistic regression explains in part, and its weights and
    bias where they are likeliest.
    """
    chance = torch.Generator().manual_seed(seed)
    z_NLD = torch.randn(n, 1, width, generator=chance)
    odds_N = z_NLD[:, 0] @ torch.randn(width, generator=chance) * 0.5 * width**-0.5
    human_N = (torch.rand(n, generator=chance) < torch.sigmoid(odds_N)).float()
    return z_NLD, human_N, likeliest(z_NLD, human_N)


def likeliest(z_NLD: Tensor, human_N: Tensor) -> Tensor:
    """Returns weights and bias of the logistic regression that explains the answers best."""
    inputs_NE = F.pad(z_NLD[:, 0], (0, 1), value=1.0).double()
    at_E = torch.zeros(inputs_NE.shape[1], dtype=torch.float64)
    for _ in range(10):  # Newton
        says_N = torch.sigmoid(inputs_NE @ at_E)
        slope_E, curvature_EE = (
            inputs_NE.T @ (says_N - human_N),
            (inputs_NE * (says_N * (1 - says_N))[:, None]).T @ inputs_NE,
        )
        at_E = at_E - torch.linalg.solve(curvature_EE, slope_E)
    return at_E.float()


def heads(at_E: Tensor, seeds: int = 1) -> Weights:
    """Returns as many equal linear heads with these weights and this bias."""
    return {"weight_1D": at_E[:-1].expand(1, seeds, 1, 1, -1), "bias": at_E[-1].expand(1, seeds, 1)}


def estimate(
    reporter: Reporter,
    weights: Weights,
    z_NLD: Tensor,
    human_N: Tensor,
    step: float = 2e-3,
    steps: int = 900,
    seed: int = 0,
) -> Estimate:
    measure = make_measure("learning_coefficient", step=step, steps=steps, chains=8, seed=seed)
    return measure.estimate(describe(reporter, weights, z_NLD, human_N))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
@pytest.mark.parametrize("width", [8, 64])
def test_of_a_logistic_regression_it_is_half_the_parameters(width, seed):
    z_NLD, human_N, at_E = planted(width, seed)
    measured = estimate(Linear(1, width), heads(at_E), z_NLD, human_N, seed=seed)
    assert measured.value_K.item() == pytest.approx((width + 1) / 2, rel=0.15)
    assert measured.settled_K.item()
    assert measured.error_K.item() < 0.06 * width


@pytest.mark.parametrize("step", [1e-5, 1e-4])
@pytest.mark.parametrize("width", [8, 64])
def test_chains_with_steps_too_small_to_get_away_are_said_not_to_have_settled(width, step):
    z_NLD, human_N, at_E = planted(width, seed=0)
    measured = estimate(
        Linear(1, width), heads(at_E, seeds=3), z_NLD, human_N, step=step, steps=300
    )
    assert not measured.settled_K.any()
    assert (measured.value_K < 0.85 * (width + 1) / 2).all()


def test_weights_that_never_matter_count_for_nothing():
    z_NLD, human_N, at_E = planted(8, seed=0)
    idle_NLD, idle_E = F.pad(z_NLD, (0, 8)), torch.cat([at_E[:-1], torch.zeros(8), at_E[-1:]])
    assert estimate(
        Linear(1, 16), heads(idle_E), idle_NLD, human_N
    ).value_K.item() == pytest.approx(9 / 2, rel=0.15)


class Product(Reporter):
    """log-odds = (u ∘ v) · z + b: two weights an input where one would do."""

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one_D, self.other_D, self.bias = (
            nn.Parameter(torch.zeros(size)) for size in ((width,), (width,), ())
        )

    def forward(self, z_NLD: Tensor) -> Reading:
        return build_single_exit_reading(z_NLD[:, 0] @ (self.one_D * self.other_D) + self.bias, 1)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [2 * units["D"]]


def test_a_product_of_two_weights_counts_once():
    z_NLD, human_N, at_E = planted(8, seed=0)
    root_D = at_E[:-1].abs().sqrt()
    weights = {
        "one_D": root_D.expand(1, 1, 1, -1),
        "other_D": (root_D * at_E[:-1].sign()).expand(1, 1, 1, -1),
        "bias": at_E[-1].expand(1, 1, 1),
    }
    value = estimate(Product(8), weights, z_NLD, human_N).value_K.item()
    assert value == pytest.approx(9 / 2, rel=0.2)
    assert value < 0.65 * 17 / 2


def test_heads_of_several_levels_are_each_measured_on_their_own():
    z_NLD, human_N, at_E = planted(8, seed=0)
    both_NLD = torch.cat(
        [z_NLD, F.pad(z_NLD[..., :4], (0, 4))], dim=1
    )  # at the second level half the width is empty
    short_5 = likeliest(z_NLD[..., :4], human_N)
    short_E = torch.cat([short_5[:4], torch.zeros(4), short_5[4:]])
    weights = {
        "weight_1D": torch.stack([at_E[:-1], short_E[:-1]])[:, None, None, None],
        "bias": torch.stack([at_E[-1], short_E[-1]])[:, None, None],
    }
    value_K = estimate(Linear(1, 8), weights, both_NLD, human_N).value_K
    assert value_K.tolist() == pytest.approx([9 / 2, 5 / 2], rel=0.15)


def test_the_same_seed_gives_the_same_figures_and_another_does_not():
    z_NLD, human_N, at_E = planted(8, seed=0)
    first, again, other = (
        estimate(Linear(1, 8), heads(at_E), z_NLD, human_N, steps=60, seed=seed).value_K
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_sixty_four_heads_take_seconds():
    z_NLD, human_N, at_E = planted(64, seed=0)
    begin = time.process_time()
    sixty_four = describe(Linear(1, 64), heads(at_E, seeds=64), z_NLD, human_N)
    measured = make_measure("learning_coefficient").estimate(sixty_four)
    assert time.process_time() - begin < 10
    assert measured.value_K.mean().item() == pytest.approx(65 / 2, rel=0.15)


def traces(kind: str, steps: int = 900) -> Tensor:
    """Returns the traces of six chains of one head."""
    chance = torch.Generator().manual_seed(0)
    noise_KCU = torch.randn(1, 6, steps, generator=chance)
    climb_U = torch.arange(steps) / steps
    return (
        30
        + {
            "steady": noise_KCU,
            "climbs": noise_KCU + 20 * climb_U,
            "parts": noise_KCU + 5 * torch.arange(6.0)[:, None],
        }[kind]
    )


@pytest.mark.parametrize(
    ("kind", "settled"), [("steady", True), ("climbs", False), ("parts", False)]
)
def test_a_trace_has_settled_where_it_neither_climbs_nor_parts(kind, settled):
    assert summarise(traces(kind)).settled_K.tolist() == [settled]


def test_the_figures_are_the_mean_of_the_last_two_thirds_and_its_error_over_chains():
    trace_KCU = torch.tensor([[1.0, 3.0]])[..., None] + torch.zeros(1, 2, 30)
    trace_KCU[..., :10] = 100.0
    assert summarise(trace_KCU).value_K.tolist() == [2.0]
    assert summarise(trace_KCU).error_K.tolist() == [1.0]
