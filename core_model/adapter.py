"""Low-rank adapters of a language model (LoRA, Hu et al. 2021), in the format of peft: merged into
the weights when the model is loaded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from console.errors import UserError
from core_model.lora import CONFIG, PREFIX, WEIGHTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEY = "core_model.adapter"
SIDES = ("lora_A.weight", "lora_B.weight")
UNSUPPORTED = {
    "use_dora": False,
    "modules_to_save": None,
    "bias": "none",
    "lora_bias": False,
    "alora_invocation_tokens": None,
}
"""Keys of an adapter's config, with the only value, beside null, that can be merged as B·A."""
CHANGES_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")
"""Beginnings of the initialisations in which peft changes the weights of the model itself: B·A
belongs to these other weights.
"""


def merge_adapter(model: PreTrainedModel, folder: Path, name: str) -> None:
    """Adds scale · B·A to each weight that an adapter changes; scale is alpha/r, or alpha/√r for an
    adapter with `use_rslora`. An adapter of a readout that shares its weight with the embedding is
    refused, because merging it would change the embedding too.

    Args:
        folder: it holds adapter_config.json and adapter_model.safetensors.
        name: the model's, for messages.

    Raises:
        UserError: the adapter is incomplete, of another kind, or of another model.
    """
    config = _read_config(folder)
    modules = dict(model.named_modules())
    changes: list[tuple[Tensor, Tensor]] = []
    for module_name, (down_RD, up_DR) in _read_pairs(folder).items():
        weight = _find_weight(modules.get(module_name))
        if weight is not None and weight is model.get_input_embeddings().weight:
            raise UserError(
                f"{KEY}: {folder} changes {module_name}, which shares its weight with the embedding"
                f" of {name}. Train an adapter of other layers."
            )
        change = _find_scale(config, module_name) * (up_DR.float() @ down_RD.float())
        if weight is not None and type(modules[module_name]).__name__ == "Conv1D":
            change = change.T  # it multiplies from the other side
        if weight is None or weight.shape != change.shape:
            shape = "no weight of its own" if weight is None else tuple(weight.shape)
            raise UserError(
                f"{KEY}: {folder} is an adapter of another model: it changes {module_name} by a"
                f" matrix of {tuple(change.shape)}, and there {name} has {shape}. Name an adapter"
                f" of {name}."
            )
        changes.append((weight, change))
    with torch.no_grad():
        for weight, change in changes:
            weight.copy_((weight.float() + change.to(weight.device)).to(weight.dtype))


def _read_config(folder: Path) -> dict[str, Any]:
    missing = [file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()]
    if missing:
        raise UserError(
            f"{KEY}: {folder} lacks {' and '.join(missing)}. Name a folder that peft saved, with"
            " safetensors."
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{KEY}: {folder / CONFIG} is no JSON ({error}). Save it again.") from None
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UserError(f"{KEY}: {folder} is an adapter of the kind {kind}. Name one of LORA.")
    for key, value in UNSUPPORTED.items():
        if config.get(key) not in (value, None):
            raise UserError(
                f"{KEY}: {folder} has {key}={config[key]}, which cannot be merged. Train it with"
                f" {key}={value}."
            )
    start = str(config.get("init_lora_weights")).lower()
    if start.startswith(CHANGES_BASE):
        raise UserError(
            f"{KEY}: {folder} has init_lora_weights={start}, which changes the weights of the model"
            " itself. Save it with peft's path_initial_model_for_weight_conversion, or train a"
            " plain one."
        )
    for key in ("r", "lora_alpha"):
        value = config.get(key)
        if not isinstance(value, int | float) or value <= 0:
            raise UserError(
                f"{KEY}: {folder / CONFIG} has {key}={json.dumps(value)}, and needs a number above"
                " 0. Save it again with peft."
            )
    return config


def _read_pairs(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns A and B of each module, by its name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{KEY}: {folder / WEIGHTS} is damaged ({error}). Save it again.") from None
    names: dict[str, None] = {}
    for key in tensors:
        module_name, side = _split_key(key)
        if side not in SIDES:
            raise UserError(
                f"{KEY}: {folder} holds {key}, which is no part of a pair A and B. Train an adapter"
                " of linear layers alone."
            )
        names[module_name] = None
    pairs = {}
    for module_name in names:
        keys = [f"{PREFIX}{module_name}.{side}" for side in SIDES]
        if not all(key in tensors for key in keys):
            raise UserError(f"{KEY}: {folder} lacks A or B of {module_name}. Save it again.")
        pairs[module_name] = (tensors[keys[0]], tensors[keys[1]])
    if not pairs:
        raise UserError(f"{KEY}: {folder} changes nothing. Name a trained adapter.")
    return pairs


def _split_key(key: str) -> tuple[str, str]:
    """Returns the name of the module, and which of its tensors it is.

    >>> _split_key("base_model.model.lm_head.lora_A.weight")
    ('lm_head', 'lora_A.weight')
    """
    match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.(lora_[AB]\.weight)", key)
    return (match[1], match[2]) if match else (key, "")


def _find_weight(module: nn.Module | None) -> Tensor | None:
    """Returns the matrix of a module; None where it has none, or is the embedding."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or isinstance(module, nn.Embedding):
        return None
    return weight


def _find_scale(config: Mapping[str, Any], module_name: str) -> float:
    rank = _find_value(config, "r", "rank_pattern", module_name)
    alpha = _find_value(config, "lora_alpha", "alpha_pattern", module_name)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _find_value(config: Mapping[str, Any], key: str, patterns: str, module_name: str) -> float:
    """Returns a number of a module: that of the pattern that its name ends with, if there is one.

    >>> _find_value({"r": 8, "rank_pattern": {"q_proj": 4}}, "r", "rank_pattern", "layers.0.q_proj")
    4
    """
    for pattern, value in (config.get(patterns) or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module_name):
            return value
    return config[key]
