"""Heads that are pruned: what they pay is known, and no move of the search is left to gain from."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from priors.circuit_size import CircuitSize
from priors.explanation_length import ExplanationLength
from reporters.linear import Linear
from reporters.reporter import nll
from tests.training.made import planted, population
from training.edge_moves import MANY
from training.heads import Heads

TINY, HELD_OUT = (
    planted(n, inputs=2, width=6, noise=1.0, seed=seed) for n, seed in ((256, 0), (96, 1))
)
SHORT = {"epochs": 3, "batch_size": 64, "seeds": (0, 1), "keep": "last", "patience": None}
STRENGTHS = (0.0, 2.0)


@pytest.fixture
def fit(trainer, tmp_path) -> Callable[..., Heads]:
    """Trains linear heads without a price and with one."""

    def run(prior, data=(TINY, HELD_OUT), strengths=STRENGTHS) -> Heads:
        grid = {"strengths": strengths, "measures_gap": True}
        return population(trainer, tmp_path / "fit", Linear, prior, *data, **grid, **SHORT)

    return run


def select(value_K: Tensor, m: int) -> Tensor:
    """Returns the values of both seeds at one strength."""
    return value_K.view(2, 2)[:, m]


def test_what_pruned_heads_pay_is_errors_and_edges_and_they_have_settled(fit):
    prior = CircuitSize(2.0, prune=True)
    heads = fit(prior)
    settling = heads.settling
    error_K = nll(heads.predict_log_odds(TINY.z_NLD), TINY.human_N).sum(dim=1)
    edges_K = (heads.weights["weight_1D"] != 0).flatten(3).sum(dim=3).flatten()
    price = STRENGTHS[1] * prior.edge_price(6, len(TINY.human_N))
    expected_K = select(error_K + price * edges_K, 1)
    torch.testing.assert_close(select(settling.total_K, 1).float(), expected_K, rtol=0, atol=0.01)
    assert (select(edges_K, 1) == 2).all()
    assert select(settling.settled_K, 1).all()
    assert (select(settling.gap_K, 1) < 0.01).all()


def test_without_a_price_no_edge_is_searched_and_nothing_is_known(fit):
    settling = fit(CircuitSize(2.0, prune=True)).settling
    assert select(settling.gap_K, 0).isnan().all()
    assert not select(settling.settled_K, 0).any()


def test_heads_with_so_many_edges_that_not_every_move_was_tried_have_not_settled(fit):
    """All of 40 inputs matter, and edges cost next to nothing, so most edges stay."""
    data = [planted(n, inputs=40, width=40, noise=1.0, seed=n) for n in (400, 100)]
    heads = fit(CircuitSize(2.0, prune=True), data, strengths=(1e-3,))
    assert ((heads.weights["weight_1D"] != 0).sum(dim=-1) >= MANY).all()
    assert heads.settling.total_K.isfinite().all()
    assert heads.settling.gap_K.isnan().all()
    assert not heads.settling.settled_K.any()


def test_of_heads_that_also_pay_for_numbers_it_is_not_known(fit):
    """The search for edges knows only what edges cost."""
    settling = fit(ExplanationLength(2.0, prune=True, episodes=32)).settling
    assert settling.gap_K.isnan().all()
    assert not settling.settled_K.any()
    assert settling.optimizer == "adamw"
    assert math.isnan(settling.halting_bonus)


def test_heads_that_are_not_pruned_are_trained_a_second_time_instead(fit):
    settling = fit(CircuitSize(2.0, prune=False)).settling
    assert settling.total_K.isfinite().all()
    assert settling.gap_K.isfinite().all()
