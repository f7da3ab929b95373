"""Activations of a frozen predictor, and its own predictions: read once, and kept on disk under a
key of everything that they depend on.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from filelock import FileLock
from torch import Tensor

from compute.devices import Devices
from compute.pages import stack_levels
from console.errors import UserError
from core_model.hashing import hash_content
from core_model.parallel_reading import read_in_parallel
from core_model.predictor import Opinions, Predictor, check_levels, show_progress
from storage.cache import load_or_make
from storage.level_file import LevelFile
from worlds.world import World

READER_VERSION, OPINIONS_VERSION = 2, 1
"""Raise them when the same weights and episodes would give other activations or opinions: files of
another version are not used.
"""
UNSEALED = ".*.unsealed"


class NotFinite(UserError):
    """Raised where an activation is NaN or infinity."""


@dataclass(frozen=True)
class ActivationReader:
    """Reads the activations of one frozen predictor at fixed levels, each of them only once: they
    are kept on disk, and loaded from there if they are whole.

    Args:
        columns: the columns that the predictor reads of an episode; with its weights, they decide
            the key.
        levels: the levels to read, each named once.
        cache: the folder in which activations are kept.
        devices: the devices that share a large reading; None for one.

    Raises:
        UserError: a level that the predictor lacks.
    """

    predictor: Predictor
    columns: Sequence[str]
    levels: tuple[int, ...]
    cache: Path
    devices: Devices | None = None

    def __post_init__(self) -> None:
        check_levels(self.predictor, self.levels)

    def read(self, episodes: Dataset, position: int = -1) -> Tensor:
        """Returns z_NLD, float32: the activations of the episodes at each level.

        Each level has a file of its own, so no level is read twice, whichever levels are read
        together. A single level in float32 is mapped into memory; any other result is a new table.

        Args:
            position: the position in the episode, -1 for its end.

        Raises:
            NotFinite: an activation is not a finite number.
            UserError: the disk is full.
        """
        files = self._name_files(episodes, position)
        z_ND_of = {level: file.load() for level, file in files.items()}
        missing = {level: files[level] for level, z_ND in z_ND_of.items() if z_ND is None}
        if missing:
            folder = next(iter(missing.values())).path.parent
            folder.mkdir(parents=True, exist_ok=True)
            # Other processes that need the same episodes wait here, and then load them.
            with FileLock(folder / "lock"):
                self._read_missing(episodes, missing, position)
            z_ND_of |= {level: file.load() for level, file in missing.items()}
        return stack_levels([_check_whole(files[level], z_ND_of[level]) for level in self.levels])

    def _name_files(self, episodes: Dataset, position: int) -> dict[int, LevelFile]:
        """Returns the file of each level, in a folder named after all that the activations depend
        on.
        """
        predictor = self.predictor
        content = hash_content(episodes, self.columns)
        key = f"{READER_VERSION} {predictor.identity} {content} {position}"
        folder = self.cache / "activations" / _hash_key(key)
        size = (len(episodes), predictor.width, predictor.dtype)
        return {
            level: LevelFile(folder / f"level_{level}.safetensors", f"{key} {level}", *size)
            for level in self.levels
        }

    def _read_missing(self, episodes: Dataset, files: dict[int, LevelFile], position: int) -> None:
        """Reads the levels whose files are not whole, all in one pass, and keeps those whose
        numbers are all finite.
        """
        files = {level: file for level, file in files.items() if file.load() is None}
        for file in files.values():
            if file.path.exists():
                print(f"{file.path} is damaged: reading it again.", file=sys.stderr)
        try:
            for file in files.values():
                file.reserve()
            if files:
                self._extract(episodes, files, position)
            broken = [level for level, file in files.items() if not file.seal()]
        finally:
            _remove_unsealed(files)
        if broken:
            _refuse_levels(broken)

    def _extract(self, episodes: Dataset, files: dict[int, LevelFile], position: int) -> None:
        """Reads episodes and writes their activations, one portion at a time."""
        portions = self.predictor.portions(episodes, list(files), position)
        if self.devices and len(portions) > 1:
            read_in_parallel(self.devices, self.predictor, episodes, files, position)
            return
        rows_LND = [file.rows() for file in files.values()]
        for portion in show_progress(portions, f"{self.predictor.name} reads"):
            portion.read_into(rows_LND)


def load_or_compute_opinions(
    predictor: Predictor, episodes: Dataset, world: World, cache: Path
) -> Opinions:
    """Returns the predictor's own predictions for the last step of the episodes, computed now or
    loaded from the cache.

    Args:
        world: its columns that the predictor reads, and those in which X and H show.
    """
    columns = [*world.reads, *(["prompt"] if "prompt" in episodes.column_names else [])]
    content = hash_content(episodes, columns)
    shows_in = f"{world.concept_shows_in} {world.human_shows_in}"
    key = f"{OPINIONS_VERSION} {predictor.identity} {content} opinions {shows_in}"
    path = cache / "opinions" / f"{_hash_key(key)}.safetensors"
    tensors, _ = load_or_make(path, lambda: (predictor.opinions(episodes)._asdict(), {"key": key}))
    return Opinions(**tensors)


def load_or_compute_log_perplexity(
    predictor: Predictor, episodes: Dataset, column: str, cache: Path
) -> Tensor | None:
    """Returns how unlikely each text is to a language model, in nats a token, computed now or
    loaded from the cache; None for another predictor.
    """
    content = hash_content(episodes, [column])
    key = f"{OPINIONS_VERSION} {predictor.identity} {content} perplexity"
    path = cache / "opinions" / f"{_hash_key(key)}.safetensors"

    def compute() -> tuple[dict[str, Tensor], dict[str, str]]:
        nats_N = predictor.compute_log_perplexity(episodes)
        return ({} if nats_N is None else {"nats_N": nats_N}), {"key": key}

    tensors, _ = load_or_make(path, compute)
    return tensors.get("nats_N")


def _hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def _remove_unsealed(files: dict[int, LevelFile]) -> None:
    """Removes all temporary files in the folder, also those of processes that were killed."""
    for folder in {file.path.parent for file in files.values()}:
        for unsealed in folder.glob(UNSEALED):
            unsealed.unlink()


def _refuse_levels(broken: Sequence[int]) -> None:
    if len(broken) == 1:
        where, which = f"level {broken[0]} holds", "it"
    else:
        where, which = f"levels {', '.join(map(str, broken))} hold", "them"
    cure = f"Use core_model.dtype=float32, or leave {which} out of levels."
    raise NotFinite(f"activations: {where} NaN or infinity. {cure}")


def _check_whole(file: LevelFile, z_ND: Tensor | None) -> Tensor:
    if z_ND is None:
        raise UserError(
            f"activations: {file.path} was damaged while it was read. Check the disk and run again."
        )
    return z_ND
