"""Lines, intervals and the sentence on heads whose figures are known."""

import pandas as pd
import pytest

from report.finding import finding
from report.lines import lines
from report.summary import DROPPED_FIRST, HEADINGS, markdown


def heads(
    prior="speed", strength=1.0, level=None, follows=(0.5, 0.7), predictor="p", **figures
) -> pd.DataFrame:
    """One row for each value of `follows`, all else alike."""
    fixed = {
        "world": "vault",
        "core_model": "transformer",
        "reporter": "linear",
        "prior": prior,
        "strength": strength,
        "level": level,
    }
    costs = {
        "bits": 100.0,
        "flops": 1000.0,
        "edges": 10,
        "level_read": 2.0,
        "easy_accuracy": 1.0,
        "easy_auroc": 1.0,
        "validation_nll": 0.1,
    }
    judged = {
        "ranks_concept": 0.5,
        "nde": 0.5,
        "nie": 0.5,
        "gates_passed": True,
        "failed_gates": "",
        "verdict": "mixture",
    }
    rows = [
        fixed
        | costs
        | judged
        | {"predictor": predictor, "seed": i, "follows_concept": value}
        | figures
        for i, value in enumerate(follows)
    ]
    return pd.DataFrame(rows).astype({"level": "Int64"}).assign(run=prior)


def test_a_line_holds_means_ends_and_counts():
    line = lines(heads(follows=(0.2, 0.4, 0.9)), each_level=True).iloc[0]
    assert (line["heads"], line["least"], line["most"], line["mixture"]) == (3, 0.2, 0.9, 3)
    assert line["follows_concept"] == pytest.approx(0.5)
    assert line["low"] < 0.5 < line["high"]


def test_without_a_prior_all_strengths_are_one_line():
    table = lines(
        pd.concat(
            [heads("none", 1.0), heads("none", 2.0), heads("speed", 1.0), heads("speed", 2.0)]
        ),
        each_level=True,
    )
    assert [tuple(row) for row in table[["prior", "strength"]].to_numpy()] == [
        ("none", 0.0),
        ("speed", 1.0),
        ("speed", 2.0),
    ]


def test_the_level_is_chosen_by_errors_on_easy_episodes_and_not_by_what_judges():
    both = pd.concat(
        [
            heads(level=1, follows=(0.9, 0.9), validation_nll=0.3),
            heads(level=2, follows=(0.1, 0.1), validation_nll=0.2),
        ]
    )
    assert lines(both, each_level=False)["level"].tolist() == [2]
    assert lines(both, each_level=True)["level"].tolist() == [1, 2]


def test_the_mean_is_over_predictors_however_many_heads_each_has():
    both = pd.concat(
        [heads(follows=(0.0, 0.0, 0.0), predictor="a"), heads(follows=(0.8,), predictor="b")]
    )
    assert lines(both, each_level=True)["follows_concept"].tolist() == [pytest.approx(0.4)]


def test_an_order_of_priors_is_claimed_only_where_the_corrected_interval_bears_it_out():
    apart = pd.concat(
        [heads("speed", follows=(0.1, 0.12, 0.11)), heads("simplicity", follows=(0.8, 0.82, 0.815))]
    )
    near = pd.concat(
        [heads("speed", follows=(0.1, 0.8, 0.4)), heads("simplicity", follows=(0.2, 0.3, 0.5))]
    )
    assert (
        "simplicity follow X on a larger share of disputed episodes than those of speed by 0.70"
        in finding(lines(apart, True), apart)
    )
    assert "larger share" not in finding(lines(near, True), near)
    assert "Heads do not follow X significantly more often under one prior" in finding(
        lines(near, True), near
    )
    assert (
        "one predictor: the intervals cover its head seeds and do not generalise to other predictors"
        in finding(lines(near, True), near)
    )


def test_nothing_is_claimed_of_heads_that_a_gate_stopped():
    stopped = heads(gates_passed=False, failed_gates="knows", verdict="undecided")
    assert (
        'no claim is made about whom they follow. Of 2 heads, 2 failed the gate "knows"'
        in finding(lines(stopped, True), stopped)
    )


def test_the_summary_names_gates_planted_heads_and_verdicts():
    about = {
        "gates": ["knows 0.500 (asked: 0.95). Train it for longer."],
        "surface_auroc": 0.5,
        "judge_on_planted_heads": [
            ["translator", "direct_translator", "direct_translator", 19, True],
            ["translator", "direct_translator", "undecided", 1, False],
        ],
    }
    said = markdown(heads().drop(columns="run"), about)
    for words in (
        "knows 0.500 (asked: 0.95)",
        "19 of 20 planted heads right that were told the truth; 1 translator called undecided",
        "2 M",
        "bag of words",
    ):
        assert words in said


def test_what_a_narrow_terminal_drops_are_columns_that_there_are():
    assert set(DROPPED_FIRST) < set(HEADINGS)
