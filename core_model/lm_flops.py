"""The FLOPs of one block of a language model, counted from its weights and its config.

N: episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

ACTIVE_EXPERTS = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k")
"""Under one of these names, a config says how many experts each token goes through."""
RATES = ("A_log", "slope_rate", "time_decay")
"""A module with one of these, the rates at which its state decays, is a recurrence."""
SINGLE_CHANNELS = ("A_log", "D", "bias")
"""Weights of single channels, whatever their shape."""


def count_block_flops(block: nn.Module, config: Any, length_N: Tensor) -> Tensor:
    """Returns the FLOPs that a block takes for texts of these numbers of tokens, shape (N,).

    Counted are 2 FLOPs for each weight of its matrices and convolutions and each token; of experts,
    only as many as a token goes through; for attention, scores and their sum over all pairs of
    tokens; for a state-space layer, a delta rule or lightning attention, the recurrence token by
    token.
    Embeddings, norms, activation functions and recurrences of single channels are not counted.
    """
    weights = sum(share * weight.numel() for weight, share in _list_weights(block, config))
    state = sum(_count_state_flops(module) for module in block.modules())
    attention = 0
    if any(is_attention(module) for module in block.modules()):
        attention = 2 * _count_attention_width(config)
    return (2 * weights + state) * length_N + attention * length_N**2


def _list_weights(block: nn.Module, config: Any) -> Iterator[tuple[Tensor, float]]:
    """Yields the weights that multiply activations as matrices or convolutions, each with the share
    of it that one token goes through.
    """
    for path, module in block.named_modules():
        if isinstance(module, nn.Embedding):
            continue
        for name, weight in module.named_parameters(recurse=False):
            # Some weights of single channels have axes of length 1 beside that of the channels.
            has_one_axis = weight.numel() == max(weight.shape, default=1)
            is_vector = weight.ndim < 2 or (has_one_axis and not isinstance(module, nn.Linear))
            if is_vector or name in SINGLE_CHANNELS or name.endswith("_bias"):
                continue
            yield weight, _find_active_share(block, path, weight, config)


def _find_active_share(block: nn.Module, path: str, weight: Tensor, config: Any) -> float:
    """Returns the share of experts that a token goes through, for a weight of experts; otherwise 1.

    Experts are a list of modules or, in one tensor of three dimensions, a stack of matrices.
    """
    parts = path.split(".")
    experts = owner = block.get_submodule(path)
    if "experts" in parts:
        experts = block.get_submodule(".".join(parts[: parts.index("experts") + 1]))
    elif "experts" not in type(owner).__name__.lower():
        return 1.0
    if isinstance(experts, nn.ModuleList):
        n_experts = len(experts)
    elif weight.ndim == 3:
        n_experts = len(weight)
    else:
        return 1.0
    active = next((getattr(config, key) for key in ACTIVE_EXPERTS if hasattr(config, key)), None)
    return active / n_experts if active else 1.0


def is_attention(module: nn.Module) -> bool:
    """Whether a module compares pairs of tokens. Some recurrences are named attention as well."""
    if "attention" not in type(module).__name__.lower():
        return False
    return not any(hasattr(part, name) for part in module.modules() for name in RATES)


def _count_attention_width(config: Any) -> int:
    """Returns the sum, over attention heads, of the width of keys and of the width of values."""
    n_heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    if getattr(config, "kv_lora_rank", None):
        return n_heads * (config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim)
    return 2 * n_heads * width


def _count_state_flops(module: Any) -> int:
    """Returns the FLOPs of one step of a module's own recurrence with a matrix as its state; 0 for
    other modules.

    Mamba 1 decays each number of the state by its own rate, which costs 1 FLOP to make, 1 to apply,
    2 to make and add the input's part, 2 to read it. In Mamba 2 and in lightning attention the rate
    is that of a head, so 5 are left. A delta rule decays the state (1), reads it with the key (2),
    adds an outer product (2) and reads it with the query (2); some keep its rates in a module of
    their own, the forget gate. Each channel of a state-space layer also passes its input on (2).
    """
    if hasattr(module, "slope_rate"):
        return 5 * module.num_attention_heads * module.head_dim**2
    if not hasattr(module, "A_log"):
        return 0
    if hasattr(module, "ssm_state_size"):
        return _count_state_space_flops(module)
    if hasattr(module, "head_k_dim"):
        return 7 * module.num_v_heads * module.head_k_dim * module.head_v_dim
    return 7 * module.num_heads * module.head_dim**2


def _count_state_space_flops(module: Any) -> int:
    """Returns the FLOPs of one step of a state-space layer, whatever the shape of its rates."""
    channels = module.intermediate_size
    numbers = channels * module.ssm_state_size
    per_number = 6 if module.A_log.numel() == numbers else 5
    return per_number * numbers + 2 * channels
