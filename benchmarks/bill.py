"""What a bill takes: 64 linear heads on 4,000 episodes, each with live edges of its own.

python -m benchmarks.bill
"""

import time
from collections.abc import Callable
from functools import partial

import torch

from bill.bill import Meter
from bill.finished import FinishedHeads, Stops
from bill.learning_coefficient import LearningCoefficient
from bill.prequential import CACHE
from configs.build import build, read_default
from reporters.linear import Linear
from reporters.stack import Weights

HEADS, EPISODES, WIDTH = 64, 4_000, 64
FEW = 8
"""Heads that are measured one by one."""


def draw_weights(seed: int = 0) -> Weights:
    """Returns finished heads with 3 to 63 live edges, no two with the same."""
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, HEADS, 1, 1, WIDTH, generator=rng)
    share = torch.linspace(3 / WIDTH, 1, HEADS).view(1, HEADS, 1, 1, 1)
    return {
        "weight_1D": weight * (torch.rand(weight.shape, generator=rng) < share),
        "bias": torch.zeros(1, HEADS, 1),
    }


def draw_heads() -> FinishedHeads:
    """Returns the heads, all of which stop at the first exit."""
    rng = torch.Generator().manual_seed(1)
    z_NLD = torch.randn(EPISODES, 1, WIDTH, generator=rng)
    human_N = (z_NLD[:, 0, :3].sum(dim=1) > 0).float()
    zeros_KN = torch.zeros(HEADS, EPISODES, dtype=torch.long)
    stops = {"train": Stops(zeros_KN, zeros_KN)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reporter = Linear(1, WIDTH)
    return FinishedHeads(reporter, draw_weights(), z_NLD, human_N, stops, (0.0,))


def measure_seconds(run: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    CACHE.clear()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Prints the seconds of the bill with more and more measures, and of heads one by one."""
    torch.set_flush_denormal(True)
    heads = draw_heads()
    measures = build(read_default("bill/default.yaml"), "bill").measures
    langevin = LearningCoefficient(2e-3, 450, chains=4, pull=1.0, batch=512, seed=0)
    slow = {
        "and prequential bits": {"prequential": measures.pop("prequential")},
        "and variational bits": {"variational": measures.pop("variational")},
        "and the learning coefficient": {"learning_coefficient": langevin},
    }
    threads = torch.get_num_threads()
    print(f"{HEADS} linear heads of width {WIDTH} on {EPISODES:,} episodes, {threads} threads")
    for name, more in {"edges, FLOPs, two-part bits": {}, **slow}.items():
        measures |= more
        seconds = measure_seconds(partial(Meter(measures), draw_heads()))
        print(f"{seconds:8.2f} s   {name}")

    prequential = measures["prequential"]
    live = {"weight_1D": heads.weights["weight_1D"] != 0}
    data = heads.z_NLD, heads.human_N

    def encode_one_by_one() -> None:
        for k in range(FEW):
            alone = {"weight_1D": live["weight_1D"][:, [k]]}
            prequential.encode(heads.reporter, alone, *data)

    together = measure_seconds(lambda: prequential.encode(heads.reporter, live, *data))
    alone = measure_seconds(encode_one_by_one) * HEADS / FEW
    print(
        f"{alone / together:8.1f} times as long: prequential bits head by head ({alone:.1f} s, from"
        f" {FEW} heads), not in one batch ({together:.2f} s)"
    )


if __name__ == "__main__":
    main()
