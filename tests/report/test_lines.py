"""Lines, intervals and the answer in words, on heads whose figures are known."""

import pandas as pd
import pytest

from console.errors import UserError
from report import summary
from report.comparison import build_lines, choose_heads, compare
from report.planted import collect_record
from report.settings import Setting


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
        "calibrated_nll": 0.1,
    }
    judged = {
        "ranks_concept": 0.5,
        "nde": 0.5,
        "nie": 0.5,
        "settled": True,
        "gap": 0.001,
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


def tabulate(frame: pd.DataFrame, each_level: bool = True) -> pd.DataFrame:
    return build_lines("vault", choose_heads(frame, each_level))


def find_answer(frame: pd.DataFrame) -> str:
    part = compare(Setting("vault", (), frame))
    opening, details = summary.compose_opening(part), summary.compose_details(part.lines, part)
    return f"{opening} {details}"


def test_a_line_holds_means_ends_and_counts():
    line = tabulate(heads(follows=(0.2, 0.4, 0.9))).iloc[0]
    assert (line["heads"], line["least"], line["most"], line["mixture"]) == (3, 0.2, 0.9, 3)
    assert line["follows_concept"] == pytest.approx(0.5)
    assert line["follows_concept_low"] < 0.5 < line["follows_concept_high"]


def test_without_a_prior_all_strengths_are_one_line():
    pairs = [("none", 1.0), ("none", 2.0), ("speed", 1.0), ("speed", 2.0)]
    table = tabulate(pd.concat([heads(prior, strength) for prior, strength in pairs]))
    assert [tuple(row) for row in table[["prior", "strength"]].to_numpy()] == [
        ("none", 0.0),
        ("speed", 1.0),
        ("speed", 2.0),
    ]


def test_the_level_is_chosen_by_errors_on_easy_episodes_and_not_by_what_judges():
    both = pd.concat(
        [
            heads(level=1, follows=(0.9, 0.9), calibrated_nll=0.3),
            heads(level=2, follows=(0.1, 0.1), calibrated_nll=0.2),
        ]
    )
    assert tabulate(both, each_level=False)["level"].tolist() == [2]
    assert tabulate(both, each_level=True)["level"].tolist() == [1, 2]


def test_priors_are_compared_at_one_level_and_heads_that_have_not_settled_do_not_choose_it():
    frame = pd.concat(
        [
            heads("none", level=1, calibrated_nll=0.1),
            heads("none", level=2, calibrated_nll=0.2),
            heads("speed", level=1, calibrated_nll=0.4),
            heads("speed", level=2, calibrated_nll=0.3),
        ]
    )
    assert tabulate(frame, each_level=False)["level"].tolist() == [1, 1]
    unsettled = frame.assign(settled=frame["level"] == 2)
    assert tabulate(unsettled, each_level=False)["level"].tolist() == [2, 2]


def test_the_compared_level_is_named_with_who_chose_it():
    one = heads(level=1, follows=(0.9, 0.9), calibrated_nll=0.2)
    both = pd.concat([one, heads(level=2, follows=(0.1, 0.1), calibrated_nll=0.3)])

    def compare_at(frame: pd.DataFrame, level: int | None = None) -> tuple[float, str]:
        part = compare(Setting("vault", (), frame), level=level)
        return float(part.lines["follows_concept"].iloc[0]), part.level

    follows, words = compare_at(both)
    assert follows == 0.9 and words.startswith("Compared at level 1, where a prior reaches the")
    follows, words = compare_at(both, 2)
    assert follows == 0.1 and words.startswith("Compared at level 2, which --level chose:")
    assert compare_at(one)[1] == "Compared at level 1, the only one that these heads read."
    assert compare_at(heads()) == (0.6, "")
    with pytest.raises(UserError, match=r"--level 7: no head .* Levels: 1, 2\."):
        compare_at(both, 7)


def test_the_mean_is_over_predictors_however_many_heads_each_has():
    both = pd.concat(
        [heads(follows=(0.0, 0.0, 0.0), predictor="a"), heads(follows=(0.8,), predictor="b")]
    )
    assert tabulate(both)["follows_concept"].tolist() == [pytest.approx(0.4)]


def test_an_order_of_priors_is_claimed_only_where_the_corrected_interval_supports_it():
    apart = pd.concat(
        [heads("speed", follows=(0.1, 0.12, 0.11)), heads("simplicity", follows=(0.8, 0.82, 0.815))]
    )
    near = pd.concat(
        [heads("speed", follows=(0.1, 0.8, 0.4)), heads("simplicity", follows=(0.2, 0.3, 0.5))]
    )
    words = find_answer(apart)
    assert "simplicity" in words and "larger share" in words and "speed by 0.70" in words
    words = find_answer(near)
    assert "larger share" not in words
    assert "Heads do not follow X significantly more often under one prior" in words
    assert "one predictor: the intervals cover its head seeds and do not generalise" in words


def test_where_gates_stop_all_heads_the_answer_names_them_and_claims_nothing():
    stopped = heads(gates_passed=False, failed_gates="knows, uses (swap)", verdict="undecided")
    words = find_answer(stopped)
    gates = '2 failed the gates "knows" and "uses (swap)"'
    assert words.startswith(f"No verdict: all 2 settled heads are undecided; {gates}. 2 settled")


def test_where_no_head_is_decided_the_answer_says_why_most_are_not():
    reasons = ["Behaviour .5 [.4, .6]. Twins come too close to a bound to call."] * 2
    reasons.append("Behaviour .5 [.4, .6]. The kinds of evidence disagree: twins like mixture.")
    words = find_answer(heads(follows=(0.4, 0.5, 0.6), verdict="undecided").assign(reason=reasons))
    verdicts = "Verdicts on 3 settled heads: 3 undecided"
    assert words.startswith(f"{verdicts}, most because: Twins come too close to a bound to call.")
    # One head that a gate stops does not speak for the others.
    gates = heads(follows=(0.4, 0.5, 0.6), verdict="undecided", failed_gates="").assign(
        reason=reasons, failed_gates=["knows", "", ""]
    )
    assert find_answer(gates).startswith(f"{verdicts}, most because: Twins come too close")
    one = heads(verdict="undecided").assign(verdict=["undecided", "mixture"])
    assert find_answer(one).startswith("Verdicts on 2 settled heads: 1 mixture, 1 undecided.")


ABOUT = {
    "identity": "0123456789",
    "gates": ["knows 1.000"],
    "surface_auroc": 0.5,
    "judge_on_planted_heads": [
        ["translator", "direct_translator", "direct_translator", 19, True],
        ["translator", "direct_translator", "undecided", 1, False],
    ],
}
FAILED = ["knows 0.500 (required: 0.95). Train it for longer."]


def test_the_summary_names_gates_planted_heads_and_verdicts():
    text = summary.format_summary(heads().drop(columns="run"), ABOUT)
    for words in (
        "knows 1.000",
        "right on 19 of 20 planted heads, which are given the truth in place of a predictor; 1"
        " translator called undecided.",
        "| translator | 19 |",
        "2 M",
        "bag of words",
    ):
        assert words in text


def test_the_judges_record_is_left_out_for_a_predictor_whose_gates_failed():
    text = summary.format_summary(heads().drop(columns="run"), ABOUT | {"gates": FAILED})
    assert FAILED[0] in text and "19" not in text.split("## The judge")[1]
    assert (
        "it says nothing about heads of a predictor whose gates are not passed (01234567)" in text
    )


def test_the_record_counts_runs_whose_predictor_passed_its_gates():
    record = collect_record([ABOUT, ABOUT, ABOUT | {"gates": FAILED, "identity": "bad"}])
    assert record.describe() == (
        "The judge is right on 38 of 40 planted heads, which are given the truth in place of a"
        " predictor, the same heads in each of 2 runs; 2 translator called undecided. It says"
        " nothing about heads of predictors whose gates are not passed: bad."
    )


def test_the_summary_says_where_a_control_is_left_out():
    level_0, length = {"level_0": {"easy": 0.5, "disputed": 0.5}}, {"easy": 0.5, "disputed": 0.75}
    whole, partial = {"length": length} | level_0, {"length": length}
    left_out = "Level 0 holds NaN or infinity, so it is left out."
    for controls, ends in ((whole, "level 0 0.50 and 0.50."), (partial, left_out)):
        text = summary.format_summary(heads().drop(columns="run"), ABOUT | {"controls": controls})
        assert "length 0.50 and 0.75" in text and ends in text
        assert (left_out in text) == (controls is partial)


def test_only_gates_that_predictors_fail_are_named_on_the_terminal():
    gates = ["knows 1.000", "uses (swap) 0.400 (asked: 0.8). Read a deeper level."]
    lines_shown = summary._describe_predictors([{"gates": gates, "surface_auroc": None}])
    assert lines_shown == [f"The predictor: {gates[1]}"]
