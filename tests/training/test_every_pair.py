"""Priors on reporters, where three of 64 inputs determine the answer: no head collapses, and each
spends less of what it is charged for.

By default every reporter under one prior that fits it, and every prior on one reporter; with
`-m slow` all pairs, with larger heads that are trained for longer.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import Tensor
from torch.func import functional_call

from bill.finished import Stops
from compute.trainer import Trainer
from priors.dependence import covariance
from priors.downstream import find_observation
from reporters.stack import group_levels, map_over_heads
from tests.bill.made import describe, make_meter
from tests.priors.made import PRIORS, build_prior
from tests.reporters.made import REPORTERS, get_maker, list_self_fitted
from tests.training.made import FLOPS_STEP, accuracy, observed, pairs, planted, population
from training.examples import Examples
from training.heads import Heads

SEEDS = 3
"""Heads of each pair."""


class Size(NamedTuple):
    """How large heads are, and how long they are trained."""

    most: int = 16
    """The most of whatever a reporter's YAML counts."""
    n_train: int = 4096
    """Training episodes; eight steps make an epoch."""
    epochs: int = 30
    learning_rate: float = 0.02


WHOLE = Size()
LARGER = {"attention": Size(most=8), "transformer": Size(most=8, epochs=60, learning_rate=0.01)}
"""What slow tests take of reporters that are trained with fewer inputs, or longer, than WHOLE."""
SHORT = Size(most=8, epochs=15, learning_rate=0.05)
SMALL = {
    "attention": Size(2, 1024, 12, 0.05),
    "transformer": Size(8, 2048, 15, 0.03),
    "logic": Size(8, 2048),
}
"""What is enough for the default tests; SHORT for other reporters."""
TOO_LONG = {("transformer", "circuit_size"), ("transformer", "explanation_length")}
"""Pairs whose search over edges is too long for a test: that of circuit_size was stopped after ten
minutes, and the other searches the same edges and runs the predictor too.
"""
CHARGED = {
    "gaussian": "norm",
    "simplicity": "variational_model_bits",
    "simplicity_and_speed": "variational_model_bits",
    "speed": "flops",
    "circuit_size": "edges",
    "explanation_length": "edges",
    "gates": "gates",
    "circuit_depth": "depth",
    "downstream": "observation",
    "human_dependence": "pairs",
}
"""What is measured of the heads of each prior."""
NOTHING = {
    (reporter, prior)
    for reporter in REPORTERS
    for prior in ("gates", "circuit_depth")
    if reporter != "logic"
}
NOTHING |= {("logic", prior) for prior in ("gaussian", "circuit_size", "speed")} | {
    (reporter, prior) for reporter in list_self_fitted() for prior in PRIORS
}
"""Pairs in which there is nothing to charge."""
FITTING = {"logic": "gates", "layered": "speed"}
"""The prior that stands for all on a reporter; gaussian on others."""
PAIRS = [(reporter, prior) for reporter in REPORTERS for prior in PRIORS if prior != "none"]
STAR = {("linear", prior) for prior in PRIORS}
STAR |= {(reporter, FITTING.get(reporter, "gaussian")) for reporter in REPORTERS}


def list_cases() -> Iterator[ParameterSet]:
    """Yields reporter, prior and size."""
    for reporter, prior in PAIRS:
        name = f"{reporter}-{prior}"
        whole = LARGER.get(reporter, WHOLE)
        if (reporter, prior) in NOTHING:
            whole = SMALL.get(reporter, SHORT)
        if (reporter, prior) in STAR:
            # Heads of gates train for long; tests/priors/test_gates.py trains a short one.
            marks = [pytest.mark.slow] if reporter == "logic" else []
            yield pytest.param(reporter, prior, SMALL.get(reporter, SHORT), id=name, marks=marks)
        if (reporter, prior) not in STAR & NOTHING | TOO_LONG:
            yield pytest.param(reporter, prior, whole, id=f"{name}-whole", marks=pytest.mark.slow)


@cache
def draw(reporter: str, n_train: int) -> list[Examples]:
    """Returns training, held-out and fresh episodes. Three inputs of the first level determine the
    answer: whether their sum is above 0, with some noise; for circuits, which cannot add numbers,
    whether all are above a value that makes half of the answers yes.
    """
    examples = []
    for n, seed in ((n_train, 0), (1024, 1), (4000, 2)):
        some = planted(n, inputs=3, levels=count_levels(reporter), noise=0.3, seed=seed)
        if reporter == "logic":
            all_high_N = (some.z_NLD[:, 0, :3] > -0.82).all(dim=1)
            some = some._replace(human_N=all_high_N.float())
        examples.append(some)
    return examples


@cache
def count_levels(reporter: str) -> int:
    return 1 if get_maker(reporter)(n_levels=1, width=64).reads == "one_level" else 3


@cache
def train(reporter: str, prior: str, size: Size, folder: Path) -> Heads:
    examples, held_out, _ = draw(reporter, size.n_train)
    return population(
        Trainer(accelerator="cpu", save_every=1e9, bar=False),
        folder,
        get_maker(reporter, size.most),
        build_prior(prior),
        examples,
        held_out,
        seeds=range(SEEDS),
        batch_size=size.n_train // 8,
        epochs=size.epochs,
        learning_rate=size.learning_rate,
    )


def measure(unit: str, heads: Heads, examples: Examples) -> float:
    """Returns how much of a unit the heads spend, mean over them."""
    z_NLD = (examples.z_NLD - heads.mean_LD) / heads.std_LD
    if unit == "norm":
        squares = [v.square().sum() for name, v in heads.weights.items() if "bias" not in name]
        return sum(squares).item()
    if unit in ("observation", "pairs"):
        return measure_dependence(unit, heads, z_NLD, examples)
    reading = heads.read(examples.z_NLD)
    flops = tuple(level * FLOPS_STEP for level in range(examples.z_NLD.shape[1]))
    stops = {"train": Stops(reading.level_KN, reading.exit_KN)}
    finished = describe(heads.reporter, heads.weights, z_NLD, examples.human_N, stops, flops)
    variational = ["variational"] if unit.startswith("variational") else []
    meter = make_meter("edges", "flops", "logic_circuit", *variational)
    return meter(finished)[unit].value_K.mean().item()


def measure_dependence(unit: str, heads: Heads, z_NLD: Tensor, examples: Examples) -> float:
    """Returns the covariance, in nats, of what the heads report for activations that differ in the
    observation, or in what the human's answer depends on.
    """
    if unit == "pairs":
        first_NLD, second_NLD = (pairs(examples) - heads.mean_LD) / heads.std_LD
    else:
        seen = observed(examples)
        read_LD, write_LD = find_observation(
            (seen.z_NLD - heads.mean_LD) / heads.std_LD, seen.opinion_NL
        )
        part_NL = (z_NLD * read_LD).sum(dim=2)
        first_NLD = z_NLD
        second_NLD = z_NLD + (part_NL.roll(1, dims=0) - part_NL)[:, :, None] * write_LD

    def compute(weights: dict[str, Tensor], first_NRD: Tensor, second_NRD: Tensor) -> Tensor:
        first = functional_call(heads.reporter, weights, (first_NRD,))
        second = functional_call(heads.reporter, weights, (second_NRD,))
        return covariance(first, second)

    compute_all = map_over_heads(compute, (0, 0, 0), (0, None, None), (0, None, None))
    first, second = (group_levels(z, heads.reporter) for z in (first_NLD, second_NLD))
    return compute_all(heads.weights, first, second).mean().item()


@pytest.mark.parametrize(("reporter", "prior", "size"), list_cases())
def test_no_prior_at_its_natural_price_forbids_a_planted_concept_and_each_saves_its_unit(
    reporter, prior, size, tmp_path_factory, capsys
):
    folder = tmp_path_factory.getbasetemp() / "every_pair"
    examples, _, fresh = draw(reporter, size.n_train)
    free = train(reporter, "none", size, folder)
    capsys.readouterr()
    priced = train(reporter, prior, size, folder)
    printed = capsys.readouterr().err
    assert accuracy(priced, fresh).mean() >= accuracy(free, fresh).mean() - 0.01
    if (reporter, prior) in NOTHING:
        assert "does not apply to" in printed
        assert all(torch.equal(value, free.weights[name]) for name, value in priced.weights.items())
        return
    assert not printed or "(its part speed)" in printed
    if prior not in CHARGED:
        return
    before, after = (measure(CHARGED[prior], heads, examples) for heads in (free, priced))
    if reporter != "logic":
        assert after < before
    elif prior in ("gates", "circuit_depth"):
        # Two gates are enough. Of the other units it spends little: it never reads the last
        # dimension.
        assert after <= 3
