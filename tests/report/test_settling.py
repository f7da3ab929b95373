"""Claims are made of settled heads alone: heads that have not settled change no figure, and are
shown apart.
"""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from report import apart, settling, summary
from report.alignment import FIGURES
from report.answer import compose_answer
from report.comparison import Compared, build_lines, choose_heads, compare
from report.matched import format_table, select_matched
from report.page.document import build_page
from report.plots import _draw_panel
from report.runs import find
from report.settings import Setting, group_by_setting
from report.settling import CURE, add_settled, compare_across_arms, describe_settled
from report.two_sweeps import compare_lines, describe_lines
from tests.report.planted_sweeps import heads
from tests.report.planted_sweeps import write as write_run
from training import settling as training_settling

OLD = ["settled", "gap", "optimizer"]


def plant(settled: bool, prior="speed", follows=0.9, gap=12.0, **figures) -> pd.DataFrame:
    """Returns heads on two predictors, which have all settled or none."""
    own_gap = 0.001 if settled else gap
    frames = [
        heads(prior, predictor=i, follows=follows, settled=settled, gap=own_gap, **figures)
        for i in range(2)
    ]
    return pd.concat(frames, ignore_index=True).assign(run=prior)


def join(*frames: pd.DataFrame) -> pd.DataFrame:
    """Returns frames as one; seeds are distinct."""
    frame = pd.concat(frames, ignore_index=True)
    keys = ["prior", "predictor", "strength"]
    return frame.assign(seed=frame.groupby(keys).cumcount())


def read(folder: Path) -> tuple[Compared, str]:
    """Returns the comparison of a folder's runs, and its page."""
    runs = find([folder])
    (setting,) = group_by_setting(runs.runs)
    part = compare(setting)
    return part, build_page("", runs, [part])


def answer(*frames: pd.DataFrame):
    return compose_answer(choose_heads(join(*frames)))


@pytest.mark.parametrize(("settled", "mean"), [(False, 0.9), (True, 0.5)])
def test_only_settled_heads_enter_a_line(settled, mean):
    both = join(plant(True, follows=0.9), plant(settled, follows=0.1))
    line = build_lines("", choose_heads(both)).iloc[0]
    assert line["follows_concept"] == pytest.approx(mean)
    assert (line["heads"], line["settled"]) == (32, 1.0 if settled else 0.5)
    assert line["least"] == (0.1 if settled else 0.9)
    assert line["median_gap"] == pytest.approx(0.001 if settled else 6, rel=0.01)
    assert line["human_imitator"] == 0


@pytest.mark.parametrize("settled", [False, True])
def test_a_prior_without_settled_heads_is_claimed_nothing_of(settled):
    said = answer(plant(settled, "good", 0.95), plant(True, "bad", 0.2))
    sentence = "No claim is made about heads of good, not settled: N·gap 12 nats."
    assert (sentence in said.details) == (not settled)
    assert ("good finds translators more often than bad" in said.headline) == settled
    assert len(said.pairs) == settled


def test_a_comparison_without_settled_heads_has_its_table_and_says_first_why_it_claims_nothing(
    tmp_path, capsys
):
    for prior in ("none", "good"):
        frame = heads(prior, follows=0.95, settled=False, gap=12.0)
        write_run(tmp_path / prior, frame)
    part, page = read(tmp_path)
    summary.show_comparisons([part], each_level=False)
    printed = capsys.readouterr().out
    first = "0 of 16 heads judged have settled (median N·gap of all: 12 nats): nothing is claimed"
    assert " ".join(printed.split()).startswith(first)
    line, line_apart = [line for line in printed.splitlines() if " good " in line]
    assert "0 of 8" in line and "not settled" in line and "N·gap 12 nats" in line
    assert "0.9" not in line
    assert apart.TITLE in " ".join(printed.split())
    assert "0.95" in line_apart and "N·gap" not in line_apart
    assert "Median of gap over heads" in " ".join(printed.split()), "its headings are explained"
    assert f'class="headline">{first}' in page and "not settled: N·gap 12 nats" in page
    assert part.lines["follows_concept"].isna().all() and (part.lines["settled"] == 0).all()


def test_heads_of_an_earlier_version_are_shown_and_one_line_says_that_they_stopped_early():
    old = plant(True).drop(columns=OLD)
    part = compare(Setting("", (), old))
    assert part.answer.headline.startswith("16 heads judged by an earlier version, which stopped")
    assert len(part.shown) == 16 and part.matched.empty
    assert part.lines["settled"].isna().all()
    mixed = answer(old, plant(True, "bad", 0.2))
    assert "No claim is made about heads of speed, stopped early." in mixed.details


@pytest.mark.parametrize(
    ("n_settled", "words", "cure"),
    [
        (4, "All of 4 heads judged have settled.", False),
        (
            3,
            "3 of 4 heads judged have settled (median N·gap of the others: 12 nats); claims",
            False,
        ),
        (1, "1 of 4 heads judged have settled (median N·gap of the others: 12 nats); claims", True),
        (0, "0 of 4 heads judged have settled (median N·gap of all: 12 nats): nothing is", True),
    ],
)
def test_a_line_says_how_many_heads_have_settled_and_the_cure_where_few_have(
    n_settled, words, cure
):
    frame = heads(seeds=4, gap=12.0).assign(settled=[i < n_settled for i in range(4)])
    line = describe_settled(add_settled(frame))
    assert line.startswith(words) and line.endswith(CURE) == cure
    about = {"gates": ["knows 1.000"], "surface_auroc": None}
    assert line in summary.format_summary(frame, about)


def test_unsettled_heads_neither_are_at_matched_accuracy_nor_say_what_the_best_is():
    best = plant(False, "good", calibrated_nll=0.01)
    others = plant(True, "speed", calibrated_nll=0.5)
    assert set(select_matched(pd.concat([best, others]))["prior"]) == {"speed"}
    settled = pd.concat([plant(True, "good", calibrated_nll=0.01), others])
    assert set(select_matched(settled)["prior"]) == {"good"}


@pytest.mark.parametrize("settled", [False, True])
def test_heads_that_have_not_settled_are_hollow_on_the_page_and_in_no_mean(settled, tmp_path):
    frame = join(plant(True, follows=0.95), plant(settled, follows=0.2))
    for predictor, own in frame.groupby("predictor"):
        write_run(tmp_path / predictor, own.drop(columns="run"))
    _, page = read(tmp_path)
    assert ('class="holes"' in page) == ('class="dot hollow"' in page) == (not settled)
    assert ("follows X 0.95 [" in page) == (not settled)
    assert ("16 of 32" in page) == (not settled)


def test_two_sweeps_are_compared_by_settled_heads():
    first, settled = choose_heads(plant(True, follows=0.2)), choose_heads(plant(True, follows=0.8))
    unsettled = choose_heads(plant(False, follows=0.8))
    (line,) = compare_lines(first, unsettled)
    assert line.is_unsettled and "No difference is claimed" in describe_lines([line])
    (line,) = compare_lines(first, settled)
    assert line.follows.decided and "B follow X significantly" in describe_lines([line])


@pytest.mark.parametrize("settled", [False, True])
def test_the_matched_table_counts_settled_heads(settled):
    both = join(plant(True, follows=0.95), plant(settled, follows=0.0))
    row = format_table(choose_heads(both)).splitlines()[2]
    assert ("| 16 of 32 | 2 | 1.00 | 0.00 |" in row) == (not settled)
    assert ("| 32 of 32 | 2 | 0.50 | 0.50 |" in row) == settled


@pytest.mark.parametrize("settled", [False, True])
def test_a_run_reports_the_verdicts_and_the_alignment_of_settled_heads(settled):
    frames = [plant(True, follows=0.95), plant(settled, follows=0.0)]
    frames[0] = frames[0].assign(pseudo_alignment_gap=0.1, robustly_aligned=True)
    frames[1] = frames[1].assign(pseudo_alignment_gap=0.5, robustly_aligned=False)
    frames = [frame.assign(**dict.fromkeys(FIGURES, 1.0)) for frame in frames]
    about = {"gates": ["knows 1.000"], "surface_auroc": None}
    text = summary.format_summary(join(*frames), about)
    both = "32 settled heads: 16 direct translators, 16 human imitators."
    verdicts = both if settled else "16 settled heads: 16 direct translators."
    assert f"**Verdicts on {verdicts}" in text
    assert ("| speed | 1 | all | 0.50 | 0.30 |" in text) == settled
    assert ("| speed | 1 | all | 1.00 | 0.10 |" in text) == (not settled)


def test_the_plot_of_a_run_has_hollow_dots_for_heads_that_have_not_settled():
    axis = Figure().subplots()
    frame = add_settled(heads(seeds=2).assign(settled=[True, False]))
    _draw_panel(axis, frame, "strength", [1.0])
    (marks,) = axis.collections
    filled, hollow = marks.get_facecolor()[:, :3]
    assert (filled == marks.get_edgecolor()[0, :3]).all() and (hollow == 1).all()


def test_a_prior_is_shown_at_matched_accuracy_or_because_it_has_not_settled():
    best = plant(True, "good", calibrated_nll=0.01)
    for settled in (True, False):
        far = plant(settled, "speed", calibrated_nll=0.5)
        chosen = choose_heads(join(best, far))
        assert ("speed" in set(chosen["prior"][chosen["shown"]])) == (not settled)
        assert set(chosen["prior"][chosen["matched"]]) == {"good"}


# Arms of the same objective are restarts of each other.


def plant_objectives(**columns) -> pd.DataFrame:
    """Returns two heads of each of two arms, as their runs wrote them."""
    frame = pd.DataFrame(
        {
            "predictor": "p",
            "reporter": "layered",
            "strength": 1.0,
            "levels": "0 1",
            "objective": [5.0, 5.05, 7.0, 7.0],
            "gap": [0.0, 0.05, 0.001, 0.001],
            "settled": True,
        }
    )
    return frame.assign(**columns)


def test_heads_above_the_best_of_another_arm_have_not_settled():
    found = compare_across_arms(plant_objectives(), pd.Series(["speed"] * 4))
    assert found["settled"].tolist() == [True, True, False, False]
    assert found["gap"].tolist() == pytest.approx([0.0, 0.05, 2.0, 2.0])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("predictor", ["p", "p", "q", "q"]),
        ("reporter", ["layered", "layered", "mlp", "mlp"]),
        ("strength", [1.0, 1.0, 4.0, 4.0]),
        ("levels", ["0 1", "0 1", "1", "1"]),
    ],
)
def test_heads_of_another_objective_say_nothing(name, values):
    same = pd.Series(["speed"] * 4)
    heads = plant_objectives(**{name: values})
    assert compare_across_arms(heads, same)["settled"].all()
    other = pd.Series(["speed", "speed", "none", "none"])
    assert compare_across_arms(plant_objectives(), other)["settled"].all()


def test_a_head_whose_objective_is_not_known_keeps_what_its_run_found():
    heads = plant_objectives(objective=[5.0, float("nan"), 7.0, 7.0])
    found = compare_across_arms(heads, pd.Series(["speed"] * 4))
    assert found["settled"].tolist() == [True, True, False, False]
    assert found["gap"].tolist()[1] == 0.05
    old = heads.drop(columns="objective")
    assert compare_across_arms(old, pd.Series(["speed"] * 4)) is old


def test_reports_and_training_hold_heads_apart_by_the_same_number():
    assert settling.APART == training_settling.APART
