"""How far heads that were trained by steps are from their optimum: as the exact optimum says where
it is known, and as a second training shows where there is noise.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from compute.trainer import Trainer
from priors.gaussian import Gaussian
from priors.prior import Prior
from priors.simplicity import Simplicity
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from tests.training.made import planted, population
from tests.training.tasks import build_task
from training.convex import Convex, solve_convex
from training.further import estimate_total, measure_further
from training.heads import Heads
from training.objective import Head
from training.settling import SETTLED, Settling
from training.task import Task

TINY, HELD_OUT = (
    planted(n, inputs=2, width=6, noise=1.5, seed=seed) for n, seed in ((256, 0), (96, 1))
)
SHORT = {"epochs": 4, "batch_size": 64, "seeds": (0, 1)}
EXACT = Convex(tolerance=1e-12, steps=2000)
SMALL = partial(MLP, hidden=3)

Fit = Callable[..., Settling]


def draw_head(task: Task) -> Head:
    """Returns heads before any training."""
    weights = task.draw_start()
    return Head(weights, task.objective.create_state(weights))


def never() -> Head:
    raise AssertionError("no second training is needed")


# Without noise, L-BFGS shows what is missing.


def test_heads_before_training_miss_as_much_as_the_exact_optimum_says():
    task = build_task(Linear, Gaussian(1.0), seeds=(0, 1), strengths=(0.5, 2.0))
    total_GSM, gain_GSM = measure_further(task, draw_head(task), never)
    missing_GSM = total_GSM - solve_convex(EXACT, task).total_GSM
    assert (missing_GSM > 1).all()
    torch.testing.assert_close(gain_GSM, missing_GSM, rtol=0, atol=SETTLED)


def test_heads_at_the_optimum_miss_nothing():
    task = build_task(Linear, Gaussian(1.0), strengths=(0.5, 2.0))
    exact = solve_convex(EXACT, task)
    total_GSM, gain_GSM = measure_further(task, Head(exact.weights, {}), never)
    torch.testing.assert_close(total_GSM, exact.total_GSM, rtol=0, atol=1e-4)
    assert (gain_GSM < 1e-4).all()


@pytest.fixture
def fit(trainer, tmp_path) -> Fit:
    """Trains heads and returns how near their optimum they are."""

    def run(make: Callable[..., Reporter], prior: Prior, **changed) -> Settling:
        data = (TINY, HELD_OUT)
        steps = SHORT | {"measures_gap": True} | changed
        heads: Heads = population(trainer, tmp_path / "fit", make, prior, *data, **steps)
        return heads.settling

    return run


def test_heads_that_were_stopped_early_have_not_settled_and_say_by_how_much(fit):
    prior = Gaussian(1.0)
    exact = fit(Linear, prior, by="auto", keep="last", patience=None)
    stopped = fit(Linear, prior, by="auto")
    assert (exact.optimizer, stopped.optimizer) == ("convex", "adamw")
    assert exact.settled_K.all()
    missing_K = stopped.total_K - exact.total_K
    torch.testing.assert_close(stopped.gap_K, missing_K, rtol=0, atol=2 * SETTLED)
    assert not stopped.settled_K.any()


# With noise, it takes a second training.


def test_what_heads_pay_is_an_average_over_noise_that_all_heads_share():
    task = build_task(SMALL, Simplicity(0.5), seeds=(0, 1))
    weights = {
        name: value[:, :1].expand_as(value) for name, value in draw_head(task).weights.items()
    }
    head = Head(weights, task.objective.create_state(weights))
    total_GSM = estimate_total(task, head)
    assert torch.equal(total_GSM[:, 0], total_GSM[:, 1])
    quiet = Head(weights, {name: value - 20 for name, value in head.state.items()})
    assert not torch.allclose(estimate_total(task, quiet), total_GSM, rtol=0.01)


def test_the_gain_is_what_a_second_training_brought():
    task = build_task(SMALL, Simplicity(0.05))
    first = draw_head(task)
    worse = first._replace(weights={name: 3 * value for name, value in first.weights.items()})
    total_GSM, gain_GSM = measure_further(task, worse, lambda: first)
    better_GSM, no_gain_GSM = measure_further(task, first, lambda: worse)
    assert (total_GSM > better_GSM + 1).all()
    torch.testing.assert_close(gain_GSM, total_GSM - better_GSM)
    assert (no_gain_GSM == 0).all()


@pytest.mark.parametrize("keep", ["best", "last"])
def test_noisy_heads_are_trained_twice_and_short_training_does_not_settle_them(
    keep, fit, monkeypatch
):
    fits = []
    run = Trainer.__call__

    def count(self, module, *rest):
        fits.append(module.schedule.keep)
        run(self, module, *rest)

    monkeypatch.setattr(Trainer, "__call__", count)
    found = fit(SMALL, Simplicity(0.05), by="auto", keep=keep)
    assert fits == [keep, "last"]
    assert found.optimizer == "adamw"
    assert found.total_K.isfinite().all()
    assert (found.gap_K > 1).all()
    assert not found.settled_K.any()
