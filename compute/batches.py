"""Batches of rows in an order keyed by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class Rows(Dataset[tuple[Tensor, ...]]):
    """Tensors of equal length, taken by a whole batch of indices at once."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __getitem__(self, index_B: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            tensor.index_select(0, index_B) if index_B.dim() == 1 else tensor[index_B]
            for tensor in self.tensors
        )  # the first is the quicker


class Batches(Sampler[Tensor]):
    """Batches of indices, one order a seed; an order depends on seed and epoch alone.

    The order is drawn with an epoch's first batch, not before: after a restart Lightning makes the
    iterator while it still counts the epoch before. Yields index tensors of shape (seeds, batch);
    of shape (batch,) where a single seed is given as a number.
    """

    def __init__(self, n: int, size: int, seeds: Sequence[int] | int) -> None:
        self.n, self.size, self.seeds, self.epoch = n, min(size, n), seeds, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        order_N = (
            self._order(self.seeds)
            if isinstance(self.seeds, int)
            else torch.stack([self._order(seed) for seed in self.seeds])
        )
        yield from order_N[..., : len(self) * self.size].split(self.size, dim=-1)

    def __len__(self) -> int:
        return self.n // self.size

    def _order(self, seed: int) -> Tensor:
        return torch.randperm(
            self.n, generator=torch.Generator().manual_seed(seed * 1_000_003 + self.epoch)
        )


def loader(
    rows: Rows, n: int, size: int, seeds: Sequence[int] | int
) -> DataLoader[tuple[Tensor, ...]]:
    """Returns batches of the n rows; the odd rows at an epoch's end are left out of that epoch."""
    return DataLoader(
        rows, sampler=Batches(n, size, seeds), batch_size=None, generator=torch.Generator()
    )
