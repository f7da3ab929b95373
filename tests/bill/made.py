"""Numbers drawn at random, by seed; and the signals that bits are compared on.   Not a test: what
tests are made of.

N: episodes, D: width.
"""

from typing import Literal

import torch
from torch import Tensor

from training.examples import Examples


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coins(n: int, seed: int = 0) -> Tensor:
    return torch.randint(2, (n,), generator=torch.Generator().manual_seed(seed)).float()


def signals(
    kind: Literal["concept", "xor", "random"], n: int, width: int = 64, seed: int = 0
) -> Examples:
    """Returns noise plus two hidden signs, each along a direction of its own, standardised; answers
    are the first sign, their product, or coins.
    """
    chance = torch.Generator().manual_seed(seed)
    directions_D2 = torch.linalg.qr(torch.randn(width, 2, generator=chance))[0]
    signs_N2 = torch.randint(2, (n, 2), generator=chance) * 2.0 - 1
    z_ND = torch.randn(n, width, generator=chance) + 2 * signs_N2 @ directions_D2.T
    answers = {
        "concept": signs_N2[:, 0] > 0,
        "xor": signs_N2.prod(dim=1) > 0,
        "random": torch.randint(2, (n,), generator=chance) > 0,
    }
    return Examples(((z_ND - z_ND.mean(dim=0)) / z_ND.std(dim=0))[:, None], answers[kind].float())
