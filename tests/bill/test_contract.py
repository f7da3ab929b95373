"""The contract of a measure, over every measure of every YAML of configs/bill; and that each test
of it notices a measure that breaks it.

K = G · S · M heads; N: episodes.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from bill.finished import AblatablePredictor, FinishedHeads, Stops
from bill.measure import Item, Measure
from tests.bill.made import Toy, coins, describe, draw_weights, make_quick, normal
from tests.reporters.made import CONFIGS, LEVELS, WIDTH, build_reporter, load_choice

N = 80
HEARD = 2, 4, 6
"""How many of the toy predictor's components each level gets."""
REPORTERS = "linear", "layered", "logic"
"""One that reads one level, one that may stop early, and one of logic gates."""
BILLS = sorted(path.stem for path in (CONFIGS / "bill").glob("*.yaml"))
NODES: dict[str, dict[str, Any]] = {}
for bill in BILLS:
    NODES |= load_choice("bill", bill)["measures"]


def ablate(*heard: int) -> AblatablePredictor:
    """Returns the toy predictor, with levels that get this many of its components."""
    toy = Toy(heard, normal(max(HEARD), WIDTH, seed=1))
    return AblatablePredictor(toy, normal(N, max(HEARD), seed=2).double())


def make_heads(name: str) -> FinishedHeads:
    """Returns random heads in float64: four of all levels, or two of each level."""
    reporter = build_reporter(name)
    grid = (LEVELS, 2, 1) if reporter.reads == "one_level" else (1, 2, 2)
    ablation, inputs_N = ablate(*HEARD)
    z_NLD = ablation.read(inputs_N, torch.ones(max(HEARD)))
    own_NRD = z_NLD[:, :1] if reporter.reads == "one_level" else z_NLD
    exits = len(reporter(own_NRD).levels_T)
    rng = torch.Generator().manual_seed(3)
    stops = {}
    for kind in ("train", "easy"):
        shape = (grid[0] * grid[1] * grid[2], N)
        level_KN = torch.randint(LEVELS, shape, generator=rng)
        stops[kind] = Stops(level_KN, torch.randint(exits, shape, generator=rng))
    return describe(
        reporter,
        draw_weights(reporter, grid),
        z_NLD,
        coins(N).double(),
        stops,
        flops_by_level=(0.0, 10.0, 20.0),
        seconds_by_level=(0.0, 0.1, 0.2),
        build_ablation=lambda: ablate(*HEARD),
    )


def take_one(heads: FinishedHeads, k: int) -> FinishedHeads:
    """Returns the k-th head alone, and the level that it reads where it reads one."""
    groups, seeds, strengths = heads.grid
    group, place = divmod(k, seeds * strengths)
    of_groups = heads.select(slice(place, place + 1))
    if groups == 1:
        return of_groups
    only = slice(group, group + 1)
    stops = {}
    for kind, (level_GN, exit_GN) in of_groups.stops.items():
        stops[kind] = Stops(level_GN[only], exit_GN[only])
    return replace(
        of_groups,
        weights={name: value[only] for name, value in of_groups.weights.items()},
        z_NLD=heads.z_NLD[:, only],
        stops=stops,
        build_ablation=lambda: ablate(*HEARD[only]),
    )


@cache
def build_measure(name: str) -> Measure:
    return make_quick(name, NODES[name])


@cache
def make_shared_heads(name: str) -> FinishedHeads:
    return make_heads(name)


MEASURED: list[tuple[Measure, FinishedHeads, dict[str, Item]]] = []
"""What measures returned for heads."""


def measure_once(measure: Measure, heads: FinishedHeads) -> dict[str, Item]:
    """Returns what a measure returns for these heads; most tests look at the same."""
    for known, of_heads, items in MEASURED:
        if known is measure and of_heads is heads:
            return items
    MEASURED.append((measure, heads, measure.measure(heads)))
    return MEASURED[-1][2]


@pytest.fixture(params=NODES)
def measure(request) -> Measure:
    return build_measure(request.param)


@pytest.fixture(params=REPORTERS)
def heads(request) -> FinishedHeads:
    return make_shared_heads(request.param)


def check_names(measures: list[Measure], heads: FinishedHeads) -> None:
    names = [name for measure in measures for name in measure_once(measure, heads)]
    assert len(names) == len(set(names)), names


@pytest.mark.parametrize("bill", BILLS)
def test_the_names_of_a_bill_are_unique(bill, heads):
    measures = []
    for name, node in load_choice("bill", bill)["measures"].items():
        same = node == NODES[name]
        measures.append(build_measure(name) if same else make_quick(name, node))
    check_names(measures, heads)


def test_every_measure_applies_to_some_heads_of_some_reporter(measure):
    assert any(measure_once(measure, make_shared_heads(reporter)) for reporter in REPORTERS)


def test_there_is_one_value_a_head_and_it_is_a_number_or_not_there(measure, heads):
    for name, item in measure_once(measure, heads).items():
        assert item.value_K.shape == (heads.count,), name
        assert item.value_K.isfinite().all() or item.value_K.isnan().all(), name


def test_every_item_gives_its_unit_and_how_it_is_measured(measure, heads):
    for name, item in measure_once(measure, heads).items():
        assert re.fullmatch(r"[^;]+; \S.*", item.how), name


def test_the_same_heads_give_the_same_values_again_and_stay_as_they_are(measure, heads):
    before = make_heads_like(heads)
    first, again = measure.measure(heads), measure.measure(make_heads_like(heads))
    assert list(first) == list(again)
    for name, item in first.items():
        assert again[name].repeats == item.repeats
        if item.repeats:
            torch.testing.assert_close(
                again[name].value_K, item.value_K, rtol=0, atol=0, equal_nan=True
            )
    assert torch.equal(heads.z_NLD, before.z_NLD)
    assert all(torch.equal(value, before.weights[name]) for name, value in heads.weights.items())


def make_heads_like(heads: FinishedHeads) -> FinishedHeads:
    """Returns the same heads, with nothing computed yet."""
    weights = {name: value.clone() for name, value in heads.weights.items()}
    return replace(heads, weights=weights, z_NLD=heads.z_NLD.clone())


def test_the_bill_of_a_stack_is_that_of_each_head_in_order(measure, heads):
    together = measure_once(measure, heads)
    for k in range(heads.count):
        alone = measure.measure(take_one(heads, k))
        assert list(alone) == list(together)
        for name, item in together.items():
            if item.repeats:
                torch.testing.assert_close(
                    alone[name].value_K,
                    item.value_K[[k]],
                    rtol=1e-5,
                    atol=1e-6,
                    equal_nan=True,
                    msg=lambda text, name=name: f"{name}: {text}",
                )


class Broken(Measure):
    """The norm of a head's weights, and one way to break the contract."""

    def __init__(self, flaw: str) -> None:
        self.flaw = flaw

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        if self.flaw == "never applies":
            return {}
        if self.flaw == "changes the heads":
            for value in heads.weights.values():
                value += 1
        norm_GSM = torch.zeros(heads.grid, dtype=torch.float64)
        for value in heads.weights.values():
            norm_GSM += value.square().reshape(*heads.grid, -1).sum(dim=3)
        if self.flaw == "draws":
            norm_GSM = norm_GSM + torch.rand(())
        if self.flaw == "compares heads":
            norm_GSM = norm_GSM / norm_GSM.max()
        if self.flaw == "turns the stack":
            norm_GSM = norm_GSM.flip(1)
        if self.flaw == "divides by zero":
            norm_GSM[0, 0, 0] = torch.inf
        norm_K = norm_GSM if self.flaw == "keeps the grid" else norm_GSM.flatten()
        return {"norm": Item(norm_K, "squared weights" if self.flaw == "no how" else "units; sum")}


@pytest.mark.parametrize(
    ("flaw", "notices"),
    [
        ("keeps the grid", test_there_is_one_value_a_head_and_it_is_a_number_or_not_there),
        ("divides by zero", test_there_is_one_value_a_head_and_it_is_a_number_or_not_there),
        ("no how", test_every_item_gives_its_unit_and_how_it_is_measured),
        ("draws", test_the_same_heads_give_the_same_values_again_and_stay_as_they_are),
        ("changes the heads", test_the_same_heads_give_the_same_values_again_and_stay_as_they_are),
        ("compares heads", test_the_bill_of_a_stack_is_that_of_each_head_in_order),
        ("turns the stack", test_the_bill_of_a_stack_is_that_of_each_head_in_order),
    ],
)
def test_a_measure_that_breaks_the_contract_is_noticed(
    flaw: str, notices: Callable[[Measure, FinishedHeads], None]
):
    notices(Broken("none"), make_heads("linear"))
    with pytest.raises(AssertionError):
        notices(Broken(flaw), make_heads("linear"))


def test_a_measure_that_never_applies_and_two_of_one_name_are_noticed():
    heads = make_heads("linear")
    with pytest.raises(AssertionError):
        test_every_measure_applies_to_some_heads_of_some_reporter(Broken("never applies"))
    with pytest.raises(AssertionError):
        check_names([Broken("none"), Broken("none")], heads)
