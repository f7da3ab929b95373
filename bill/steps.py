"""Steps: where finished heads stop, on every kind of episodes.

K: heads, N: episodes.
"""

from __future__ import annotations

from bill.finished import FinishedHeads
from bill.measure import Item, Measure


class Steps(Measure):
    """steps = the exit where a head stops, from 1; level_read = the deepest level read until then.

    Both are means: over the training episodes, and over each other kind under its own name.
    """

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        items = {}
        for kind, stops in heads.stops.items():
            suffix = "" if kind == "train" else f"_{kind}"
            level_K = stops.level_KN.double().mean(dim=1)
            step_K = stops.exit_KN.double().mean(dim=1) + 1
            how_level = (
                f"levels; deepest level of the predictor that is read, mean, {kind} episodes"
            )
            how_steps = f"steps; exit where the head stops, mean, {kind} episodes"
            items[f"level_read{suffix}"] = Item(level_K, how_level)
            items[f"steps{suffix}"] = Item(step_K, how_steps)
        return items
