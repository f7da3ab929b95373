"""Cut episodes into parts, no cluster in two of them."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset


def parts(episodes: Dataset, sizes: Sequence[int]) -> list[Dataset]:
    """Returns the episodes in parts of about these sizes: a cut moves on to where the next cluster
    begins.

    Episodes of one cluster are brought together first; apart from that their order stays.
    """
    _, first, cluster_N = np.unique(
        np.asarray(episodes["cluster"]), return_index=True, return_inverse=True
    )
    order_N = np.argsort(first[cluster_N], kind="stable")
    begins = [*np.flatnonzero(np.diff(first[cluster_N][order_N], prepend=-1)), len(order_N)]
    cuts = [
        int(begins[np.searchsorted(begins, min(size, len(order_N)))]) for size in np.cumsum(sizes)
    ]
    return [
        episodes.select(order_N[start:end]) for start, end in zip([0, *cuts], cuts, strict=False)
    ]
