"""The activations of one level on disk: a safetensors file that is filled row by row, sealed with a
checksum, and mapped into memory when it is read.

N: episodes, D: width.
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import xxhash
from torch import Tensor

from console.errors import UserError
from storage.tensors import KINDS, build_header

POPULATE_WRITE = 23
"""Linux's advice to allocate the pages of a mapping at once; Python has no name for it."""
POPULATE_LIMIT = 1_000_000_000
"""Bytes: the advice is given for files up to this size."""


@dataclass(frozen=True)
class LevelFile:
    """The file of one level's z_ND. Every byte of it except the numbers follows from these values,
    so any other byte is damage.

    Args:
        key: everything that the numbers depend on; it is part of the file.
    """

    path: Path
    key: str
    n: int
    width: int
    dtype: torch.dtype

    def load(self) -> Tensor | None:
        """Returns z_ND, mapped into memory; None if the file is missing, or if a bit of it differs
        from what was sealed.

        The mapping is private: writing into the tensor changes no file.
        """
        if not self.path.exists() or self.path.stat().st_size != self._size:
            return None
        content = _map_file(self.path, mmap.ACCESS_COPY)
        header = content[: self._start].numpy().tobytes()
        numbers = content[self._start :]
        if header != self._build_header(_compute_checksum(numbers)):
            return None
        return self._as_table(numbers)

    def reserve(self) -> None:
        """Creates the file under its temporary name, with disk space for all of it.

        Raises:
            UserError: the disk has too little space.
        """
        self.temporary.unlink(missing_ok=True)
        with self.temporary.open("wb") as file:
            try:
                if hasattr(os, "posix_fallocate"):  # macOS has no such function
                    os.posix_fallocate(file.fileno(), 0, self._size)
                file.truncate(self._size)
            except OSError as error:
                raise UserError(
                    f"activations: {self._size / 1e9:.2f} GB do not fit into {self.path.parent}"
                    f" ({error.strerror}). Free some space, or set ELK_CACHE to a larger disk."
                ) from None

    def rows(self) -> Tensor:
        """Returns z_ND of the temporary file, to be filled in; several processes may fill in rows
        of the same file.
        """
        populate = self._size <= POPULATE_LIMIT
        content = _map_file(self.temporary, mmap.ACCESS_WRITE, populate)
        return self._as_table(content[self._start :])

    def seal(self) -> bool:
        """Writes the checksum and gives the file its name, if all of its numbers are finite;
        returns whether they are.
        """
        content = _map_file(self.temporary, mmap.ACCESS_WRITE)
        numbers = content[self._start :]
        if not is_finite(self._as_table(numbers)):
            return False
        header = self._build_header(_compute_checksum(numbers))
        content[: self._start] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        os.replace(self.temporary, self.path)
        return True

    @property
    def temporary(self) -> Path:
        """The file's name until it is sealed. One name is enough: only the process that holds the
        folder's lock writes.
        """
        return self.path.with_name(f".{self.path.name}.unsealed")

    @property
    def _start(self) -> int:
        """The position of the first number, in bytes."""
        return len(self._build_header("0" * 32))

    @property
    def _size(self) -> int:
        return self._start + self._numbers_size

    @property
    def _numbers_size(self) -> int:
        return self.n * self.width * self.dtype.itemsize

    def _as_table(self, numbers: Tensor) -> Tensor:
        return numbers.view(self.dtype).view(self.n, self.width)

    def _build_header(self, checksum: str) -> bytes:
        """Returns the bytes before the numbers."""
        table = {
            "dtype": KINDS[self.dtype],
            "shape": [self.n, self.width],
            "data_offsets": [0, self._numbers_size],
        }
        return build_header({"key": self.key, "xxh3_128": checksum}, {"z_ND": table})


def is_finite(z: Tensor) -> bool:
    """Whether all numbers are finite. Looking at the two extremes is forty times as fast as looking
    at each number, and a NaN anywhere makes both of them NaN.
    """
    return not z.numel() or all(bool(extreme.isfinite()) for extreme in z.aminmax())


def _compute_checksum(numbers: Tensor) -> str:
    """Returns XXH3: it detects damage, not an attack, and is as fast as memory. SHA-256 would take
    ten times as long as the rest.
    """
    return xxhash.xxh3_128(numbers.numpy().data).hexdigest()


def _map_file(path: Path, access: int, populate: bool = False) -> Tensor:
    """Returns the bytes of a file, mapped into memory."""
    with path.open("r+b" if access == mmap.ACCESS_WRITE else "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=access)
    if populate and sys.platform == "linux":
        with suppress(OSError):  # an older Linux allocates the pages one by one
            memory.madvise(POPULATE_WRITE)
    return torch.frombuffer(memory, dtype=torch.uint8)
