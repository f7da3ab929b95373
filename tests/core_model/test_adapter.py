"""Low-rank adapters: merged as scale · B·A, part of the identity, and refused where they are those
of another model.
"""

import json

import pytest
import torch

pytest.importorskip("transformers")

from safetensors.torch import save_file

from console.errors import UserError
from tests.core_model.small_models import (
    EPISODES,
    MODELS,
    TRAINER,
    WORLD,
    make_recipe,
    save_model,
)

QUERY = {"llama": "model.layers.1.self_attn.q_proj", "gpt2": "transformer.h.1.attn.c_attn"}
SHAPES = {"llama": (24, 32), "gpt2": (24, 72)}
"""Inputs and outputs of these layers."""


@pytest.fixture(scope="module", params=QUERY)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    save_model(MODELS[request.param](), path)
    return path


@pytest.fixture
def kind(folder) -> str:
    return "llama" if "llama" in folder.name else "gpt2"


def load(folder, cache, adapter=None):
    recipe = make_recipe(folder, adapter=None if adapter is None else str(adapter))
    return recipe.predictor(WORLD, cache, TRAINER)


def save_adapter(folder, module: str, shape: tuple[int, int], rank: int = 4, **changed):
    """Saves an adapter of random numbers; returns its folder, A and B."""
    torch.manual_seed(1)
    down_RD, up_DR = torch.randn(rank, shape[0]), torch.randn(shape[1], rank)
    tensors = {
        f"base_model.model.{module}.lora_A.weight": down_RD,
        f"base_model.model.{module}.lora_B.weight": up_DR,
    }
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "bias": "none"} | changed
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder, down_RD, up_DR


@pytest.mark.parametrize(
    ("changed", "scale"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4.0),
        ({"alpha_pattern": {"q_proj|c_attn": 2}}, 0.5),
        ({"rank_pattern": {"k_proj": 1}, "modules_to_save": None}, 2.0),
        ({"init_lora_weights": True}, 2.0),
        ({"init_lora_weights": "gaussian"}, 2.0),
    ],
)
def test_a_layer_with_an_adapter_adds_scaled_b_of_a_to_its_output(
    folder, kind, tmp_path, changed, scale
):
    adapter, down_RD, up_DR = save_adapter(
        tmp_path / "adapter", QUERY[kind], SHAPES[kind], **changed
    )
    plain, adapted = load(folder, tmp_path), load(folder, tmp_path, adapter)
    z_ND = torch.randn(5, 24)
    expected = plain.model.get_submodule(QUERY[kind])(z_ND) + scale * z_ND @ down_RD.T @ up_DR.T
    found = adapted.model.get_submodule(QUERY[kind])(z_ND)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert adapted.identity != plain.identity
    assert adapted.name == f"{plain.name}+adapter"
    z_NLD, changed_NLD = plain.read(EPISODES, [1, 2]), adapted.read(EPISODES, [1, 2])
    assert torch.equal(z_NLD[:, 0], changed_NLD[:, 0])
    assert (z_NLD[:, 1] - changed_NLD[:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("folder", ["llama"], indirect=True)
@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        ("model.layers.7.self_attn.q_proj", (24, 32), "has no weight of its own"),
        ("model.layers.1.self_attn.q_proj", (24, 64), r"matrix of \(64, 24\), .* has \(32, 24\)"),
        ("model.embed_tokens", (24, 14), "has no weight of its own"),
    ],
)
def test_an_adapter_of_another_model_is_refused_in_one_line(
    tmp_path, folder, module, shape, message
):
    adapter, _, _ = save_adapter(tmp_path / "adapter", module, shape)
    with pytest.raises(UserError, match=f"adapter of another model.*{message}") as refusal:
        load(folder, tmp_path, adapter)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"peft_type": "IA3"}, "an adapter of the kind IA3"),
        ({"use_dora": True}, "use_dora=True, which cannot be merged"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save="),
        ({"bias": "all"}, "bias=all"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens="),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa, which changes the weights of"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights=pissa_niter_16"),
        ({"init_lora_weights": "OLoRA"}, "init_lora_weights=olora"),
        ({"init_lora_weights": "corda"}, "init_lora_weights=corda"),
        ({"init_lora_weights": "lora_ga"}, "init_lora_weights=lora_ga"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights=loftq"),
        ({"r": None}, r"adapter_config\.json has r=null, and needs a number above 0"),
        ({"r": 0}, r"has r=0, and needs a number above 0"),
        ({"lora_alpha": "8"}, r'has lora_alpha="8", and needs a number above 0'),
    ],
)
def test_an_adapter_that_is_not_b_of_a_alone_is_refused(tmp_path, folder, kind, changed, message):
    adapter, _, _ = save_adapter(tmp_path / "adapter", QUERY[kind], SHAPES[kind], **changed)
    with pytest.raises(UserError, match=rf"^core_model\.adapter: .*{message}"):
        load(folder, tmp_path, adapter)


@pytest.mark.parametrize("folder", ["gpt2"], indirect=True)
def test_an_adapter_of_a_readout_that_shares_the_embedding_is_refused(tmp_path, folder):
    adapter, _, _ = save_adapter(tmp_path / "adapter", "lm_head", (24, 14))
    with pytest.raises(UserError, match="changes lm_head, which shares its weight with the emb"):
        load(folder, tmp_path, adapter)


def test_an_incomplete_adapter_is_refused(tmp_path, folder, kind):
    with pytest.raises(UserError, match=r"lacks adapter_config\.json and adapter_model"):
        load(folder, tmp_path, tmp_path / "nowhere")
    adapter, down_RD, _ = save_adapter(tmp_path / "adapter", QUERY[kind], SHAPES[kind])
    weights = adapter / "adapter_model.safetensors"
    prefix = f"base_model.model.{QUERY[kind]}"
    for tensors, message in (
        ({f"{prefix}.lora_A.weight": down_RD}, "lacks A or B"),
        ({f"{prefix}.lora_magnitude_vector": down_RD}, "no part of a pair A and B"),
        ({}, "changes nothing"),
    ):
        save_file(tensors, weights)
        with pytest.raises(UserError, match=message):
            load(folder, tmp_path, adapter)
    weights.write_bytes(b"no tensors")
    with pytest.raises(UserError, match="is damaged"):
        load(folder, tmp_path, adapter)
    (adapter / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="is no JSON"):
        load(folder, tmp_path, adapter)
