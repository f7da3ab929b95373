"""Noise from a counter: a head gets the same numbers whatever company it is trained in.

S: seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reporters.stack import Weights

GOLDEN = -7046029254386353131
"""The increment of SplitMix64 (Steele, Lea and Flood 2014), as a signed 64-bit integer."""
MIX_1 = -4658895280553007687
MIX_2 = -7723592293110705685
"""The factors of its finaliser."""
BLOCK = 2**18
"""Numbers that a processor works on at a time: they stay in its cache."""


def draw_noise(state: Weights, seed_S: Tensor, step: int) -> Weights:
    """Returns numbers uniform on (0, 1) for each tensor of a prior's state of the stacked heads,
    one set for each seed: shape (S, ...).
    """
    noise = {}
    for stream, (name, value) in enumerate(state.items()):
        noise[name] = uniform(seed_S, step, stream, tuple(value.shape[3:]))
    return noise


def uniform(seed_S: Tensor, step: int, stream: int, shape: tuple[int, ...]) -> Tensor:
    """Returns float32 numbers uniform on (0, 1), shape (S, *shape): a function of seed, step,
    stream and position, and of nothing else.

    They are the midpoints of 2^23 equal steps. A finer grid would round its last midpoint to 1,
    where a Gaussian made of it is infinite.
    """
    n = torch.Size(shape).numel()
    position_N = torch.arange(n, device=seed_S.device) * GOLDEN
    key_S = mix(seed_S.clone())
    key_S = mix(key_S.add_(step))
    key_S1 = mix(key_S.add_(stream))[:, None]
    size = n if seed_S.is_cuda else max(1, BLOCK // len(seed_S))
    blocks = []
    for block_N in position_N.split(size):
        bits_SN = mix(key_S1 + block_N) >> 41
        numbers_SN = bits_SN.bitwise_and_(0x7FFFFF).float()
        blocks.append(numbers_SN.add_(0.5).mul_(2.0**-23))
    return torch.cat(blocks, dim=1).view(len(seed_S), *shape)


def mix(bits: Tensor) -> Tensor:
    """Applies SplitMix64's finaliser in place: a bijection of 64-bit integers whose every output
    bit depends on every input bit.
    """
    bits += GOLDEN
    for shift, mask, factor in ((30, 0x3FFFFFFFF, MIX_1), (27, 0x1FFFFFFFFF, MIX_2)):
        bits ^= (bits >> shift).bitwise_and_(mask)
        bits *= factor
    return bits.bitwise_xor_((bits >> 31).bitwise_and_(0x1FFFFFFFF))
