"""Which heads have settled: planted totals and gains of which the answer is known by hand."""

import math

import torch
from torch import Tensor

from training.settling import Settling, assess


def judge(total: list[float], gain: list[float], restarts: bool = True) -> Settling:
    """Returns how near the seeds of one level and strength are to their optimum."""
    total_GSM, gain_GSM = torch.tensor(total).view(1, -1, 1), torch.tensor(gain).view(1, -1, 1)
    return assess("lbfgs", 0.3, total_GSM, gain_GSM, restarts)


def test_of_restarts_the_best_and_those_near_it_have_settled():
    found = judge([5.0, 5.09, 5.2, 40.0], [0.001] * 4)
    assert found.settled_K.tolist() == [True, True, False, False]
    torch.testing.assert_close(found.gap_K, torch.tensor([0.001, 0.091, 0.201, 35.001]))


def test_heads_that_still_gain_have_not_settled_and_show_what_the_others_miss():
    """The second would reach 4: there the others are 1 nat away."""
    found = judge([5.0, 6.0], [0.001, 2.0])
    assert not found.settled_K.any()
    torch.testing.assert_close(found.gap_K, torch.tensor([1.0, 2.0]))


def test_without_restarts_the_gap_is_what_is_left_to_gain():
    found = judge([5.0, 5.0, 40.0], [0.001, 0.02, 0.001], restarts=False)
    assert found.settled_K.tolist() == [True, False, True]
    torch.testing.assert_close(found.gap_K, torch.tensor([0.001, 0.02, 0.001]))


def check_unknown(found: Settling, gap: list[float], settled: list[bool]) -> None:
    torch.testing.assert_close(found.gap_K, torch.tensor(gap), equal_nan=True)
    assert found.settled_K.tolist() == settled


def test_a_head_of_unknown_gain_has_not_settled_and_does_not_hide_that_others_have():
    check_unknown(judge([5.0, 5.0], [0.0, math.nan]), [0.0, math.nan], [True, False])
    check_unknown(judge([math.nan, 5.0], [math.nan, 0.0]), [math.nan, 0.0], [False, True])
    check_unknown(judge([4.0, 5.0], [math.nan, 0.0]), [math.nan, 1.0], [False, False])
    check_unknown(judge([5.0, 6.0], [math.nan] * 2), [math.nan] * 2, [False] * 2)


def test_levels_and_strengths_are_judged_each_by_itself():
    total_GSM: Tensor = torch.tensor([[[1.0, 50.0], [1.0, 50.0]], [[7.0, 2.0], [9.0, 2.0]]])
    found = assess("adamw", math.nan, total_GSM, torch.zeros(2, 2, 2), True)
    assert found.settled_K.view(2, 2, 2).tolist() == [
        [[True, True], [True, True]],
        [[True, True], [False, True]],
    ]
