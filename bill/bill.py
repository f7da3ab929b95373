"""The bill: what finished heads cost, in every unit that is measured.

K = G · S · M heads. G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch

from bill.finished import FinishedHeads, check_finished
from bill.measure import Item, Measure
from compute.memory import choose_part_size
from console.errors import UserError
from reporters.reporter import Reporter

FITTING: WeakKeyDictionary[Reporter, dict[object, int]] = WeakKeyDictionary()
"""How many heads of a reporter fit into memory at once, by all on which that depends. The heads of
each predictor of a run have the same reporter.
"""

Bill = Mapping[str, Item]
"""Items by name."""


@dataclass(frozen=True)
class Meter:
    """Measures finished heads in every unit.

    Args:
        measures: by name, in the order of the columns of heads.parquet; null leaves one out.
    """

    measures: dict[str, Measure | None]

    def check(self, n_examples: int) -> None:
        """Raises UserError if a measure cannot run on n training episodes."""
        for measure in self.measures.values():
            if measure:
                measure.check(n_examples)

    def __call__(self, heads: FinishedHeads, memory_budget: float = math.inf) -> Bill:
        """Returns the bill of a stack of finished heads.

        Heads that are the same at every strength are measured once.

        Args:
            memory_budget: bytes that the measures may take; a stack that needs more is measured in
                parts.

        Raises:
            UserError: heads that are not finished; two measures of one name.
        """
        check_finished(heads)
        groups, _, strengths = heads.grid
        if strengths > 1 and heads.same_at_every_strength:
            bill = self(heads.select(slice(None, None, strengths)), memory_budget)
            return _repeat(bill, strengths)
        size = _count_fitting(heads, memory_budget)
        return _join([self._measure(part) for part in heads.split(size)], groups)

    def _measure(self, heads: FinishedHeads) -> Bill:
        bill: dict[str, Item] = {}
        for name, measure in self.measures.items():
            items = measure.measure(heads) if measure else {}
            for column, item in items.items():
                if column in bill:
                    raise UserError(
                        f"bill.measures.{name}: another measure also gives {column}. Rename one of"
                        f" the two, or leave one out by bill.measures.{name}=null."
                    )
                assert item.value_K.shape == (heads.count,), f"{name} gives {column} another shape"
                bill[column] = item
        return bill


def _count_fitting(heads: FinishedHeads, memory_budget: float) -> int:
    """Returns how many heads of every group fit into the memory budget at once.

    Live edges and two-part codes decide: of all that is measured they take the most memory. That
    does not depend on the values of the weights, and is counted once for all heads of these sizes.
    """
    _, seeds, strengths = heads.grid
    known = FITTING.setdefault(heads.reporter, {})
    key = (heads.grid, heads.z_NLD.shape, memory_budget)
    if key in known:
        return known[key]
    without_stops = replace(heads, stops={})

    def compute_shared(n: int) -> object:
        part = without_stops.select(slice(n))
        return part.live_edges, part.code

    known[key] = choose_part_size(seeds * strengths, compute_shared, memory_budget)
    return known[key]


def _repeat(bill: Bill, strengths: int) -> Bill:
    """Returns the bill of heads at every strength from their bill at one."""
    repeated = {}
    for name, item in bill.items():
        value_K = item.value_K.repeat_interleave(strengths)
        repeated[name] = item._replace(value_K=value_K)
    return repeated


def _join(bills: Sequence[Bill], groups: int) -> Bill:
    """Returns the bill of all heads from those of the parts; a part holds heads of every group."""
    joined = {}
    for name, item in bills[0].items():
        parts_GK = [bill[name].value_K.view(groups, -1) for bill in bills]
        joined[name] = item._replace(value_K=torch.cat(parts_GK, dim=1).flatten())
    return joined
