"""The identity of a language model: another one for everything that its forward pass uses, the same
one wherever the model lies.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from transformers import PythonBackend

from core_model.hashing import hash_weights
from core_model.identity import add_to_identity, compute_identity
from core_model.language_model import HuggingFacePredictor
from core_model.prompting import Prompting
from core_model.reader import ActivationReader
from tests.core_model.small_models import (
    EPISODES,
    MODELS,
    TRAINER,
    WORDS,
    WORLD,
    make_recipe,
    make_tokenizer,
    save_model,
)

OWN_CLASS = """
from transformers import LlamaForCausalLM
from .helper import change

class Own(LlamaForCausalLM):
    def forward(self, *args, **kwargs):
        return change(super().forward(*args, **kwargs))
"""


class SlowTokenizer(PythonBackend):
    """A tokenizer in Python alone."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return len(WORDS)

    def get_vocab(self):
        return {word: number for number, word in enumerate(WORDS)}

    def save_vocabulary(self, folder, filename_prefix=None):
        (Path(folder) / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    torch.manual_seed(0)
    model = MODELS["llama"]()
    with torch.no_grad():  # so that every part of the model is felt in its activations
        for weight in model.parameters():
            weight.mul_(20 if weight.ndim == 2 else 1)
    save_model(model, folder)
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy of the model, to be changed."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def load(folder: Path, **changed) -> HuggingFacePredictor:
    return make_recipe(folder, **changed).predictor(WORLD, folder.parent, TRAINER)


def change_config(folder: Path, **changed) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | changed), encoding="utf-8")


@pytest.mark.parametrize(
    "changed",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        {"rms_norm_eps": 0.5},
        {"hidden_act": "relu"},
        {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_config_is_another_model_that_is_read_itself(original, folder, tmp_path, changed):
    change_config(folder, **changed)
    before, after = load(original), load(folder)
    assert hash_weights(after.model) == hash_weights(before.model)
    assert after.identity != before.identity
    before_NLD = ActivationReader(before, ["text"], (3,), tmp_path / "cache").read(EPISODES)
    after_NLD = ActivationReader(after, ["text"], (3,), tmp_path / "cache").read(EPISODES)
    assert torch.equal(after_NLD, after.read(EPISODES, [3]))
    assert (after_NLD - before_NLD).abs().max() > 0.01


def test_the_same_model_has_the_same_identity_wherever_it_lies(original, folder):
    identity = load(original).identity
    assert load(original).identity == identity == load(folder).identity
    assert load(folder, batch_size=2).identity == identity
    change_config(folder, transformers_version="5.0.0", _name_or_path="/elsewhere")
    assert load(folder).identity == identity


def test_the_number_type_counts_and_with_16_bits_the_batch_size(original):
    identities = [load(original).identity]
    for batch_size in (4, 2):
        identities.append(load(original, dtype="bfloat16", batch_size=batch_size).identity)
    again = load(original, dtype="bfloat16").identity
    assert len(set(identities)) == 3 and again == identities[1]


def test_the_attention_implementation_counts(original):
    predictor = load(original)
    predictor.model.config._attn_implementation = "eager"
    other = compute_identity(predictor.model, predictor.tokenizer, predictor.batch_size)
    assert other != predictor.identity


def test_the_version_of_transformers_counts(original, monkeypatch):
    identity = load(original).identity
    monkeypatch.setattr("transformers.__version__", "5.99.0")
    assert load(original).identity != identity


def test_weights_and_tokenizer_count(original, folder):
    predictor = load(original)
    rules = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    rules["model"]["vocab"] |= {"Poland": 12, "Peru": 11}
    (folder / "tokenizer.json").write_text(json.dumps(rules), encoding="utf-8")
    other_rules = load(folder)
    assert other_rules.identity != predictor.identity
    with torch.no_grad():
        next(other_rules.model.parameters())[0, 0] += 1
    other_rules.model.save_pretrained(folder)
    assert load(folder).identity not in (predictor.identity, other_rules.identity)


def test_settings_of_a_tokenizer_count(original):
    model, tokenizer = load(original).model, load(original).tokenizer
    before = compute_identity(model, tokenizer, 4)
    tokenizer.backend_tokenizer.encode_special_tokens = True
    assert compute_identity(model, tokenizer, 4) != before
    slow = [SlowTokenizer(), SlowTokenizer(name_or_path="/elsewhere"), SlowTokenizer(lower=True)]
    first, elsewhere, lower = (compute_identity(model, other, 4) for other in slow)
    assert first == elsewhere != lower


@pytest.mark.parametrize(
    ("name", "value"),
    [("chat_template", "{{ messages[0]['content'] }}"), ("sep_token", "[unknown]")],
)
@pytest.mark.parametrize("make", [make_tokenizer, lambda: SlowTokenizer(unk_token="[unknown]")])
def test_the_chat_template_and_special_tokens_count(original, make, name, value):
    model, tokenizer = load(original).model, make()
    before = compute_identity(model, tokenizer, 4)
    assert compute_identity(model, make(), 4) == before
    setattr(tokenizer, name, value)
    assert compute_identity(model, tokenizer, 4) != before


def test_a_chat_template_that_names_the_day_counts_where_texts_are_turns():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%f') }} {{ messages[0]['content'] }}"
    chat, plain = (Prompting(" is", chat=chat) for chat in (True, False))
    identities = {add_to_identity("model", chat, None, tokenizer) for _ in range(3)}
    assert len(identities) == 3
    assert len({add_to_identity("model", plain, None, tokenizer) for _ in range(3)}) == 1


@pytest.mark.parametrize("file", ["modeling_own.py", "helper.py"])
def test_the_code_of_a_class_of_the_users_own_counts(folder, tmp_path, own_classes, file):
    (folder / "modeling_own.py").write_text(OWN_CLASS, encoding="utf-8")
    (folder / "helper.py").write_text("def change(output):\n    return output\n", encoding="utf-8")
    change_config(folder, auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    elsewhere = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    predictor = load(folder, trust_remote_code=True)
    assert type(predictor.model).__name__ == "Own"
    assert load(elsewhere, trust_remote_code=True).identity == predictor.identity
    with (folder / file).open("a", encoding="utf-8") as opened:
        opened.write("NEW = 1\n")
    assert load(folder, trust_remote_code=True).identity != predictor.identity


@pytest.fixture
def own_classes(tmp_path, monkeypatch):
    """A folder of its own for the code that comes with models."""
    folder = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", folder)
    monkeypatch.syspath_prepend(folder)
    for name in list(sys.modules):
        if name.partition(".")[0] == "transformers_modules":
            monkeypatch.delitem(sys.modules, name)
    yield
    for name in list(sys.modules):
        if name.partition(".")[0] == "transformers_modules":
            del sys.modules[name]
