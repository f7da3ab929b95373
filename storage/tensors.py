"""Tensors on disk that are whole or not there: checksum inside, temporary name while writing, one
writer at a time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from storage.atomic import replacing

Tensors = dict[str, Tensor]


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


def _checksum(tensors: Tensors, facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
