"""Heads of logic gates: expected counts against circuits counted one by one, and finished heads
against their circuits run on bits.

N: episodes, D: width.
"""

import itertools

import pytest
import torch
from torch.func import functional_call, grad
from torch.utils.flop_counter import FlopCounterMode

from console.errors import UserError
from reporters.logic import Logic
from reporters.reporter import is_weight, units
from reporters.stack import over_heads

WIDTH = 5
VALUES = {"pace": 10.0, "spread": 3.0, "wire": 2.0, "steepness": 5.0, "says": 3.0}


def logic(
    seed: int = 0, thresholds: int = 3, layers: int = 3, nodes: int = 4, **changed: float
) -> Logic:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Logic(1, WIDTH, thresholds, layers, nodes, **(VALUES | changed)).double()


def weights_of(reporter: Logic) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in reporter.named_parameters()}


def counts(reporter: Logic, weights: dict[str, torch.Tensor]) -> list[float]:
    return [
        expected(weights).item()
        for expected in (
            reporter.expected_gates,
            reporter.expected_depth,
            reporter.expected_thresholds,
        )
    ]


def test_expected_counts_are_the_circuits_own_where_choices_are_made():
    seen = set()
    for seed in range(300):
        reporter = logic(seed, layers=1 + seed % 4, nodes=1 + seed % 5, wire=-3.0)
        weights = reporter.harden(weights_of(reporter))
        circuit = reporter.circuit(weights)
        assert counts(reporter, weights) == [circuit.gates, circuit.depth, circuit.thresholds]
        seen.add((circuit.gates, circuit.depth, circuit.thresholds))
    assert len(seen) >= 12


def test_expected_counts_of_a_choice_not_made_lie_between():
    reporter = logic(seed=3)
    weights = reporter.harden(weights_of(reporter))
    output_P = weights["output_choice_P"]
    one, other = (
        torch.full_like(output_P, -1e4).index_fill(0, torch.tensor([place]), 0.0)
        for place in (0, len(output_P) - 1)
    )
    made = [counts(reporter, weights | {"output_choice_P": choice}) for choice in (one, other)]
    between = counts(reporter, weights | {"output_choice_P": torch.maximum(one, other)})
    assert made[0] != made[1]
    assert between[1] == pytest.approx((made[0][1] + made[1][1]) / 2)
    assert made[0][0] < between[0] < made[1][0]


def test_a_finished_head_says_what_its_circuit_says():
    for seed in range(60):
        reporter = logic(seed, wire=-3.0)
        chance = torch.Generator().manual_seed(seed)
        weights = reporter.harden(
            weights_of(reporter)
            | {"output_bias_2": torch.randn(2, generator=chance, dtype=torch.float64)}
        )
        z_ND = torch.randn(200, WIDTH, generator=chance, dtype=torch.float64)
        log_odds_N = functional_call(reporter, weights, (z_ND[:, None],)).log_odds_N
        for circuit in (reporter.circuit(weights), reporter.circuit(weights).simplified()):
            says_N = circuit(circuit.bits(z_ND))
            torch.testing.assert_close(
                log_odds_N, torch.where(says_N, *weights["output_bias_2"].sort().values.flip(0))
            )


def test_before_its_choices_are_made_it_says_more_than_two_things_and_hardening_twice_is_hardening_once():
    reporter, z_NLD = logic(), torch.randn(50, 1, WIDTH, dtype=torch.float64)
    hard = reporter.harden(weights_of(reporter))
    assert len(reporter(z_NLD).log_odds_N.unique()) > 2
    assert len(functional_call(reporter, hard, (z_NLD,)).log_odds_N.unique()) <= 2
    again = reporter.harden(hard)
    assert all(torch.equal(again[name], value) for name, value in hard.items())


def test_no_gate_reads_its_own_layer_or_a_later_one():
    reporter = logic(thresholds=2, layers=3, nodes=2)
    weights = weights_of(reporter)
    weights["operand_choice_2GP"] = weights["operand_choice_2GP"] + torch.arange(
        8.0
    )  # the later a place, the better it is liked
    gates = reporter.circuit(reporter.harden(weights)).nodes
    assert [max(gate.a, gate.b) for gate in gates] == [1, 1, 3, 3, 5, 5]


def test_gradients_of_expected_counts_are_those_of_differences_stacked_or_alone():
    reporter = logic(nodes=2, layers=2, spread=1.0)
    weights = weights_of(reporter)
    stack = {
        name: torch.stack([value, value + 0.01])[None, :, None] for name, value in weights.items()
    }
    for expected in (
        reporter.expected_gates,
        reporter.expected_depth,
        reporter.expected_thresholds,
    ):
        slopes, stacked = grad(expected)(weights), over_heads(grad(expected))(stack)
        for name, slope in slopes.items():
            torch.testing.assert_close(stacked[name][0, 0, 0], slope)
        for name, place in itertools.product(
            ("function_choice_GF", "output_choice_P"), ((0,), (1,))
        ):
            step = torch.zeros_like(weights[name])
            step[place] = 1e-6
            high, low = (
                expected(weights | {name: weights[name] + step}),
                expected(weights | {name: weights[name] - step}),
            )
            assert ((high - low) / 2e-6).item() == pytest.approx(
                slopes[name][place].sum().item(), abs=1e-6
            )


def test_gradients_are_finite_where_choices_are_made():
    reporter = logic()
    weights = reporter.harden(weights_of(reporter))
    assert all(value.isfinite().all() for value in grad(reporter.expected_gates)(weights).values())


def test_it_has_choices_and_biases_and_no_weights_and_counts_its_products():
    reporter = logic()
    assert not any(is_weight(name) for name, _ in reporter.named_parameters())
    with FlopCounterMode(display=False) as counter:
        reporter(torch.randn(1, 1, WIDTH, dtype=torch.float64))
    assert reporter.flops(units(reporter, 1)) == [counter.get_total_flops()]


@pytest.mark.parametrize(
    ("key", "value"),
    [("thresholds", 0), ("layers", 0), ("nodes", -1), ("pace", 0.0), ("steepness", -1.0)],
)
def test_values_that_make_no_circuit_are_refused_in_a_line(key, value):
    with pytest.raises(UserError, match=rf"^reporter\.{key}: .* is too small\. Use .*\.$"):
        Logic(1, WIDTH, **({"thresholds": 3, "layers": 1, "nodes": 1} | VALUES | {key: value}))
