"""The bill: every unit for every head, FLOPs by hand, each head as it would be alone; and heads
that are not finished are refused.
"""

import dataclasses
import math

import pytest
import torch

from bill.bill import Bill, Meter, Stopped
from bill.two_part import two_part
from configs.build import build
from console.errors import UserError
from priors.none import NoPrior
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.bill.made import coins, normal
from tests.conftest import node
from tests.reporters.made import LEVELS, REPORTERS, activations, made
from tests.training.made import planted, population
from training.examples import Examples

QUICK = Meter(prequential=False, variational=False, explanation=False, learning_coefficient=False)


def nowhere(heads: int, n: int) -> dict[str, Stopped]:
    """Returns that heads stopped at the first exit, having read level 0."""
    nothing = torch.zeros(heads, n, dtype=torch.long)
    return {"train": Stopped(nothing, nothing)}


def whole(reporter: Reporter, grid: tuple[int, int, int] = (1, 1, 1), seed: int = 0) -> Weights:
    chance = torch.Generator().manual_seed(seed)
    drawn = {
        name: torch.randn(*grid, *value.shape, generator=chance).to(value)
        for name, value in reporter.named_parameters()
    }
    return torch.func.vmap(torch.func.vmap(torch.func.vmap(reporter.harden)))(drawn)


def test_flops_are_the_predictors_up_to_the_deepest_level_read_and_the_heads_own():
    z_NLD = normal(4, 2, 3)
    weights = {"weight_1D": torch.ones(2, 1, 2, 1, 3), "bias": torch.zeros(2, 1, 2)}
    weights["weight_1D"][1, 0, 1, 0, 1:] = (
        0  # the last head is one edge, and 2 FLOPs, when it is made smaller
    )
    level_KN = torch.tensor([[0, 0, 0, 0], [0, 0, 2, 2], [2, 2, 2, 2], [1, 1, 1, 0]])
    bill = QUICK(
        Linear(1, 3),
        weights,
        z_NLD,
        coins(4),
        {"train": Stopped(level_KN, 0 * level_KN)},
        (0.0, 100.0, 1000.0),
    )
    assert bill["flops"].value_K.tolist() == [6.0, 506.0, 1006.0, 77.0]
    assert bill["level_read"].value_K.tolist() == [0.0, 1.0, 2.0, 0.75]


def test_steps_are_counted_on_every_kind_of_episodes():
    exit_KN = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 0]])
    nothing = torch.zeros(2, 4, dtype=torch.long)
    reporter = made("layered")
    stopped = {
        "train": Stopped(nothing, exit_KN),
        "easy": Stopped(nothing, nothing),
        "disputed": Stopped(nothing, exit_KN + 0),
    }
    bill = QUICK(
        reporter,
        whole(reporter, (1, 2, 1)),
        activations(reporter, 4),
        coins(4).double(),
        stopped,
        (0.0,),
    )
    found = {name: item.value_K.tolist() for name, item in bill.items() if name.startswith("steps")}
    assert found == {"steps": [1.5, 2.5], "steps_easy": [1.0, 1.0], "steps_disputed": [1.5, 2.5]}


def test_a_stacks_bills_are_those_of_each_head_in_order():
    z_NLD, human_N = normal(50, 2, 3), coins(50)
    one = {"weight_1D": normal(2, 3, 2, 1, 3), "bias": torch.zeros(2, 3, 2)}
    for place in range(12):
        one["weight_1D"].view(12, 3)[place, place % 4 :] = 0
    bill = QUICK(Linear(1, 3), one, z_NLD, human_N, nowhere(12, 50), (0.0,))
    assert bill["edges"].value_K.tolist() == [place % 4 for place in range(12)]
    for place in range(12):
        alone = {"weight_1D": one["weight_1D"].view(12, 1, 3)[place], "bias": torch.tensor(0.0)}
        code = two_part(Linear(1, 3), alone, z_NLD[:, [place // 6]], human_N)
        assert bill["two_part_bits"].value_K[place].item() == pytest.approx(
            code.total.item(), abs=1e-3
        )
        assert bill["model_bits"].value_K[place].item() == pytest.approx(
            code.model.item(), abs=1e-3
        )


@pytest.mark.parametrize(
    "reporter", [Linear(1, 3), Layered(2, 3)], ids=["a group a level", "one group"]
)
def test_heads_that_are_billed_in_parts_have_the_same_bills_in_the_same_order(
    reporter, monkeypatch
):
    z_NLD, human_N, sizes = normal(120, 2, 3), coins(120), []
    groups = 2 if reporter.reads == "one_level" else 1
    weights, n = whole(reporter, (groups, 3, 2)), groups * 6
    kinds = "train", "easy"
    stopped = {
        kind: Stopped(*(torch.arange(n * 120).view(n, 120) * (i + 3) % 7 % 2 for i in range(2)))
        for kind in kinds
    }
    given = (
        reporter,
        weights,
        z_NLD,
        human_N,
        stopped if groups == 1 else {kind: nowhere(n, 120)["train"] for kind in kinds},
        (0.0, 3.0),
        (0.1, 0.2),
    )
    meter = Meter(prequential=True, variational=True, explanation=False, learning_coefficient=False)
    together = meter(*given)
    monkeypatch.setattr(
        "bill.bill.at_once",
        lambda n, run, room: sizes.append((n, room)) or min(n, 4 if room < math.inf else n),
    )
    apart = meter(*given, room=1e6)
    assert sizes[0] == (6, 1e6) and [n for n, _ in sizes[1:]] == [4, 2]
    assert list(apart) == list(together)
    for name, item in together.items():
        if item.repeats:
            torch.testing.assert_close(
                apart[name].value_K, item.value_K, rtol=1e-5, atol=1e-4, equal_nan=True
            )


@pytest.mark.parametrize("reporter", REPORTERS)
def test_every_unit_of_every_reporter_is_a_number_or_not_there_and_says_how_it_was_measured(
    reporter,
):
    head, n, grid = made(reporter), 80, (1, 2, 2)
    z_NLD = activations(head, n)
    full = dataclasses.replace(build(node("bill/full.yaml"), "bill"), explanation=False)
    bill = full(
        head, whole(head, grid), z_NLD, coins(n).double(), nowhere(4, n), tuple(range(LEVELS))
    )
    for name, item in bill.items():
        assert item.value_K.shape == (4,), name
        assert ";" in item.how, name
        assert item.value_K.isfinite().all() or item.value_K.isnan().all(), name
    assert {
        "prequential_bits",
        "variational_bits",
        "two_part_bits",
        "edges",
        "flops",
        "steps",
    } <= bill.keys()


@pytest.mark.parametrize(
    "make", [Linear, lambda n_levels, width: MLP(n_levels, width, hidden=8)], ids=["linear", "mlp"]
)
def test_trained_heads_pay_for_random_labels_in_full_and_save_on_a_concept(make, trainer, tmp_path):
    concept = planted(2000, inputs=2, width=16)
    random = concept._replace(human_N=coins(2000, seed=5))

    def billed(examples: Examples) -> Bill:
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
        meter = dataclasses.replace(QUICK, prequential=True, variational=True)
        return meter(
            heads.reporter, heads.weights, z_NLD, examples.human_N, nowhere(3, 2000), (0.0,)
        )

    paid, saved = billed(random), billed(concept)
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
        QUICK(Linear(1, 3), weights, normal(4, 1, 3), coins(4), nowhere(2, 4), (0.0,))
