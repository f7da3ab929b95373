"""The columns on how near heads are to their optimum: planted totals of two levels, of which ties
and gaps are known by hand.
"""

import math

import pytest
import torch

from reporters.linear import Linear
from training.heads import Heads
from training.settling import Settling, assess
from verdict.results import build_settling_rows

FOLLOWS_K = [0.1, 0.5, 0.9, 0.2, 0.3, 0.4]
TIES = ("tied", "tied_follows_low", "tied_follows_high")


def plant(settling: Settling, levels: int = 2, seeds: int = 3) -> Heads:
    """Returns heads of one strength that are known to be so near their optimum."""
    weights = {
        name: value.detach().expand(levels, seeds, 1, *value.shape)
        for name, value in Linear(1, 4).named_parameters()
    }
    constants = torch.zeros(levels, 4), torch.ones(levels, 4)
    places = tuple(range(levels)), tuple(range(seeds)), (1.0,)
    nll_K = torch.zeros(levels * seeds)
    return Heads(Linear(1, 4), weights, *constants, *places, nll_K, settling)


def settle(total: list[list[float]], gain: float = 0.001, restarts: bool = True) -> Settling:
    total_GSM = torch.tensor(total).unsqueeze(2)
    return assess("lbfgs", 0.3, total_GSM, torch.full_like(total_GSM, gain), restarts)


def test_all_heads_of_a_level_have_the_ties_of_their_level():
    rows = build_settling_rows(plant(settle([[7.0, 7.5, 9.0], [3.0, 5.0, 3.0]])), FOLLOWS_K)
    assert [row["tied"] for row in rows] == [2] * 6
    assert [row["tied_follows_low"] for row in rows] == pytest.approx([0.1] * 3 + [0.2] * 3)
    assert [row["tied_follows_high"] for row in rows] == pytest.approx([0.5] * 3 + [0.4] * 3)
    assert [row["settled"] for row in rows] == [True, False, False, True, False, True]
    gaps = [0.001, 0.501, 2.001, 0.001, 2.001, 0.001]
    assert [row["gap"] for row in rows] == pytest.approx(gaps, abs=1e-5)
    assert [row["objective"] for row in rows] == [7.0, 7.5, 9.0, 3.0, 5.0, 3.0]
    assert {row["optimizer"] for row in rows} == {"lbfgs"}
    assert {row["halting_bonus"] for row in rows} == {0.3}


def check_without_ties(heads: Heads) -> None:
    for row in build_settling_rows(heads, FOLLOWS_K[: len(heads.table)]):
        assert row["tied"] is None
        assert math.isnan(row["tied_follows_low"])
        assert math.isnan(row["tied_follows_high"])


def test_heads_without_restarts_have_no_ties():
    """One optimum for all seeds, or one seed."""
    check_without_ties(plant(settle([[7.0] * 3, [3.0] * 3], restarts=False)))
    check_without_ties(plant(settle([[7.0], [3.0]]), seeds=1))


def test_a_level_without_a_known_total_has_no_ties_and_leaves_those_of_others():
    unknown = [math.nan] * 3
    rows = build_settling_rows(plant(settle([unknown, [3.0, 3.0, 9.0]])), FOLLOWS_K)
    assert [row["tied"] for row in rows] == [None] * 3 + [2] * 3
    assert all(math.isnan(row["gap"]) for row in rows[:3])
    assert [row["settled"] for row in rows] == [False] * 3 + [True, True, False]


def test_every_value_is_a_plain_one():
    for row in build_settling_rows(plant(settle([[7.0] * 3, [3.0] * 3])), FOLLOWS_K):
        assert [type(row[name]) for name in TIES] == [int, float, float]
        assert [type(row[name]) for name in ("gap", "settled")] == [float, bool]
