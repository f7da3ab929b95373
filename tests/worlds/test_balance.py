"""Balanced draws fill every possible cell evenly, leave impossible ones out, and refuse a world
that has too few rows.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from console.errors import UserError
from worlds.balance import Batch, Cell, draw_balanced, join_rows, take_rows


class Rows(NamedTuple):
    cell_N: np.ndarray


class Pair(NamedTuple):
    rows: Rows
    number_N: np.ndarray


def make_source(
    shares: dict[Cell, float], wanted: bool = True, n: int = 10_000
) -> Callable[[], Batch]:
    """Returns a function that draws batches whose rows fall into cells with these shares."""
    return partial(draw_batch, shares, wanted, n, np.random.default_rng(0))


def draw_batch(shares: dict[Cell, float], wanted: bool, n: int, rng: np.random.Generator) -> Batch:
    cell_N = rng.choice(len(shares), size=n, p=list(shares.values()))
    concept_N = np.array([concept for concept, _ in shares])[cell_N]
    family_N = np.array([family for _, family in shares])[cell_N]
    return Batch(Rows(cell_N), concept_N, family_N, np.full(n, wanted))


def draw_cells(shares: dict[Cell, float], n: int) -> np.ndarray:
    """Returns the cells of n balanced rows."""
    source = make_source(shares)
    return draw_balanced(source, n, "disputed", np.random.default_rng(1)).cell_N


def test_rare_and_common_cells_get_the_same_number():
    cell_N = draw_cells({(True, "a"): 0.90, (True, "b"): 0.05, (False, "a"): 0.05}, 400)
    assert np.bincount(cell_N).tolist() == [100, 100, 200]


def test_odd_numbers_differ_by_one_at_most():
    cell_N = draw_cells({(True, "a"): 0.5, (False, "a"): 0.5}, 101)
    assert sorted(np.bincount(cell_N).tolist()) == [50, 51]


def test_a_very_rare_cell_counts_as_impossible():
    cell_N = draw_cells({(True, "a"): 0.49995, (True, "b"): 0.00005, (False, "a"): 0.5}, 100)
    assert set(cell_N.tolist()) == {0, 2}


def test_rows_are_in_random_order():
    cell_N = draw_cells({(True, "a"): 0.5, (False, "a"): 0.5}, 1_000)
    assert abs(cell_N[:500].mean() - 0.5) < 0.1


def test_a_world_without_such_episodes_is_refused():
    source = make_source({(True, "a"): 1.0}, wanted=False)
    with pytest.raises(UserError, match="it makes no disputed episodes"):
        draw_balanced(source, 10, "disputed", np.random.default_rng(1))


def test_a_world_with_too_few_episodes_is_refused(monkeypatch):
    monkeypatch.setattr("worlds.balance.MOST_BATCHES", 1)
    source = make_source({(True, "a"): 0.5, (False, "a"): 0.5}, n=40)
    with pytest.raises(UserError, match=r"it made only \d+ of 90 disputed episodes\. Use fewer"):
        draw_balanced(source, 90, "disputed", np.random.default_rng(1))


def test_rows_of_nested_named_tuples_are_taken_and_joined():
    pair = Pair(Rows(np.array([0, 1, 2])), np.array([5, 6, 7]))
    taken = take_rows(pair, np.array([2, 0]))
    assert (taken.rows.cell_N.tolist(), taken.number_N.tolist()) == ([2, 0], [7, 5])
    joined = join_rows([taken, pair])
    assert joined.rows.cell_N.tolist() == [2, 0, 0, 1, 2]
    assert joined.number_N.tolist() == [7, 5, 5, 6, 7]
