"""Where activations are read, and how texts are put to a model."""

import pytest
import torch
from datasets import Dataset

pytest.importorskip("transformers")

from console.errors import UserError
from core_model.prompting import Prompting
from tests.core_model.small_models import (
    ASK,
    EPISODES,
    MODELS,
    WORDS,
    make_recipe,
    make_tokenizer,
)

TEMPLATE = (
    "{% for turn in messages %}The {{ turn.content }} not{% endfor %}"
    "{% if add_generation_prompt %} city{% endif %}"
)
"""A user's turn stands between "The" and "not", and the model's begins with "city"."""


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MODELS["llama"]().eval().requires_grad_(False)


@pytest.fixture
def load(model, tmp_path):
    """Builds a predictor with these values of the recipe."""

    def load(tokenizer=None, **changed):
        recipe = make_recipe("unused", **changed)
        tokenizer = tokenizer or make_tokenizer()
        return recipe.build_predictor(model, tokenizer, "text", "small", tmp_path)

    return load


def test_a_token_is_read_and_written_at_its_last_occurrence(load):
    texts = Dataset.from_dict({"text": ["The city of Lima is in Peru", "Lima of of Poland Peru"]})
    predictor = load(position="of", ask=ASK)
    plain = load()
    z_NLD = predictor.read(texts, [0, 2])
    for row, place in enumerate((2, 2)):
        expected = plain.read(texts.select([row]), [0, 2], position=place)
        torch.testing.assert_close(z_NLD[[row]], expected)
    other_ND = predictor.read(texts, [2])[:, 0].flip(0)
    after_N = predictor.opinions(texts, 2, other_ND).concept_N
    at_index_N = load(ask=ASK).opinions(texts, 2, other_ND, position=2).concept_N
    assert torch.equal(after_N, at_index_N)
    assert (after_N - predictor.opinions(texts).concept_N).abs().min() > 1e-5
    assert predictor.identity != plain.identity


def test_a_text_without_the_token_is_refused_by_its_row(load):
    predictor = load(position=":")
    with pytest.raises(UserError, match=r"core_model\.position: row 0 of text has no token ':'"):
        predictor.read(EPISODES, [1])
    with pytest.raises(UserError, match=r"^core_model\.position: it is empty"):
        load(position=" ")


def test_a_mean_is_over_all_tokens_but_special_ones(load):
    tokenizer = make_tokenizer()
    tokenizer.bos_token = "The"
    predictor = load(tokenizer, position="mean")
    z_NLD = predictor.read(EPISODES, [0, 3])
    for row, text in enumerate(EPISODES["text"]):
        tokens = predictor.tokenize([text])[0]
        assert tokens[0] == WORDS.index("The")
        kept = [
            load().read(EPISODES.select([row]), [0, 3], position=place)
            for place in range(1, len(tokens))
        ]
        torch.testing.assert_close(z_NLD[[row]], torch.stack(kept).mean(0))
    special_alone = Dataset.from_dict({"text": ["The"]})
    torch.testing.assert_close(predictor.read(special_alone, [1]), load().read(special_alone, [1]))


def test_a_mean_is_never_written(load, capsys):
    predictor = load(position="mean", ask=ASK)
    assert "cannot be written back, so there is no interchange" in capsys.readouterr().err
    assert not predictor.can_write
    z_ND = predictor.read(EPISODES, [1])[:, 0]
    for write in (
        lambda: predictor.opinions(EPISODES, 1, z_ND),
        lambda: predictor.read_on(EPISODES, [2], 1, z_ND),
    ):
        with pytest.raises(UserError, match="a mean over tokens cannot be written back"):
            write()
    assert predictor.opinions(EPISODES).concept_N.isfinite().all()


def test_a_chat_template_wraps_text_and_question_as_a_users_turn(load):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    predictor = load(tokenizer, chat=True, ask=ASK)
    (tokens,) = predictor.tokenize(["Lima"])
    assert [WORDS[token] for token in tokens] == ["The", "Lima", "is", "not", "city"]
    by_hand = Dataset.from_dict({"text": ["The Lima is not city"]})
    lima = Dataset.from_dict({"text": ["Lima"]})
    torch.testing.assert_close(predictor.read(lima, [3]), load().read(by_hand, [3]))
    assert predictor.identity != load(tokenizer, ask=ASK).identity


def test_without_a_question_the_text_is_the_turn_and_the_likelihood_that_of_the_plain_text(load):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    predictor = load(tokenizer, chat=True)
    (tokens,) = predictor.tokenize(["Lima"])
    assert [WORDS[token] for token in tokens] == ["The", "Lima", "not", "city"]
    by_hand = Dataset.from_dict({"text": ["The Lima not city"]})
    lima = Dataset.from_dict({"text": ["Lima"]})
    torch.testing.assert_close(predictor.read(lima, [3]), load().read(by_hand, [3]))
    plain = load().opinions(EPISODES)
    torch.testing.assert_close(predictor.opinions(EPISODES).concept_N, plain.concept_N)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "the tokenizer of small has no chat template"),
        ("{{ raise_exception('Two turns.') }}", r"cannot be used \(Two turns\.\)"),
        ("The city", "leaves out the user's turn"),
    ],
)
def test_a_chat_template_that_is_missing_or_unfit_is_refused(load, template, message):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=rf"^core_model\.chat: .*{message}"):
        load(tokenizer, chat=True)


def test_texts_that_are_too_long_are_counted_and_none_is_cut(load):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    predictor = load(tokenizer)
    assert len(predictor.tokenize(["Lima " * 9])[0]) == 9
    texts = ["Lima", "Lima " * 40, "Peru " * 50]
    with pytest.raises(UserError, match=r"row 1 has 40 tokens.* \(2 of 3 rows do not fit\)"):
        predictor.tokenize(texts)


def test_a_tokenizer_needs_no_tokens_for_padding_or_for_the_beginning(load):
    tokenizer = make_tokenizer()
    assert tokenizer.pad_token is None and tokenizer.bos_token is None
    assert load(tokenizer).read(EPISODES, [1]).isfinite().all()


def test_plain_texts_keep_the_special_tokens_of_the_tokenizer():
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer.eos_token = "."
    end = TemplateProcessing(single="$A .", special_tokens=[(".", WORDS.index("."))])
    tokenizer.backend_tokenizer.post_processor = end
    assert Prompting().tokenize(tokenizer, ["Lima"])[0][-1] == WORDS.index(".")
