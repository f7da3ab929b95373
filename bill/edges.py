"""Edges: the size of the circuit that a finished head is."""

from __future__ import annotations

import torch

from bill.finished import FinishedHeads
from bill.live_edges import count_edges
from bill.measure import Item, Measure
from reporters.stack import map_over_heads


class Edges(Measure):
    """edges = weights that are not 0 and lie on a live path; NaN for a reporter without weights."""

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        if heads.live_edges:
            edges_K = map_over_heads(count_edges)(heads.live_edges).flatten()
        else:
            edges_K = torch.full((heads.count,), torch.nan)
        how = (
            "edges; weights that are not 0 and lie on a live path, by gradients on the training"
            " episodes"
        )
        return {"edges": Item(edges_K, how)}
