"""Numbers drawn by seed, signals on which bits are compared, finished heads, and measures as their
YAML builds them.   Not a test: what tests are made of.

N: episodes, L: levels, D: width, C: components of a predictor.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from bill.bill import Meter
from bill.finished import FinishedHeads, Stops
from bill.measure import Measure
from configs.build import build
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.reporters.made import load_choice
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
    rng = torch.Generator().manual_seed(seed)
    directions_D2 = torch.linalg.qr(torch.randn(width, 2, generator=rng))[0]
    signs_N2 = torch.randint(2, (n, 2), generator=rng) * 2.0 - 1
    z_ND = torch.randn(n, width, generator=rng) + 2 * signs_N2 @ directions_D2.T
    answers = {
        "concept": signs_N2[:, 0] > 0,
        "xor": signs_N2.prod(dim=1) > 0,
        "random": torch.randint(2, (n,), generator=rng) > 0,
    }
    return Examples(((z_ND - z_ND.mean(dim=0)) / z_ND.std(dim=0))[:, None], answers[kind].float())


def make_measure(name: str, **changed: Any) -> Measure:
    """Returns one measure of bill=full, some of its values changed."""
    node = load_choice("bill", "full")["measures"][name] | changed
    return build(node, f"bill.measures.{name}")


def make_quick(name: str, node: Mapping[str, Any], most: int = 30) -> Measure:
    """Returns a measure; of whatever its YAML counts it has 30 at most."""
    values = {}
    for key, value in node.items():
        values[key] = min(value, most) if isinstance(value, int) else value
    return build(values, f"bill.measures.{name}")


def make_meter(*names: str) -> Meter:
    """Returns a meter with these measures of bill=full."""
    return Meter({name: make_measure(name) for name in names})


def draw_weights(
    reporter: Reporter, grid: tuple[int, int, int] = (1, 1, 1), seed: int = 0
) -> Weights:
    """Returns finished heads whose every parameter is drawn at random."""
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in reporter.named_parameters():
        weights[name] = torch.randn(*grid, *value.shape, generator=rng).to(value)
    return torch.func.vmap(torch.func.vmap(torch.func.vmap(reporter.harden)))(weights)


def describe(
    reporter: Reporter,
    weights: Weights,
    z_NLD: Tensor,
    human_N: Tensor,
    stops: Mapping[str, Stops] | None = None,
    flops_by_level: tuple[float, ...] = (0.0,),
    **more: Any,
) -> FinishedHeads:
    """Returns finished heads; where no stops are given, all stop at the first exit and read level 0
    alone.
    """
    if stops is None:
        heads = next(iter(weights.values())).shape[:3].numel()
        zeros_KN = torch.zeros(heads, len(z_NLD), dtype=torch.long)
        stops = {"train": Stops(zeros_KN, zeros_KN)}
    return FinishedHeads(reporter, weights, z_NLD, human_N, stops, flops_by_level, **more)


class Toy:
    """A predictor whose component c writes its own input along a direction of its own, and 0 where
    it is off. Level l gets the components below `heard[l]`.
    """

    def __init__(self, heard: tuple[int, ...], directions_CD: Tensor) -> None:
        self.heard = heard
        self.directions_CD = directions_CD
        self.components = len(directions_CD)
        self.runs = 0

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        self.runs += 1
        levels = []
        for heard in self.heard:
            heard_C = torch.arange(self.components) < heard
            levels.append((gates_C * heard_C * inputs_N) @ self.directions_CD.to(inputs_N))
        return torch.stack(levels, dim=1)
