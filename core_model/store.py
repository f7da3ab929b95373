"""Tensors on disk that are whole or not there: checksum inside, temporary name while writing, one
writer at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core_model.replacing import replacing
from refusal import Refusal

Tensors = dict[str, Tensor]


def cache_folder() -> Path:
    """Returns where predictors and activations are kept: ELK_CACHE, or elk-reporters in the user's
    cache.

    Raises:
        Refusal: it cannot be written.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "elk-reporters"
    folder = Path(os.environ.get("ELK_CACHE") or default).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Refusal(
            f"ELK_CACHE: {folder} cannot be written ({error.strerror}). Set ELK_CACHE to a folder"
            " that can."
        ) from None
    return folder


def save(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Writes tensors and plain facts (JSON) with a checksum of both, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    written = json.dumps(facts, sort_keys=True)
    with replacing(path) as temporary:
        save_file(
            tensors, temporary, metadata={"facts": written, "checksum": _checksum(tensors, written)}
        )


def load(path: Path) -> tuple[Tensors, dict[str, Any]] | None:
    """Returns the tensors (memory-mapped) and facts of a file; None where it is not there or is
    damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError):
        metadata, tensors = {}, {}
    if metadata.get("checksum") != _checksum(tensors, metadata.get("facts", "")):
        return None
    return tensors, json.loads(metadata["facts"])


def kept(
    path: Path, make: Callable[[], tuple[Tensors, dict[str, Any]]]
) -> tuple[Tensors, dict[str, Any]]:
    """Returns what a file holds; makes and keeps it first where it is not there or damaged. Others
    who want it at once wait for it.
    """
    found = load(path)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        found = load(path)
        if found is None:
            if path.exists():
                print(f"{path} is damaged: made anew.", file=sys.stderr)
            found = make()
            save(path, *found)
    return found


def _checksum(tensors: Tensors, facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
