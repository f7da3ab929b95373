"""The bill: every unit for every head, FLOPs by hand, stacks in parts, and heads that are refused.

K = G · S · M heads; N: episodes.
"""

import math
from dataclasses import dataclass, field

import pytest
import torch

from bill.bill import Bill, Meter
from bill.edges import Edges
from bill.finished import FinishedHeads, Stops
from bill.flops import Flops
from bill.measure import Item, Measure
from bill.steps import Steps
from bill.two_part import TwoPart
from bill.two_part_code import encode
from configs.build import build
from console.errors import UserError
from priors.none import NoPrior
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from tests.bill.made import coins, describe, draw_weights, make_meter, make_quick, normal
from tests.conftest import node
from tests.reporters.made import LEVELS, REPORTERS, build_reporter, draw_activations, load_choice
from tests.training.made import planted, population
from training.examples import Examples


@dataclass(frozen=True)
class Spy(Measure):
    """Gives each head's place in the stack that it is given, and keeps the stacks' grids."""

    grids: list[tuple[int, int, int]] = field(default_factory=list)

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        self.grids.append(heads.grid)
        return {"place": Item(torch.arange(heads.count), "heads; place in the stack")}


def zeros(heads: int, n: int) -> torch.Tensor:
    return torch.zeros(heads, n, dtype=torch.long)


def test_flops_are_the_predictors_up_to_the_deepest_level_read_and_the_heads_own():
    weights = {"weight_1D": torch.ones(2, 1, 2, 1, 3), "bias": torch.zeros(2, 1, 2)}
    # The last head is one edge, and 2 FLOPs, without its dead units.
    weights["weight_1D"][1, 0, 1, 0, 1:] = 0
    level_KN = torch.tensor([[0, 0, 0, 0], [0, 0, 2, 2], [2, 2, 2, 2], [1, 1, 1, 0]])
    stops = {"train": Stops(level_KN, 0 * level_KN)}
    flops_by_level = (0.0, 100.0, 1000.0)
    heads = describe(Linear(1, 3), weights, normal(4, 2, 3), coins(4), stops, flops_by_level)
    assert Flops().measure(heads)["flops"].value_K.tolist() == [6.0, 506.0, 1006.0, 77.0]
    assert Steps().measure(heads)["level_read"].value_K.tolist() == [0.0, 1.0, 2.0, 0.75]


def test_steps_are_counted_on_every_kind_of_episodes():
    exit_KN = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 0]])
    reporter = build_reporter("layered")
    stops = {
        "train": Stops(zeros(2, 4), exit_KN),
        "easy": Stops(zeros(2, 4), zeros(2, 4)),
        "disputed": Stops(zeros(2, 4), exit_KN + 0),
    }
    weights = draw_weights(reporter, (1, 2, 1))
    heads = describe(reporter, weights, draw_activations(reporter, 4), coins(4).double(), stops)
    items = Steps().measure(heads)
    steps = {name: item.value_K.tolist() for name, item in items.items() if "steps" in name}
    assert steps == {"steps": [1.5, 2.5], "steps_easy": [1.0, 1.0], "steps_disputed": [1.5, 2.5]}


def test_edges_and_codes_are_those_of_each_head_in_order():
    z_NLD, human_N = normal(50, 2, 3), coins(50)
    weights = {"weight_1D": normal(2, 3, 2, 1, 3), "bias": torch.zeros(2, 3, 2)}
    for k in range(12):
        weights["weight_1D"].view(12, 3)[k, k % 4 :] = 0
    heads = describe(Linear(1, 3), weights, z_NLD, human_N)
    bill = make_meter("edges", "two_part")(heads)
    assert bill["edges"].value_K.tolist() == [k % 4 for k in range(12)]
    for k in range(12):
        alone = {"weight_1D": weights["weight_1D"].view(12, 1, 3)[k], "bias": torch.tensor(0.0)}
        code = encode(Linear(1, 3), alone, z_NLD[:, [k // 6]], human_N)
        total, model = bill["two_part_bits"].value_K[k], bill["model_bits"].value_K[k]
        assert total.item() == pytest.approx(code.total.item(), abs=1e-3)
        assert model.item() == pytest.approx(code.model.item(), abs=1e-3)


@pytest.mark.parametrize(
    "reporter", [Linear(1, 3), Layered(2, 3)], ids=["a group a level", "one group"]
)
def test_heads_that_are_billed_in_parts_have_the_same_bills_in_the_same_order(
    reporter, monkeypatch
):
    z_NLD, human_N = normal(120, 2, 3), coins(120)
    groups = 2 if reporter.reads == "one_level" else 1
    n = groups * 6
    exit_KN = zeros(n, 120)
    if groups == 1:
        exit_KN = torch.arange(n * 120).view(n, 120) * 3 % 7 % 2
    level_KN = torch.arange(n * 120).view(n, 120) * 4 % 7 % 2
    heads = describe(
        reporter,
        draw_weights(reporter, (groups, 3, 2)),
        z_NLD,
        human_N,
        {"train": Stops(level_KN, exit_KN), "easy": Stops(level_KN.flip(1), exit_KN.flip(1))},
        flops_by_level=(0.0, 3.0),
        seconds_by_level=(0.1, 0.2),
    )
    names = load_choice("bill", "default")["measures"]
    spy, budgets = Spy(), []
    meter = Meter(make_meter(*names).measures | {"spy": spy})

    def fit_four(n, run, budget):
        budgets.append((n, budget))
        return min(n, 4 if budget < math.inf else n)

    monkeypatch.setattr("bill.bill.choose_part_size", fit_four)
    together, apart = meter(heads), meter(heads, memory_budget=1e6)
    assert budgets == [(6, math.inf), (6, 1e6)]
    assert spy.grids == [(groups, 3, 2), (groups, 4, 1), (groups, 2, 1)]
    assert list(apart) == list(together)
    for name, item in together.items():
        if item.repeats and name != "place":
            torch.testing.assert_close(
                apart[name].value_K, item.value_K, rtol=1e-5, atol=1e-4, equal_nan=True
            )


def test_heads_that_fit_are_counted_once_for_all_heads_of_one_size(monkeypatch):
    counted = []

    def count(n, run, budget):
        counted.append(n)
        return n

    monkeypatch.setattr("bill.bill.choose_part_size", count)
    reporter, meter = Linear(1, 3), make_meter("two_part")
    for seeds in (2, 2, 3):
        weights = draw_weights(reporter, (1, seeds, 2))
        meter(describe(reporter, weights, normal(30, 1, 3), coins(30)))
    assert counted == [4, 6]


def test_heads_that_are_the_same_at_every_strength_are_measured_once():
    weights = draw_weights(Linear(1, 3), (2, 3, 4))
    same = {name: value[:, :, :1].expand_as(value) for name, value in weights.items()}
    for of_heads, grid in ((same, (2, 3, 1)), (weights, (2, 3, 4))):
        spy = Spy()
        heads = describe(Linear(1, 3), of_heads, normal(20, 2, 3), coins(20))
        bill = Meter({"spy": spy, "edges": Edges(), "steps": Steps()})(heads)
        assert spy.grids == [grid]
        places = torch.arange(6).repeat_interleave(4) if grid[2] == 1 else torch.arange(24)
        assert torch.equal(bill["place"].value_K, places)
        assert bill["edges"].value_K.tolist() == [3.0] * 24
        assert bill["steps"].value_K.tolist() == [1.0] * 24


@pytest.mark.parametrize("name", REPORTERS)
def test_every_unit_of_every_reporter_is_a_number_or_not_there_and_says_how_it_was_measured(name):
    reporter, n = build_reporter(name), 80
    heads = describe(
        reporter,
        draw_weights(reporter, (1, 2, 2)),
        draw_activations(reporter, n),
        coins(n).double(),
        flops_by_level=tuple(range(LEVELS)),
    )
    nodes = load_choice("bill", "full")["measures"]
    bill = Meter({name: make_quick(name, node) for name, node in nodes.items()})(heads)
    for column, item in bill.items():
        assert item.value_K.shape == (4,), column
        assert ";" in item.how, column
        assert item.value_K.isfinite().all() or item.value_K.isnan().all(), column
    assert {
        "prequential_bits",
        "variational_bits",
        "two_part_bits",
        "edges",
        "flops",
        "steps",
    } <= bill.keys()


def build_small_mlp(n_levels: int, width: int) -> MLP:
    return MLP(n_levels, width, hidden=8)


@pytest.mark.parametrize(
    "make", [Linear, pytest.param(build_small_mlp, marks=pytest.mark.slow)], ids=["linear", "mlp"]
)
def test_trained_heads_pay_for_random_labels_in_full_and_save_on_a_concept(make, trainer, tmp_path):
    concept = planted(2000, inputs=2, width=16)
    random = concept._replace(human_N=coins(2000, seed=5))

    def compute_bill(examples: Examples) -> Bill:
        heads = population(
            trainer,
            tmp_path / "fit",
            make,
            NoPrior(),
            examples,
            examples,
            seeds=range(3),
            batch_size=200,
        )
        z_NLD = (examples.z_NLD - heads.mean_LD) / heads.std_LD
        finished = describe(heads.reporter, heads.weights, z_NLD, examples.human_N)
        return make_meter("two_part", "prequential", "variational")(finished)

    paid, saved = compute_bill(random), compute_bill(concept)
    for unit, above in {
        "two_part_bits": 20,
        "prequential_bits": 3,
        "variational_bits": 250,
    }.items():
        assert (paid[unit].value_K > 2000 - 10).all(), unit
        assert (paid[unit].value_K < 2000 + above).all(), unit
        assert (saved[unit].value_K < 2000 / 2).all(), unit


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_head_that_is_not_a_number_is_refused(value):
    weights = {"weight_1D": torch.ones(1, 2, 1, 1, 3), "bias": torch.zeros(1, 2, 1)}
    weights["weight_1D"][0, 1, 0, 0, 2] = value
    with pytest.raises(
        UserError, match=r"bill: the heads are not finished: weight_1D holds NaN or infinity\."
    ):
        make_meter("edges")(describe(Linear(1, 3), weights, normal(4, 1, 3), coins(4)))


def test_a_head_with_open_choices_is_refused():
    reporter = build_reporter("logic")
    open_choices = {}
    for name, value in reporter.named_parameters():
        open_choices[name] = value.detach()[None, None, None]
    heads = describe(reporter, open_choices, draw_activations(reporter, 4), coins(4).double())
    with pytest.raises(
        UserError, match=r"bill: the heads are not finished: \w+ holds open choices"
    ):
        make_meter("edges")(heads)


def test_a_measure_is_left_out_by_null_and_two_of_one_name_are_refused():
    heads = describe(Linear(1, 3), draw_weights(Linear(1, 3)), normal(80, 1, 3), coins(80))
    without = Meter({"edges": Edges(), "two_part": None})
    without.check(2)
    assert list(without(heads)) == ["edges"]
    twice = Meter({"codes": TwoPart(), "two_part": TwoPart()})
    with pytest.raises(UserError, match=r"bill\.measures\.two_part: another measure also gives"):
        twice(heads)


def test_a_measure_that_gives_another_shape_is_noticed():
    class Grid(Measure):
        def measure(self, heads):
            return {"size": Item(torch.zeros(heads.grid), "heads; none")}

    heads = describe(Linear(1, 3), draw_weights(Linear(1, 3)), normal(80, 1, 3), coins(80))
    with pytest.raises(AssertionError, match="size"):
        Meter({"grid": Grid()})(heads)


def test_a_config_with_the_options_of_an_older_version_is_refused_in_one_line():
    options = {"_target_": "bill.bill.Meter", "prequential": True, "variational": True}
    with pytest.raises(
        UserError, match=r"^bill\.prequential: Meter has no such option\. It has: measures\.$"
    ):
        build(options, "bill")


def test_the_default_bill_refuses_too_few_episodes_before_a_run():
    meter = build(node("bill/default.yaml"), "bill")
    meter.check(64)
    with pytest.raises(UserError, match=r"data\.train: 63 episodes are too few"):
        meter.check(63)
