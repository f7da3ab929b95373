"""One row a head: what the judge found is there under its own names."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from configs.build import build
from tests.conftest import node
from tests.verdict.conftest import INPUTS, answer
from verdict.calibration.planted import answer_as, imitator, mixture, translator
from verdict.gates import Gate
from verdict.ground_truth import Cases, DeployedCases, GroundTruth
from verdict.inputs import DEPLOYED, DISPUTED, EASY, Answers, read_truth
from verdict.judge_heads import mask_shallow_heads
from verdict.results import build_rows, compute_follows_by_family
from verdict.signs import Signs
from verdict.words import PLACEHOLDER, fill

CONFIG = {
    key: {"_target_": f"{key}.{key}.{key}"} for key in ("world", "core_model", "reporter", "prior")
}
ABOUT = {"name": "transformer", "seed": 0, "identity": "0"}


@pytest.fixture(scope="module")
def truth(vault) -> GroundTruth:
    return GroundTruth(
        *(Cases.of(vault.episodes(split, 800, 0)) for split in ("easy", "disputed", "amiss"))
    )


def judge_rows(truth: GroundTruth, answers: Answers) -> list[dict]:
    """Returns the rows of heads.parquet on heads that gave these answers."""
    n_heads = len(answers.easy)
    judge = build(node("verdict/default.yaml"), "verdict")
    judgement = judge(truth, answers, [[Gate("uses (swap)", 1.0, 0.8, "")]] * n_heads)
    heads = SimpleNamespace(
        table=[((k + 1,), 0, 1.0) for k in range(n_heads)], validation_nll_K=np.zeros(n_heads)
    )
    return build_rows(CONFIG, heads, {}, judgement, ABOUT)


@pytest.mark.parametrize(("head", "word"), [(translator, "yes"), (imitator, "no")])
def test_whether_a_head_depends_on_x_has_words_and_intervals(truth, head, word):
    answers = mask_shallow_heads(answer(head, truth, 2), [1, 2], 1)
    first, second = judge_rows(truth, answers)
    for place in ("head", "predictor"):
        assert second[f"depends_in_{place}"] == word
        value = second[f"access_{place}"]
        assert value == float(word == "yes")
        assert second[f"access_{place}_low"] <= value <= second[f"access_{place}_high"]
    assert first["depends_in_head"] == word
    assert first["depends_in_predictor"] == "unclear"
    assert np.isnan(first["access_predictor"])


@pytest.mark.parametrize(("head", "word"), [(translator, "departs"), (imitator, "imitates")])
def test_a_head_that_departs_from_the_human_has_words_and_intervals(truth, vault, head, word):
    mixed = Cases.of(vault.episodes("tampered", 800, 1))
    deployed = DeployedCases(mixed.human_N, np.ones(800, bool), np.arange(800))
    signs = {**read_truth(INPUTS, truth), DEPLOYED: Signs.of(mixed)}
    answers = answer_as(head, signs, 1, 0)
    (row,) = judge_rows(replace(truth, deployed=deployed), answers)
    assert row["imitation"] == word
    low, high = row["departs_from_human_low"], row["departs_from_human_high"]
    assert low <= row["departs_from_human"] <= high
    assert (low > 0.02) == (word == "departs")
    (silent,) = judge_rows(truth, answer(head, truth))
    assert silent["imitation"] is None and silent["departs_from_human"] is None


def test_whom_a_head_follows_on_each_family_is_there_and_their_mean_is_that_of_all(truth):
    family_N, concept_N = truth.disputed.family_N, truth.disputed.concept_N
    correct = np.where(concept_N, 1.0, -1.0)[None]
    first = str(family_N[0])
    disputed = np.where(family_N == first, correct, -correct)
    easy = np.where(truth.easy.concept_N, 1.0, -1.0)[None]
    follows = compute_follows_by_family(truth, Answers({EASY: easy, DISPUTED: disputed}))
    assert follows.pop(first)[0] == 1.0
    assert follows and all(value[0] == 0.0 for value in follows.values())


@pytest.mark.parametrize("head", [translator, imitator, mixture(0.5)])
def test_the_template_of_a_reason_filled_with_the_columns_of_the_row_is_the_reason(
    judge, truth, head
):
    answers = mask_shallow_heads(answer(head, truth, 2), [1, 2], 1)
    for gates in ((), (Gate("uses (swap)", 1.0, 0.8, ""),), (Gate("knows", 0.5, 0.95, "No."),)):
        judgement = judge(truth, answers, [gates, gates])
        for row, verdict in zip(judgement.columns, judgement.verdicts, strict=True):
            assert fill(verdict.template, row) == verdict.reason
            assert {"follows_concept", "swap_concept"} <= set(PLACEHOLDER.findall(verdict.template))
            assert not PLACEHOLDER.search(verdict.reason)
