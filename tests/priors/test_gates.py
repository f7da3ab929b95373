"""The prior on gates: its price by hand, what it lacks, and planted circuits found again."""

import math

import pytest
import torch
from torch.func import functional_call

from configs.build import build, maker
from priors.circuit_depth import CircuitDepth
from priors.gates import Gates
from priors.none import NoPrior
from priors.prior import Aid, Prior, Training
from reporters.circuits.circuit import Circuit
from reporters.linear import Linear
from reporters.logic import SURE, Logic
from reporters.reporter import Reporter
from tests.conftest import node
from tests.training.made import population
from training.examples import Examples
from training.heads import Heads

AND, WIRE = 8, 12
WIDTH, THRESHOLDS, EXAMPLES = 8, 3, 100
PLACES = THRESHOLDS + 2 * 2
GATE = 2 * math.log(PLACES) + math.log(10)
THRESHOLD = math.log(WIDTH) + math.log(EXAMPLES) / 2


def planted_head(
    *gates: tuple[int, int, int], output: int
) -> tuple[Logic, dict[str, torch.Tensor]]:
    """Returns a head of 3 thresholds and two layers of two gates whose choices are made: (function,
    a, b) of each gate, and the output.
    """
    reporter = Logic(
        1,
        WIDTH,
        THRESHOLDS,
        layers=2,
        nodes=2,
        pace=10.0,
        spread=1.0,
        wire=0.0,
        steepness=5.0,
        says=3.0,
    )
    weights = {
        name: torch.full_like(value, -SURE) if "_choice" in name else value.detach()
        for name, value in reporter.named_parameters()
    }
    for threshold in range(THRESHOLDS):
        weights["input_choice_BD"][threshold, threshold] = SURE
    for i, (function, a, b) in enumerate(gates):
        weights["function_choice_GF"][i, function] = SURE
        weights["operand_choice_2GP"][0, i, a] = weights["operand_choice_2GP"][1, i, b] = SURE
    weights["output_choice_P"][output] = SURE
    return reporter, weights


def charge(prior: Prior, reporter: Reporter, weights: dict[str, torch.Tensor]) -> float:
    """Returns nats for the whole training set."""
    z_NLD = torch.randn(4, 1, WIDTH)
    reading = functional_call(reporter, weights, (z_NLD,))
    return (
        EXAMPLES
        * prior.charge(
            Training(
                reporter,
                weights,
                {},
                {},
                weights,
                z_NLD,
                reading,
                torch.zeros(1),
                1.0,
                EXAMPLES,
                Aid(),
            )
        ).item()
    )


CHAIN = ((AND, 0, 1), (WIRE, 0, 0), (AND, 3, 2), (AND, 3, 4))
"""g0 = t0 AND t1, g1 = t0, g2 = g0 AND t2, g3 = g0 AND g1: places 3 to 6."""


@pytest.mark.parametrize(
    ("output", "gates", "depth", "thresholds"),
    [(5, 2, 2, 3), (6, 2, 2, 2), (4, 0, 0, 1), (3, 1, 1, 2), (2, 0, 0, 1)],
)
def test_the_price_of_a_planted_circuit_is_that_counted_by_hand(output, gates, depth, thresholds):
    head = planted_head(*CHAIN, output=output)
    assert charge(Gates(), *head) == pytest.approx(GATE * gates + THRESHOLD * thresholds, rel=1e-5)
    assert charge(CircuitDepth(), *head) == pytest.approx(GATE * depth, rel=1e-5)


@pytest.mark.parametrize("prior", [Gates(), CircuitDepth()])
def test_what_has_no_gates_is_charged_nothing_and_it_says_so(prior):
    linear = Linear(1, WIDTH)
    assert charge(prior, linear, dict(linear.named_parameters())) == 0
    assert prior.lacks(linear) == "logic gates, as reporter=logic has"
    assert prior.lacks(planted_head(*CHAIN, output=3)[0]) is None


def test_their_yamls_build_them():
    assert isinstance(build(node("prior/gates.yaml"), "prior"), Gates)
    assert isinstance(build(node("prior/circuit_depth.yaml"), "prior"), CircuitDepth)


def bits_of(x_N: torch.Tensor, human_N: torch.Tensor) -> Examples:
    return Examples((x_N[:, None] >> torch.arange(4) & 1).float()[:, None] * 2 - 1, human_N.float())


def circuits(heads: Heads) -> list[Circuit]:
    seeds, strengths = heads.weights["output_choice_P"].shape[1:3]
    assert isinstance(heads.reporter, Logic)
    places = [(0, s, m) for s in range(seeds) for m in range(strengths)]
    return [
        heads.reporter.circuit(
            {name: value[place] for name, value in heads.weights.items()}
        ).simplified()
        for place in places
    ]


def found(trainer, checkpoint, prior: Prior, rule: str) -> list[Circuit]:
    x_N = torch.arange(16)
    human_N = eval(rule, {"x": x_N})
    table, examples = bits_of(x_N, human_N), bits_of(x_N.repeat(64), human_N.repeat(64))
    make = maker(node("reporter/logic.yaml"), "reporter", "n_levels", "width")
    return circuits(
        population(
            trainer, checkpoint, make, prior, examples, table, seeds=range(3), batch_size=128
        )
    )


@pytest.mark.parametrize(("rule", "gates"), [("x & 1", 0), ("x & (x >> 1) & 1", 1)])
def test_training_finds_the_rule_and_no_gate_more(trainer, tmp_path, rule, gates):
    for one in found(trainer, tmp_path / "fit", Gates(), rule):
        assert (one.gates, one.depth, one.thresholds) == (gates, gates, gates + 1)


def test_without_a_price_more_gates_stay(trainer, tmp_path):
    assert (
        sum(one.gates for one in found(trainer, tmp_path / "fit", NoPrior(), "x & (x >> 1) & 1"))
        > 3
    )
