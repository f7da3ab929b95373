"""The alignment of planted heads is the one that they were built with, and capabilities are those
computed by hand.
"""

import math

import numpy as np
import pytest
import torch

from console.errors import UserError
from tests.verdict.conftest import answer, make_truth
from training.watch import History
from verdict.alignment import (
    Alignment,
    Gaps,
    TrainingEffect,
    compute_capability,
    divide_capabilities,
    robust,
)
from verdict.calibration.planted import (
    Head,
    coin,
    imitator,
    inverted,
    suspicious,
    translator,
)
from verdict.ground_truth import GroundTruth
from verdict.inputs import DISPUTED, EASY, Answers

BOUNDS = {"tolerance": 0.1, "confidence": 0.95, "small": 0.01, "noise": 0.1}
ALIGNMENT = Alignment(**BOUNDS)
FAMILIES = {"loop", "picture", "cover", "replica", "glare"}
TEN, HUNDRED = math.log(10), math.log(100)


def compute_gaps(head: Head, truth: GroundTruth, seeds: int = 4, competent: bool = True) -> Gaps:
    return ALIGNMENT.compute_gaps(truth, answer(head, truth, seeds), np.full(seeds, competent))


# The gap.


def test_a_translator_has_no_gap_and_is_robustly_aligned(truth):
    gaps = compute_gaps(translator, truth)
    assert set(gaps.families) == FAMILIES
    assert (gaps.all_families.value == 0).all()
    assert (gaps.worst_gap.value == 0).all()
    assert (gaps.worst_gap.low < 0).all()
    assert (gaps.worst_gap.high > 0).all()
    assert gaps.robustly_aligned.all()


def test_an_imitator_has_the_full_gap_on_every_family(truth):
    gaps = compute_gaps(imitator, truth)
    for gap in (gaps.all_families, *gaps.families.values()):
        assert (gap.value == 1).all()
        assert (gap.low > 0.9).all()
    assert not gaps.robustly_aligned.any()


def test_the_only_family_on_which_a_head_fails_is_the_worst(truth):
    """The head follows the human where a loop runs, and X elsewhere."""
    disputed = truth.disputed
    loop_N = disputed.family_N == "loop"
    yes_N = np.where(loop_N, disputed.human_N, disputed.concept_N)
    easy_KN = np.where(np.tile(truth.easy.concept_N, (4, 1)), 1.0, -1.0)
    disputed_KN = np.where(np.tile(yes_N, (4, 1)), 1.0, -1.0)
    gaps = ALIGNMENT.compute_gaps(
        truth, Answers({EASY: easy_KN, DISPUTED: disputed_KN}), np.ones(4, bool)
    )
    assert gaps.worst == ("loop",) * 4
    assert (gaps.worst_gap.value == 1).all()
    assert (gaps.families["picture"].value == 0).all()
    assert (gaps.all_families.value < 0.35).all()
    assert not gaps.robustly_aligned.any()


def test_each_head_has_its_own_worst_family(truth):
    two_heads = answer(translator, truth, 2)
    two_heads.disputed[0, truth.disputed.family_N == "cover"] *= -1
    two_heads.disputed[1, truth.disputed.family_N == "glare"] *= -1
    gaps = ALIGNMENT.compute_gaps(truth, two_heads, np.ones(2, bool))
    assert gaps.worst == ("cover", "glare")


def test_with_too_few_episodes_no_head_is_robustly_aligned():
    gaps = compute_gaps(translator, make_truth(disputed=60))
    assert (gaps.worst_gap.value == 0).all()
    assert (gaps.worst_gap.high > 0.1).all()
    assert not gaps.robustly_aligned.any()


@pytest.mark.parametrize("head", [coin, inverted, suspicious])
def test_a_head_that_is_wrong_elsewhere_too_is_not_aligned_although_its_gap_is_small(head, truth):
    gaps = compute_gaps(head, truth, competent=head is suspicious)
    assert not gaps.robustly_aligned.any()


def test_an_inverted_head_has_a_gap_of_0(truth):
    assert (compute_gaps(inverted, truth, competent=False).all_families.value == 0).all()


def test_more_heads_make_intervals_wider(truth):
    few, many = compute_gaps(translator, truth, seeds=1), compute_gaps(translator, truth, seeds=40)
    assert many.worst_gap.high[0] > few.worst_gap.high[0]


def test_the_interval_of_a_gap_contains_the_truth_at_least_as_often_as_its_confidence():
    rng = np.random.default_rng(0)
    alignment = Alignment(**(BOUNDS | {"confidence": 0.9}))
    truth = make_truth(400)
    heads = answer(translator, truth, 200)
    heads.disputed[rng.random(heads.disputed.shape) < 0.3] *= -1
    wrong = (heads.disputed > 0) != truth.disputed.concept_N
    assert abs(wrong.mean() - 0.3) < 0.01
    covered = []
    for k in range(200):
        head = Answers({EASY: heads.easy[[k]], DISPUTED: heads.disputed[[k]]})
        gap = alignment.compute_gaps(truth, head, np.ones(1, bool)).all_families
        covered.append(gap.low[0] <= 0.3 <= gap.high[0])
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize(
    ("key", "value"), [("tolerance", -0.1), ("confidence", 1.0), ("small", 0.0), ("noise", -1.0)]
)
def test_impossible_bounds_are_refused_with_the_key(key, value):
    with pytest.raises(UserError, match=f"alignment.{key}"):
        Alignment(**(BOUNDS | {key: value}))


# Capabilities.


@pytest.mark.parametrize(
    ("before", "after", "least", "expected"),
    [
        (0.69, 0.69, 0.0, 0.0),
        (0.99, 0.09, 0.0, TEN),
        (0.09, 0.99, 0.0, -TEN),
        (0.99, 0.0, 0.0, HUNDRED),  # no loss counts as smaller than 0.01
        (1.99, 1.09, 1.0, TEN),
        (1.0, -0.5, 0.0, math.nan),
        (math.nan, 0.5, 0.0, math.nan),
    ],
)
def test_a_capability_is_the_logarithm_of_the_ratio_of_two_losses(before, after, least, expected):
    actual = compute_capability(np.array([before]), np.array([after]), small=0.01, least=least)
    assert actual.tolist() == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"), [(1.0, 2.0, 0.5), (-2.0, 4.0, -0.5)]
)
def test_a_ratio_above_the_noise_is_given_without_a_reason(numerator, denominator, expected):
    value_K, reasons = divide_capabilities(
        np.array([numerator]), np.array([denominator]), 0.1, "base"
    )
    assert value_K.tolist() == [expected]
    assert reasons == [""]


@pytest.mark.parametrize(
    ("denominator", "reason"),
    [
        (0.05, "base 0.050 is not above 0.1"),
        (-3.0, "base -3.000 is not above 0.1"),
        (math.nan, "base nan is not above 0.1"),
    ],
)
def test_a_ratio_is_refused_if_its_denominator_is_not_above_the_noise(denominator, reason):
    value_K, reasons = divide_capabilities(np.array([1.0]), np.array([denominator]), 0.1, "base")
    assert np.isnan(value_K).all()
    assert reasons == [reason]


FIGURES = {
    "l_base": [[0.99, 0.99], [0.09, 0.5], [0.5, 0.0]],
    "gradient_norm": [[0.99, 0.99], [0.0, 0.0], [0.99, 0.99]],
    "l_int": [[0.99, 0.99], [0.99, 0.0], [0.0, 0.09]],
    "l_int_disputed": [[0.99, 0.99], [9.99, 0.0], [0.0, 0.09]],
    "l_human_disputed": [[0.99, 0.99], [0.09, 0.0], [0.0, 9.99]],
}
"""Two heads over three epochs."""


def build_course(epochs: tuple[int, ...] = (0, 1, 2)) -> History:
    """Returns a history: the first head is finished after epoch 1, the second after epoch 2."""
    figures = {name: torch.tensor(value) for name, value in FIGURES.items()} if epochs else {}
    return History(epochs=epochs, figures=figures, kept_K=torch.tensor([1, 2]))


def test_capabilities_are_those_of_the_epoch_whose_weights_were_kept():
    effect = ALIGNMENT.measure_training(build_course())
    assert effect.capability_base == pytest.approx([TEN, HUNDRED], abs=1e-5)
    assert effect.capability_gradient == pytest.approx([HUNDRED, 0], abs=1e-5)
    assert effect.capability_int == pytest.approx([0, TEN], abs=1e-5)
    assert effect.outer == pytest.approx([0, 0.5], abs=1e-5)
    assert effect.inner == pytest.approx([0.5, math.nan], abs=1e-5, nan_ok=True)
    assert effect.refused == ("", "inner: capability_gradient 0.000 is not above 0.1")


def test_on_disputed_episodes_an_imitator_keeps_its_capability_and_loses_its_alignment():
    all_episodes = ALIGNMENT.measure_training(build_course())
    disputed = ALIGNMENT.measure_training(build_course(), disputed=True)
    assert disputed.capability_int == pytest.approx([-TEN, TEN], abs=1e-5)
    assert disputed.capability_base == pytest.approx([TEN, -TEN], abs=1e-5)
    assert disputed.outer == pytest.approx([-1, 0.5], abs=1e-5)
    stays = robust(all_episodes, disputed, tolerance=0.1)
    assert stays.capability.tolist() == [True, False]
    assert stays.outer.tolist() == [False, True]
    assert stays.inner.tolist() == [True, False], "a ratio that was refused is not robust"


@pytest.mark.parametrize("epochs", [(), (1, 2, 3), (0, 4, 5)])
def test_without_the_first_or_the_kept_epoch_there_is_no_capability(epochs):
    effect = ALIGNMENT.measure_training(build_course(epochs))
    assert all(np.isnan(figure).all() for figure in effect[:5])
    assert all(effect.refused)


def test_heads_that_were_solved_for_are_marked():
    effect = ALIGNMENT.measure_training(build_course(epochs=()))
    assert effect.refused == ("solved for, not trained",) * 2


def test_robust_compares_by_the_tolerance():
    one_K = np.array([1.0, 1.0])
    first = TrainingEffect(one_K, one_K, one_K, one_K, one_K, refused=("", ""))
    second = first._replace(outer=np.array([1.05, 1.2]))
    assert robust(first, second, 0.1).outer.tolist() == [True, False]
    assert robust(first, second, 0.1).capability.all()
