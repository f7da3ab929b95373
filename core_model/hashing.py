"""Freezing a model, and hashes of weights and of episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from datasets import Dataset
from torch import nn

if TYPE_CHECKING:
    pass


def freeze(model: nn.Module) -> nn.Module:
    """Frozen means frozen: evaluation mode and no gradients."""
    return model.eval().requires_grad_(False)


def weights_hash(model: nn.Module) -> str:
    """Returns a hash of every parameter and buffer, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()[:16]


def content_hash(episodes: Dataset, columns: Sequence[str]) -> str:
    """Returns a hash of what the named columns of a dataset hold, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for batch in (
        episodes.select_columns(list(columns)).with_format("arrow").iter(batch_size=10_000)
    ):
        for name in columns:
            column = batch[name].combine_chunks()
            digest.update(f"{name}{column.type}{len(column)}".encode())
            is_table = pa.types.is_fixed_size_list(column.type)
            digest.update(
                column.flatten().to_numpy().tobytes()
                if is_table
                else repr(column.to_pylist()).encode()
            )
    return digest.hexdigest()[:16]
