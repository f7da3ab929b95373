"""How many predictors are needed: planted spreads are estimated, and the promised power is reached
by the interval of the report itself.
"""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from console.errors import UserError
from report.__main__ import main
from report.comparison import choose_heads
from report.intervals import estimate_mean
from report.pairs import compare_priors, pair_priors
from report.power import (
    Spread,
    compute_power,
    compute_sd_interval,
    decide_shares,
    draw_hits,
    estimate_spread,
    find_least_difference,
    find_predictors,
)
from report.power_table import Need, advise, compute_level, compute_needs
from report.runs import find
from tests.report.planted_sweeps import heads, write

ROUNDS = 1500
CORRECTED = 1 - 0.05 / 12
"""The level of one of the 12 differences of 6 pairs."""


def create_spread(sd: float, **figures) -> Spread:
    """Returns a spread of numbers with one pair of heads a predictor; figures replace others."""
    plain = Spread(8, 1, sd, sd / 2, 2 * sd, 0.0, is_share=False, similarity=1.0)
    return replace(plain, **figures)


def create_pairs(difference_QH: np.ndarray) -> pd.DataFrame:
    """Returns paired heads with these differences: hits where they are integers."""
    n_predictors, n_heads = difference_QH.shape
    difference_K = difference_QH.ravel()
    frame = pd.DataFrame({"predictor": np.repeat(np.arange(n_predictors), n_heads)})
    if difference_K.dtype.kind == "i":
        return frame.assign(value=difference_K > 0, value_2=difference_K < 0)
    return frame.assign(value=difference_K, value_2=0.0)


def draw_numbers(rng, spread: Spread, difference: float, n_predictors: int) -> np.ndarray:
    """Returns normal differences of heads, whose means over predictors have the planted sd."""
    between = np.sqrt(spread.sd**2 - spread.within**2 / spread.heads)
    own_Q = rng.normal(difference, between, (n_predictors, 1))
    return own_Q + rng.normal(0, spread.within, (n_predictors, spread.heads))


def measure_rate(draw, n_differences: int) -> float:
    """Returns how often the report's interval excludes 0.

    Args:
        draw: from a generator to the differences of heads of one sweep.
    """
    rng = np.random.default_rng(7)
    n_decided = 0
    for _ in range(ROUNDS):
        difference_QH = draw(rng)
        names = np.repeat(np.arange(len(difference_QH)), difference_QH.shape[1]).astype(object)
        mean = estimate_mean(difference_QH.ravel(), names, n_differences, (-1.0, 1.0))
        n_decided += mean.decided
    return n_decided / ROUNDS


@pytest.mark.parametrize(
    ("heads_each", "within", "sd"),
    [(1, 0.0, 0.2), (8, 0.0, 0.2), (8, 0.2, 0.2), (8, 0.4, 0.15), (2, 0.2, 0.15)],
)
def test_the_report_reaches_the_promised_power_and_claims_nothing_where_nothing_is(
    heads_each, within, sd
):
    spread = create_spread(sd, heads=heads_each, within=within)
    n = find_predictors(spread, 0.2, 0.8, CORRECTED)
    assert 0.78 <= measure_rate(lambda rng: draw_numbers(rng, spread, 0.2, n), 12) <= 0.84
    assert measure_rate(lambda rng: draw_numbers(rng, spread, 0.2, n // 2), 12) < 0.5
    assert compute_power(spread, 0.0, n, 0.95) <= 0.051
    assert measure_rate(lambda rng: draw_numbers(rng, spread, 0.0, n), 1) <= 0.061


@pytest.mark.parametrize(("similarity", "sd"), [(0.0, 0.2), (0.3, 0.3), (1.0, 0.45)])
def test_the_power_of_shares_is_reached_too(similarity, sd):
    spread = create_spread(sd, heads=8, is_share=True, similarity=similarity)
    n = find_predictors(spread, 0.2, 0.8, CORRECTED)

    def draw_from(n_predictors: int, difference: float):
        rng = np.random.default_rng(11)
        rise_RQ, fall_RQ = draw_hits(spread, difference, n_predictors, rng)
        sweeps = iter(range(len(rise_RQ)))

        def draw(_) -> np.ndarray:
            i = next(sweeps)
            rows = []
            for rise, fall in zip(rise_RQ[i], fall_RQ[i], strict=True):
                rows.append([1] * rise + [-1] * fall + [0] * (8 - rise - fall))
            return np.array(rows)

        return draw

    assert 0.78 <= measure_rate(draw_from(n, 0.2), 12) <= 0.84
    assert measure_rate(draw_from(n // 2, 0.2), 12) < 0.6
    assert measure_rate(draw_from(n, 0.0), 1) <= 0.061


def test_one_pair_of_heads_a_predictor_needs_what_tables_of_the_paired_t_test_say():
    one = create_spread(1.0)
    assert find_predictors(one, 1.0, 0.8, 0.95) == 10
    assert find_predictors(one, 0.5, 0.8, 0.95) == 34
    assert find_predictors(one, 0.5, 0.9, 0.95) == 44
    assert compute_power(one, 0.0, 12, 0.95) == pytest.approx(0.05, abs=0.002)


def test_what_differs_more_or_is_corrected_more_needs_more_predictors():
    small, large = create_spread(0.1), create_spread(0.4)
    assert find_predictors(small, 0.2, 0.8, 0.95) < find_predictors(large, 0.2, 0.8, 0.95)
    assert find_predictors(small, 0.2, 0.8, 0.95) < find_predictors(small, 0.2, 0.8, CORRECTED)
    assert find_predictors(small, 0.2, 0.8, 0.95) < find_predictors(small, 0.1, 0.8, 0.95)
    assert find_predictors(create_spread(5.0), 0.1, 0.8, 0.95) is None


@pytest.mark.parametrize("is_share", [False, True])
def test_the_least_difference_is_the_one_that_is_detected(is_share):
    spread = create_spread(0.3, heads=8, is_share=is_share, within=0.2, similarity=0.5)
    least = find_least_difference(spread, 16, 0.8, CORRECTED)
    assert compute_power(spread, least, 16, CORRECTED) >= 0.8
    assert compute_power(spread, 0.9 * least, 16, CORRECTED) < 0.8


def test_two_predictors_detect_no_difference_of_numbers():
    assert find_least_difference(create_spread(0.3), 2, 0.8, CORRECTED) is None


@pytest.mark.parametrize("similarity", [0.0, 0.4, 1.0])
def test_sweeps_are_decided_as_the_report_decides_them(similarity):
    spread = create_spread(0.25, heads=4, is_share=True, similarity=similarity)
    rise_RQ, fall_RQ = draw_hits(spread, 0.4, 6, np.random.default_rng(0))
    decided_R = decide_shares(rise_RQ, fall_RQ, 4, CORRECTED)
    assert 0 < decided_R.mean() < 1
    names = np.repeat(np.arange(6), 4).astype(object)
    for i in range(100):
        rows = [
            [1] * rise + [-1] * fall + [0] * (4 - rise - fall)
            for rise, fall in zip(rise_RQ[i], fall_RQ[i], strict=True)
        ]
        mean = estimate_mean(np.array(rows).ravel(), names, 12, (-1.0, 1.0))
        assert mean.decided == decided_R[i]


@pytest.mark.parametrize("similarity", [0.0, 0.4, 1.0])
def test_simulated_sweeps_have_the_planted_difference_and_spread(similarity):
    spread = create_spread(0.35, heads=8, is_share=True, similarity=similarity)
    if similarity == 0:
        spread = replace(spread, sd=0.2)
    rise_RQ, fall_RQ = draw_hits(spread, 0.1, 16, np.random.default_rng(0))
    mean_RQ = (rise_RQ - fall_RQ) / 8
    assert mean_RQ.mean() == pytest.approx(0.1, abs=0.01)
    assert mean_RQ.std() == pytest.approx(spread.sd, rel=0.05)


def test_a_planted_spread_is_estimated():
    planted = create_spread(0.3, heads=8, within=0.4)
    difference_QH = draw_numbers(np.random.default_rng(0), planted, 0.1, 4000)
    spread = estimate_spread(create_pairs(difference_QH), "value")
    assert (spread.predictors, spread.heads, spread.is_share) == (4000, 8, False)
    assert spread.sd == pytest.approx(0.3, rel=0.04)
    assert spread.within == pytest.approx(0.4, rel=0.04)
    hits = create_spread(0.4, heads=8, is_share=True, similarity=0.5)
    rise_RQ, fall_RQ = draw_hits(hits, 0.1, 16, np.random.default_rng(0))
    rows = [
        [1] * rise + [-1] * fall + [0] * (8 - rise - fall)
        for rise, fall in zip(rise_RQ[:250].ravel(), fall_RQ[:250].ravel(), strict=True)
    ]
    spread = estimate_spread(create_pairs(np.array(rows)), "value")
    assert spread.is_share and spread.sd == pytest.approx(0.4, rel=0.05)
    assert spread.similarity == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n", [3, 6, 16])
def test_the_interval_of_the_spread_covers_it_however_few_predictors_there_are(n):
    sd_R = np.random.default_rng(n).normal(0.1, 0.2, (ROUNDS, n)).std(axis=1, ddof=1)
    limits = [compute_sd_interval(sd, n) for sd in sd_R]
    assert 0.935 <= np.mean([low <= 0.2 <= high for low, high in limits]) <= 0.965


def test_the_interval_of_the_spread_equals_the_known_one():
    assert compute_sd_interval(1.0, 10) == pytest.approx((0.6878, 1.8256), abs=1e-4)


def test_predictors_that_all_agree_leave_the_spread_open():
    spread = estimate_spread(create_pairs(np.zeros((4, 8), int)), "value")
    assert (spread.sd, spread.low, round(spread.high, 2)) == (0, 0, 0.78)
    assert find_predictors(spread, 0.2, 0.8, 0.95) > 16
    spread = estimate_spread(create_pairs(np.zeros((4, 8))), "value")
    assert not spread.is_known
    assert find_predictors(spread, 0.2, 0.8, 0.95) is None
    assert find_least_difference(spread, 4, 0.8, 0.95) is None


SDS = {"none": 0.0, "speed": 0.05, "simplicity": 0.15}
"""Standard deviation over predictors that is planted in each arm."""


def plant(folder, arms=SDS, n_predictors=6, **figures):
    """Writes a run an arm and predictor, in which the heads of one predictor hardly differ."""
    rng = np.random.default_rng(0)
    for prior, sd in arms.items():
        shift_Q = rng.normal(0, 1, n_predictors)
        shift_Q = sd * (shift_Q - shift_Q.mean()) / max(shift_Q.std(ddof=1), 1e-9)
        for predictor in range(n_predictors):
            follows = np.clip(0.5 + shift_Q[predictor] + rng.normal(0, 0.01, 8), 0, 1)
            frame = heads(prior, predictor=predictor, follows=follows, **figures)
            write(folder / f"{prior}-{predictor}", frame)
    return folder


def read(folder) -> pd.DataFrame:
    frames = [run.heads for run in find([folder]).runs]
    chosen = choose_heads(pd.concat(frames, ignore_index=True))
    return chosen[chosen["matched"]]


def test_the_pair_that_differs_most_leads_and_has_the_planted_spread(tmp_path):
    paired = pair_priors(read(plant(tmp_path)))
    needs = compute_needs(paired, "follows_concept")
    assert needs[-1].name == "no prior – speed"
    assert needs[-1].spread.sd == pytest.approx(0.05, abs=0.01)
    assert needs[0].spread.sd >= needs[1].spread.sd > 2 * needs[2].spread.sd
    assert needs[0].count > needs[2].count
    assert needs[0].count_at_high_sd() > needs[0].count


def test_the_pairs_and_their_level_are_those_of_the_comparison(tmp_path):
    matched = read(plant(tmp_path))
    paired = pair_priors(matched)
    assert compute_level(paired) == pytest.approx(1 - 0.05 / 6)
    names = {frozenset((two.first, two.second)) for two in paired}
    assert names == {frozenset((pair.first, pair.second)) for pair in compare_priors(matched)}


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits_the_terminal_and_nothing_is_written(tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    main([str(plant(tmp_path / "runs")), "--power"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    printed = " ".join(" ".join(lines).split())
    assert "follows X" in printed and "translators" in printed
    assert "Train " in printed and "core_model.seed='range(" in printed
    assert "for all 6 differences together (2 claims, 3 pairs)" in printed
    assert len(list((tmp_path / "runs").iterdir())) == 18


def test_what_cannot_be_planned_is_refused_in_one_line(tmp_path):
    plant(tmp_path / "two", n_predictors=2)
    plant(tmp_path / "alone", {"none": 0.1})
    plant(tmp_path / "unsettled", settled=False)
    for prior, predictor in (("none", 0), ("speed", 1)):
        write(tmp_path / "apart" / prior, heads(prior, predictor=predictor))
    lines = {
        "two": "--power: it needs 3 predictors to see how much they differ",
        "alone": "--power: it compares two arms",
        "unsettled": "--power: no head has settled.",
        "apart": "--power: no two arms of the same reporter",
    }
    for name, line in lines.items():
        with pytest.raises(UserError) as refused:
            main([str(tmp_path / name), "--power"])
        assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_a_mistake_ends_with_an_exit_code(tmp_path):
    words = [sys.executable, "-m", "report", "--power", str(plant(tmp_path, {"none": 0.1}))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: --power: it compares two arms")
    assert done.stderr.count("\n") == 1


def test_the_advice_says_how_many_predictors_to_train(tmp_path):
    needs = compute_needs(pair_priors(read(plant(tmp_path))), "follows_concept")
    count = needs[0].count

    def advise_on(at_hand: int, *own: Need) -> str:
        return advise({"follows_concept": list(own)}, at_hand)

    takes = f"takes {count} predictors for follows X (up to {needs[0].count_at_high_sd()})"
    assert takes in advise_on(6, *needs)
    train = f"Train core_model.seed='range({count})' for follows X; each pair has 6 or more."
    assert advise_on(6, *needs).endswith(train)
    assert advise_on(count, *needs).endswith(f"The {count} that each pair has are enough.")
    few = advise_on(3, needs[-1])
    assert "Train core_model.seed='range(8)' for follows X; each pair has 3 or more." in few
    assert few.endswith("Fewer than 8 can agree by chance.")
    many = replace(needs[0], counts=((None, None), (None, None)))
    assert "takes >1,000 predictors for follows X" in advise_on(6, many)
    assert "Train fewer arms, or look for larger differences" in advise_on(6, many)
    equal = replace(needs[0], spread=create_spread(0.0))
    assert advise_on(6, equal).startswith("No number of predictors is named")
