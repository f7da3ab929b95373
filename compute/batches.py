"""Batches of rows in an order that depends on seed and epoch alone.

B: rows of a batch, N: all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Rows(Dataset[tuple[Tensor, ...]]):
    """Tensors of equal length, indexed by a whole batch of rows at once."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __getitem__(self, index_B: Tensor) -> tuple[Tensor, ...]:
        # index_select is faster, but its index has one axis only.
        if index_B.dim() == 1:
            return tuple(tensor.index_select(0, index_B) for tensor in self.tensors)
        return tuple(tensor[index_B] for tensor in self.tensors)


class Batches(Sampler[Tensor]):
    """Batches of indices, in an order of its own for each seed and epoch.

    Yields index tensors of shape (seeds, batch), or of shape (batch,) if `seeds` is a number.

    The order is drawn with the first batch of an epoch, not before: after a restart Lightning
    creates the iterator while it still counts the previous epoch.
    """

    def __init__(self, n: int, size: int, seeds: Sequence[int] | int) -> None:
        self.n = n
        self.size = min(size, n)
        self.seeds = seeds
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        if isinstance(self.seeds, int):
            order_N = self._draw_order(self.seeds)
        else:
            order_N = torch.stack([self._draw_order(seed) for seed in self.seeds])
        yield from order_N[..., : len(self) * self.size].split(self.size, dim=-1)

    def __len__(self) -> int:
        return self.n // self.size

    def _draw_order(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + self.epoch)
        return torch.randperm(self.n, generator=generator)


def make_loader(
    rows: Rows, n: int, size: int, seeds: Sequence[int] | int
) -> DataLoader[tuple[Tensor, ...]]:
    """Returns batches of the n rows; each epoch leaves out the rows that fill no whole batch."""
    batches = Batches(n, size, seeds)
    return DataLoader(rows, sampler=batches, batch_size=None, generator=torch.Generator())
