"""The check of a language model when it is read for the first time: it passes models that are read
and written as they should be, refuses others with a figure, and is kept.
"""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from transformers import LlamaForCausalLM

from console.errors import UserError
from core_model import self_check
from core_model.residual_stream import ResidualStream
from core_model.self_check import SelfCheck, check_reading_and_writing, load_or_check
from tests.core_model.small_models import ASK, EPISODES, MODELS, make_recipe, make_tokenizer


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MODELS["llama"]().eval().requires_grad_(False)


def build(model, cache):
    recipe = make_recipe("unused", ask=ASK)
    return recipe.build_predictor(model, make_tokenizer(), "text", "small", cache)


def test_it_is_computed_once_for_a_model(model, tmp_path, monkeypatch):
    predictor = build(model, tmp_path)
    assert predictor.resumes
    monkeypatch.setattr(ResidualStream, "compute_logits", None)
    assert build(model, tmp_path).resumes
    with torch.no_grad():
        model.lm_head.weight[0] += 1
    with pytest.raises(TypeError, match="not callable"):
        build(model, tmp_path)


def test_it_is_computed_again_for_another_version_of_the_code_or_kind_of_device(
    model, tmp_path, monkeypatch
):
    checked = []

    def check(predictor):
        checked.append(predictor.name)
        return SelfCheck(0.0, 0.0, 0.0, resumes=False)

    monkeypatch.setattr(self_check, "check_shapes", lambda predictor: None)
    monkeypatch.setattr(self_check, "check_causality", lambda predictor: None)
    monkeypatch.setattr(self_check, "check_reading_and_writing", check)
    for expected in (1, 1):
        build(model, tmp_path)
        assert len(checked) == expected
    monkeypatch.setattr(LlamaForCausalLM, "device", torch.device("meta"))
    build(model, tmp_path)
    assert len(checked) == 2
    monkeypatch.setattr(self_check, "hash_code", lambda module: f"{module} of another version")
    build(model, tmp_path)
    assert len(checked) == 3


def test_levels_that_are_not_the_hidden_states_are_refused_with_the_figure(model, tmp_path):
    """Level 2 is read in the place of level 1."""
    shifted = replace(build(model, tmp_path), identity="shifted")
    read_levels = ResidualStream.read

    class Shifted(ResidualStream):
        def read(self, batch, levels, take, writes=()):
            z_of = read_levels(self, batch, {0, 1, 2, 3}, lambda z_BTD: z_BTD, writes)
            return {level: take(z_of[min(level + (level == 1), 3)]) for level in levels}

    object.__setattr__(shifted, "stream", Shifted(model, shifted.blocks))
    message = r"LlamaForCausalLM cannot .*: level 1 is not its hidden state: it is off by \d"
    with pytest.raises(UserError, match=message) as refusal:
        load_or_check(shifted, tmp_path)
    assert "\n" not in str(refusal.value)
    assert not list((tmp_path / "self_checks").glob("shifted*.safetensors"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z_BTD: z_BTD * 1.01, "writing back what was read changes the logits by"),
        (lambda z_BTD: z_BTD, "another text does not give its logits: they are off by"),
    ],
)
def test_a_write_that_changes_too_much_or_nothing_is_refused(
    model, tmp_path, monkeypatch, change, message
):
    predictor = build(model, tmp_path)

    def apply(self, z_BTD):
        return change(z_BTD)

    monkeypatch.setattr("core_model.residual_stream.Write.apply", apply)
    with pytest.raises(UserError, match=message):
        check_reading_and_writing(predictor)


class Remembers(torch.nn.Module):
    """A block that adds to the stream what the first block's attention gave last."""

    def __init__(self, block, first):
        super().__init__()
        self.block = block
        first.self_attn.register_forward_hook(self.keep)

    def keep(self, module, inputs, output):
        self.kept_BTD = output[0]

    def forward(self, z_BTD, **named):
        return self.block(z_BTD, **named) + 3 * self.kept_BTD


class Hands(torch.nn.Module):
    """A block that hands keys to another one by name, as some architectures do."""

    def __init__(self, block, given, takes):
        super().__init__()
        self.block, self.given, self.takes = block, given, takes

    def forward(self, z_BTD, **named):
        if self.takes:
            z_BTD = z_BTD + 0 * self.given.pop("keys")
        else:
            self.given["keys"] = z_BTD
        return self.block(z_BTD, **named)


def hand_on(layers) -> None:
    given = {}
    layers[0] = Hands(layers[0], given, takes=False)
    layers[2] = Hands(layers[2], given, takes=True)


def remember(layers) -> None:
    layers[2] = Remembers(layers[2], layers[0])


@pytest.mark.parametrize("change", [remember, hand_on])
def test_blocks_that_use_more_than_the_stream_are_run_in_whole_passes(model, tmp_path, change):
    change(model.model.layers)
    predictor = build(model, tmp_path)
    check = check_reading_and_writing(predictor)
    assert not check.resumes and not predictor.resumes
    assert check.writing_error == check.exchange_error == 0
    z_NLD = predictor.read(EPISODES, [1, 2])
    plain_N = predictor.opinions(EPISODES).concept_N
    for level in (1, 2):
        after_N = predictor.opinions(EPISODES, level, z_NLD[:, level - 1]).concept_N
        torch.testing.assert_close(after_N, plain_N)
