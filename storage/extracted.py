"""Activations that others have extracted: a safetensors or npy file of shape (N, L, D) or (N, D).

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from console.errors import UserError
from storage.data_files import find_data

NAME = "activations"
"""The tensor that is read where a file of safetensors has several."""
SUFFIXES = (".safetensors", ".npy")
KINDS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def load_extracted(name: str, key: str) -> Tensor:
    """Returns the activations of a file, shape (N, L, D); L is 1 where the file has no levels. An
    npy file is mapped into memory. Nothing is run: a pickled file is refused.

    Args:
        key: the key of the config that names it, for messages.

    Raises:
        UserError: it is missing, of another type or shape, unreadable, or has other numbers.
    """
    if not name:
        raise UserError(f"{key}: no file is named. For example: {key}=mine.npy")
    path = find_data(name)
    if path is None:
        raise UserError(f"{key}: {name} does not exist. Name a file that does.")
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{key}: {name} is of no known type. It must end in {' or '.join(SUFFIXES)}."
        )
    try:
        z = _load_npy(path) if path.suffix == ".npy" else _load_safetensors(path, key)
    except (OSError, EOFError, ValueError, TypeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{key}: {name} cannot be read ({reason}). Save it again.") from None
    if z.dtype not in KINDS:
        raise UserError(
            f"{key}: {name} holds numbers of type {str(z.dtype).removeprefix('torch.')}. Save them"
            " as float32, float16 or bfloat16."
        )
    if z.ndim not in (2, 3) or not z.numel():
        raise UserError(
            f"{key}: {name} has shape {tuple(z.shape)}. Save it as (rows, levels, width) or (rows,"
            " width)."
        )
    return z if z.ndim == 3 else z[:, None]


def _load_npy(path: Path) -> Tensor:
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array)


def _load_safetensors(path: Path, key: str) -> Tensor:
    with safe_open(str(path), framework="pt") as file:
        names = list(file.keys())
        if len(names) == 1:
            return file.get_tensor(names[0])
        if NAME in names:
            return file.get_tensor(NAME)
    raise UserError(
        f"{key}: {path.name} has the tensors {', '.join(sorted(names)) or 'none'}. Call the one"
        f" that is meant {NAME}."
    )
