"""Memory: how much is free, how much a call takes, and how many heads therefore fit at once."""

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
FREE_SHARE = 0.5
"""The share of free memory that training uses if no budget is given."""
FINISHING_GIB = 2.0
"""GiB that pruning and bills use if no budget is given. This is no share of free memory: the number
of heads at once changes the last digits of results, which can decide which of two idle edges is
pruned first, so that a run would not give the same results twice. More heads at once would not be
faster either.
"""
TRAINING_OVERHEAD = 2.0
"""Memory that training needs, as a multiple of the counted tensors: products and gaps between
tensors take the rest. 400 heads took 1.4 to 1.8 times as much as was counted.
"""
PHASES_OVERHEAD = 6.0
"""The same for work in several phases, each of which leaves gaps that the next one cannot use:
pruning and bills took 3 to 5 times as much as was counted.
"""


def choose_part_size(n: int, run: Callable[[int], object], memory_budget: float) -> int:
    """Returns how many of n heads fit into memory at once, at least one, from the memory that one
    and two of them take.

    Args:
        run: a call that does the work for a given number of heads.
        memory_budget: the bytes that may be used; if they are infinite, nothing is measured.
    """
    if n < 2 or math.isinf(memory_budget):
        return n
    bytes_of_one = measure_peak_memory(partial(run, 1))[0]
    bytes_of_two = measure_peak_memory(partial(run, 2))[0]
    bytes_of_another = max(bytes_of_two - bytes_of_one, 1)
    others = int((memory_budget / PHASES_OVERHEAD - bytes_of_one) / bytes_of_another)
    return max(1, min(n, 1 + others))


def measure_free_memory(accelerator: str) -> float:
    """Returns the free bytes of the machine, or of its accelerator; infinity where they are
    unknown.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    free = math.inf
    for line in lines:
        if line.startswith("MemAvailable"):
            free = float(line.split()[1]) * 1024
    return min([free, *_measure_free_in_container()])


def _measure_free_in_container() -> list[float]:
    """Returns the free bytes of the container, for each control group that limits them."""
    free = []
    for limit_file, usage_file in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = float((Path("/sys/fs/cgroup") / limit_file).read_text(encoding="utf-8"))
            usage = float((Path("/sys/fs/cgroup") / usage_file).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there is no such file, or it holds the word max
            continue
        free.append(limit - usage)
    return free


def measure_peak_memory(run: Callable[[], T]) -> tuple[int, T]:
    """Returns the peak memory of a call, and what the call returns.

    The peak is the largest number of bytes, at one time, of tensors that the call creates.
    """
    with _Counter() as counter:
        returned = run()
    return counter.peak, returned


class _Counter(TorchDispatchMode):
    """Counts the bytes of tensors as they are created and freed."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.current = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(returned):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return returned

    def _add(self, storage: UntypedStorage) -> None:
        key = storage._cdata
        if key in self.sizes:
            return
        self.sizes[key] = storage.nbytes()
        self.current += storage.nbytes()
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._remove, key)

    def _remove(self, key: int) -> None:
        self.current -= self.sizes.pop(key)
