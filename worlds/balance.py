"""Draw rows until every cell of concept × family holds its share: rare cells are as well judged as
common ones.

N: rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from console.errors import UserError

Rows = TypeVar("Rows", bound=tuple[Any, ...])
MOST_BATCHES = 500
RARE = 2e-4
"""A cell that holds less than this share of the first batch counts as impossible."""


class Batch(NamedTuple):
    """Candidate rows: a (nested) named tuple of arrays, and of each row its cell and whether it may
    be taken.
    """

    rows: Any
    concept_N: NDArray[np.bool_]
    family_N: NDArray[np.str_]
    wanted_N: NDArray[np.bool_]


def taken(rows: Rows, which: NDArray[np.intp]) -> Rows:
    """Returns the rows at the indices, in every array of a nested named tuple."""
    return type(rows)(
        *(taken(part, which) if isinstance(part, tuple) else part[which] for part in rows)
    )


def joined(parts: list[Rows]) -> Rows:
    """Returns the rows of several nested named tuples one after the other."""
    fields = zip(*parts, strict=True)
    return type(parts[0])(
        *(
            joined(list(field)) if isinstance(field[0], tuple) else np.concatenate(field)
            for field in fields
        )
    )


def balanced(batches: Iterator[Batch], n: int, what: str, chance: np.random.Generator) -> Any:
    """Returns n rows in random order, balanced over the concept and, within each of its values,
    over the families.

    Raises:
        UserError: after 500 batches some cell is still short.
    """
    chosen: list[Any] = []
    missing: dict[tuple[bool, str], int] | None = None
    for batch, _ in zip(batches, range(MOST_BATCHES), strict=False):
        if missing is None:
            missing = _shares(batch, n, what)
        for cell, count in missing.items():
            rows = np.flatnonzero(
                batch.wanted_N & (batch.concept_N == cell[0]) & (batch.family_N == cell[1])
            )[:count]
            missing[cell] -= len(rows)
            chosen.append(taken(batch.rows, rows))
        if not any(missing.values()):
            return taken(joined(chosen), chance.permutation(n))
    raise UserError(
        f"world: only {n - sum((missing or {}).values())} of {n} {what} episodes came up. Ask for"
        " fewer, or make them more common."
    )


def _shares(batch: Batch, n: int, what: str) -> dict[tuple[bool, str], int]:
    """Returns how many rows each possible cell is to give: as equal as whole numbers can be."""
    cells, counts = np.unique(
        np.stack([batch.concept_N, batch.family_N], axis=1)[batch.wanted_N],
        axis=0,
        return_counts=True,
    )
    possible = [
        (concept == "True", str(family))
        for (concept, family), k in zip(cells, counts, strict=True)
        if k >= RARE * len(batch.wanted_N)
    ]
    if not possible:
        raise UserError(
            f"world: it makes no {what} episodes. Choose another human, or let more episodes be"
            " tampered with."
        )
    concepts = sorted({concept for concept, _ in possible})
    shares: dict[tuple[bool, str], int] = {}
    for concept, n_concept in zip(concepts, _split(n, len(concepts)), strict=True):
        families = [cell for cell in possible if cell[0] == concept]
        shares |= dict(zip(families, _split(n_concept, len(families)), strict=True))
    return shares


def _split(n: int, parts: int) -> list[int]:
    """Splits n into whole numbers that differ by at most one. >>> _split(7, 3) -> [3, 2, 2]"""
    return [n // parts + (i < n % parts) for i in range(parts)]
