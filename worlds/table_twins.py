"""Finding twins among the rows of a table: two rows of which only X, or only H, differs.

N: rows, P: pairs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Pairs = NDArray[np.int64]
"""Shape (P, 2): the rows of each pair; X = H in the first, and not in the second."""
TwinPairs = dict[Literal["concept", "human"], Pairs]


def find_named_twins(
    names: pd.Series, concept_N: Bools, human_N: Bools, texts: pd.Series
) -> TwinPairs:
    """Returns the pairs of rows with the same name; rows with an empty one have none."""
    candidates = _pair_within(names[names != ""], concept_N == human_N)
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
    agrees_N = concept_N == human_N
    same = _pair_within(_join(keys, groups), agrees_N)
    changed = [np.empty((0, 2), np.int64)]
    if keys.shape[1] > 1:
        for left_out in keys.columns:
            changed.append(_pair_within(_join(keys.drop(columns=left_out), groups), agrees_N))
    one_changed = np.concatenate(changed)
    return {
        "concept": _keep(_begin_in(same, is_source_N), "concept", concept_N, human_N, texts),
        "human": _keep(_begin_in(one_changed, is_source_N), "human", concept_N, human_N, texts),
    }


def _join(keys: pd.DataFrame, groups: pd.Series) -> pd.Series:
    return groups + "\0" + keys.agg("\0".join, axis=1)


def _pair_within(names: pd.Series, agrees_N: Bools) -> Pairs:
    """Returns all pairs of a row with X = H and another with the same name and X ≠ H."""
    pairs = [np.empty((0, 2), np.int64)]
    for named in names.groupby(names).groups.values():
        rows = np.asarray(named, np.int64)
        first, second = rows[agrees_N[rows]], rows[~agrees_N[rows]]
        pairs.append(np.stack([first.repeat(len(second)), np.tile(second, len(first))], axis=1))
    return np.concatenate(pairs)


def _begin_in(pair_P2: Pairs, is_source_N: Bools) -> Pairs:
    """Returns the pairs that go from a row of the file to a row of another."""
    first, second = pair_P2.T
    return pair_P2[is_source_N[first] & ~is_source_N[second]]


def _keep(
    pair_P2: Pairs,
    flips: Literal["concept", "human"],
    concept_N: Bools,
    human_N: Bools,
    texts: pd.Series,
) -> Pairs:
    """Returns the pairs of two texts of which the second has only one flipped, each once."""
    pair_P2 = np.unique(pair_P2, axis=0)
    first, second = pair_P2.T
    concept_flips = concept_N[first] != concept_N[second]
    human_flips = human_N[first] != human_N[second]
    only_one = concept_flips & ~human_flips if flips == "concept" else human_flips & ~concept_flips
    text_N = texts.to_numpy()
    kept = pair_P2[only_one & (text_N[first] != text_N[second])]
    repeated = pd.DataFrame(text_N[kept]).duplicated().to_numpy()
    return kept[~repeated]
