"""The FLOPs of blocks, against counts by hand: of experts only those that a token goes through, of
states the recurrence token by token.
"""

import pytest
import torch

pytest.importorskip("transformers")

from torch import nn

from core_model.lm_flops import count_block_flops
from core_model.residual_stream import find_residual_blocks
from tests.core_model.architectures import (
    ARCHITECTURES,
    JETMOE,
    KIMI_LINEAR,
    MINIMAX,
    ZAMBA,
    Architecture,
    make_model,
)

TOKENS = 5
"""Tokens of the text whose FLOPs are counted."""
GROUPED_ATTENTION = 32 * 32 + 2 * 32 * 16 + 32 * 32
"""Weights of attention with four heads of 8, and two heads of keys and values, at width 32."""
WIDE_ATTENTION = 32 * 48 + 2 * 32 * 24 + 48 * 32
"""The same with heads of 12."""


def count(of: str | Architecture, block: int) -> float:
    """Returns the FLOPs of one block for a text of 5 tokens."""
    model = make_model(ARCHITECTURES[of] if isinstance(of, str) else of)
    blocks, length_1 = find_residual_blocks(model), torch.tensor([TOKENS], dtype=torch.float64)
    return count_block_flops(blocks[block], model.config, length_1).item()


def count_by_hand(weights: int, state: int = 0, attention_width: int = 0) -> int:
    """Returns the FLOPs of weights, of a state, and of attention over all pairs of tokens.

    Args:
        attention_width: the width of keys and values together, summed over heads.
    """
    return (2 * weights + state) * TOKENS + 2 * attention_width * TOKENS**2


def test_two_of_four_experts_in_one_tensor_count():
    experts = 2 * (32 * 2 * 40 + 40 * 32)
    router = 4 * 32
    expected = count_by_hand(GROUPED_ATTENTION + router + experts, attention_width=64)
    assert count("mixtral", 0) == expected


def test_biases_of_experts_do_not_count():
    experts = 2 * (32 * 2 * 40 + 40 * 32)
    router = 4 * 32
    expected = count_by_hand(WIDE_ATTENTION + router + experts, attention_width=96)
    assert count("gpt_oss", 0) == expected


def test_a_shared_expert_counts_in_full():
    experts = 2 * (32 * 2 * 12 + 12 * 32)
    shared = 3 * 32 * 12 + 32
    router = 4 * 32
    weights = GROUPED_ATTENTION + router + experts + shared
    assert count("qwen2_moe", 0) == count_by_hand(weights, attention_width=64)


@pytest.mark.parametrize(("block", "mlp"), [(0, 3 * 32 * 40), (1, 4 * 32 + 3 * 3 * 32 * 12)])
def test_keys_and_values_may_differ_in_width_and_the_first_block_may_have_no_experts(block, mlp):
    """Keys have 8 + 4 dimensions a head, values 8; two experts and a shared one of width 12."""
    queries = 32 * 8 + 8 * 4 * 12
    keys_and_values = 32 * (8 + 4) + 8 * 4 * (8 + 8)
    weights = queries + keys_and_values + 4 * 8 * 32 + mlp
    assert count("deepseek_v3", block) == count_by_hand(weights, attention_width=4 * (12 + 8))


def test_experts_that_are_modules_count_by_share():
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(6, 8)
            self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(8))

    class Config:
        num_experts_per_tok = 2

    length_1 = torch.tensor([1.0])
    assert count_block_flops(Mixture(), Config(), length_1).item() == 2 * (48 + 2 * 36)
    # Without a number of active experts all of them count.
    assert count_block_flops(Mixture(), object(), length_1).item() == 2 * (48 + 8 * 36)


@pytest.mark.parametrize("name", ["mamba", "falcon_mamba"])
def test_a_state_space_layer_has_no_attention_and_its_rates_are_no_matrix(name):
    """The inner width is 64, with a state of 4 for each channel, and steps of rank 4."""
    weights = 32 * 128 + 64 * 4 + 64 * (4 + 2 * 4) + 4 * 64 + 64 * 32
    assert count(name, 0) == count_by_hand(weights, state=6 * 64 * 4 + 2 * 64)


def test_rates_of_heads_take_one_flop_less_for_each_number_of_the_state():
    """The inner width is 64, and the convolution is over it and two states of 4."""
    weights = 32 * (64 + 64 + 2 * 4 + 8) + (64 + 2 * 4) * 4 + 64 * 32
    assert count("mamba2", 0) == count_by_hand(weights, state=5 * 64 * 4 + 2 * 64)


def test_a_gated_delta_rule_updates_a_matrix_of_keys_by_values():
    """Two heads of keys of 8, four of values of 6."""
    keys, values = 2 * 8, 4 * 6
    projections = 32 * (2 * keys + 2 * values) + 32 * 2 * 4 + values * 32
    convolution = (2 * keys + values) * 4
    mixture = 4 * 32 + 2 * 3 * 32 * 12 + 3 * 32 * 12 + 32
    expected = count_by_hand(projections + convolution + mixture, state=7 * 4 * 8 * 6)
    assert count("qwen3_next", 0) == expected


@pytest.mark.parametrize("head_dim", [6, 8])
def test_lightning_attention_is_a_recurrence_with_a_matrix_for_each_head(head_dim):
    """Queries, keys and values in one matrix, a gate and an output; two of four experts."""
    inner = 4 * head_dim
    weights = 32 * 3 * inner + 32 * inner + inner * 32
    experts = 4 * 32 + 2 * 3 * 32 * 40
    values = MINIMAX.values | {"head_dim": head_dim}
    state = 5 * 4 * head_dim**2
    assert count(MINIMAX._replace(values=values), 0) == count_by_hand(weights + experts, state)
    attention = 2 * 32 * inner + 2 * 32 * inner // 2  # half as many heads of keys and values
    full = count_by_hand(attention + experts, attention_width=2 * inner)
    assert count(MINIMAX._replace(values=values), 1) == full


def test_a_delta_rule_may_keep_its_rates_in_a_forget_gate():
    """Three heads of 6; two gates of rank 6; the other block has attention in latent space."""
    inner = 3 * 6
    projections = 3 * 32 * inner + 32 * 3 + inner * 32
    gates = 2 * (32 * 6 + 6 * inner)
    convolution = 3 * inner * 4
    mlp = 3 * 32 * 40
    expected = count_by_hand(projections + gates + convolution + mlp, state=7 * 3 * 6 * 6)
    assert count(KIMI_LINEAR, 0) == expected
    queries = 32 * 8 + 8 * 4 * 12
    keys_and_values = 32 * (8 + 4) + 8 * 4 * (8 + 8)
    experts = 4 * 32 + 3 * 3 * 32 * 12
    weights = queries + keys_and_values + 4 * 8 * 32 + experts
    assert count(KIMI_LINEAR, 1) == count_by_hand(weights, attention_width=4 * (12 + 8))


def test_experts_of_queries_and_of_an_mlp_count_by_share():
    """Two of four experts, each with two heads of 8 for queries; keys and values are shared."""
    queries_and_outputs = 2 * 2 * 32 * 16
    keys_and_values = 32 * 2 * 16
    mlp = 2 * (32 * 2 * 40 + 40 * 32)
    routers = 2 * 4 * 32
    weights = queries_and_outputs + keys_and_values + mlp + routers
    assert count(JETMOE, 0) == count_by_hand(weights, attention_width=2 * 4 * 8)


def test_rates_of_numbers_may_be_split_by_heads():
    """The inner width is 64, in two heads, each with own matrices of rank 4; a state of 4."""
    projections = 32 * 128 + 64 * 4 + 2 * (4 + 2 * 4) * 32 + 2 * 32 * 4 + 64 * 32
    state = 6 * 64 * 4 + 2 * 64
    assert count(ZAMBA, 0) == count_by_hand(projections, state)
    attention = 3 * 64 * 64 + 64 * 32
    shared = attention + 3 * 32 * 40 + 32 * 32
    assert count(ZAMBA, 2) == count_by_hand(projections + shared, state, attention_width=2 * 64)


def test_only_the_attention_of_a_hybrid_grows_with_the_square_of_the_length():
    mlp = 3 * 32 * 40
    assert count("jamba", 0) == count_by_hand(
        32 * 128 + 64 * 4 + 64 * (4 + 2 * 4) + 4 * 64 + 64 * 32 + mlp, state=6 * 64 * 4 + 2 * 64
    )
    experts = 4 * 32 + 2 * mlp
    assert count("jamba", 1) == count_by_hand(GROUPED_ATTENTION + experts, attention_width=64)


def test_a_recurrence_that_is_named_attention_is_none():
    time_mix, channel_mix = 4 * 32 * 32, 2 * 32 * 40 + 32 * 32
    assert count("rwkv", 0) == count_by_hand(time_mix + channel_mix)
