"""A language model that sees later tokens is refused; causal ones of every kind are not."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from transformers import BertConfig, BertLMHeadModel, MixtralConfig, MixtralForCausalLM

from console.errors import UserError
from tests.core_model.small_models import (
    EPISODES,
    MODELS,
    TRAINER,
    WORDS,
    WORLD,
    make_recipe,
    save_model,
)

SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
}


def make_bert(is_decoder: bool) -> BertLMHeadModel:
    return BertLMHeadModel(BertConfig(**SIZES, is_decoder=is_decoder))


def make_mixture() -> MixtralForCausalLM:
    return MixtralForCausalLM(
        MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
    )


CAUSAL = {**MODELS, "bert_decoder": lambda: make_bert(True), "mixture": make_mixture}


def save(model, folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(model(), folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_model_is_accepted(tmp_path, kind, dtype):
    folder = save(CAUSAL[kind], tmp_path / kind)
    predictor = make_recipe(folder, dtype=dtype).predictor(WORLD, tmp_path, TRAINER)
    assert predictor.read(EPISODES, [1]).isfinite().all()


def test_a_causal_model_that_reads_only_short_texts_is_accepted(tmp_path):
    config = MODELS["llama"]().config
    config.max_position_embeddings = 5
    folder = save(lambda: type(MODELS["llama"]())(config), tmp_path / "short")
    predictor = make_recipe(folder).predictor(WORLD, tmp_path, TRAINER)
    assert predictor.read(EPISODES.select([]), [1]).shape == (0, 1, 24)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_sees_later_tokens_is_refused_in_one_line(tmp_path, dtype):
    folder = save(lambda: make_bert(False), tmp_path / "bert")
    with pytest.raises(UserError, match="BertLMHeadModel is not causal") as refusal:
        make_recipe(folder, dtype=dtype).predictor(WORLD, tmp_path, TRAINER)
    assert "\n" not in str(refusal.value)
