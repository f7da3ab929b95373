"""Whether a language model is causal: its activations at a token do not depend on later tokens."""

from __future__ import annotations

from functools import partial

import torch

from console.errors import UserError
from core_model.language_model import HuggingFacePredictor, take_at

TEXT = "Paris is a city in France."
LENGTH = 4
"""Tokens that are read."""


def check_causality(predictor: HuggingFacePredictor) -> None:
    """Checks that another last token changes no activation of the token before it, at any level.

    The likelihood of a text is the product of what the model predicts at each token only if the
    model does not see the later ones.

    Raises:
        UserError: it changes one.
    """
    tokens = ((predictor.tokenizer(TEXT)["input_ids"] or [0]) * LENGTH)[:LENGTH]
    other = (tokens[-1] + 1) % predictor.model.config.get_text_config().vocab_size
    z_LD = read_before_last(predictor, tokens)
    changed_LD = read_before_last(predictor, [*tokens[:-1], other])
    change_L = (changed_LD - z_LD).norm(dim=1) / z_LD.norm(dim=1).clamp_min(1e-12)
    # Only a mixture of experts, which computes other tokens together, rounds a little differently.
    tolerance = max(1e-5, torch.finfo(predictor.dtype).eps / 8)
    if change_L.max() > tolerance:
        raise UserError(
            f"core_model.model: {type(predictor.model).__name__} is not causal: another last token"
            f" changes the activations of the token before it, by {change_L.max():.1g} of their"
            " norm. Choose a causal language model; some are one with is_decoder=true in their"
            " config.json."
        )


def read_before_last(predictor: HuggingFacePredictor, tokens: list[int]) -> torch.Tensor:
    """Returns z_LD, float32: the activations of the last token but one at every level."""
    batch = predictor.pad([tokens])
    take = partial(take_at, position_B=torch.tensor([len(tokens) - 2]))
    levels = range(predictor.n_levels)
    z_1D_of = predictor.stream.read(batch, levels, take)
    return torch.stack([z_1D_of[level][0].float() for level in levels])
