"""The residual stream of batches of texts at one level, kept in memory: many swaps at this level
then run the blocks above it alone.

B: texts in a batch, T: tokens, D: width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from core_model.residual_stream import ResidualStream, pad

MOST_BYTES = 2**30
"""When more than this would be kept, all that was kept before is dropped."""
Texts = tuple[tuple[int, ...], ...]


class KeptStreams:
    """The residual stream of each batch at the level that was asked for last.

    A batch is known by all of its texts: the same text in another batch may be rounded differently.
    """

    def __init__(self) -> None:
        self._level = 0
        self._bytes = 0
        self._z_BTD_of: dict[Texts, Tensor] = {}

    def load_or_read(
        self, stream: ResidualStream, texts: Sequence[list[int]], level: int
    ) -> Tensor:
        """Returns z_BTD of a batch of texts at a level; it is read unless it is kept."""
        if level != self._level:
            self._drop()
            self._level = level
        key = tuple(map(tuple, texts))
        if key not in self._z_BTD_of:
            batch = pad(texts, stream.model.device)
            z_BTD = stream.read(batch, {level}, lambda z_BTD: z_BTD.clone())[level]
            if self._bytes + z_BTD.nbytes > MOST_BYTES:
                self._drop()
            self._z_BTD_of[key] = z_BTD
            self._bytes += z_BTD.nbytes
        return self._z_BTD_of[key]

    def _drop(self) -> None:
        self._bytes = 0
        self._z_BTD_of = {}
