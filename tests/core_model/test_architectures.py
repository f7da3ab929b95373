"""What holds for a language model of any architecture: its levels are its hidden states, what was
read can be written back, another text's last level gives its predictions, padding changes nothing,
and its FLOPs are counted.
"""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from console.errors import UserError
from core_model.asking import AnswerTokens, AskTokens
from core_model.language_model import HuggingFacePredictor
from core_model.self_check import check_reading_and_writing
from tests.core_model.architectures import ARCHITECTURES, SEVERAL_STREAMS, make_model
from tests.core_model.checks import check_reading_on
from tests.core_model.small_models import ASK, EPISODES, make_recipe, make_tokenizer

PADDING_ERRORS = {"mamba": 2e-5, "falcon_mamba": 2e-5, "mamba2": 2e-5}
"""Errors of float32 in a padded batch that are above 2e-6."""
RECURRENCES = ["bamba", "falcon_h1", "falcon_mamba", "jamba", "mamba", "mamba2", "qwen3_next"]
"""Architectures of whose recurrences torch counts nothing, or those of another algorithm."""
CONVOLUTIONS = ["lfm2", "recurrent_gemma"]
"""Architectures whose convolutions also run over padding, which torch counts."""
MIXTURES = ["deepseek_v3", "gpt_oss", "jamba", "mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next"]
"""Architectures of whose experts torch counts nothing."""
ROTATIONS = ["stablelm"]
"""Architectures in which torch also counts how the angles of positions are made, in each block."""
OTHERS = ARCHITECTURES.keys() - {*RECURRENCES, *CONVOLUTIONS, *MIXTURES, *ROTATIONS}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def predictor(request, tmp_path_factory) -> HuggingFacePredictor:
    model = make_model(ARCHITECTURES[request.param])
    cache = tmp_path_factory.mktemp("cache")
    recipe = make_recipe("unused", ask=ASK, batch_size=9)
    return recipe.build_predictor(model, make_tokenizer(), "text", request.param, cache)


def test_its_levels_are_its_hidden_states_and_can_be_written(predictor):
    check = check_reading_and_writing(predictor)
    assert check.reading_error == check.writing_error == check.exchange_error == 0
    assert check.resumes and predictor.resumes


def test_what_was_read_is_written_back_without_a_trace(predictor):
    z_NLD = predictor.read(EPISODES, [0, 1, 2])
    plain = predictor.opinions(EPISODES)
    for level in (0, 1, 2):
        full = turn_off_resuming(predictor).opinions(EPISODES, level, z_NLD[:, level])
        assert torch.equal(full.concept_N, plain.concept_N)
        assert torch.equal(full.human_N, plain.human_N)


def test_its_last_level_gives_its_answer_along_one_direction(predictor):
    first, second = predictor.ask.concept.yes
    one_answer_each = AskTokens(AnswerTokens((first,), (second,)), None)
    predictor = replace(predictor, ask=one_answer_each)
    direction_D = predictor.find_answer_direction()
    rng = torch.Generator().manual_seed(0)
    z_ND = torch.randn(len(EPISODES), predictor.width, generator=rng)
    own_N = predictor.opinions(EPISODES, predictor.n_levels - 1, z_ND).concept_N
    assert torch.equal(z_ND @ direction_D > 0, own_N > 0)
    assert own_N.min() < 0 < own_N.max()


def test_another_texts_last_level_gives_its_predictions(predictor):
    check_reading_on(predictor, EPISODES, level=2)


def test_a_write_in_the_middle_is_the_same_with_and_without_the_blocks_below(predictor):
    z_ND = -predictor.read(EPISODES, [1])[:, 0]
    plain_N = predictor.opinions(EPISODES).concept_N
    resumed_N = predictor.opinions(EPISODES, 1, z_ND).concept_N
    whole_N = turn_off_resuming(predictor).opinions(EPISODES, 1, z_ND).concept_N
    torch.testing.assert_close(resumed_N, whole_N, atol=2e-6, rtol=1e-5)
    assert (whole_N - plain_N).abs().max() > 1e-4


def test_a_text_alone_is_the_text_in_a_padded_batch(predictor):
    z_NLD = predictor.read(EPISODES, [0, 1, 2])
    alone = [predictor.read(EPISODES.select([row]), [0, 1, 2]) for row in range(len(EPISODES))]
    error = PADDING_ERRORS.get(predictor.name, 2e-6)
    torch.testing.assert_close(torch.cat(alone), z_NLD, atol=error, rtol=error)


def test_its_flops_rise_from_level_to_level(predictor):
    flops = predictor.flops(EPISODES)
    assert flops[0] == 0 and (flops.diff() > 0).all()


@torch.no_grad()
def count_flops_of_blocks(predictor, tokens: list[int]) -> list[int]:
    """Returns the FLOPs that torch counts in each block."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        predictor.model(input_ids=torch.tensor([tokens]), use_cache=False)
    names = {module: name for name, module in predictor.model.named_modules()}
    counts = counter.get_flop_counts()
    root = type(predictor.model).__name__
    return [sum(counts[f"{root}.{names[block]}"].values()) for block in predictor.blocks]


@pytest.mark.parametrize("predictor", sorted(OTHERS), indirect=True)
def test_its_flops_are_those_that_torch_counts(predictor):
    tokens = predictor.tokenize(EPISODES["text"])
    counts = [count_flops_of_blocks(predictor, text) for text in tokens]
    expected = torch.tensor(counts, dtype=torch.float64).mean(0).cumsum(0)
    torch.testing.assert_close(predictor.flops(EPISODES)[1:], expected)


def test_a_model_of_several_streams_is_refused_in_one_line(tmp_path):
    recipe = make_recipe("unused")
    model = make_model(SEVERAL_STREAMS)
    with pytest.raises(UserError, match="has no single residual stream: level 0 has the shape"):
        recipe.build_predictor(model, make_tokenizer(), "text", "several", tmp_path)


def turn_off_resuming(predictor: HuggingFacePredictor) -> HuggingFacePredictor:
    """Returns the predictor with a whole forward pass for each write."""
    return replace(predictor, resumes=False)
