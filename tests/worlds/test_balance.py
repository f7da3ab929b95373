"""Balanced draws fill every possible cell evenly, leave impossible ones alone, and say when there
is nothing to draw.
"""

from typing import NamedTuple

import numpy as np
import pytest

from console.errors import UserError
from worlds.balance import Batch, balanced


class Rows(NamedTuple):
    value_N: np.ndarray


def batches(shares: dict[tuple[bool, str], float], wanted: bool = True, n: int = 10_000):
    """Endless batches whose rows fall into cells with these shares."""
    chance, cells = np.random.default_rng(0), list(shares)
    while True:
        drawn_N = chance.choice(len(cells), size=n, p=list(shares.values()))
        concept_N, family_N = (
            np.array([cell[0] for cell in cells])[drawn_N],
            np.array([cell[1] for cell in cells])[drawn_N],
        )
        yield Batch(Rows(drawn_N), concept_N, family_N, np.full(n, wanted))


def counts(shares, n):
    return np.bincount(
        balanced(batches(shares), n, "disputed", np.random.default_rng(1)).value_N,
        minlength=len(shares),
    )


def test_rare_and_common_cells_get_the_same_number():
    assert counts({(True, "a"): 0.90, (True, "b"): 0.05, (False, "a"): 0.05}, 400).tolist() == [
        100,
        100,
        200,
    ]


def test_odd_numbers_differ_by_one_at_most():
    found = counts({(True, "a"): 0.5, (False, "a"): 0.5}, 101)
    assert sorted(found.tolist()) == [50, 51]


def test_a_cell_that_hardly_ever_comes_up_counts_as_impossible():
    assert counts({(True, "a"): 0.49995, (True, "b"): 0.00005, (False, "a"): 0.5}, 100)[1] == 0


def test_rows_come_in_random_order():
    values_N = balanced(
        batches({(True, "a"): 0.5, (False, "a"): 0.5}), 1_000, "easy", np.random.default_rng(1)
    ).value_N
    assert abs(values_N[:500].mean() - 0.5) < 0.1


def test_a_world_without_such_episodes_is_said():
    with pytest.raises(UserError, match="it makes no disputed episodes"):
        balanced(
            batches({(True, "a"): 1.0}, wanted=False), 10, "disputed", np.random.default_rng(1)
        )


def test_a_world_with_too_few_of_them_is_said():
    with pytest.raises(UserError, match="of 90 disputed episodes came up"):
        balanced(
            iter([next(batches({(True, "a"): 0.5, (False, "a"): 0.5}, n=40))]),
            90,
            "disputed",
            np.random.default_rng(1),
        )
