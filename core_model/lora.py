"""Low-rank adapters of a language model (LoRA, Hu et al. 2021): drawn, attached while they are
trained, merged into the weights, and saved as peft saves them.

R: rank, I: inputs of a layer, O: its outputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from console.errors import UserError
from storage.atomic import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before the names of the model's own modules."""


class Pair(NamedTuple):
    """What an adapter adds to the matrix of one layer: up_OR @ down_RI."""

    down_RI: Tensor
    up_OR: Tensor


def draw_pairs(
    model: PreTrainedModel, blocks: Sequence[nn.Module], rank: int, seed: int
) -> dict[str, Pair]:
    """Returns a trainable pair for every linear layer of some blocks, by the layer's name in the
    model. At the start it adds nothing: `up_OR` is zero.

    Raises:
        UserError: the blocks have no linear layer.
    """
    rng = torch.Generator().manual_seed(seed)
    inside = {id(module) for block in blocks for module in block.modules()}
    pairs = {}
    for name, layer in model.named_modules():
        if id(layer) in inside and isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            down_RI = (2 * torch.rand(rank, layer.in_features, generator=rng) - 1) * bound
            up_OR = torch.zeros(layer.out_features, rank)
            values = (value.to(layer.weight).requires_grad_() for value in (down_RI, up_OR))
            pairs[name] = Pair(*values)
    if not pairs:
        raise UserError(
            f"core_model.model: the blocks of {type(model).__name__} have no linear layers to"
            " adapt. Choose another model."
        )
    return pairs


@contextmanager
def attach(model: PreTrainedModel, pairs: Mapping[str, Pair]) -> Iterator[None]:
    """Adds what the pairs say to the outputs of their layers while the block runs."""
    handles = []
    for name, pair in pairs.items():

        def add(
            layer: nn.Module, inputs: tuple[Any, ...], output: Tensor, pair: Pair = pair
        ) -> Tensor:
            return output + inputs[0] @ pair.down_RI.T @ pair.up_OR.T

        handles.append(model.get_submodule(name).register_forward_hook(add))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def name_tensors(pairs: Mapping[str, Pair]) -> dict[str, Tensor]:
    """Returns the tensors under the names that peft gives them."""
    tensors = {}
    for name, pair in pairs.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = pair.down_RI
        tensors[f"{PREFIX}{name}.lora_B.weight"] = pair.up_OR
    return tensors


@torch.no_grad()
def copy_tensors(tensors: Mapping[str, Tensor], pairs: Mapping[str, Pair]) -> None:
    """Copies the numbers of saved tensors into the pairs whose names they have."""
    for name, value in name_tensors(pairs).items():
        value.copy_(tensors[name])


def write_config(folder: Path, pairs: Mapping[str, Pair], model: str) -> None:
    """Writes adapter_config.json, which peft reads.

    Args:
        model: the name of the model that the adapter belongs to.
    """
    rank = len(next(iter(pairs.values())).down_RI)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model,
        "r": rank,
        "lora_alpha": rank,  # so that their product is added as it is
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(pairs),
        "inference_mode": True,
    }
    with write_atomically(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
