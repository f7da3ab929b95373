"""Twins among rows: two rows of which X alone, or H alone, differs."""

import numpy as np
import pandas as pd
import pytest

from worlds.table_twins import find_named_twins, find_twins_by_keys

COLUMNS = ["text", "concept", "human", "name"]
ROWS = [
    ("seen", True, True, "a"),
    ("hidden", False, True, "a"),
    ("unseen", True, False, "a"),
    ("elsewhere", False, True, "b"),
    ("of no pair", False, True, ""),
]
EXPECTED = {"concept": [("seen", "hidden")], "human": [("seen", "unseen")]}


def find(rows: list[tuple]) -> dict[str, list[tuple[str, str]]]:
    """Returns the texts of the twins among rows."""
    table = pd.DataFrame(rows, columns=COLUMNS)
    answers = (table[name].to_numpy(bool) for name in ("concept", "human"))
    twins = find_named_twins(table["name"], *answers, table["text"])
    texts = table["text"].to_numpy()
    return {flips: [tuple(texts[pair]) for pair in pair_P2] for flips, pair_P2 in twins.items()}


def test_the_second_of_a_pair_differs_in_one_alone_and_pairs_begin_where_x_is_h():
    assert find(ROWS) == EXPECTED


def test_a_row_that_stands_twice_makes_no_pair_twice():
    assert find([*ROWS, *ROWS]) == EXPECTED


def test_no_text_is_its_own_twin():
    twice = [("seen", True, True, "a"), ("seen", True, False, "a")]
    assert find(twice) == {"concept": [], "human": []}


@pytest.mark.parametrize("repeats", [1, 2])
def test_pairs_by_keys_are_found_once_and_begin_in_the_file(repeats):
    """The plain rows are the file; a row with a "not" has H of its plain row."""
    plain = [("1 > 0", True, True, "1", "0"), ("1 > 2", False, False, "1", "2")]
    negated = [("not 1 > 0", False, True, "1", "0"), ("not 1 > 2", True, False, "1", "2")]
    rows = (plain + negated) * repeats
    table = pd.DataFrame(rows, columns=["text", "concept", "human", "a", "b"])
    twins = find_twins_by_keys(
        table[["a", "b"]],
        table["a"],
        ~table["text"].str.startswith("not").to_numpy(),
        table["concept"].to_numpy(),
        table["human"].to_numpy(),
        table["text"],
    )
    texts = table["text"].to_numpy()
    assert texts[twins["concept"]].tolist() == [["1 > 0", "not 1 > 0"], ["1 > 2", "not 1 > 2"]]
    assert texts[twins["human"]].tolist() == [["1 > 0", "not 1 > 2"], ["1 > 2", "not 1 > 0"]]


def test_a_large_group_is_paired_in_little_memory():
    """Two thousand rows, of which one has a partner, are four million pairs."""
    n = 2000
    concept_N, human_N = np.ones(n, bool), np.ones(n, bool)
    concept_N[-1] = False
    texts = pd.Series([f"row {i}" for i in range(n)])
    twins = find_named_twins(pd.Series(["a"] * n), concept_N, human_N, texts)
    assert len(twins["concept"]) == n - 1 and not len(twins["human"])
