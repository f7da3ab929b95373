"""Choosing rows of a table, balanced over the concept and, as far as they go, over families.

N: rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def count_balanced(concept_N: NDArray[np.bool_]) -> int:
    """Returns the number of rows that can be chosen with both values of X equally often; all where
    X is the same in all.

    >>> count_balanced(np.array([True, False, True])), count_balanced(np.array([True, True]))
    (2, 2)
    """
    yes, no = int(concept_N.sum()), int((~concept_N).sum())
    return 2 * min(yes, no) or yes + no


def choose_balanced(
    concept_N: NDArray[np.bool_], family_N: NDArray[np.str_], n: int, rng: np.random.Generator
) -> Ints:
    """Returns n of the rows in random order: X balanced to within one row, and within each X the
    families as equal as they can be.
    """
    yes, no = np.flatnonzero(concept_N), np.flatnonzero(~concept_N)
    n_yes = n // 2
    n_yes = max(min(n_yes, len(yes)), n - len(no))
    chosen = [
        _choose_from_families(yes, family_N, n_yes, rng),
        _choose_from_families(no, family_N, n - n_yes, rng),
    ]
    return rng.permutation(np.concatenate(chosen))


def _choose_from_families(
    rows: Ints, family_N: NDArray[np.str_], n: int, rng: np.random.Generator
) -> Ints:
    """Returns n of the rows: the first of each family, then the second of each, and so on."""
    shuffled = rng.permutation(rows)
    turn = np.empty(len(rows), np.int64)
    for family in np.unique(family_N[shuffled]):
        in_family = family_N[shuffled] == family
        turn[in_family] = np.arange(in_family.sum())
    return shuffled[np.argsort(turn, kind="stable")[:n]]
