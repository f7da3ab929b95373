"""The values that a number of a config may have. They stand in the annotation of the argument:

def __init__(self, hidden: Count, scale: Positive): ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """A range of numbers; infinity is in none.

    Args:
        least: the smallest number in it.
        most: the largest.
        above: a bound that is not in it, below it.
        below: a bound that is not in it, above it.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def describe_outside(self, number: float) -> str | None:
        """Returns what is wrong with a number and the cure; None for a number in the range.

        >>> Range(1, 9).describe_outside(0)
        '0 is too small. Use 1 or more.'
        """
        if number < self.least:
            return f"{number} is too small. Use {self.least} or more."
        if number <= self.above:
            return f"{number} is too small. Use a number above {self.above}."
        if number > self.most:
            return f"{number} is too large. Use {self.most} at most."
        if number >= self.below:
            return f"{number} is too large. Use a number below {self.below}."
        return None


Count = Annotated[int, Range(1, 1_000_000)]
Episodes = Annotated[int, Range(1, 10_000_000)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Positive = Annotated[float, Range(above=0, most=1_000_000_000)]
NotNegative = Annotated[float, Range(0, 1_000_000_000)]
Share = Annotated[float, Range(0, 1)]
InnerShare = Annotated[float, Range(above=0, below=1)]
LearningRate = Annotated[float, Range(above=0, most=1)]
LogAlpha = Annotated[float, Range(-5, 10)]
"""Of a hard-concrete gate at the start: a gate outside this range hardly ever changes."""
