"""Tensors on disk, whole or absent: a checksum inside, and a temporary name while writing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from storage.atomic import write_atomically

Tensors = dict[str, Tensor]


def save(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Writes tensors and plain facts (JSON) with a checksum of both, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts_json = json.dumps(facts, sort_keys=True)
    metadata = {"facts": facts_json, "checksum": _compute_checksum(tensors, facts_json)}
    with write_atomically(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load(path: Path) -> tuple[Tensors, dict[str, Any]] | None:
    """Returns the tensors (memory-mapped) and facts of a file; None if it is missing or damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError):
        return None
    facts_json = metadata.get("facts", "")
    if metadata.get("checksum") != _compute_checksum(tensors, facts_json):
        return None
    return tensors, json.loads(facts_json)


def _compute_checksum(tensors: Tensors, facts_json: str) -> str:
    digest = hashlib.sha256(facts_json.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
