"""Ties: that a prior does not choose is said where equally good heads follow X very differently,
and only there.
"""

import pandas as pd
import pytest

from report.comparison import choose_heads
from report.ties import describe_ties
from tests.report.planted_sweeps import heads


def plant(low=0.03, high=0.99, tied=16, n_predictors=1, **figures) -> pd.DataFrame:
    tie = {"tied": tied, "tied_follows_low": low, "tied_follows_high": high}
    frames = [
        heads("circuit_size", predictor=i, seeds=32, level=4, **tie, **figures)
        for i in range(n_predictors)
    ]
    return choose_heads(pd.concat(frames, ignore_index=True).assign(run="a"))


def test_a_prior_whose_best_heads_follow_x_differently_does_not_choose_between_them():
    assert describe_ties(plant()) == [
        "circuit_size at strength 1, level 4: 16 of 32 heads lie within 1 nat of the best, and"
        " follow X on 0.03 to 0.99 of disputed episodes: the prior does not choose between them."
    ]


@pytest.mark.parametrize(
    "figures",
    [{"low": 0.8}, {"tied": 1}, {"settled": False}, {"tied": None, "low": None, "high": None}],
    ids=["alike", "one", "not settled", "one optimum"],
)
def test_nothing_is_said_where_the_best_heads_are_alike_or_one_or_have_not_settled(figures):
    assert describe_ties(plant(**figures)) == []


def test_runs_of_earlier_versions_say_nothing_of_ties():
    assert describe_ties(choose_heads(heads().assign(run="a"))) == []


def test_several_predictors_have_one_sentence():
    (sentence,) = describe_ties(plant(n_predictors=3))
    assert "16 of 32 heads lie within 1 nat of the best on each predictor, and" in sentence
    alike = plant(0.9, n_predictors=2).assign(predictor="other")
    (sentence,) = describe_ties(pd.concat([plant(tied=7), alike]))
    assert "7 of 32 heads lie within 1 nat of the best on 1 of 2 predictors, and" in sentence
