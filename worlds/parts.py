"""Split episodes into parts without splitting a cluster.

N: episodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset


def split_by_cluster(episodes: Dataset, sizes: Sequence[int]) -> list[Dataset]:
    """Returns the episodes in parts of about these sizes: a cut within a cluster moves to its end.

    Episodes of one cluster are brought together first; apart from that their order stays.
    """
    _, first, cluster_N = np.unique(
        np.asarray(episodes["cluster"]), return_index=True, return_inverse=True
    )
    first_row_N = first[cluster_N]  # of the episode's cluster
    order_N = np.argsort(first_row_N, kind="stable")
    starts = np.flatnonzero(np.diff(first_row_N[order_N], prepend=-1))
    allowed_cuts = [*starts, len(order_N)]
    pieces = []
    start = 0
    for size in np.cumsum(sizes):
        end = int(allowed_cuts[np.searchsorted(allowed_cuts, min(size, len(order_N)))])
        pieces.append(episodes.select(order_N[start:end]))
        start = end
    return pieces
