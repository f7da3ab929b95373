"""Freezing a model, and hashes of weights and of episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import torch
from datasets import Dataset
from torch import nn


def freeze(model: nn.Module) -> nn.Module:
    """Returns the model in evaluation mode and without gradients."""
    return model.eval().requires_grad_(False)


def hash_weights(model: nn.Module) -> str:
    """Returns a hash of every parameter and buffer: names, number types, shapes and numbers; 16
    hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        numbers = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(numbers.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def hash_content(episodes: Dataset, columns: Sequence[str]) -> str:
    """Returns a hash of the content of some columns of a dataset, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    table = episodes.select_columns(list(columns)).with_format("arrow")
    for batch in table.iter(batch_size=10_000):
        for name in columns:
            column = batch[name].combine_chunks()
            digest.update(f"{name}{column.type}{len(column)}".encode())
            if pa.types.is_fixed_size_list(column.type):
                digest.update(column.flatten().to_numpy().tobytes())
            else:
                digest.update(repr(column.to_pylist()).encode())
    return digest.hexdigest()[:16]
