"""Files of data that a part of a config names: where they are, and a hash of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEYS = ("files", "activations", "file")
"""The keys of a part's YAML under which the files stand that it reads."""


def find_data(name: str) -> Path | None:
    """Returns the file or folder of this name, in the current folder or else in this checkout; None
    where there is none.
    """
    path = Path(name).expanduser()
    for candidate in (path, ROOT / path):
        if candidate.exists():
            return candidate
    return None


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
                digest.update(file.read_bytes())
    return digest.hexdigest()[:8] if names else ""


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
