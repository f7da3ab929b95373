"""The prior on depth, compared with the prior on gates: it charges the same for the gates of a
chain, and less where gates run in parallel.
"""

import pytest
import torch

from priors.circuit_depth import CircuitDepth
from priors.gates import Gates
from tests.priors.test_gates import GATE, THRESHOLD, compute_charge, plant_head

AND, OR, XOR, NOT_A = 8, 14, 6, 3


def test_parallel_gates_cost_their_depth_and_not_their_number():
    head = plant_head((AND, 0, 1), (OR, 1, 2), (XOR, 3, 4), (XOR, 0, 0), output=5)
    assert compute_charge(CircuitDepth(), *head) == pytest.approx(2 * GATE, rel=1e-5)
    by_hand = 3 * GATE + 3 * THRESHOLD
    assert compute_charge(Gates(), *head) == pytest.approx(by_hand, rel=1e-5)


def test_not_and_dead_gates_add_no_depth():
    reporter, weights = plant_head((NOT_A, 0, 1), (OR, 1, 2), (NOT_A, 3, 4), (XOR, 4, 3), output=5)
    assert compute_charge(CircuitDepth(), reporter, weights) == 0
    next_place = {"output_choice_P": weights["output_choice_P"].roll(1)}
    charge = compute_charge(CircuitDepth(), reporter, weights | next_place)
    assert charge == pytest.approx(2 * GATE, rel=1e-5)


def test_its_gradient_shortens_the_path():
    reporter, weights = plant_head((AND, 0, 1), (OR, 1, 2), (XOR, 3, 4), (XOR, 0, 0), output=5)
    choice_P = torch.zeros_like(weights["output_choice_P"]).requires_grad_()
    reporter.expected_depth(weights | {"output_choice_P": choice_P}).backward()
    assert choice_P.grad[5] > 0 > choice_P.grad[0]
