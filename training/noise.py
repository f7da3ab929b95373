"""Noise from a counter: a head draws the same numbers whatever company it is trained in.

S: seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN, MIX_1, MIX_2 = -7046029254386353131, -4658895280553007687, -7723592293110705685
"""The constants of SplitMix64 (Steele, Lea and Flood 2014), as signed 64-bit integers."""


BLOCK = 2**18
"""Numbers that a processor works on at a time: they stay in its cache."""


def uniform(seed_S: Tensor, step: int, stream: int, shape: tuple[int, ...]) -> Tensor:
    """Returns float32 numbers uniform on (0, 1), shape (S, *shape): a function of seed, step,
    stream and place, and of nothing else.

    They are the midpoints of 2^23 equal steps: a finer grid would round its last one to 1, where a
    Gaussian made of it is infinite.
    """
    place = torch.arange(torch.Size(shape).numel(), device=seed_S.device) * GOLDEN
    key_S1 = _mixed(_mixed(_mixed(seed_S.clone()).add_(step)).add_(stream))[:, None]
    size = len(place) if seed_S.is_cuda else max(1, BLOCK // len(seed_S))
    blocks = [
        (_mixed(key_S1 + part) >> 41).bitwise_and_(0x7FFFFF).float().add_(0.5).mul_(2.0**-23)
        for part in place.split(size)
    ]
    return torch.cat(blocks, dim=1).view(len(seed_S), *shape)


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser, in place: a bijection of 64-bit integers whose every output bit
    depends on every input bit.
    """
    bits += GOLDEN
    for shift, kept, factor in ((30, 0x3FFFFFFFF, MIX_1), (27, 0x1FFFFFFFFF, MIX_2)):
        bits ^= (bits >> shift).bitwise_and_(kept)
        bits *= factor
    return bits.bitwise_xor_((bits >> 31).bitwise_and_(0x1FFFFFFFF))
