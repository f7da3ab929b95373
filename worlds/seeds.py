"""Added to a run's seed, so that episodes for different ends are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


APART, AFRESH = 1_000_003, 3_000_003
"""Added to the seed of episodes that a prior learns from, so that they are not those that judge,
and to that of those that judge again; twice the first, to that of those that watch a fit.
"""
