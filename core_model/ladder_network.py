"""The contract of a residual network that reads all bits of the ladder at once.

N: episodes, C: components, D: width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from core_model.predictor import Opinions


class LadderBlock(nn.Module, ABC):
    """Adds the outputs of its components to the stream."""

    @property
    @abstractmethod
    def components(self) -> int:
        """How many parts can be switched off one by one."""

    @abstractmethod
    def compute_outputs(self, z_ND: Tensor) -> Tensor:
        """Returns what each component adds to the stream, shape (C, N, D)."""

    def forward(self, z_ND: Tensor) -> Tensor:
        return z_ND + self.compute_outputs(z_ND).sum(dim=0)


class LadderNetwork(nn.Module, ABC):
    """An embedding of the bits, blocks that map one level to the next, and a readout."""

    name: ClassVar[str]
    embedding: nn.Linear
    blocks: nn.ModuleList
    """Each is a `LadderBlock`."""

    @abstractmethod
    def compute_opinions(self, z_ND: Tensor) -> Opinions:
        """Returns the opinions that follow from the last level."""

    @abstractmethod
    def count_block_flops(self) -> list[int]:
        """Returns the FLOPs an episode of each block. A multiply-add is 2 FLOPs."""
