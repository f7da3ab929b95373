"""Activations of a frozen predictor, and its own predictions: read once and kept on disk under a key of all that they depend on.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor

from core_model.predictor import Opinions, Predictor, content_hash
from core_model.store import kept
from refusal import Refusal
from worlds.world import World

READER_VERSION = 1
"""Raise it when the same weights and episodes would be read differently: what is kept under another version is not used."""


def activations(predictor: Predictor, episodes: Dataset, columns: Sequence[str], levels: Sequence[int], cache: Path, position: int = -1) -> Tensor:
    """Returns z_NLD, float32: the activations of the episodes at the levels asked for, read now or taken from the cache.

    Args:
        columns: what the predictor reads of an episode; together with its weights, it decides the key.
        position: where in the episode, -1 for its end.

    Raises:
        Refusal: a level that the predictor lacks; an activation that is not a finite number.
    """
    check_levels(predictor, levels)
    key = f"{READER_VERSION} {predictor.identity} {content_hash(episodes, columns)} {list(levels)} {position}"
    path = cache / "activations" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    tensors, _ = kept(path, lambda: ({"z_NLD": _finite(predictor.read(episodes, levels, position), levels)}, {"key": key}))
    return tensors["z_NLD"].float()


def opinions(predictor: Predictor, episodes: Dataset, world: World, cache: Path) -> Opinions:
    """Returns the predictor's own predictions for the last step of the episodes, made now or taken from the cache.

    Args:
        world: says what the predictor reads of an episode, and where X and H show in what it predicts.
    """
    shows = f"{world.concept_shows_in} {world.human_shows_in}"
    key = f"{READER_VERSION} {predictor.identity} {content_hash(episodes, world.reads)} opinions {shows}"
    path = cache / "opinions" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    tensors, _ = kept(path, lambda: (predictor.opinions(episodes)._asdict(), {"key": key}))
    return Opinions(**tensors)


def check_levels(predictor: Predictor, levels: Sequence[int]) -> None:
    """Raises Refusal unless the predictor has every level, and each is named once."""
    for level in levels:
        if not 0 <= level < predictor.n_levels:
            raise Refusal(f"levels: {predictor.name} has no level {level}. It has 0 to {predictor.n_levels - 1}.")
    if not levels or len(set(levels)) < len(levels):
        raise Refusal(f"levels: {list(levels)} is empty or names a level twice. Name each level once.")


def _finite(z_NLD: Tensor, levels: Sequence[int]) -> Tensor:
    broken_L = ~torch.isfinite(z_NLD).all(dim=2).all(dim=0)
    if broken_L.any():
        level = levels[int(broken_L.nonzero()[0])]
        raise Refusal(f"activations: level {level} holds NaN or infinity. Use core_model.dtype=float32, or leave that level out of `levels`.")
    return z_NLD
