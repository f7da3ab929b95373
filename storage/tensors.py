"""Tensors on disk, whole or absent: a checksum inside, and a temporary name while writing. The same
tensors and facts are the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from storage.atomic import write_atomically

Tensors = dict[str, Tensor]
KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The names of number types in safetensors."""
ALIGNED = 64
"""Bytes: the numbers begin at a multiple of it."""


def save(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Writes tensors and plain facts (JSON) with a checksum of both, whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts_json = json.dumps(facts, sort_keys=True)
    metadata = {"facts": facts_json, "checksum": _compute_checksum(tensors, facts_json)}
    # Wide numbers come first, so that each tensor begins at a multiple of the size of its numbers.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    tables, end = {}, 0
    for name in order:
        value = tensors[name]
        start, end = end, end + value.numel() * value.dtype.itemsize
        shape, offsets = list(value.shape), [start, end]
        tables[name] = {"dtype": KINDS[value.dtype], "shape": shape, "data_offsets": offsets}
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        file.write(build_header(metadata, tables))
        for name in order:
            file.write(_get_bytes(tensors[name]))


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


def build_header(metadata: Mapping[str, str], tables: Mapping[str, Any]) -> bytes:
    """Returns the bytes before the numbers of a safetensors file: the length in 8 bytes, and JSON
    padded with blanks. The package safetensors itself writes the metadata in a random order.
    """
    text = json.dumps({"__metadata__": metadata, **tables}).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED)
    return len(text).to_bytes(8, "little") + text


def _get_bytes(value: Tensor) -> memoryview:
    return value.reshape(-1).view(torch.uint8).numpy().data


def _compute_checksum(tensors: Tensors, facts_json: str) -> str:
    digest = hashlib.sha256(facts_json.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(_get_bytes(value))
    return digest.hexdigest()
