"""Lines, intervals and the sentence on heads whose figures are known."""

import numpy as np
import pandas as pd
import pytest

from report.compare import finding, interval, lines
from report.summary import DROPPED_FIRST, HEADINGS, markdown


def heads(prior="speed", strength=1.0, level=None, follows=(0.5, 0.7), predictor="p", **figures) -> pd.DataFrame:
    """One row for each value of `follows`, all else alike."""
    fixed = {"world": "vault", "core_model": "transformer", "reporter": "linear", "prior": prior, "strength": strength, "level": level}
    costs = {"bits": 100.0, "flops": 1000.0, "edges": 10, "level_read": 2.0, "easy_accuracy": 1.0, "easy_auroc": 1.0, "validation_nll": 0.1}
    judged = {"ranks_concept": 0.5, "nde": 0.5, "nie": 0.5, "gates_passed": True, "failed_gates": "", "verdict": "mixture"}
    rows = [fixed | costs | judged | {"predictor": predictor, "seed": i, "follows_concept": value} | figures for i, value in enumerate(follows)]
    return pd.DataFrame(rows).astype({"level": "Int64"}).assign(run=prior)


def test_a_line_holds_means_ends_and_counts():
    line = lines(heads(follows=(0.2, 0.4, 0.9)), each_level=True).iloc[0]
    assert (line["heads"], line["least"], line["most"], line["mixture"]) == (3, 0.2, 0.9, 3)
    assert line["follows_concept"] == pytest.approx(0.5)
    assert line["low"] < 0.5 < line["high"]


def test_without_a_prior_all_strengths_are_one_line():
    table = lines(pd.concat([heads("none", 1.0), heads("none", 2.0), heads("speed", 1.0), heads("speed", 2.0)]), each_level=True)
    assert [tuple(row) for row in table[["prior", "strength"]].to_numpy()] == [("none", 0.0), ("speed", 1.0), ("speed", 2.0)]


def test_the_level_is_chosen_by_errors_on_easy_episodes_and_not_by_what_judges():
    both = pd.concat([heads(level=1, follows=(0.9, 0.9), validation_nll=0.3), heads(level=2, follows=(0.1, 0.1), validation_nll=0.2)])
    assert lines(both, each_level=False)["level"].tolist() == [2]
    assert lines(both, each_level=True)["level"].tolist() == [1, 2]


def test_intervals_over_predictors_are_wider_than_those_that_take_heads_for_independent():
    value, predictor = np.repeat([0.1, 0.5, 0.9], 20) + np.tile([-0.01, 0.01], 30), np.repeat(["a", "b", "c"], 20).astype(object)
    low, high = interval(value, predictor)
    careless_low, careless_high = interval(value, np.full(60, "a", object))
    assert high - low > 2 * (careless_high - careless_low)


def test_intervals_of_one_predictor_cover_the_truth():
    chance = np.random.default_rng(0)
    covered = [low <= 0.5 <= high for low, high in (interval(chance.normal(0.5, 0.1, 16), np.full(16, "a", object)) for _ in range(200))]
    assert np.mean(covered) > 0.85


def test_the_sentence_claims_an_order_only_where_intervals_lie_apart():
    apart = pd.concat([heads("speed", follows=(0.1, 0.12, 0.11)), heads("simplicity", follows=(0.8, 0.82, 0.81))])
    near = pd.concat([heads("speed", follows=(0.1, 0.8, 0.4)), heads("simplicity", follows=(0.2, 0.9, 0.5))])
    assert "most under simplicity" in finding(lines(apart, True), apart)
    assert "may be chance" not in finding(lines(apart, True), apart)
    assert "may be chance" in finding(lines(near, True), near)
    assert "One predictor" in finding(lines(near, True), near)


def test_nothing_is_claimed_of_heads_that_a_gate_stopped():
    stopped = heads(gates_passed=False, failed_gates="knows", verdict="undecided")
    assert "nothing is claimed" in finding(lines(stopped, True), stopped)


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
