"""The speed prior: ln 2 nats a step, by hand."""

import math

import pytest
import torch

from priors.speed import Speed
from tests.priors.made import FLOPS_STEP, said, training

PRIOR = Speed(log_alpha=2.0)


def test_a_head_that_stops_at_level_zero_and_computes_nothing_costs_nothing():
    assert PRIOR.charge(training({}, {}, said([[1.0, 0.0]], [1, 2]))).item() == 0


def test_it_charges_a_bit_for_every_step_expected():
    # ½ · 0 steps + ¼ · 1 + ¼ · 3 = 1 step
    assert PRIOR.charge(
        training({}, {}, said([[0.5, 0.25, 0.25]], [1, 2, 4]))
    ).item() == pytest.approx(math.log(2))


def test_it_charges_the_mean_over_episodes():
    assert PRIOR.charge(
        training({}, {}, said([[1.0, 0.0], [0.0, 1.0]], [1, 3]))
    ).item() == pytest.approx(math.log(2))


def test_it_charges_what_the_head_spends_itself_too():
    reading = said([[0.5, 0.5]], [1, 2])
    assert PRIOR.charge(training({}, {}, reading, spends=FLOPS_STEP)).item() == pytest.approx(
        math.log(2)
    )  # half the episodes take two steps' FLOPs


def test_it_does_not_depend_on_how_many_episodes_there_are():
    reading = said([[0.25, 0.75]], [1, 2])
    assert PRIOR.charge(training({}, {}, reading, n_examples=10)) == PRIOR.charge(
        training({}, {}, reading, n_examples=10_000)
    )


def test_it_pulls_towards_the_exits_that_cost_less():
    halt_NT = torch.tensor([[0.2, 0.3, 0.5]], requires_grad=True)
    PRIOR.charge(
        training({}, {}, said([[0.0] * 3], [1, 2, 3])._replace(halt_NT=halt_NT))
    ).backward()
    assert halt_NT.grad[0].diff().min() > 0


def test_exits_that_cost_the_same_pull_nowhere():
    halt_NT = torch.tensor([[0.2, 0.3, 0.5]], requires_grad=True)
    PRIOR.charge(
        training({}, {}, said([[0.0] * 3], [2, 2, 2])._replace(halt_NT=halt_NT))
    ).backward()
    assert halt_NT.grad[0].diff().abs().max() == 0
