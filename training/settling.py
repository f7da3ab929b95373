"""How near heads are to their optimum, and which have settled.

G: groups of levels, S: seeds, M: strengths, K: heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SETTLED = 0.01
"""Nats of the whole training set that training a head further may bring, for it to have settled."""
APART = 0.1
"""Nats of the whole training set by which a head may be worse than the best restart, for it to have
settled.
"""


class Settling(NamedTuple):
    """How near K heads are to their optimum."""

    optimizer: str
    """What found them."""
    halting_bonus: float
    """That training began with; NaN for heads that cannot stop early."""
    total_K: Tensor
    """Nats of the whole training set: errors and charge; NaN where it is not known."""
    gap_K: Tensor
    """Nats of the whole training set by which each is above the least that is known for its level
    and strength; NaN where it is not known.
    """
    settled_K: Tensor
    """Whether each has settled."""
    restarts: bool
    """Whether the seeds of a level and strength were trained each by itself."""

    def split(self, parts: int) -> list[Settling]:
        """Returns the heads in equal parts, in order."""
        totals, gaps = self.total_K.chunk(parts), self.gap_K.chunk(parts)
        settled = self.settled_K.chunk(parts)
        return [
            self._replace(total_K=totals[i], gap_K=gaps[i], settled_K=settled[i])
            for i in range(parts)
        ]


def join_settling(parts: Sequence[Settling]) -> Settling:
    """Returns the heads of several parts, found in the same way, one after the other."""
    return parts[0]._replace(
        total_K=torch.cat([part.total_K for part in parts]),
        gap_K=torch.cat([part.gap_K for part in parts]),
        settled_K=torch.cat([part.settled_K for part in parts]),
    )


def assess(
    optimizer: str,
    halting_bonus: float,
    total_GSM: Tensor,
    gain_GSM: Tensor,
    restarts: bool,
) -> Settling:
    """Returns how near heads are to their optimum. The seeds of a level and strength are restarts:
    they have the same objective, so the best of them shows what the others missed.

    >>> total_GSM = torch.tensor([5.0, 5.05, 9.0, 5.3]).view(1, 4, 1)
    >>> gain_GSM = torch.tensor([0.001, 0.001, 0.001, 0.3]).view(1, 4, 1)
    >>> found = assess("lbfgs", 0.3, total_GSM, gain_GSM, True)
    >>> found.settled_K
    tensor([ True,  True, False, False])

    Args:
        total_GSM: errors and charge, in nats of the whole training set; NaN where it is not known.
        gain_GSM: what training each head further would bring; NaN where it is not known.
        restarts: whether the seeds were trained each by itself.
    """
    gap_GSM = gain_GSM
    if restarts and total_GSM.isfinite().any():
        reached_GSM = (total_GSM - gain_GSM.nan_to_num(0.0)).nan_to_num(torch.inf)
        gap_GSM = total_GSM - reached_GSM.amin(dim=1, keepdim=True)
        gap_GSM = torch.where(gain_GSM.isnan(), torch.nan, gap_GSM)
    settled_GSM = (gain_GSM <= SETTLED) & (gap_GSM <= APART + gain_GSM)
    return Settling(
        optimizer,
        halting_bonus,
        total_GSM.flatten(),
        gap_GSM.flatten(),
        settled_GSM.flatten(),
        restarts,
    )
