"""The speed prior: ln 2 nats a step, by hand."""

import math

import pytest
import torch

from priors.speed import Speed
from tests.priors.made import FLOPS_STEP, build_reading, build_training

PRIOR = Speed(log_alpha=2.0)


def compute_charge(halt: list[list[float]], levels: list[int], **values: float) -> float:
    return PRIOR.charge(build_training({}, {}, build_reading(halt, levels), **values)).item()


def test_a_head_that_stops_at_level_zero_and_computes_nothing_costs_nothing():
    assert compute_charge([[1.0, 0.0]], [1, 2]) == 0


def test_it_charges_one_bit_for_each_expected_step():
    # ½ · 0 steps + ¼ · 1 + ¼ · 3 = 1 step
    assert compute_charge([[0.5, 0.25, 0.25]], [1, 2, 4]) == pytest.approx(math.log(2))


def test_it_charges_the_mean_over_episodes():
    assert compute_charge([[1.0, 0.0], [0.0, 1.0]], [1, 3]) == pytest.approx(math.log(2))


def test_it_charges_the_flops_of_the_head_too():
    # Half of the episodes take two steps' FLOPs.
    charge = compute_charge([[0.5, 0.5]], [1, 2], flops_per_exit=FLOPS_STEP)
    assert charge == pytest.approx(math.log(2))


def test_it_does_not_depend_on_the_number_of_episodes():
    few = compute_charge([[0.25, 0.75]], [1, 2], n_examples=10)
    assert few == compute_charge([[0.25, 0.75]], [1, 2], n_examples=10_000)


def compute_halting_gradient(levels: list[int]) -> torch.Tensor:
    halt_NT = torch.tensor([[0.2, 0.3, 0.5]], requires_grad=True)
    reading = build_reading([[0.0] * 3], levels)._replace(halt_NT=halt_NT)
    PRIOR.charge(build_training({}, {}, reading)).backward()
    return halt_NT.grad[0]


def test_its_gradient_favours_the_cheaper_exits():
    assert compute_halting_gradient([1, 2, 3]).diff().min() > 0


def test_its_gradient_favours_no_exit_if_all_cost_the_same():
    assert compute_halting_gradient([2, 2, 2]).diff().abs().max() == 0
