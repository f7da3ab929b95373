"""Kept residual streams: a batch that was read before is not read again, and is never put together
from texts of other batches, which may have been rounded differently.
"""

import pytest
import torch

pytest.importorskip("transformers")

from core_model.kept_streams import KeptStreams
from core_model.residual_stream import ResidualStream, find_residual_blocks
from tests.core_model.small_models import MODELS

TEXTS = [[1, 2, 3, 4], [5, 6, 7]]


class CountingStream(ResidualStream):
    """A residual stream that is the number of texts in the batch everywhere, plus the level; it
    counts how often it is read.
    """

    reads = 0

    def read(self, batch, levels, take, writes=()):
        CountingStream.reads += 1
        z_BTD = torch.full((*batch.ids_BT.shape, 2), float(len(batch.ids_BT)))
        return {level: take(z_BTD + 10 * level) for level in levels}


@pytest.fixture
def stream(monkeypatch):
    monkeypatch.setattr(CountingStream, "reads", 0)
    model = MODELS["llama"]()
    return CountingStream(model, find_residual_blocks(model))


def test_a_text_is_not_taken_from_another_batch(stream):
    kept = KeptStreams()
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:], TEXTS[::-1]):
        for _ in range(2):
            z_BTD = kept.load_or_read(stream, texts, 1)
            assert z_BTD.shape == (len(texts), max(map(len, texts)), 2)
            assert z_BTD.unique().tolist() == [10 + len(texts)]
    assert stream.reads == 4


def test_one_level_is_kept_and_no_more_than_memory_allows(stream, monkeypatch):
    kept = KeptStreams()
    for level in (1, 2, 2, 1):
        assert kept.load_or_read(stream, TEXTS, level).unique().tolist() == [2 + 10 * level]
    assert stream.reads == 3
    monkeypatch.setattr("core_model.kept_streams.MOST_BYTES", 80)  # both take 64, one 32 or 24
    for texts, n_kept in ((TEXTS[:1], 1), (TEXTS[1:], 2), (TEXTS[1:], 2), (TEXTS, 1)):
        kept.load_or_read(stream, texts, 1)
        assert len(kept._z_BTD_of) == n_kept
    assert stream.reads == 6
