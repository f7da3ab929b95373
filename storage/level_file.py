"""One level's activations on disk: a safetensors file that is filled row by row, sealed with a
checksum, and mapped into memory when it is read.

N: episodes, D: width.
"""

from __future__ import annotations

import json
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

ALIGNED = 64
"""Bytes: the first number stands at a multiple of it."""
KINDS = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""The names that safetensors gives to types of numbers."""
POPULATE_WRITE, AT_ONCE = 23, 1_000_000_000
"""Linux's advice to hand out a mapping's pages at once, which Python has no name for, and the bytes
up to which it is followed.
"""


@dataclass(frozen=True)
class LevelFile:
    """Where one level's z_ND is kept. All of the file but its numbers follows from these values, so
    any other byte in it is damage.

    Args:
        key: all that the numbers depend on; stands in the file.
    """

    path: Path
    key: str
    n: int
    width: int
    dtype: torch.dtype

    def load(self) -> Tensor | None:
        """Returns z_ND, mapped into memory; None where the file is not there, or holds one bit that
        was not sealed.

        The mapping is private: who writes into the tensor changes no file.
        """
        if not self.path.exists() or self.path.stat().st_size != self._size:
            return None
        bytes_ = _mapped(self.path, mmap.ACCESS_COPY)
        numbers = bytes_[self._start :]
        whole = bytes_[: self._start].numpy().tobytes() == self._header(_checksum(numbers))
        return self._table(numbers) if whole else None

    def reserve(self) -> None:
        """Makes the file under its temporary name, on a disk that has room for all of it.

        Raises:
            UserError: the disk has not.
        """
        self.temporary.unlink(missing_ok=True)
        with self.temporary.open("wb") as file:
            try:
                if hasattr(os, "posix_fallocate"):  # not on a Mac
                    os.posix_fallocate(file.fileno(), 0, self._size)
                file.truncate(self._size)
            except OSError as error:
                cure = "Make room, or set ELK_CACHE to a folder with more."
                raise UserError(
                    f"activations: {self._size / 1e9:.2f} GB cannot be kept in"
                    f" {self.path.parent} ({error.strerror}). {cure}"
                ) from None

    def rows(self) -> Tensor:
        """Returns z_ND of the temporary file, to be filled in; several processes may fill in rows
        of the same file.
        """
        return self._table(
            _mapped(self.temporary, mmap.ACCESS_WRITE, at_once=self._size <= AT_ONCE)[self._start :]
        )

    def seal(self) -> bool:
        """Gives the file its checksum and its name, if all of its numbers are finite; returns
        whether they are.
        """
        bytes_ = _mapped(self.temporary, mmap.ACCESS_WRITE)
        if not is_finite(self._table(bytes_[self._start :])):
            return False
        header = self._header(_checksum(bytes_[self._start :]))
        bytes_[: self._start] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        os.replace(self.temporary, self.path)
        return True

    @property
    def temporary(self) -> Path:
        """The file's name until it is sealed. There is one, as only the holder of the folder's lock
        writes.
        """
        return self.path.with_name(f".{self.path.name}.unsealed")

    @property
    def _start(self) -> int:
        return len(self._header("0" * 32))

    @property
    def _size(self) -> int:
        return self._start + self.n * self.width * self.dtype.itemsize

    def _table(self, numbers: Tensor) -> Tensor:
        return numbers.view(self.dtype).view(self.n, self.width)

    def _header(self, checksum: str) -> bytes:
        """Returns what stands before the numbers: 8 bytes of length, and JSON filled up with
        blanks.
        """
        end = self.n * self.width * self.dtype.itemsize
        about = {
            "dtype": KINDS[self.dtype],
            "shape": [self.n, self.width],
            "data_offsets": [0, end],
        }
        text = json.dumps(
            {"__metadata__": {"key": self.key, "xxh3_128": checksum}, "z_ND": about}
        ).encode()
        text += b" " * (-(8 + len(text)) % ALIGNED)
        return len(text).to_bytes(8, "little") + text


def is_finite(z: Tensor) -> bool:
    """Whether all numbers are finite. Their extremes tell it forty times as fast as a look at each:
    NaN is both of them wherever it stands.
    """
    return not z.numel() or all(bool(extreme.isfinite()) for extreme in z.aminmax())


def _checksum(numbers: Tensor) -> str:
    """Returns XXH3: it guards against damage, not against an attacker, and is as fast as memory;
    SHA-256 would take ten times as long as the rest.
    """
    return xxhash.xxh3_128(numbers.numpy().data).hexdigest()


def _mapped(path: Path, access: int, at_once: bool = False) -> Tensor:
    with path.open("r+b" if access == mmap.ACCESS_WRITE else "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=access)
    if at_once and sys.platform == "linux":
        with suppress(OSError):  # a system that is older than this advice: pages come one by one
            memory.madvise(POPULATE_WRITE)
    return torch.frombuffer(memory, dtype=torch.uint8)
