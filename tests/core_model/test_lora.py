"""Low-rank adapters: they add up @ down, merged as attached, and lie on disk as peft saves them."""

import json

import pytest
import torch

pytest.importorskip("transformers")

from console.errors import UserError
from core_model.adapter import merge_adapter
from core_model.lora import (
    CONFIG,
    WEIGHTS,
    attach,
    copy_tensors,
    draw_pairs,
    name_tensors,
    write_config,
)
from storage.tensors import save
from tests.core_model.small_models import MODELS

IDS_BT = torch.tensor([[1, 2, 3, 4], [5, 3, 1, 2]])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MODELS["llama"]().eval()


def fill(pairs) -> None:
    """Gives the pairs numbers, so that they add something."""
    torch.manual_seed(1)
    copy_tensors({name: torch.randn_like(v) / 4 for name, v in name_tensors(pairs).items()}, pairs)


@torch.no_grad()
def compute_logits(model):
    return model(IDS_BT).logits


def test_every_matrix_of_the_chosen_blocks_has_a_pair_and_no_other(model):
    pairs = draw_pairs(model, model.model.layers[1:], rank=4, seed=0)
    assert len(pairs) == 2 * 7
    assert {name.split(".")[2] for name in pairs} == {"1", "2"}
    for name, pair in pairs.items():
        weight = model.get_submodule(name).weight
        assert (pair.up_OR @ pair.down_RI).shape == weight.shape
        assert pair.down_RI.shape[0] == 4 and pair.up_OR.abs().max() == 0


def test_a_new_pair_adds_nothing_and_a_filled_one_adds_up_times_down(model):
    plain_BTV = compute_logits(model)
    pairs = draw_pairs(model, model.model.layers[1:], rank=4, seed=0)
    with attach(model, pairs):
        assert torch.equal(compute_logits(model), plain_BTV)
    name = "model.layers.2.mlp.up_proj"
    fill(pairs)
    z_ND = torch.randn(5, 24)
    layer, (down_RI, up_OR) = model.get_submodule(name), pairs[name]
    expected_NO = layer(z_ND) + z_ND @ (up_OR @ down_RI).T
    with attach(model, pairs):
        torch.testing.assert_close(layer(z_ND), expected_NO)
    assert torch.equal(compute_logits(model), plain_BTV)


def test_merged_is_attached_and_comes_from_the_files_of_peft(model, tmp_path):
    plain_BTV = compute_logits(model)
    pairs = draw_pairs(model, model.model.layers[1:], rank=4, seed=0)
    fill(pairs)
    with attach(model, pairs):
        attached_BTV = compute_logits(model)
    write_config(tmp_path, pairs, "small")
    save(tmp_path / WEIGHTS, name_tensors(pairs), {})
    merge_adapter(model, tmp_path, "small")
    merged_BTV = compute_logits(model)
    assert (attached_BTV - plain_BTV).abs().max() > 0.01
    torch.testing.assert_close(merged_BTV, attached_BTV, atol=1e-5, rtol=1e-5)
    config = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    assert config["peft_type"] == "LORA" and config["r"] == config["lora_alpha"] == 4
    assert "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight" in name_tensors(pairs)


def test_an_adapter_of_another_model_is_refused(model, tmp_path):
    pairs = draw_pairs(model, model.model.layers[1:], rank=4, seed=0)
    write_config(tmp_path, pairs, "small")
    save(tmp_path / WEIGHTS, name_tensors(pairs), {})
    with pytest.raises(UserError, match="is an adapter of another model"):
        merge_adapter(MODELS["gpt2"](), tmp_path, "other")


def test_another_seed_draws_another_adapter(model):
    blocks = model.model.layers[1:]
    first, again, other = (draw_pairs(model, blocks, 4, seed) for seed in (0, 0, 1))
    name = next(iter(first))
    assert torch.equal(first[name].down_RI, again[name].down_RI)
    assert not torch.equal(first[name].down_RI, other[name].down_RI)


def test_a_model_without_linear_layers_is_refused():
    model = MODELS["gpt2"]()
    with pytest.raises(UserError, match=r"core_model\.model: the blocks of GPT2LMHeadModel"):
        draw_pairs(model, model.transformer.h, rank=4, seed=0)
