"""Finding twins among the rows of a table: two rows of which only X, or only H, differs.

N: rows, P: pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Pairs = NDArray[np.int64]
"""Shape (P, 2): the rows of each pair; X = H in the first."""
TwinPairs = dict[Literal["concept", "human"], Pairs]


def find_named_twins(
    names: pd.Series, concept_N: Bools, human_N: Bools, texts: pd.Series
) -> TwinPairs:
    """Returns the pairs of rows with the same name; rows with an empty one have none."""
    candidates = _pair_within(names[names != ""])
    return {
        "concept": _keep(candidates, "concept", concept_N, human_N, texts),
        "human": _keep(candidates, "human", concept_N, human_N, texts),
    }


def find_twins_by_keys(
    keys: pd.DataFrame,
    groups: pd.Series,
    is_source_N: Bools,
    concept_N: Bools,
    human_N: Bools,
    texts: pd.Series,
) -> TwinPairs:
    """Returns the pairs of a row of one file and a row of another, of one group. Where X flips,
    both have the same values in all key columns; where H flips, in all but one.

    Args:
        keys: the key columns.
        groups: the name of each row's group.
        is_source_N: the rows of the file in which H is looked up: they are the first of each pair.
    """
    same = _pair_within(_join(keys, groups))
    changed = []
    if keys.shape[1] > 1:
        for left_out in keys.columns:
            changed += _pair_within(_join(keys.drop(columns=left_out), groups))
    return {
        "concept": _keep(_begin_in(same, is_source_N), "concept", concept_N, human_N, texts),
        "human": _keep(_begin_in(changed, is_source_N), "human", concept_N, human_N, texts),
    }


def _join(keys: pd.DataFrame, groups: pd.Series) -> pd.Series:
    return groups + "\0" + keys.agg("\0".join, axis=1)


def _pair_within(names: pd.Series) -> list[tuple[int, int]]:
    """Returns all pairs of rows with the same name, each in both orders."""
    pairs: list[tuple[int, int]] = []
    for rows in names.groupby(names).groups.values():
        pairs += permutations(map(int, rows), 2)
    return pairs


def _begin_in(pairs: Iterable[tuple[int, int]], is_source_N: Bools) -> list[tuple[int, int]]:
    """Returns the pairs that go from a row of the file to a row of another."""
    return [(a, b) for a, b in pairs if is_source_N[a] and not is_source_N[b]]


def _keep(
    pairs: list[tuple[int, int]],
    flips: Literal["concept", "human"],
    concept_N: Bools,
    human_N: Bools,
    texts: pd.Series,
) -> Pairs:
    """Returns the pairs in whose first row X = H, and in whose second only one has flipped."""
    unique = sorted(set(pairs))
    pair_P2 = np.array(unique, np.int64).reshape(len(unique), 2)
    first, second = pair_P2.T
    concept_flips = concept_N[first] != concept_N[second]
    human_flips = human_N[first] != human_N[second]
    only_one = concept_flips & ~human_flips if flips == "concept" else human_flips & ~concept_flips
    text_N = texts.to_numpy()
    wanted = (concept_N[first] == human_N[first]) & only_one & (text_N[first] != text_N[second])
    return pair_P2[wanted]
