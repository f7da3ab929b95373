"""A population in parts: as many heads at once as memory allows, whole heads only, each part with a checkpoint of its own.

S: seeds, M: strengths.
"""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from refusal import Refusal

GIB = 2**30
SHARE = 0.5
"""Of the memory that is free, as much is taken where no budget is given."""
SPARE = 2.0
"""What is counted is multiplied with this, for what products and gaps between tensors need beside it: 400 heads took 1.4 to 1.8 times as much."""


class Part(NamedTuple):
    """Heads that are trained at once: places of their seeds and of their strengths."""

    seeds: range
    strengths: range


def layout(n_seeds: int, n_strengths: int, n: int) -> list[Part]:
    """Returns so many parts, or a few more, of a population: whole seeds, and where those are too many, some strengths of one seed each.

    >>> [(len(part.seeds), len(part.strengths)) for part in layout(3, 4, 2)], len(layout(3, 4, 5))
    ([(2, 4), (1, 4)], 6)
    """
    if n <= n_seeds:
        return [Part(seeds, range(n_strengths)) for seeds in _even(n_seeds, n)]
    return [Part(range(s, s + 1), some) for s in range(n_seeds) for some in _even(n_strengths, min(n_strengths, math.ceil(n / n_seeds)))]


def _even(n: int, parts: int) -> list[range]:
    size = math.ceil(n / parts)
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def needed(n_seeds: int, n_strengths: int, bytes_each: int, budget: float) -> int:
    """Returns how many parts a population must have so that none needs more bytes than there are.

    Args:
        bytes_each: what the heads of one seed and one strength need.

    Raises:
        Refusal: they need more than there is.
    """
    at_once = int(budget / bytes_each)
    if at_once < 1:
        much = f"{budget / GIB:.3g} GiB are too few for the heads of one seed and one strength, which need {bytes_each / GIB:.3g}"
        raise Refusal(f"trainer.memory: {much}. Give more, or a smaller training.batch_size or data.validation, or fewer levels.")
    if at_once >= n_strengths:
        return math.ceil(n_seeds / (at_once // n_strengths))
    return n_seeds * math.ceil(n_strengths / at_once)


def begun(checkpoint: Path) -> int | None:
    """Returns in how many parts a fit was begun that was stopped: it goes on in as many, whatever memory is free now."""
    if checkpoint.exists():
        return 1
    found = [re.search(r"-of-(\d+)$", path.stem) for path in sorted(checkpoint.parent.glob(f"{checkpoint.stem}-*-of-*"))]
    return next((int(match[1]) for match in found if match), None)


def of_part(checkpoint: Path, i: int, n: int) -> Path:
    """Returns where a part's unfinished fit is kept."""
    return checkpoint.with_name(f"{checkpoint.stem}-{i + 1}-of-{n}{checkpoint.suffix}")


def joined(parts: Sequence[tuple[Part, Mapping[str, Tensor]]], n_seeds: int, n_strengths: int) -> dict[str, Tensor]:
    """Returns tensors of all heads, with axes (G, S, M, ...), from those of each part."""
    whole = {}
    for name, one in parts[0][1].items():
        whole[name] = one.new_empty(len(one), n_seeds, n_strengths, *one.shape[3:])
        for (seeds, strengths), values in parts:
            whole[name][:, seeds.start : seeds.stop, strengths.start : strengths.stop] = values[name]
    return whole


def free(accelerator: str) -> float:
    """Returns the bytes that the machine, or its accelerator, has free, where they can be known; infinity elsewhere."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return float(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    free = next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), math.inf)
    return min([free, *(most - used for most, used in _control_groups())])


def _control_groups() -> list[tuple[float, float]]:
    """Returns the most that a container may use, and what it uses."""
    found = []
    for most, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            found.append(tuple(float((Path("/sys/fs/cgroup") / name).read_text()) for name in (most, used)))
        except (OSError, ValueError):  # no such file, or the word max
            continue
    return found  # type: ignore[return-value]


def most_alive(run: Callable[[], int]) -> tuple[int, int]:
    """Returns the most bytes of tensors made in a call that are alive at one time, and what it returns."""
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
