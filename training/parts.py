"""A population in parts: as many heads at once as memory allows, whole heads only, each part with a
checkpoint of its own.

S: seeds, M: strengths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from compute.memory import GIB
from console.errors import UserError


class Part(NamedTuple):
    """Heads that are trained at once: places of their seeds and of their strengths."""

    seeds: range
    strengths: range


def layout(n_seeds: int, n_strengths: int, n: int) -> list[Part]:
    """Returns so many parts, or a few more, of a population: whole seeds, and where those are too
    many, some strengths of one seed each.

    >>> [(len(part.seeds), len(part.strengths)) for part in layout(3, 4, 2)], len(layout(3, 4, 5))
    ([(2, 4), (1, 4)], 6)
    """
    if n <= n_seeds:
        return [Part(seeds, range(n_strengths)) for seeds in _even(n_seeds, n)]
    return [
        Part(range(s, s + 1), some)
        for s in range(n_seeds)
        for some in _even(n_strengths, min(n_strengths, math.ceil(n / n_seeds)))
    ]


def _even(n: int, parts: int) -> list[range]:
    size = math.ceil(n / parts)
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def needed(n_seeds: int, n_strengths: int, bytes_each: int, budget: float) -> int:
    """Returns how many parts a population must have so that none needs more bytes than there are.

    Args:
        bytes_each: what the heads of one seed and one strength need.

    Raises:
        UserError: they need more than there is.
    """
    at_once = int(budget / bytes_each)
    if at_once < 1:
        much = (
            f"{budget / GIB:.3g} GiB are too few for the heads of one seed and one strength, which"
            f" need {bytes_each / GIB:.3g}"
        )
        raise UserError(
            f"trainer.memory: {much}. Give more, or a smaller training.batch_size or"
            " data.validation, or fewer levels."
        )
    if at_once >= n_strengths:
        return math.ceil(n_seeds / (at_once // n_strengths))
    return n_seeds * math.ceil(n_strengths / at_once)


def begun(checkpoint: Path) -> int | None:
    """Returns in how many parts a fit was begun that was stopped: it goes on in as many, whatever
    memory is free now.
    """
    if checkpoint.exists():
        return 1
    found = [
        re.search(r"-of-(\d+)$", path.stem)
        for path in sorted(checkpoint.parent.glob(f"{checkpoint.stem}-*-of-*"))
    ]
    return next((int(match[1]) for match in found if match), None)


def of_part(checkpoint: Path, i: int, n: int) -> Path:
    """Returns where a part's unfinished fit is kept."""
    return checkpoint.with_name(f"{checkpoint.stem}-{i + 1}-of-{n}{checkpoint.suffix}")


def joined(
    parts: Sequence[tuple[Part, Mapping[str, Tensor]]], n_seeds: int, n_strengths: int
) -> dict[str, Tensor]:
    """Returns tensors of all heads, with axes (G, S, M, ...), from those of each part."""
    whole = {}
    for name, one in parts[0][1].items():
        whole[name] = one.new_empty(len(one), n_seeds, n_strengths, *one.shape[3:])
        for (seeds, strengths), values in parts:
            whole[name][:, seeds.start : seeds.stop, strengths.start : strengths.stop] = values[
                name
            ]
    return whole
