"""Activations of a frozen predictor, and its own predictions: read once and kept on disk under a
key of all that they depend on.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from filelock import FileLock
from torch import Tensor

from core_model.level_file import LevelFile
from core_model.memory import joined
from core_model.predictor import Opinions, Predictor, content_hash, shown
from core_model.store import kept
from refusal import Refusal
from worlds.world import World

READER_VERSION, OPINIONS_VERSION = 2, 1
"""Raise them when the same weights and episodes would be read, or judged, differently: what is kept
under another version is not used.
"""


UNSEALED = ".*.unsealed"


def activations(
    predictor: Predictor,
    episodes: Dataset,
    columns: Sequence[str],
    levels: Sequence[int],
    cache: Path,
    position: int = -1,
) -> Tensor:
    """Returns z_NLD, float32: the activations of the episodes at the levels asked for, taken from
    the cache; those not there are read first.

    Each level is kept by itself, so nothing is read twice whichever levels are asked for together.
    One level that is kept in float32 is mapped into memory; any other answer is a table in memory.

    Args:
        columns: what the predictor reads of an episode; together with its weights, it decides the
            key.
        position: where in the episode, -1 for its end.

    Raises:
        Refusal: a level that the predictor lacks; an activation that is not a finite number; a disk
            without room.
    """
    check_levels(predictor, levels)
    key = f"{READER_VERSION} {predictor.identity} {content_hash(episodes, columns)} {position}"
    folder = cache / "activations" / hashlib.sha256(key.encode()).hexdigest()[:24]
    size = (len(episodes), predictor.width, predictor.dtype)
    files = {
        level: LevelFile(folder / f"level_{level}.safetensors", f"{key} {level}", *size)
        for level in levels
    }
    found = {level: file.load() for level, file in files.items()}
    missing = [level for level in levels if found[level] is None]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(
            folder / "lock"
        ):  # others who want these episodes at once wait here, and find what they asked for
            _read_missing(predictor, episodes, {level: files[level] for level in missing}, position)
        found |= {level: files[level].load() for level in missing}
    return joined([_whole(files[level], found[level]) for level in levels])


def opinions(predictor: Predictor, episodes: Dataset, world: World, cache: Path) -> Opinions:
    """Returns the predictor's own predictions for the last step of the episodes, made now or taken
    from the cache.

    Args:
        world: says what the predictor reads of an episode, and where X and H show in what it
            predicts.
    """
    shows = f"{world.concept_shows_in} {world.human_shows_in}"
    key = (
        f"{OPINIONS_VERSION} {predictor.identity} {content_hash(episodes, world.reads)} opinions"
        f" {shows}"
    )
    path = cache / "opinions" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    tensors, _ = kept(path, lambda: (predictor.opinions(episodes)._asdict(), {"key": key}))
    return Opinions(**tensors)


def check_levels(predictor: Predictor, levels: Sequence[int]) -> None:
    """Raises Refusal unless the predictor has every level, and each is named once."""
    for level in levels:
        if not 0 <= level < predictor.n_levels:
            raise Refusal(
                f"levels: {predictor.name} has no level {level}. It has 0 to"
                f" {predictor.n_levels - 1}."
            )
    if not levels or len(set(levels)) < len(levels):
        raise Refusal(
            f"levels: {list(levels)} is empty or names a level twice. Name each level once."
        )


def _read_missing(
    predictor: Predictor, episodes: Dataset, files: dict[int, LevelFile], position: int
) -> None:
    """Reads the levels whose files are not whole, all in one pass, and keeps those that hold finite
    numbers only.
    """
    files = {level: file for level, file in files.items() if file.load() is None}
    for file in files.values():
        if file.path.exists():
            print(f"{file.path} is damaged: made anew.", file=sys.stderr)
    try:
        for file in files.values():
            file.reserve()
        if files:
            extract(predictor, episodes, files, position)
        broken = [level for level, file in files.items() if not file.seal()]
    finally:
        for left in {file.path.parent for file in files.values()}:
            for unsealed in left.glob(UNSEALED):  # also what a process that was killed left behind
                unsealed.unlink()
    if broken:
        named = (
            f"level {broken[0]} holds"
            if len(broken) == 1
            else f"levels {', '.join(map(str, broken))} hold"
        )
        cure = (
            f"Use core_model.dtype=float32, or leave {'it' if len(broken) == 1 else 'them'} out of"
            " `levels`."
        )
        raise Refusal(f"activations: {named} NaN or infinity. {cure}")


def extract(
    predictor: Predictor, episodes: Dataset, files: dict[int, LevelFile], position: int
) -> None:
    """Reads episodes, on several devices where the predictor has them, and writes what is read as
    it comes: memory holds one portion at a time.
    """
    portions = predictor.portions(episodes, list(files), position)
    if predictor.spread and len(portions) > 1:
        predictor.spread(predictor, episodes, files, position)
        return
    rows_LND = [file.rows() for file in files.values()]
    for portion in shown(portions, f"{predictor.name} reads"):
        portion.into(rows_LND)


def _whole(file: LevelFile, z_ND: Tensor | None) -> Tensor:
    if z_ND is None:
        raise Refusal(
            f"activations: {file.path} was damaged while it was read. Is the disk whole? Run it"
            " again."
        )
    return z_ND
