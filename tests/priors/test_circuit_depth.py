"""The prior on depth: beside the prior on gates it charges a chain the same for its gates, and a
bush less.
"""

import pytest
import torch

from priors.circuit_depth import CircuitDepth
from priors.gates import Gates
from tests.priors.test_gates import GATE, THRESHOLD, charge, planted_head

AND, OR, XOR, NOT_A = 8, 14, 6, 3


def test_a_bush_costs_its_depth_and_not_its_gates():
    bush = planted_head((AND, 0, 1), (OR, 1, 2), (XOR, 3, 4), (XOR, 0, 0), output=5)
    assert charge(CircuitDepth(), *bush) == pytest.approx(2 * GATE, rel=1e-5)
    assert charge(Gates(), *bush) == pytest.approx(3 * GATE + 3 * THRESHOLD, rel=1e-5)


def test_not_and_dead_gates_add_no_depth():
    wire = planted_head((NOT_A, 0, 1), (OR, 1, 2), (NOT_A, 3, 4), (XOR, 4, 3), output=5)
    assert charge(CircuitDepth(), *wire) == 0
    assert charge(
        CircuitDepth(), wire[0], wire[1] | {"output_choice_P": wire[1]["output_choice_P"].roll(1)}
    ) == pytest.approx(2 * GATE, rel=1e-5)


def test_a_gradient_shortens_the_path():
    reporter, weights = planted_head((AND, 0, 1), (OR, 1, 2), (XOR, 3, 4), (XOR, 0, 0), output=5)
    choice_P = torch.zeros_like(weights["output_choice_P"]).requires_grad_()
    reporter.expected_depth(weights | {"output_choice_P": choice_P}).backward()
    assert choice_P.grad[5] > 0 > choice_P.grad[0]
