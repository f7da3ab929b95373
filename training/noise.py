"""Noise from a counter: a head draws the same numbers whatever company it is trained in.

S: seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN, MIX_1, MIX_2 = -7046029254386353131, -4658895280553007687, -7723592293110705685
"""The constants of SplitMix64 (Steele, Lea and Flood 2014), as signed 64-bit integers."""


def uniform(seed_S: Tensor, step: int, stream: int, shape: tuple[int, ...]) -> Tensor:
    """Returns float32 numbers uniform on (0, 1), shape (S, *shape): a function of seed, step, stream and place, and of nothing else.

    They are the midpoints of 2^23 equal steps: a finer grid would round its last one to 1, where a Gaussian made of it is infinite.
    """
    count = int(torch.Size(shape).numel())
    place = torch.arange(count, device=seed_S.device)
    key_S = _mixed(_mixed(_mixed(seed_S) + step) + stream)
    bits = _mixed(key_S[:, None] + place * GOLDEN)
    return (((bits >> 41) & 0x7FFFFF).float().add_(0.5) * 2.0**-23).view(len(seed_S), *shape)


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of 64-bit integers whose every output bit depends on every input bit."""
    bits = bits + GOLDEN
    bits = (bits ^ ((bits >> 30) & 0x3FFFFFFFF)) * MIX_1
    bits = (bits ^ ((bits >> 27) & 0x1FFFFFFFFF)) * MIX_2
    return bits ^ ((bits >> 31) & 0x1FFFFFFFF)
