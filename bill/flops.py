"""FLOPs: the compute that a finished head and the predictor below it spend on an episode.

K: heads, N: episodes, T: exits.
"""

from __future__ import annotations

import torch

from bill.finished import FinishedHeads
from bill.live_edges import count_live_units
from bill.measure import Item, Measure
from reporters.reporter import count_units
from reporters.stack import map_over_heads


class Flops(Measure):
    """flops = predictor to the deepest level read + head until its exit, mean over the training
    episodes. Dead units of the head do not count.
    """

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        sizes = dict(count_units(heads.reporter, heads.z_GNRD.shape[2]))
        if heads.live_edges:
            for letter, size_GSM in map_over_heads(count_live_units)(heads.live_edges).items():
                sizes[letter] = size_GSM.flatten()
        of_exits = []
        for flops in heads.reporter.flops(sizes):
            of_exits.append(torch.as_tensor(flops, dtype=torch.float64).expand(heads.count))
        own_KT = torch.stack(of_exits).T
        of_levels = torch.tensor(heads.flops_by_level, dtype=torch.float64)
        level_KN, exit_KN = heads.stops["train"]
        flops_KN = of_levels[level_KN] + own_KT.gather(1, exit_KN)
        how = (
            "FLOPs an episode; the predictor to the deepest level read, and the head without its"
            " dead units"
        )
        return {"flops": Item(flops_KN.mean(dim=1), how)}
