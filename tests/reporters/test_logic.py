"""Heads of logic gates: expected counts against the counts of their circuits, and finished heads
against their circuits run on bits.

N: episodes, D: width.
"""

import itertools

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad

from console.errors import UserError
from reporters.logic import SURE, Logic
from reporters.reporter import count_units, is_weight
from reporters.stack import map_over_heads
from tests.reporters.made import count_flops

WIDTH = 5
VALUES = {"pace": 10.0, "spread": 3.0, "wire": 2.0, "steepness": 5.0, "says": 3.0}


def build(
    seed: int = 0, thresholds: int = 3, layers: int = 3, nodes: int = 4, **values: float
) -> Logic:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Logic(1, WIDTH, thresholds, layers, nodes, **(VALUES | values)).double()


def get_weights(reporter: Logic) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in reporter.named_parameters()}


def count(reporter: Logic, weights: dict[str, Tensor]) -> tuple[float, float, float]:
    """Returns the expected number of gates, depth and number of thresholds."""
    return (
        reporter.expected_gates(weights).item(),
        reporter.expected_depth(weights).item(),
        reporter.expected_thresholds(weights).item(),
    )


def test_expected_counts_are_those_of_the_circuit_if_all_choices_are_made():
    seen = set()
    for seed in range(300):
        reporter = build(seed, layers=1 + seed % 4, nodes=1 + seed % 5, wire=-3.0)
        weights = reporter.harden(get_weights(reporter))
        circuit = reporter.circuit(weights)
        counts = (circuit.gates, circuit.depth, circuit.thresholds)
        assert count(reporter, weights) == counts
        seen.add(counts)
    assert len(seen) >= 12


def test_expected_counts_of_an_open_choice_lie_between_those_of_its_options():
    reporter = build(seed=3)
    weights = reporter.harden(get_weights(reporter))

    def choose(*places: int) -> dict[str, Tensor]:
        output_P = torch.full_like(weights["output_choice_P"], -SURE)
        output_P[list(places)] = 0.0
        return weights | {"output_choice_P": output_P}

    last = len(weights["output_choice_P"]) - 1
    first_gates, first_depth, _ = count(reporter, choose(0))
    last_gates, last_depth, _ = count(reporter, choose(last))
    gates, depth, _ = count(reporter, choose(0, last))
    assert first_gates < gates < last_gates
    assert depth == pytest.approx((first_depth + last_depth) / 2)


def test_a_finished_head_gives_the_same_answers_as_its_circuit():
    for seed in range(60):
        reporter = build(seed, wire=-3.0)
        rng = torch.Generator().manual_seed(seed)
        output_2 = torch.randn(2, generator=rng, dtype=torch.float64)
        weights = reporter.harden(get_weights(reporter) | {"output_bias_2": output_2})
        z_ND = torch.randn(200, WIDTH, generator=rng, dtype=torch.float64)
        log_odds_N = functional_call(reporter, weights, (z_ND[:, None],)).log_odds_N
        circuit = reporter.circuit(weights)
        for either in (circuit, circuit.simplify()):
            expected_N = torch.where(
                either(either.compute_bits(z_ND)), output_2.max(), output_2.min()
            )
            torch.testing.assert_close(log_odds_N, expected_N)


def test_only_a_hardened_head_is_limited_to_two_outputs():
    reporter, z_NLD = build(), torch.randn(50, 1, WIDTH, dtype=torch.float64)
    hard = reporter.harden(get_weights(reporter))
    assert len(reporter(z_NLD).log_odds_N.unique()) > 2
    assert len(functional_call(reporter, hard, (z_NLD,)).log_odds_N.unique()) <= 2


def test_a_second_hardening_changes_nothing():
    reporter = build()
    hard = reporter.harden(get_weights(reporter))
    again = reporter.harden(hard)
    assert all(torch.equal(again[name], value) for name, value in hard.items())


def test_no_gate_reads_its_own_layer_or_a_later_one():
    reporter = build(thresholds=2, layers=3, nodes=2)
    weights = get_weights(reporter)
    prefers_late_P = torch.arange(8.0)
    weights["operand_choice_2GP"] = weights["operand_choice_2GP"] + prefers_late_P
    gates = reporter.circuit(reporter.harden(weights)).nodes
    assert [max(gate.a, gate.b) for gate in gates] == [1, 1, 3, 3, 5, 5]


@pytest.mark.parametrize("name", ["expected_gates", "expected_depth", "expected_thresholds"])
def test_gradients_of_expected_counts_are_those_of_finite_differences(name):
    reporter = build(nodes=2, layers=2, spread=1.0)
    weights = get_weights(reporter)
    expected = getattr(reporter, name)
    gradients = grad(expected)(weights)
    for choice, index in itertools.product(("function_choice_GF", "output_choice_P"), (0, 1)):
        step = torch.zeros_like(weights[choice])
        step[index] = 1e-6
        high = expected(weights | {choice: weights[choice] + step})
        low = expected(weights | {choice: weights[choice] - step})
        difference = ((high - low) / 2e-6).item()
        assert difference == pytest.approx(gradients[choice][index].sum().item(), abs=1e-6)


@pytest.mark.parametrize("name", ["expected_gates", "expected_depth", "expected_thresholds"])
def test_gradients_of_stacked_heads_are_those_of_each_head_alone(name):
    reporter = build(nodes=2, layers=2, spread=1.0)
    weights = get_weights(reporter)
    gradient = grad(getattr(reporter, name))
    stack = {
        key: torch.stack([value, value + 0.01])[None, :, None] for key, value in weights.items()
    }
    together = map_over_heads(gradient)(stack)
    for key, alone in gradient(weights).items():
        torch.testing.assert_close(together[key][0, 0, 0], alone)


def test_gradients_are_finite_if_all_choices_are_made():
    reporter = build()
    weights = reporter.harden(get_weights(reporter))
    gradients = grad(reporter.expected_gates)(weights)
    assert all(value.isfinite().all() for value in gradients.values())


def test_it_has_no_weights():
    assert not any(is_weight(name) for name, _ in build().named_parameters())


def test_it_counts_the_products_that_look_up_operands():
    reporter = build()
    z_NLD = torch.randn(1, 1, WIDTH, dtype=torch.float64)
    assert reporter.flops(count_units(reporter, 1)) == [count_flops(reporter, z_NLD)]


@pytest.mark.parametrize(
    ("key", "value"),
    [("thresholds", 0), ("layers", 0), ("nodes", -1), ("pace", 0.0), ("steepness", -1.0)],
)
def test_values_that_allow_no_circuit_are_refused_with_the_key(key, value):
    values = {"thresholds": 3, "layers": 1, "nodes": 1} | VALUES | {key: value}
    with pytest.raises(UserError, match=rf"^reporter\.{key}: .* is too small\. Use .*\.$"):
        Logic(1, WIDTH, **values)
