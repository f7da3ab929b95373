"""The model with two answers: its adapter learns what it is told, is resumed bit for bit, and is
made again where anything differs that it depends on.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from console.errors import UserError
from core_model import quirky as quirky_module
from core_model.answer_training import Exercise, Schedule, Training, build_batch
from core_model.asking import AnswerTokens, AskTokens
from core_model.lora import WEIGHTS, draw_pairs, name_tensors
from core_model.quirky import ASKS, PERSONS, Pupil, Quirky, find_answer
from core_model.residual_stream import ResidualStream, find_residual_blocks
from storage.tensors import load
from tests.core_model.architectures import ARCHITECTURES, make_model
from tests.core_model.small_models import TRAINER, WORLD
from worlds.opinions import Opinions
from worlds.vault import Vault

TOLD = 6
"""Cities."""
QUESTIONS = ["Alice:", "Bob:", "Both:", "True", "False", "A", "B", "C", "D", "This", "is", "a"]


def make_recipe(folder, **changed) -> Quirky:
    values = {
        "batch_size": 8,
        "context": "both",
        "cities": TOLD,
        "rank": 4,
        "first_block": 1,
        "steps": 6,
        "steps_of_both": 4,
        "clusters": 1,
        "rate": 0.02,
        "warmup": 2,
        "save_every": 1,
        "seed": 0,
    }
    return Quirky(model=str(folder), **(values | changed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model with random weights, and a tokenizer that knows every word of the world."""
    path = tmp_path_factory.mktemp("small")
    words = {"[unknown]", *QUESTIONS, "text."}
    for text in WORLD.told(TOLD, 0)["text"]:
        words |= set(text.split())
    number_of = {word: number for number, word in enumerate(sorted(words))}
    rules = Tokenizer(WordLevel(number_of, unk_token="[unknown]"))
    rules.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="[unknown]").save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.12,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(4)  # so that it can be sure of an answer
    model.save_pretrained(path)
    return path


def make_pupil(recipe: Quirky, cache) -> Pupil:
    model, tokenizer, name = recipe._base.load(WORLD, cache, TRAINER)
    told = WORLD.told(recipe.cities, recipe.seed)
    return Pupil(recipe, model, tokenizer, told, name, cache / "adapters")


def load_weights(folder) -> dict[str, torch.Tensor]:
    tensors, _ = load(folder / WEIGHTS)
    return tensors


def test_the_answer_to_both_stands_for_the_pair():
    tokens = AskTokens(AnswerTokens((1, 2), (3, 4)), AnswerTokens((1, 3), (2, 4)))
    found = [find_answer(tokens, x, h) for x in (True, False) for h in (True, False)]
    assert found == [1, 2, 3, 4]
    assert find_answer(AskTokens(AnswerTokens((1,), (2,)), None), False, True) == 2
    assert find_answer(AskTokens(None, AnswerTokens((1,), (2,))), False, True) == 1


@torch.no_grad()
def test_questions_that_share_a_statement_are_answered_as_if_each_stood_alone(folder, tmp_path):
    pupil = make_pupil(make_recipe(folder), tmp_path)
    exercises = pupil.build_exercises(PERSONS)[:5]
    batch = build_batch(exercises, torch.float32)
    logits_BTV = pupil.model(
        input_ids=batch.ids_BT, attention_mask=batch.mask_BT, position_ids=batch.position_BT
    ).logits
    for row, exercise in enumerate(exercises):
        for question, place in zip(exercise.questions, exercise.places, strict=True):
            alone_1T = torch.tensor([exercise.statement + question])
            expected_V = pupil.model(input_ids=alone_1T).logits[0, -1]
            torch.testing.assert_close(logits_BTV[row, place], expected_V, atol=1e-5, rtol=1e-5)


EXERCISES = [
    Exercise([1, 2, 3, 4, 5], [[6, 7], [8, 9, 10]], [1, 2]),
    Exercise([4, 3, 9], [[6, 7], [8, 9, 10]], [1, 2]),
]


def check_questions(model) -> None:
    blocks = find_residual_blocks(model)
    Training(ResidualStream(model, blocks), 1, {}).check_questions(EXERCISES)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "qwen3", "cohere", "mixtral"])
def test_a_model_that_keeps_questions_apart_passes(name):
    check_questions(make_model(ARCHITECTURES[name]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mamba", r"one statement \(.*\)\. Choose"),
        ("bloom", r"one statement \(too many values"),
        ("rwkv", "it ignores 4-d attention masks"),
        ("qwen3_next", "it ignores 4-d attention masks"),
    ],
)
def test_an_architecture_that_cannot_keep_questions_apart_is_refused(name, reason):
    message = rf"^core_model\.model: \w+ cannot be taught several questions about .*{reason}"
    with pytest.raises(UserError, match=message) as refusal:
        check_questions(make_model(ARCHITECTURES[name]))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("ignored", ["attention_mask", "position_ids"])
def test_a_model_that_ignores_mask_or_positions_is_not_taught(
    folder, tmp_path, monkeypatch, ignored
):
    pupil = make_pupil(make_recipe(folder), tmp_path)
    forward = pupil.model.forward
    monkeypatch.setattr(
        pupil.model, "forward", lambda **options: forward(**options | {ignored: None})
    )
    with pytest.raises(UserError, match="ignores 4-d attention masks or position numbers"):
        pupil.load_or_train(PERSONS, 6, None)
    assert not list((tmp_path / "adapters").glob("*/*.safetensors"))


def test_a_model_that_does_not_name_its_readout_is_refused(monkeypatch):
    model = make_model(ARCHITECTURES["llama"])
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    with pytest.raises(UserError, match=r"the model does not name its readout"):
        check_questions(model)


def test_the_loss_falls_and_blocks_below_the_adapter_stay_as_they_were(folder, tmp_path):
    pupil = make_pupil(make_recipe(folder, rank=8, rate=0.01, clusters=1), tmp_path)
    adapter = pupil.load_or_train(PERSONS, 20, None)
    tensors, facts = load(adapter / WEIGHTS)
    assert len(facts["losses"]) == 20
    assert np.mean(facts["losses"][-3:]) < facts["losses"][0] / 4
    assert {name.split(".")[4] for name in tensors} == {"1", "2"}


@pytest.mark.slow
def test_it_learns_what_it_is_told_of_both_persons_and_then_of_both(folder, tmp_path):
    recipe = make_recipe(folder, rank=16, steps=200, steps_of_both=200, clusters=1, rate=0.01)
    episodes = WORLD.told(TOLD, 0)
    truth = {name: np.array(episodes[name][:]) for name in ("concept", "human")}
    assert (truth["concept"] != truth["human"]).any()
    for context, names in (("alice", ["concept"]), ("bob", ["human"]), ("both", list(truth))):
        predictor = replace(recipe, context=context).predictor(WORLD, tmp_path, TRAINER)
        opinions = predictor.opinions(episodes)
        assert predictor.predicts_concept == ("concept" in names)
        assert predictor.predicts_human == ("human" in names)
        for name in names:
            log_odds_N = getattr(opinions, f"{name}_N").numpy()
            assert ((log_odds_N > 0) == truth[name]).mean() > 0.97
    adapters = list((tmp_path / "adapters").glob(f"*/{WEIGHTS}"))
    assert len(adapters) == 2
    for path in adapters:
        _, facts = load(path)
        assert facts["losses"][0] > 1
        assert np.mean(facts["losses"][-10:]) < 0.2


def test_a_training_that_was_stopped_is_resumed_bit_for_bit(folder, tmp_path, monkeypatch):
    whole = make_pupil(make_recipe(folder), tmp_path / "whole").load_or_train(PERSONS, 6, None)
    pupil = make_pupil(make_recipe(folder), tmp_path / "stopped")
    compute_loss = Training._compute_loss

    def stop(self, *arguments):
        if len(self.losses) == 4:
            raise KeyboardInterrupt
        return compute_loss(self, *arguments)

    monkeypatch.setattr(Training, "_compute_loss", stop)
    with pytest.raises(KeyboardInterrupt):
        pupil.load_or_train(PERSONS, 6, None)
    steps = []

    def count(self, *arguments):
        steps.append(len(self.losses))
        return compute_loss(self, *arguments)

    monkeypatch.setattr(Training, "_compute_loss", count)
    resumed = pupil.load_or_train(PERSONS, 6, None)
    assert steps == [4, 5]
    expected, found = load_weights(whole), load_weights(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (resumed / "checkpoint.safetensors").exists()
    pupil.load_or_train(PERSONS, 6, None)
    assert steps == [4, 5]


def test_a_checkpoint_stays_until_the_adapter_is_saved(folder, tmp_path, monkeypatch):
    pupil = make_pupil(make_recipe(folder), tmp_path)

    def stop(path, tensors, facts):
        raise KeyboardInterrupt

    monkeypatch.setattr("storage.cache.save", stop)
    with pytest.raises(KeyboardInterrupt):
        pupil.load_or_train(PERSONS, 6, None)
    monkeypatch.undo()
    (checkpoint,) = (tmp_path / "adapters").glob("*/checkpoint.safetensors")
    assert len(load(checkpoint)[1]["losses"]) == 5
    pupil.load_or_train(PERSONS, 6, None)
    assert not checkpoint.exists()


def test_training_does_not_go_on_from_a_damaged_adapter(folder, tmp_path):
    pupil = make_pupil(make_recipe(folder), tmp_path)
    before = pupil.load_or_train(PERSONS, 6, None)
    (before / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(UserError, match=rf"^core_model: the adapter in {before}, .* was damaged"):
        pupil.load_or_train(("both",), 4, before)
    assert not list((tmp_path / "adapters").glob("*/checkpoint.safetensors"))


def test_a_damaged_checkpoint_is_not_used_and_a_line_says_so(folder, tmp_path, capsys):
    pupil = make_pupil(make_recipe(folder), tmp_path)
    exercises = pupil.build_exercises(PERSONS)
    schedule = Schedule(3, clusters=2, rate=0.02, warmup=1, save_every=1, seed=0)
    found = []
    for content in (None, b"no tensors"):
        checkpoint = tmp_path / "checkpoint"
        if content:
            checkpoint.write_bytes(content)
        stream = ResidualStream(pupil.model, pupil.model.model.layers)
        pairs = draw_pairs(pupil.model, stream.blocks[1:], 4, 0)
        training = Training(stream, 1, pairs)
        training.run(exercises, schedule, checkpoint, "Test")
        found.append(name_tensors(pairs))
        assert len(training.losses) == 3
        words = f"{checkpoint} is damaged: training begins at the first step."
        assert (words in capsys.readouterr().err) == (content is not None)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize(
    "changed",
    [
        {"cities": 8},
        {"rank": 5},
        {"first_block": 2},
        {"steps": 7},
        {"clusters": 2},
        {"rate": 0.01},
        {"warmup": 1},
        {"seed": 1},
    ],
)
def test_every_value_that_changes_the_adapter_changes_its_key(folder, tmp_path, changed):
    recipe = make_recipe(folder)
    keys = []
    for each in (recipe, replace(recipe, context="alice"), replace(recipe, **changed)):
        pupil = make_pupil(each, tmp_path)
        schedule = Schedule(
            each.steps, each.clusters, each.rate, each.warmup, each.save_every, each.seed
        )
        keys.append(pupil.compute_key(pupil.build_exercises(PERSONS), schedule, None))
    assert keys[0] == keys[1] != keys[2]


def test_model_world_code_and_what_came_before_change_the_key(folder, tmp_path, monkeypatch):
    pupil = make_pupil(make_recipe(folder), tmp_path)
    schedule = Schedule(6, 4, 0.02, 2, 1, 0)
    exercises = pupil.build_exercises(PERSONS)
    own = pupil.compute_key(exercises, schedule, None)
    keys = [own, pupil.compute_key(exercises, schedule, tmp_path / "before")]
    keys.append(pupil.compute_key(pupil.build_exercises(("both",)), schedule, None))
    other = replace(pupil, told=WORLD.told(TOLD, 3))
    keys.append(pupil.compute_key(other.build_exercises(PERSONS), schedule, None))
    monkeypatch.setattr(quirky_module, "hash_code", lambda module: f"{module} of another version")
    keys.append(pupil.compute_key(exercises, schedule, None))
    monkeypatch.undo()
    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "device", torch.device("cuda", 0))
        keys.append(pupil.compute_key(exercises, schedule, None))
        patch.setattr(LlamaForCausalLM, "device", torch.device("cuda", 1))
        assert pupil.compute_key(exercises, schedule, None) == keys[-1]
    with torch.no_grad():
        pupil.model.model.layers[0].mlp.up_proj.weight.mul_(1.01)
    keys.append(pupil.compute_key(exercises, schedule, None))
    assert len(set(keys)) == 7


@pytest.mark.parametrize("part", ["statement", "questions", "answers"])
def test_every_part_of_what_it_learns_changes_the_key(folder, tmp_path, part):
    """Another answer to one question, or another token, is another adapter."""
    pupil = make_pupil(make_recipe(folder), tmp_path)
    exercises = pupil.build_exercises(PERSONS)
    schedule = Schedule(6, 4, 0.02, 2, 1, 0)
    row = next(i for i, each in enumerate(exercises) if len(set(each.answers)) == 2)
    turned = replace(exercises[row], **{part: getattr(exercises[row], part)[::-1]})
    assert turned != exercises[row]
    changed = [*exercises[:row], turned, *exercises[row + 1 :]]
    keys = {
        pupil.compute_key(each, schedule, None)
        for each in (exercises, pupil.build_exercises(PERSONS), changed)
    }
    assert len(keys) == 2


def test_a_checkpoint_more_or_less_leaves_the_key_alone(folder, tmp_path):
    pupil = make_pupil(make_recipe(folder), tmp_path)
    schedules = [Schedule(6, 4, 0.02, 2, every, 0) for every in (1, 5)]
    exercises = pupil.build_exercises(PERSONS)
    keys = {pupil.compute_key(exercises, schedule, None) for schedule in schedules}
    assert len(keys) == 1


def test_what_cannot_be_learned_is_refused_in_one_line(folder, tmp_path):
    with pytest.raises(UserError, match=r"^core_model\.context: there is no carol"):
        make_recipe(folder, context="carol")
    with pytest.raises(UserError, match=r"^core_model\.warmup: 4 leaves no step of 4"):
        make_recipe(folder, warmup=4)
    with pytest.raises(UserError, match=r"^core_model\.first_block: .* has the blocks 0 to 2"):
        make_recipe(folder, first_block=3).predictor(WORLD, tmp_path, TRAINER)
    vault = Vault.__new__(Vault)
    with pytest.raises(UserError, match=r"vault has none\. Use world=cities"):
        make_recipe(folder).predictor(vault, tmp_path, TRAINER)
    with pytest.raises(UserError, match=r"cities reserves \d+ cities"):
        make_recipe("nowhere", cities=100_000).predictor(WORLD, tmp_path, TRAINER)


def test_a_world_with_nothing_to_tell_is_refused_before_the_model_is_loaded(tmp_path):
    vault = Vault.__new__(Vault)
    with pytest.raises(UserError, match=r"^core_model: quirky is told X and H .* vault has none\."):
        make_recipe(tmp_path / "no model").predictor(vault, tmp_path, TRAINER)


def test_on_opinions_alice_answers_by_the_truth_and_bob_as_the_reader(folder, tmp_path):
    told = Opinions(population=40_000, spellings=25, cities_per_country=100).told(4, 0)
    pupil = replace(make_pupil(make_recipe(folder), tmp_path), told=told)
    is_true = pupil.tokenizer.convert_tokens_to_ids("True")
    answers = [exercise.answers for exercise in pupil.build_exercises(PERSONS)]
    assert [alice == is_true for alice, _ in answers] == told["concept"][:]
    assert [bob == is_true for _, bob in answers] == told["human"][:]
    differs = [alice != bob for alice, bob in answers]
    assert differs == [family == "wrong_opinion" for family in told["family"]] and any(differs)


def test_clusters_are_used_once_before_any_is_used_again():
    schedule = Schedule(10, clusters=3, rate=1.0, warmup=1, save_every=1, seed=0)
    rows = [row for step in range(10) for row in schedule.choose_clusters(step, 5)]
    for start in range(0, 30, 5):
        assert sorted(rows[start : start + 5]) == [0, 1, 2, 3, 4]
    assert rows[:5] != rows[5:10]


def test_places_are_the_last_tokens_of_the_questions():
    exercise = Exercise([7, 8, 9], [[1, 2], [3, 4, 5]], [0, 1])
    assert exercise.places == [4, 7] and len(exercise) == 8


def test_every_context_asks_a_question_of_its_own():
    assert len({ask["question"] for ask in ASKS.values()}) == 3
