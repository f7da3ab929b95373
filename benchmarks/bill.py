"""What a bill takes: 64 linear heads on 4,000 episodes, every head with edges of its own.   python
-m benchmarks.bill
"""

import time

import torch

from bill.bill import Meter, Stopped
from bill.prequential import KNOWN, prequential_bits
from reporters.linear import Linear
from reporters.stack import Weights

HEADS, EPISODES, WIDTH = 64, 4_000, 64


def heads(seed: int = 0) -> Weights:
    """Returns finished heads with 3 to 63 live edges, no two with the same."""
    chance = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, HEADS, 1, 1, WIDTH, generator=chance)
    share = torch.linspace(3 / WIDTH, 1, HEADS).view(1, HEADS, 1, 1, 1)
    return {
        "weight_1D": weight * (torch.rand(weight.shape, generator=chance) < share),
        "bias": torch.zeros(1, HEADS, 1),
    }


def seconds(run: object) -> float:
    """Returns how long a call takes."""
    KNOWN.clear()
    begun = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - begun


def main() -> None:
    """Prints the seconds of the whole bill, of its parts, and of the prequential code head by head."""
    torch.set_flush_denormal(True)
    chance = torch.Generator().manual_seed(1)
    z_NLD = torch.randn(EPISODES, 1, WIDTH, generator=chance)
    human_N = (z_NLD[:, 0, :3].sum(dim=1) > 0).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reporter = Linear(1, WIDTH)
    weights, nothing = heads(), torch.zeros(HEADS, EPISODES, dtype=torch.long)
    given = reporter, weights, z_NLD, human_N, {"train": Stopped(nothing, nothing)}, (0.0,)
    meters = {
        "edges, FLOPs, two-part bits": Meter(
            prequential=False, variational=False, explanation=False, learning_coefficient=False
        ),
        "and prequential bits": Meter(
            prequential=True, variational=False, explanation=False, learning_coefficient=False
        ),
        "and variational bits": Meter(
            prequential=True, variational=True, explanation=False, learning_coefficient=False
        ),
        "and the learning coefficient": Meter(
            prequential=True, variational=True, explanation=False, learning_coefficient=True
        ),
    }
    print(
        f"{HEADS} linear heads of width {WIDTH} on {EPISODES:,} episodes,"
        f" {torch.get_num_threads()} threads"
    )
    for name, meter in meters.items():
        print(f"{seconds(lambda meter=meter: meter(*given)):8.2f} s   {name}")  # type: ignore[misc]
    live = {"weight_1D": weights["weight_1D"] != 0}
    together = seconds(lambda: prequential_bits(reporter, live, z_NLD, human_N))
    few = 8
    alone = (
        seconds(
            lambda: [
                prequential_bits(reporter, {"weight_1D": live["weight_1D"][:, [k]]}, z_NLD, human_N)
                for k in range(few)
            ]
        )
        * HEADS
        / few
    )
    print(
        f"{alone / together:8.1f} times as long: prequential bits head by head ({alone:.1f} s, from"
        f" {few} heads), not in one batch ({together:.2f} s)"
    )


if __name__ == "__main__":
    main()
