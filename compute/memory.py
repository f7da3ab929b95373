"""How much memory there is, what a call takes of it, and how many heads may therefore be worked on
at once.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")
GIB = 2**30
SHARE = 0.5
"""Of the memory that is free, as much is taken for training where no budget is given."""
AFTERWARDS = 2.0
"""GiB for pruning and bills where no budget is given. More heads at once are no quicker there, and
since last digits hang on how many they are, which may decide which of two idle edges leaves first,
it must not hang on what happens to be free.
"""
SPARE = 2.0
"""What is counted is multiplied with this, for what products and gaps between tensors need beside
it: 400 heads took 1.4 to 1.8 times as much.
"""
GAPS = 6.0
"""The same for work of several phases, each of which leaves gaps where the next finds no room:
pruning and bills took 3 to 5 times as much.
"""


def at_once(n: int, run: Callable[[int], object], room: float) -> int:
    """Returns how many of n can be worked on at once, at least one, by what one and two of them
    take.

    Args:
        run: works on so many of them.
        room: the bytes that there are; nothing is tried out where they are infinite.
    """
    if n < 2 or math.isinf(room):
        return n
    one, two = (most_alive(partial(run, k))[0] for k in (1, 2))
    return max(1, min(n, 1 + int((room / GAPS - one) / max(two - one, 1))))


def free(accelerator: str) -> float:
    """Returns the bytes that the machine, or its accelerator, has free, where they can be known;
    infinity elsewhere.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    free = next(
        (float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")),
        math.inf,
    )
    return min([free, *(most - used for most, used in _control_groups())])


def _control_groups() -> list[tuple[float, float]]:
    """Returns the most that a container may use, and what it uses."""
    found = []
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(
                tuple(float((Path("/sys/fs/cgroup") / name).read_text()) for name in (most, used))
            )
        except (OSError, ValueError):  # no such file, or the word max
            continue
    return found  # type: ignore[return-value]


def most_alive(run: Callable[[], T]) -> tuple[int, T]:
    """Returns the most bytes of tensors made in a call that are alive at one time, and what it
    returns.
    """
    with _Counting() as counting:
        returned = run()
    return counting.most, returned


class _Counting(TorchDispatchMode):
    """Counts the bytes of tensors as they come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(returned):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return returned

    def _note(self, storage: UntypedStorage) -> None:
        if storage._cdata not in self.sizes:
            self.sizes[storage._cdata] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, storage._cdata)

    def _gone(self, key: int) -> None:
        self.now -= self.sizes.pop(key)
