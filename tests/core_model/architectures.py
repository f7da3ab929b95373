"""Tiny language models of many architectures.   Not a test: what tests read."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import transformers
from transformers import PreTrainedModel

BASE = {
    "vocab_size": 16,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GROUPED = BASE | {"num_key_value_heads": 2}
WIDE_HEADS = GROUPED | {"head_dim": 12}
SLIDING = GROUPED | {"sliding_window": 4}
MIXTURE = GROUPED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
LOCAL_EXPERTS = GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2}
SHARED_EXPERT = MIXTURE | {"shared_expert_intermediate_size": 12}
DEEPSEEK = GROUPED | {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 12,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
}
SHORT = {"vocab_size": 16, "n_layer": 2, "n_head": 4}
GPT = SHORT | {"n_embd": 32, "n_positions": 32}
ROTARY = GPT | {"rotary_dim": 4}
STATE = {"vocab_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
MAMBA_HEADS = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 4,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
QWEN3_NEXT = SHARED_EXPERT | {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 6,
    "layer_types": ["linear_attention", "full_attention"],
}
RECURRENT_GEMMA = {
    "vocab_size": 16,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "lru_width": 32,
    "attention_window_size": 4,
    "block_types": ["recurrent", "attention"],
}
JAMBA = GROUPED | {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "mamba_d_state": 4,
    "mamba_dt_rank": 4,
    "use_mamba_kernels": False,
}
XGLM = {
    "vocab_size": 16,
    "d_model": 32,
    "ffn_dim": 40,
    "num_layers": 2,
    "attention_heads": 4,
    "max_position_embeddings": 32,
}
NEO = {
    "vocab_size": 16,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
    "window_size": 4,
    "max_position_embeddings": 32,
}
GPT_OSS = WIDE_HEADS | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4}


class Architecture(NamedTuple):
    """What a model is made of."""

    config: str
    model: str
    values: dict[str, Any]


def name_classes(prefix: str, values: dict[str, Any]) -> Architecture:
    return Architecture(f"{prefix}Config", f"{prefix}ForCausalLM", values)


MAMBA2 = STATE | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}
MPT = {"vocab_size": 16, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 32}
RWKV = STATE | {"attention_hidden_size": 32, "intermediate_size": 40, "context_length": 32}
ARCHITECTURES = {
    "apertus": name_classes("Apertus", GROUPED),
    "bamba": name_classes("Bamba", GROUPED | MAMBA_HEADS | {"attn_layer_indices": [1]}),
    "bloom": name_classes("Bloom", SHORT | {"hidden_size": 32}),
    "codegen": name_classes("CodeGen", ROTARY),
    "cohere": name_classes("Cohere", GROUPED),
    "deepseek_v3": name_classes("DeepseekV3", DEEPSEEK),
    "falcon": name_classes("Falcon", BASE),
    "falcon_h1": name_classes("FalconH1", WIDE_HEADS | MAMBA_HEADS | {"mamba_d_ssm": 64}),
    "falcon_mamba": name_classes("FalconMamba", STATE | {"time_step_rank": 4}),
    "gemma": name_classes("Gemma", WIDE_HEADS),
    "gemma2": name_classes("Gemma2", WIDE_HEADS | SLIDING),
    "gemma3": Architecture("Gemma3TextConfig", "Gemma3ForCausalLM", WIDE_HEADS | SLIDING),
    "gpt2": Architecture("GPT2Config", "GPT2LMHeadModel", GPT),
    "gpt_bigcode": name_classes("GPTBigCode", GPT),
    "gpt_neo": name_classes("GPTNeo", NEO),
    "gpt_neox": name_classes("GPTNeoX", BASE),
    "gpt_oss": name_classes("GptOss", GPT_OSS),
    "gptj": name_classes("GPTJ", ROTARY),
    "granite": name_classes("Granite", GROUPED),
    "jamba": name_classes("Jamba", JAMBA),
    "lfm2": name_classes("Lfm2", GROUPED | {"layer_types": ["conv", "full_attention"]}),
    "llama": name_classes("Llama", GROUPED),
    "mamba": name_classes("Mamba", STATE | {"time_step_rank": 4}),
    "mamba2": name_classes("Mamba2", MAMBA2),
    "mistral": name_classes("Mistral", SLIDING),
    "mixtral": name_classes("Mixtral", LOCAL_EXPERTS),
    "mpt": name_classes("Mpt", MPT),
    "nemotron": name_classes("Nemotron", GROUPED),
    "olmo2": name_classes("Olmo2", GROUPED),
    "openai_gpt": Architecture("OpenAIGPTConfig", "OpenAIGPTLMHeadModel", GPT),
    "opt": name_classes("OPT", BASE | {"ffn_dim": 40, "word_embed_proj_dim": 32}),
    "phi": name_classes("Phi", BASE),
    "phi3": name_classes("Phi3", GROUPED),
    "qwen2": name_classes("Qwen2", GROUPED),
    "qwen2_moe": name_classes("Qwen2Moe", SHARED_EXPERT),
    "qwen3": name_classes("Qwen3", WIDE_HEADS),
    "qwen3_moe": name_classes("Qwen3Moe", MIXTURE),
    "qwen3_next": name_classes("Qwen3Next", QWEN3_NEXT),
    "recurrent_gemma": name_classes("RecurrentGemma", RECURRENT_GEMMA),
    "rwkv": name_classes("Rwkv", RWKV),
    "smollm3": name_classes("SmolLM3", GROUPED),
    "stablelm": name_classes("StableLm", GROUPED),
    "starcoder2": name_classes("Starcoder2", GROUPED),
    "xglm": name_classes("XGLM", XGLM),
}
MINIMAX = name_classes(
    "MiniMax", LOCAL_EXPERTS | {"layer_types": ["linear_attention", "full_attention"]}
)
KIMI_LINEAR = name_classes(
    "KimiLinear",
    {key: value for key, value in DEEPSEEK.items() if key != "first_k_dense_replace"}
    | {
        "num_local_experts": 4,
        "linear_head_dim": 6,
        "linear_num_heads": 3,
        "layer_types": ["linear_attention", "full_attention"],
        "mlp_layer_types": ["dense", "sparse"],
    },
)
JETMOE = name_classes("JetMoe", LOCAL_EXPERTS | {"kv_channels": 8})
ZAMBA = name_classes(
    "Zamba",
    BASE
    | {
        "num_key_value_heads": 4,
        "num_hidden_layers": 4,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid", "hybrid"],
    },
)
ALTUP = WIDE_HEADS | {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 16,
    "laurel_rank": 4,
    "altup_num_inputs": 2,
    "activation_sparsity_pattern": None,
}
SEVERAL_STREAMS = Architecture("Gemma3nTextConfig", "Gemma3nForCausalLM", ALTUP)
"""A model whose blocks hand on several streams at once."""


def make_model(architecture: Architecture) -> PreTrainedModel:
    """Returns the model, frozen; the same weights every time."""
    config = getattr(transformers, architecture.config)(**architecture.values)
    torch.manual_seed(0)
    model = getattr(transformers, architecture.model)(config)
    return model.eval().requires_grad_(False)
