"""Whether a language model is read and written as it should be: checked when it is read for the
first time, and kept.

B: texts in a batch, T: tokens, D: width, V: vocabulary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from console.errors import UserError
from core_model.causality import check_causality
from core_model.language_model import HuggingFacePredictor, take_at
from core_model.residual_stream import UNFIT, Batch, Start, Write
from storage.cache import load_or_make
from storage.fingerprint import hash_code

TEXTS = ("Paris is a city in France.", "The sum of two and three is not six.")
LENGTH = 4
"""Tokens of each text that are read."""


@dataclass(frozen=True)
class SelfCheck:
    """What was measured of a language model: each a norm of differences, as a share of the norm of
    what should have been the same.
    """

    reading_error: float
    """Of the levels against the hidden states that the model gives itself, without the last of
    them, which is after the final norm. 0 where it gives none.
    """
    writing_error: float
    """Of the logits after every level was written back as it was read."""
    exchange_error: float
    """Of the logits after the last level was written, against those of the text it comes from."""
    resumes: bool
    """Whether running the blocks above a level on their own gives the same logits, at each level
    but the first; otherwise a write takes a whole forward pass.
    """


def load_or_check(predictor: HuggingFacePredictor, cache: Path) -> SelfCheck:
    """Returns what the check of this model on this kind of device found, computed now or loaded
    from the cache. Another version of the code that reads and writes is checked again.

    Raises:
        UserError: the model is not causal, or is not read or written as it should be.
    """
    key = f"{predictor.identity}-{predictor.model.device.type}-{hash_code(__name__)}"
    path = cache / "self_checks" / f"{key}.safetensors"

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        check_shapes(predictor)
        check_causality(predictor)
        return {}, asdict(check_reading_and_writing(predictor))

    _, facts = load_or_make(path, make)
    return SelfCheck(**facts)


@torch.no_grad()
def check_reading_and_writing(predictor: HuggingFacePredictor) -> SelfCheck:
    """Returns what is found of two texts of a few tokens.

    Raises:
        UserError: the levels are not the model's hidden states, or writing does not do what it
            should.
    """
    batch = _build_batch(predictor)
    last_B = batch.mask_BT.sum(dim=1) - 1
    levels = range(predictor.n_levels)
    stream = predictor.stream
    z_BTD_of = stream.read(batch, levels, lambda z_BTD: z_BTD.clone())
    hidden = stream.run_with_hidden_states(batch)
    reading_error = 0.0
    if hidden:
        reading_error = _compare_levels(predictor, z_BTD_of, hidden)
    logits_BV = stream.compute_logits(batch, last_B)

    same = [Write(level, last_B, take_at(z_BTD_of[level], last_B)) for level in levels]
    writing_error = _compute_error(stream.compute_logits(batch, last_B, same), logits_BV)
    last = predictor.n_levels - 1
    other = Write(last, last_B, take_at(z_BTD_of[last], last_B).flip(0))
    exchanged_BV = stream.compute_logits(batch, last_B, [other])
    exchange_error = _compute_error(exchanged_BV, logits_BV.flip(0))
    tolerance = choose_tolerance(predictor.dtype)
    words = "writing back what was read changes the logits"
    _refuse_above(tolerance, predictor, words, writing_error)
    _refuse_above(
        tolerance,
        predictor,
        "writing the last level of another text does not give its logits: they are off",
        exchange_error,
    )
    resumes = _can_resume(predictor, batch, z_BTD_of, tolerance)
    return SelfCheck(reading_error, writing_error, exchange_error, resumes)


def choose_tolerance(dtype: torch.dtype) -> float:
    """Returns the largest error that counts as rounding: a mixture of experts rounds a little
    differently when other tokens are computed together.
    """
    return max(1e-5, 2 * torch.finfo(dtype).eps)


def _build_batch(predictor: HuggingFacePredictor) -> Batch:
    """Returns the texts, the second one padded at its end."""
    vocabulary = predictor.model.config.get_text_config().vocab_size
    texts = []
    for number, text in enumerate(TEXTS):
        tokens = predictor.tokenizer(text)["input_ids"] or [0]
        tokens = (tokens * LENGTH)[: LENGTH - number]
        # The texts differ, however little of them the tokenizer knows.
        texts.append([*tokens[:-1], (tokens[-1] + number) % vocabulary])
    return predictor.pad(texts)


def check_shapes(predictor: HuggingFacePredictor) -> None:
    """Checks that each level is one activation of each token.

    Raises:
        UserError: a level is several streams, or of another width.
    """
    batch = _build_batch(predictor)
    expected = (*batch.ids_BT.shape, predictor.width)
    levels = range(predictor.n_levels)
    for level, z_BTD in predictor.stream.read(batch, levels, lambda z_BTD: z_BTD).items():
        if tuple(z_BTD.shape) != expected:
            raise UserError(
                f"core_model.model: {type(predictor.model).__name__} has no single residual stream:"
                f" level {level} has the shape {tuple(z_BTD.shape)}, not {expected}. Choose another"
                " model."
            )


def _compare_levels(
    predictor: HuggingFacePredictor, z_BTD_of: dict[int, Tensor], hidden: tuple[Tensor, ...]
) -> float:
    """Returns the largest error of a level against the hidden states.

    Raises:
        UserError: it is above rounding, or there are more or fewer hidden states.
    """
    name = type(predictor.model).__name__
    if len(hidden) != predictor.n_levels:
        raise UserError(
            f"core_model.model: {name} gives {len(hidden)} hidden states, and has"
            f" {predictor.n_levels} levels. Choose another model."
        )
    worst = []
    for first in (0, 1):  # some recurrent models leave out level 0, and give the last level
        errors = [
            (_compute_error(z_BTD_of[first + i], h_BTD), first + i)
            for i, h_BTD in enumerate(hidden[:-1])
        ]
        worst.append(max(errors))
    error, level = min(worst)
    words = f"level {level} is not its hidden state: it is off"
    _refuse_above(choose_tolerance(predictor.dtype), predictor, words, error)
    return error


def _can_resume(
    predictor: HuggingFacePredictor, batch: Batch, z_BTD_of: dict[int, Tensor], tolerance: float
) -> bool:
    """Whether the blocks above each level, run on their own after a write there, give the logits of
    a whole pass.
    """
    stream = predictor.stream
    last_B = batch.mask_BT.sum(dim=1) - 1
    for level in range(1, predictor.n_levels):
        write = Write(level, last_B, take_at(z_BTD_of[level], last_B).flip(0))
        whole_BV = stream.compute_logits(batch, last_B, [write])
        try:
            start = Start(level, z_BTD_of[level])
            resumed_BV = stream.compute_logits(batch, last_B, [write], start)
        except UNFIT:
            return False  # a block needs more of the ones below it than their residual stream
        if _compute_error(resumed_BV, whole_BV) > tolerance:
            return False
    return True


def _compute_error(found: Tensor, expected: Tensor) -> float:
    """Returns the norm of the difference, as a share of the norm of what is expected; infinity
    where something is not a finite number.
    """
    found, expected = found.float(), expected.float()
    error = (found - expected).norm() / expected.norm().clamp_min(1e-12)
    return float(error) if error.isfinite() else float("inf")


def _refuse_above(
    tolerance: float, predictor: HuggingFacePredictor, words: str, error: float
) -> None:
    if error > tolerance:
        name = type(predictor.model).__name__
        raise UserError(
            f"core_model.model: {name} cannot be read and written level by level: {words} by"
            f" {error:.1g} of their norm. Choose another model, or core_model.dtype=float32."
        )
