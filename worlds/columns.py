"""Columns that datasets of worlds have in common.

N: episodes, T: steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, List, Value
from numpy.typing import NDArray

JUDGING_COLUMNS = {
    "concept": Value("bool"),
    "human": Value("bool"),
    "tampered": Value("bool"),
    "family": Value("string"),
    "cluster": Value("int64"),
}
"""The columns, by name, that every dataset of a world has beside those that the predictor reads.

concept: the fact X. human: the answer H. tampered: whether somebody interfered. family: how
somebody interfered, or how else the human's view failed ("none" where nothing is amiss). cluster:
episodes with the same number belong together (copies, twins, statements on one city): they are
never split between training and judging, and intervals resample them as one.
"""


def make_symbol_type(names: Sequence[str], steps: int) -> List:
    """Returns the type of a column that holds one of these symbols at each step."""
    return List(ClassLabel(names=list(names)), length=steps)


def to_lists(values_NT: NDArray[Any]) -> pa.FixedSizeListArray:
    """Returns the symbols of N episodes of T steps, by their class, as a column of lists."""
    values = pa.array(values_NT.astype(np.int64).ravel())
    return pa.FixedSizeListArray.from_arrays(values, values_NT.shape[1])
