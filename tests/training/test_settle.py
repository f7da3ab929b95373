"""Heads that settle: at the exact optimum where it is known, wherever they begin, in whatever
company, and after a stop.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compute.trainer import Trainer
from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.simplicity import Simplicity
from priors.speed import Speed
from reporters.layered import Layered
from reporters.linear import Linear
from tests.training.made import schedule
from tests.training.tasks import NOISY, advance_all, build_task
from training.convex import Convex, solve_convex
from training.objective import Head
from training.optimizers.lbfgs import LBFGS
from training.settle import FALL, SettlingPopulation, charges_weights, settle
from training.settling import SETTLED
from training.task import Solution, Task
from training.watch import Watch

N = len(NOISY.human_N)


def run_watched(
    task: Task, trainer: Trainer, folder: Path, bonus: float = 0.0, **given: Any
) -> tuple[Solution, Watch]:
    """Returns settled heads of a task, and what was recorded of them."""
    how = LBFGS(**({"tolerance": 1e-3, "steps": 2000} | given))
    watch = Watch(lambda heads: {})
    method = schedule(halting_bonus=bonus)
    return settle(task, method, how, trainer, folder.with_suffix(".ckpt"), watch), watch


def run(task: Task, trainer: Trainer, folder: Path, bonus: float = 0.0, **given: Any) -> Solution:
    """Returns settled heads of a task."""
    return run_watched(task, trainer, folder / "fit", bonus, **given)[0]


def test_linear_heads_settle_where_the_one_optimum_is(trainer, tmp_path):
    task = build_task(Linear, Gaussian(1.0), NOISY, seeds=(0, 1), strengths=(0.25, 4.0))
    found = run(task, trainer, tmp_path, tolerance=1e-6)
    exact = solve_convex(Convex(1e-12, 2000), task)
    torch.testing.assert_close(found.total_GSM, exact.total_GSM, rtol=0, atol=1e-5)
    for name, value in exact.weights.items():
        torch.testing.assert_close(found.weights[name], value, rtol=0, atol=1e-3)
    assert (found.gain_GSM <= 1e-6).all()
    assert (found.epoch_GSM > 0).all()


@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_heads_with_exits_settle_at_one_optimum_from_two_starts(bonus, trainer, tmp_path):
    task = build_task(Layered, Gaussian(1.0), seeds=(0, 1))
    total_GSM = run(task, trainer, tmp_path, bonus).total_GSM
    start_K = N * advance_all(task, steps=0).lbfgs.loss_K
    assert (total_GSM[0, 0] - total_GSM[0, 1]).abs() < SETTLED
    assert (start_K[0] - start_K[1]).abs() > 1


@pytest.mark.parametrize(
    ("make", "prior"),
    [
        (Linear, Gaussian(1.0)),
        (Layered, Gaussian(1.0)),
        pytest.param(Layered, Simplicity(0.05), marks=pytest.mark.slow),
    ],
)
def test_in_float64_a_head_alone_is_the_same_head_in_company(make, prior):
    """To the last digits for some steps. L-BFGS then makes more of a last digit at each step, most
    in directions that hardly matter: what heads pay in the end is the same to 2e-5 nats at worst.
    """
    company = build_task(make, prior, seeds=(0, 1), strengths=(0.5, 2.0))
    last = replace(company, seeds=(1,), strengths=(2.0,))
    moved, alone = (advance_all(task, 10, halting_bonus=0.3) for task in (company, last))
    for name, value in alone.head.weights.items():
        own_G = moved.head.weights[name][:, 1, 1]
        torch.testing.assert_close(own_G, value[:, 0, 0], rtol=0, atol=1e-10)
        assert value.dim() == 3 or (own_G - moved.head.weights[name][:, 1, 0]).abs().max() > 1e-3
    for population in (moved, alone):
        for _ in range(300):
            population.advance()
        assert population.has_settled_K.all()
    paid_G = N * moved.lbfgs.loss_K.view(company.grid)[:, 1, 1]
    torch.testing.assert_close(paid_G, N * alone.lbfgs.loss_K, rtol=0, atol=1e-3)


def test_a_head_that_is_not_a_number_harms_no_other():
    task = build_task(Linear, Gaussian(1.0), seeds=(0, 1))
    weights = task.draw_start()
    whole = advance_all(task, 25, start=Head(weights, {}))
    sick = {name: value.clone() for name, value in weights.items()}
    sick["bias"][0, 0, 0] = torch.nan
    moved = advance_all(task, 25, start=Head(sick, {}))
    torch.testing.assert_close(moved.lbfgs.phi_KW[1:], whole.lbfgs.phi_KW[1:], rtol=0, atol=1e-12)
    assert moved.has_settled_K.tolist() == [False, True, True, True]
    assert not moved.is_moving_K.any(), "it does not keep the fit going"
    solution = moved.build_solution(task)
    assert solution.gain_GSM.isnan().flatten().tolist() == [True, False, False, False]


# The bonus for halting evenly.


def count_stages(make: Any, bonus: float) -> int:
    return len(advance_all(build_task(make, NoPrior()), 0, halting_bonus=bonus).bonuses)


def test_the_bonus_falls_to_0_in_stages_for_heads_with_exits_alone():
    assert count_stages(Layered, 0.3) == len(FALL) > 1
    assert count_stages(Layered, 0.0) == 1
    assert count_stages(Linear, 0.3) == 1


def test_what_heads_pay_in_the_end_has_no_bonus_in_it():
    task = build_task(Layered, Speed(2.0, "never"), strengths=(0.3,))
    settled = advance_all(task, 1000, halting_bonus=1.0)
    assert settled.has_settled_K.all()
    theta_1W = settled.coordinates[0].to_theta(settled.lbfgs.phi_KW)
    bonuses = torch.tensor([0.0, 1.0]).double()
    paid_2, _ = settled.expected[0].evaluate(
        theta_1W.expand(2, -1), settled.strength_K.expand(2), bonuses
    )
    torch.testing.assert_close(settled.lbfgs.loss_K[0], paid_2[0])
    assert paid_2[1] < paid_2[0]


def test_heads_that_reach_the_last_step_have_not_settled(trainer, tmp_path):
    """Under a bonus it is not known what they pay; without, only what they could gain is not."""
    task = build_task(Layered, Gaussian(1.0), seeds=(0, 1))
    short = run(task, trainer, tmp_path, bonus=0.3, steps=10)
    assert short.total_GSM.isnan().all()
    assert short.gain_GSM.isnan().all()
    without = run(task, trainer, tmp_path, bonus=0.0, steps=10)
    assert without.total_GSM.isfinite().all()
    assert without.gain_GSM.isnan().all()
    whole = run(task, trainer, tmp_path)
    assert (whole.gain_GSM <= SETTLED).all()
    assert (whole.total_GSM < without.total_GSM).all()


# A fit that was stopped.


class Killed(Exception):
    """Stands for a machine that went away."""


def test_killed_and_started_again_it_gives_the_same_heads_and_history(
    trainer, tmp_path, monkeypatch
):
    saving = replace(trainer, save_every=0)
    task = build_task(Layered, Gaussian(1.0), seeds=(0, 1))
    step, epochs = SettlingPopulation.training_step, []
    whole, whole_watch = run_watched(task, saving, tmp_path / "whole", 0.3)

    def die(self: SettlingPopulation, batch: Any) -> None:
        if self.current_epoch == 3:
            raise Killed
        step(self, batch)

    def count(self: SettlingPopulation, batch: Any) -> None:
        epochs.append(self.current_epoch)
        step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(SettlingPopulation, "training_step", die)
        with pytest.raises(Killed):
            run_watched(task, saving, tmp_path / "killed", 0.3)
    monkeypatch.setattr(SettlingPopulation, "training_step", count)
    resumed, watch = run_watched(task, saving, tmp_path / "killed", 0.3)
    assert min(epochs) == 3
    assert max(epochs) > 4
    for name, value in whole.weights.items():
        assert torch.equal(resumed.weights[name], value)
    for resumed_GSM, value_GSM in zip(resumed[1:], whole[1:], strict=True):
        assert torch.equal(resumed_GSM, value_GSM)
    assert list(watch.figures) == list(whole_watch.figures)
    assert max(watch.figures) == whole.epoch_GSM.max()


# Which priors charge weights for themselves.


@pytest.mark.parametrize(
    ("prior", "charges"),
    [
        (NoPrior(), False),
        (Gaussian(1.0), True),
        (Simplicity(0.05), True),
        (Speed(2.0, "never"), False),
    ],
)
def test_priors_on_weights_are_distinguished_from_others(prior, charges):
    task = build_task(Layered, prior)
    weights = task.draw_start()
    assert charges_weights(task.objective, Head(weights, task.objective.create_state(weights))) == (
        charges
    )
