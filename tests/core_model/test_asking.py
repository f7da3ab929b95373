"""A language model's own answers: the log-odds of its answer tokens, after what is written; a
question that it cannot be asked is refused in one line.
"""

from functools import partial

import pytest
import torch
from datasets import Dataset

pytest.importorskip("transformers")

from console.errors import UserError
from core_model.asking import Answers, AnswerTokens, Ask, parse_ask
from core_model.language_model import HuggingFacePredictor
from tests.core_model.small_models import (
    ASK,
    EPISODES,
    MODELS,
    TRAINER,
    WORDS,
    WORLD,
    make_recipe,
    make_tokenizer,
    save_model,
)

X_ONLY = {"question": " is", "yes": " Poland", "no": " Peru"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    save_model(MODELS["llama"](), path)
    return path


def load(folder, **changed) -> HuggingFacePredictor:
    return make_recipe(folder, **changed).predictor(WORLD, folder / "cache", TRAINER)


@pytest.fixture(scope="module")
def predictor(folder) -> HuggingFacePredictor:
    return load(folder, ask=ASK)


@torch.no_grad()
def compute_probabilities(predictor, text: str) -> dict[str, float]:
    """Returns the model's probability of each word after a text."""
    ids_1T = predictor.tokenizer(text, return_tensors="pt")["input_ids"]
    p_V = predictor.model(ids_1T).logits[0, -1].softmax(-1)
    return dict(zip(WORDS, p_V.tolist(), strict=True))


def test_its_predictions_are_the_log_odds_of_answers_that_mean_the_same(predictor):
    opinions = predictor.opinions(EPISODES)
    for row, text in enumerate(EPISODES["text"]):
        p = compute_probabilities(predictor, f"{text} is")
        concept = torch.tensor((p["Poland"] + p["Peru"]) / (p["Lima"] + p["city"])).log()
        human = torch.tensor((p["Poland"] + p["Lima"]) / (p["Peru"] + p["city"])).log()
        torch.testing.assert_close(opinions.concept_N[row], concept, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(opinions.human_N[row], human, atol=1e-5, rtol=1e-5)
    assert (opinions.concept_N - opinions.human_N).abs().min() > 1e-3
    assert predictor.can_write and predictor.predicts_human


def test_without_answers_for_h_those_for_x_stand_for_both(folder):
    predictor = load(folder, ask=X_ONLY)
    opinions = predictor.opinions(EPISODES)
    assert torch.equal(opinions.concept_N, opinions.human_N)
    assert predictor.can_write and not predictor.predicts_human


def test_the_question_is_read_with_each_text_and_needs_no_prompt(folder, predictor):
    plain = load(folder)
    asked = Dataset.from_dict({"text": [f"{text} is" for text in EPISODES["text"]]})
    texts = EPISODES.remove_columns("prompt")
    levels = [0, 1, 2, 3]
    torch.testing.assert_close(predictor.read(texts, levels), plain.read(asked, levels))
    assert torch.equal(predictor.flops(texts), plain.flops(asked))
    assert predictor.opinions(texts).concept_N.isfinite().all()


def test_another_question_is_another_identity(folder, predictor):
    identities = {predictor.identity, load(folder).identity, load(folder, ask=X_ONLY).identity}
    assert len(identities) == 3
    assert load(folder, ask=ASK).identity == predictor.identity
    assert load(folder).identity == load(folder, position="last").identity


@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_write_is_the_forward_pass_by_hand(predictor, level):
    """A hook of this test's own writes zeros at the last token of one text."""
    text = EPISODES.select([2])
    z_1D = torch.zeros(1, 24)
    after = predictor.opinions(text, level, z_1D).concept_N

    def write(module, inputs, output=None):
        z_1TD = (inputs[0] if output is None else output).clone()
        z_1TD[:, -1] = 0
        return (z_1TD, *inputs[1:]) if output is None else z_1TD

    block = predictor.blocks[max(level - 1, 0)]
    register = block.register_forward_hook if level else block.register_forward_pre_hook
    with register(write):
        by_hand = predictor.opinions(text).concept_N
    torch.testing.assert_close(after, by_hand, atol=1e-6, rtol=1e-6)
    assert (after - predictor.opinions(text).concept_N).abs().min() > 1e-3


def test_repeated_writes_run_the_blocks_above_alone(predictor):
    z_ND = predictor.read(EPISODES, [2])[:, 0]
    first = predictor.opinions(EPISODES, 2, z_ND)
    ran = []
    handles = []
    for number, block in enumerate(predictor.blocks):
        note = partial(ran.append, number)
        handles.append(block.self_attn.register_forward_hook(lambda *_, note=note: note()))
    again = predictor.opinions(EPISODES, 2, z_ND)
    for handle in handles:
        handle.remove()
    assert set(ran) == {2} and torch.equal(again.concept_N, first.concept_N)
    # The blocks that were skipped run again afterwards.
    torch.testing.assert_close(predictor.opinions(EPISODES).concept_N, first.concept_N)


def test_texts_are_read_again_where_memory_is_short(predictor, monkeypatch):
    z_ND = predictor.read(EPISODES, [1])[:, 0].flip(0)
    expected_N = predictor.opinions(EPISODES, 1, z_ND).concept_N
    monkeypatch.setattr("core_model.kept_streams.MOST_BYTES", 1)
    predictor.opinions(EPISODES, 3, z_ND)
    for _ in range(2):
        found_N = predictor.opinions(EPISODES, 1, z_ND).concept_N
        torch.testing.assert_close(found_N, expected_N, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"question": " is"}, r"ask\.concept: it is missing"),
        ({"yes": " Lima", "no": " Peru"}, r"ask\.question: None is no question"),
        ({**X_ONLY, "question": " "}, r"ask\.question: ' ' is no question"),
        ({**X_ONLY, "answers": {}}, r"ask\.answers: no such key"),
        ({**X_ONLY, "concept": {}}, r"yes and no stand beside concept"),
        ({"question": " is", "concept": "Lima"}, r"ask\.concept: 'Lima' has no answers"),
        ({"question": " is", "concept": {"yes": "Lima"}}, r"ask\.concept: it has yes, and needs"),
        ({"question": " is", "yes": True, "no": "Peru"}, r"ask\.concept\.yes: True is no text"),
        ({"question": " is", "yes": [], "no": "Peru"}, r"ask\.concept\.yes: it is empty"),
        ({**X_ONLY, "yes": " New York"}, r"ask\.concept\.yes: ' New York' is 2 tokens"),
        ({**X_ONLY, "no": " Paris"}, r"ask\.concept\.no: ' Paris' is unknown to the tokenizer"),
        ({**X_ONLY, "yes": "land"}, r"ask\.concept\.yes: .* joins 'land' with the end"),
        ({**X_ONLY, "no": [" Lima", " Poland"]}, r"yes and one of no are the same token"),
        ({**ASK, "human": {"yes": [" The of"], "no": [" Lima"]}}, r"ask\.human\.yes: ' The of' is"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_in_one_line(folder, ask, message):
    with pytest.raises(UserError, match=message) as refusal:
        load(folder, ask=ask)
    assert str(refusal.value).startswith("core_model.ask") and "\n" not in str(refusal.value)


def test_yes_and_no_that_yaml_reads_as_booleans_are_keys():
    expected = Ask(" is", Answers((" A",), (" B", " C")), None)
    assert parse_ask({"question": " is", True: " A", False: [" B", " C"]}) == expected
    nested = {"question": " is", "concept": {"yes": " A", False: (" B", " C")}, "human": None}
    assert parse_ask(nested) == expected
    assert parse_ask(None) is None


def test_log_odds_add_the_probabilities_of_answers():
    """By hand: (0.2 + 0.4) / 0.1."""
    logits_BV = torch.tensor([[0.2, 0.1, 0.4, 0.3]]).log()
    log_odds_B = AnswerTokens((0, 2), (1,)).compute_log_odds(logits_BV.to(torch.float64))
    torch.testing.assert_close(log_odds_B.exp(), torch.tensor([6.0]))


def test_an_end_that_the_tokenizer_adds_does_not_stand_before_the_answer(predictor):
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer.eos_token = "."
    end = TemplateProcessing(single="$A .", special_tokens=[(".", WORDS.index("."))])
    tokenizer.backend_tokenizer.post_processor = end
    assert tokenizer("Lima is")["input_ids"][-1] == WORDS.index(".")
    assert predictor.prompting.tokenize(tokenizer, ["Lima"])[0][-1] == WORDS.index("is")
