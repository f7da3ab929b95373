"""GGUF files as folders of safetensors: unpacked once, kept whole, and checked before every use."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

CHECKSUMS = "checksums.json"


def unpacked(file: Path, dtype: str, cache: Path) -> Path:
    """Returns a folder with a GGUF file's weights, unpacked to a dtype, its config and its
    tokenizer.

    It is made where it is missing or damaged, under a temporary name, and renamed when whole. Of
    several runs that want it at once, one makes it and the others wait.
    """
    from filelock import FileLock

    folder = cache / "models" / f"{file.stem}-{dtype}-{_sha256(file)[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _is_whole(folder):
            temporary = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                _save(file, dtype, temporary)
                (temporary / CHECKSUMS).write_text(
                    json.dumps(
                        {path.name: _sha256(path) for path in sorted(temporary.iterdir())}, indent=2
                    )
                )
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _save(file: Path, dtype: str, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    dense = GgufConfig(dequantize=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=getattr(torch, dtype), quantization_config=dense
    )
    # The weights are dense by now, but transformers would refuse to save a model that still says it
    # is quantised.
    model.hf_quantizer = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def _is_whole(folder: Path) -> bool:
    try:
        checksums = json.loads((folder / CHECKSUMS).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return all(
        (folder / name).is_file() and _sha256(folder / name) == checksum
        for name, checksum in checksums.items()
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
