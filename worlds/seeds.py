"""Numbers that are added to a run's seed, so that episodes for different uses differ."""

from __future__ import annotations

LEARNING_OFFSET, JUDGING_AGAIN_OFFSET, PLANTING_OFFSET = 1_000_003, 3_000_003, 4_000_003
"""The first is added to the seed of episodes that a prior learns from, so that they are not those
that judge; the second to the seed of episodes that judge again; the third to the seed of episodes
on which planted heads are trained; twice the first to the seed of episodes that watch a fit.
"""
