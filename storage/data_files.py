"""Files of data that a part of a config names: where they are, and a hash of them."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEYS = ("files", "activations", "file")
"""The keys of a part's YAML under which the files stand that it reads."""
SETTLED = 2_000_000_000
"""Nanoseconds after which another write is sure to change a file's time."""


def find_data(name: str) -> Path | None:
    """Returns the file or folder of this name, in the current folder or else in this checkout; None
    where there is none, and for an empty name.
    """
    if not name:
        return None
    path = Path(name).expanduser()
    for candidate in (path, ROOT / path):
        if candidate.exists():
            return candidate
    return None


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file's content, 64 hexadecimal digits. It is read in portions, and
    once in a process while its size and its time stay the same.
    """
    facts = path.stat()
    if time.time_ns() - facts.st_mtime_ns < SETTLED:
        return _compute_hash(path)
    return _hash_once(path.resolve(), facts.st_size, facts.st_mtime_ns)


def hash_data(config: Any) -> str:
    """Returns a hash of the content of all files of data that a config names; empty where it names
    none.
    """
    digest = hashlib.sha256()
    names = list(_find_names(config))
    for name in names:
        path = find_data(name)
        digest.update(name.encode())
        if path is None:
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(hash_file(file).encode())
    return digest.hexdigest()[:8] if names else ""


@functools.lru_cache(maxsize=1024)
def _hash_once(path: Path, size: int, time_ns: int) -> str:
    """Returns the hash of a file that has this size and was last written at this time."""
    return _compute_hash(path)


def _compute_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_names(node: Any) -> Iterator[str]:
    """Yields the names of the files of every part in a config."""
    if isinstance(node, Mapping):
        for key in KEYS if "_target_" in node else ():
            names = node.get(key) or []
            yield from [names] if isinstance(names, str) else map(str, names)
        for value in node.values():
            yield from _find_names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _find_names(value)
