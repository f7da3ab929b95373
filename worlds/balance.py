"""Draw rows until every cell of concept × family has its share, so that rare cells are judged as
well as common ones.

N: rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from console.errors import UserError

Rows = TypeVar("Rows", bound=tuple[Any, ...])
Cell = tuple[bool, str]
"""A value of the concept and a family."""
MOST_BATCHES = 500
RARE = 2e-4
"""A cell with a smaller share of the first batch counts as impossible."""


class Batch(NamedTuple):
    """Candidate rows, with the cell of each and whether it may be chosen."""

    rows: Any
    """A named tuple of arrays, which may contain others."""
    concept_N: NDArray[np.bool_]
    family_N: NDArray[np.str_]
    wanted_N: NDArray[np.bool_]


def draw_balanced(
    draw_batch: Callable[[], Batch], n: int, what: str, rng: np.random.Generator
) -> Any:
    """Returns n rows in random order, balanced over the concept and, within each of its values,
    over the families.

    Args:
        draw_batch: returns another batch each time.
        what: the kind of episodes, for messages.

    Raises:
        UserError: a cell lacks rows after 500 batches.
    """
    chosen: list[Any] = []
    missing: dict[Cell, int] | None = None
    for _ in range(MOST_BATCHES):
        batch = draw_batch()
        if missing is None:
            missing = _divide_among_cells(batch, n, what)
        for cell, count in missing.items():
            in_cell_N = (batch.concept_N == cell[0]) & (batch.family_N == cell[1])
            rows = np.flatnonzero(batch.wanted_N & in_cell_N)[:count]
            missing[cell] -= len(rows)
            chosen.append(take_rows(batch.rows, rows))
        if not any(missing.values()):
            return take_rows(join_rows(chosen), rng.permutation(n))
    n_drawn = n - sum((missing or {}).values())
    raise UserError(
        f"world: it made only {n_drawn} of {n} {what} episodes. Use fewer, or make them more"
        " common."
    )


def take_rows(rows: Rows, which: NDArray[np.intp]) -> Rows:
    """Returns the rows at the indices, from every array of a nested named tuple."""
    parts = [take_rows(part, which) if isinstance(part, tuple) else part[which] for part in rows]
    return type(rows)(*parts)


def join_rows(batches: list[Rows]) -> Rows:
    """Returns the rows of several nested named tuples, one after the other."""
    fields = []
    for parts in zip(*batches, strict=True):
        is_nested = isinstance(parts[0], tuple)
        fields.append(join_rows(list(parts)) if is_nested else np.concatenate(parts))
    return type(batches[0])(*fields)


def _divide_among_cells(batch: Batch, n: int, what: str) -> dict[Cell, int]:
    """Returns the number of rows of each possible cell, which differ by at most one."""
    cell_N2 = np.stack([batch.concept_N, batch.family_N], axis=1)
    cells, counts = np.unique(cell_N2[batch.wanted_N], axis=0, return_counts=True)
    is_possible = counts >= RARE * len(batch.wanted_N)
    possible = [(concept == "True", str(family)) for concept, family in cells[is_possible]]
    if not possible:
        raise UserError(
            f"world: it makes no {what} episodes. Choose another human, or let more episodes be"
            " tampered with."
        )
    concepts = sorted({concept for concept, _ in possible})
    counts_of: dict[Cell, int] = {}
    for concept, n_concept in zip(concepts, _divide(n, len(concepts)), strict=True):
        cells_of_concept = [cell for cell in possible if cell[0] == concept]
        shares = _divide(n_concept, len(cells_of_concept))
        counts_of |= dict(zip(cells_of_concept, shares, strict=True))
    return counts_of


def _divide(n: int, parts: int) -> list[int]:
    """Divides n into whole numbers that differ by at most one.

    >>> _divide(7, 3)
    [3, 2, 2]
    """
    return [n // parts + (i < n % parts) for i in range(parts)]
