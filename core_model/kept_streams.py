"""The residual stream of texts at one level, kept in memory: many swaps at this level then run the
blocks above it alone.

B: texts in a batch, T: tokens, D: width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from core_model.residual_stream import ResidualStream, pad

MOST_BYTES = 2**30
"""When more than this would be kept, all that was kept before is dropped."""


class KeptStreams:
    """The residual stream of each text at the level that was asked for last."""

    def __init__(self) -> None:
        self._level = 0
        self._bytes = 0
        self._z_TD_of: dict[tuple[int, ...], Tensor] = {}

    def load_or_read(
        self, stream: ResidualStream, texts: Sequence[list[int]], level: int
    ) -> Tensor:
        """Returns z_BTD of a batch of texts at a level; texts that are not kept yet are read."""
        if level != self._level:
            self._drop(level)
        missing = {tuple(text): text for text in texts if tuple(text) not in self._z_TD_of}
        if missing:
            self._read(stream, list(missing.values()), texts)
        kept = [self._z_TD_of[tuple(text)] for text in texts]
        return nn.utils.rnn.pad_sequence(kept, batch_first=True)

    def _read(
        self,
        stream: ResidualStream,
        missing: Sequence[list[int]],
        needed: Sequence[list[int]],
    ) -> None:
        """Reads texts, and drops all others where memory would be short."""
        batch = pad(missing, stream.model.device)
        z_BTD = stream.read(batch, {self._level}, lambda z_BTD: z_BTD)[self._level]
        if self._bytes + z_BTD.nbytes > MOST_BYTES:
            still_needed = {tuple(text) for text in needed} & self._z_TD_of.keys()
            kept = {key: self._z_TD_of[key] for key in still_needed}
            self._drop(self._level)
            for key, z_TD in kept.items():
                self._keep(key, z_TD)
        for text, z_TD in zip(missing, z_BTD, strict=True):
            self._keep(tuple(text), z_TD[: len(text)].clone())

    def _keep(self, key: tuple[int, ...], z_TD: Tensor) -> None:
        self._z_TD_of[key] = z_TD
        self._bytes += z_TD.nbytes

    def _drop(self, level: int) -> None:
        self._level = level
        self._bytes = 0
        self._z_TD_of = {}
