"""The contract of a measure: what finished heads cost, in one unit or a few that belong together.

K: heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from bill.finished import FinishedHeads


class Item(NamedTuple):
    """One unit of a bill, for each of K heads."""

    value_K: Tensor
    """NaN where a head has no such thing."""
    how: str
    """The unit, a semicolon, and how the value is measured."""
    repeats: bool = True
    """Whether the same heads give the same value again; the values of a clock do not."""


class Measure(ABC):
    """Measures finished heads, whichever prior they were trained under.

    A measure is one file in this folder and one line under `measures` in a YAML of configs/bill.
    Its constructor takes the plain values that the YAML holds. A head's value does not depend on
    the other heads, except by rounding: a large stack is measured in parts.
    """

    @abstractmethod
    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        """Returns the items by name; a name is a column of heads.parquet.

        Values have shape (K,), in the order of the stack: group, then seed, then strength. A
        measure that does not apply to these heads returns no items.
        """

    # Not abstract, for most measures run on any number of episodes.
    def check(self, n_examples: int) -> None:  # noqa: B027
        """Raises UserError if the measure cannot run on n training episodes.

        A run calls it before it trains.
        """
