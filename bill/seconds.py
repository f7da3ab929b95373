"""Seconds: how long the predictor and a finished head take, by the clock of this machine.

K: heads, N: episodes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from bill.finished import FinishedHeads
from bill.measure import Item, Measure
from console.ranges import Episodes
from reporters.stack import read_stack


@dataclass(frozen=True)
class Seconds(Measure):
    """seconds = predictor to the deepest level read + a head's share of the stack's time, for 1,000
    episodes. Applies where the predictor was timed.

    Args:
        episodes: training episodes on which the heads are timed, at most.
    """

    episodes: Episodes

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        if heads.seconds_by_level is None:
            return {}
        of_levels = torch.tensor(heads.seconds_by_level, dtype=torch.float64)
        predictor_K = of_levels[heads.stops["train"].level_KN].mean(dim=1)
        how = (
            "seconds for 1,000 episodes; by the clock of this machine, the predictor to the level"
            f" read, and one head's share of the time of {heads.count}"
        )
        return {"seconds": Item(predictor_K + self._time_head(heads), how, repeats=False)}

    @torch.no_grad()
    def _time_head(self, heads: FinishedHeads) -> float:
        """Returns one head's share of the seconds that the stack takes for 1,000 episodes."""
        z_GNRD = heads.z_GNRD[:, : self.episodes]
        start = time.perf_counter()
        read_stack(heads.reporter, heads.weights, z_GNRD)
        seconds = time.perf_counter() - start
        return seconds / heads.count * 1000 / z_GNRD.shape[1]
