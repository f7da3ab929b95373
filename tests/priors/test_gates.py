"""The prior on gates: its price by hand, where it does not apply, and planted circuits that it
finds in training.
"""

import math

import pytest
import torch

from configs.build import bind, build
from priors.circuit_depth import CircuitDepth
from priors.gates import Gates
from priors.prior import Prior
from reporters.circuits.circuit import Circuit
from reporters.linear import Linear
from reporters.logic import SURE, Logic
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.conftest import node
from tests.priors.made import build_finished
from tests.training.made import population
from training.examples import Examples

AND, WIRE = 8, 12
WIDTH, THRESHOLDS, EXAMPLES = 8, 3, 100
PLACES = THRESHOLDS + 2 * 2
GATE = 2 * math.log(PLACES) + math.log(10)
THRESHOLD = math.log(WIDTH) + math.log(EXAMPLES) / 2


def plant_head(*gates: tuple[int, int, int], output: int) -> tuple[Logic, Weights]:
    """Returns a head of 3 thresholds and two layers of two gates whose choices are made.

    Args:
        gates: (function, a, b) of each gate.
        output: the place of the output.
    """
    values = {"pace": 10.0, "spread": 1.0, "wire": 0.0, "steepness": 5.0, "says": 3.0}
    reporter = Logic(1, WIDTH, THRESHOLDS, layers=2, nodes=2, **values)
    weights = {
        name: torch.full_like(value, -SURE) if "_choice" in name else value.detach()
        for name, value in reporter.named_parameters()
    }
    for threshold in range(THRESHOLDS):
        weights["input_choice_BD"][threshold, threshold] = SURE
    for i, (function, a, b) in enumerate(gates):
        weights["function_choice_GF"][i, function] = SURE
        weights["operand_choice_2GP"][0, i, a] = SURE
        weights["operand_choice_2GP"][1, i, b] = SURE
    weights["output_choice_P"][output] = SURE
    return reporter, weights


def compute_charge(prior: Prior, reporter: Reporter, weights: Weights) -> float:
    """Returns nats for the whole training set."""
    z_NLD = torch.randn(4, 1, WIDTH)
    training = build_finished(reporter, weights, z_NLD, n_examples=EXAMPLES)
    return EXAMPLES * prior.charge(training).item()


CHAIN = ((AND, 0, 1), (WIRE, 0, 0), (AND, 3, 2), (AND, 3, 4))
"""g0 = t0 AND t1, g1 = t0, g2 = g0 AND t2, g3 = g0 AND g1: places 3 to 6."""


@pytest.mark.parametrize(
    ("output", "gates", "depth", "thresholds"),
    [(5, 2, 2, 3), (6, 2, 2, 2), (4, 0, 0, 1), (3, 1, 1, 2), (2, 0, 0, 1)],
)
def test_a_planted_circuit_has_the_price_counted_by_hand(output, gates, depth, thresholds):
    head = plant_head(*CHAIN, output=output)
    by_hand = GATE * gates + THRESHOLD * thresholds
    assert compute_charge(Gates(), *head) == pytest.approx(by_hand, rel=1e-5)
    assert compute_charge(CircuitDepth(), *head) == pytest.approx(GATE * depth, rel=1e-5)


@pytest.mark.parametrize("prior", [Gates(), CircuitDepth()])
def test_the_priors_do_not_apply_to_a_head_without_gates(prior):
    linear = Linear(1, WIDTH)
    assert compute_charge(prior, linear, dict(linear.named_parameters())) == 0
    assert prior.lacks(linear) == "logic gates, as reporter=logic has"
    assert prior.lacks(plant_head(*CHAIN, output=3)[0]) is None


def test_their_yamls_build_them():
    assert isinstance(build(node("prior/gates.yaml"), "prior"), Gates)
    assert isinstance(build(node("prior/circuit_depth.yaml"), "prior"), CircuitDepth)


X = torch.arange(16)


def build_examples(x_N: torch.Tensor, human_N: torch.Tensor) -> Examples:
    """Returns episodes whose activations are the four bits of x, as ±1."""
    bits_N4 = (x_N[:, None] >> torch.arange(4) & 1).float()
    return Examples(bits_N4[:, None] * 2 - 1, human_N.float())


def find_circuits(
    trainer,
    checkpoint,
    human_N: torch.Tensor,
    strengths: tuple[float, ...],
    epochs: int = 30,
    **size: int,
) -> list[list[Circuit]]:
    """Returns, for each strength, the simplified circuits of three heads that were trained on the
    answers for x = 0 to 15.

    Args:
        size: of the head, where it differs from that of its YAML.
    """
    table = build_examples(X, human_N)
    examples = build_examples(X.repeat(64), human_N.repeat(64))
    make = bind(node("reporter/logic.yaml", **size), "reporter", "n_levels", "width")
    values = {"seeds": range(3), "strengths": strengths, "batch_size": 128, "epochs": epochs}
    heads = population(trainer, checkpoint, make, Gates(), examples, table, **values)
    assert isinstance(heads.reporter, Logic)
    circuits = []
    for m in range(len(strengths)):
        circuits.append([])
        for s in range(3):
            weights = {name: value[0, s, m] for name, value in heads.weights.items()}
            circuits[m].append(heads.reporter.circuit(weights).simplify())
    return circuits


def test_training_finds_a_rule_without_gates(trainer, tmp_path):
    size = {"thresholds": 8, "layers": 2, "nodes": 8}
    (circuits,) = find_circuits(trainer, tmp_path / "fit", X & 1, (1.0,), epochs=15, **size)
    for circuit in circuits:
        assert (circuit.gates, circuit.depth, circuit.thresholds) == (0, 0, 1)


@pytest.mark.slow
def test_training_finds_a_rule_of_one_gate_and_without_a_price_more_gates_stay(trainer, tmp_path):
    two_bits_N = X & (X >> 1) & 1
    free, charged = find_circuits(trainer, tmp_path / "fit", two_bits_N, (0.0, 1.0))
    assert sum(circuit.gates for circuit in free) > 3
    for circuit in charged:
        assert (circuit.gates, circuit.depth, circuit.thresholds) == (1, 1, 2)
