"""GGUF files as folders of safetensors: unpacked once, whole or absent, and checked before every
use.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch

from storage.atomic import make_folder_atomically

CHECKSUMS = "checksums.json"


def unpack(file: Path, dtype: str, cache: Path) -> Path:
    """Returns a folder with the weights of a GGUF file, unpacked to a dtype, its config and its
    tokenizer.

    A missing or damaged folder is made under a temporary name and renamed when complete. If several
    runs need it at once, one makes it and the others wait.
    """
    from filelock import FileLock

    folder = cache / "models" / f"{file.stem}-{dtype}-{_hash_file(file)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _is_whole(folder):
            _make(folder, file, dtype)
    return folder


def _make(folder: Path, file: Path, dtype: str) -> None:
    with make_folder_atomically(folder) as temporary:
        _save(file, dtype, temporary)
        checksums = {path.name: _hash_file(path) for path in sorted(temporary.iterdir())}
        (temporary / CHECKSUMS).write_text(json.dumps(checksums, indent=2), encoding="utf-8")


def _save(file: Path, dtype: str, folder: Path) -> None:
    """Writes the unpacked weights, the config and the tokenizer of a GGUF file into a folder."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
        modeling_gguf_pytorch_utils,
    )

    # Where stderr is no terminal, None leaves the bar out, which would be hundreds of lines.
    reader: Any = modeling_gguf_pytorch_utils
    reader.tqdm = partial(reader.tqdm, disable=None)
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=getattr(torch, dtype),
        quantization_config=GgufConfig(dequantize=True),
    )
    # The weights are dense now, but transformers refuses to save a model with a quantiser.
    model.hf_quantizer = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def _is_whole(folder: Path) -> bool:
    try:
        checksums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    for name, checksum in checksums.items():
        if not (folder / name).is_file() or _hash_file(folder / name) != checksum:
            return False
    return True


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
