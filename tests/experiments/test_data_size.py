"""Data size: predicted crossings against those computed by hand, and contests on both sides of
them.
"""

import hashlib
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

from console.errors import UserError
from experiments import data_size
from experiments.crossings import (
    collect_results,
    compare_crossings,
    find_crossing,
    measure_crossings,
    predict_crossings,
    summarise_crossings,
)
from experiments.data_size import DataSize
from experiments.data_size_words import judge_ratio
from experiments.several_predictors import SeveralPredictors
from storage.run_folder import PREDICTED, PREDICTIONS
from tests.conftest import node
from tests.experiments.made import build_job
from training.planted_errors import compute_entropy

ERRORS, SIZES = 0.125, [16, 128, 1024]
X_AMPLITUDE, H_AMPLITUDE = 2.0, 0.25
GAUSSIAN = {"gaussian": node("prior/gaussian.yaml")}
TWO_BITS = {"bits": 2, "human_errors": ERRORS}
"""One bit is X, the other H."""


def job(**changed: object) -> DataSize:
    values = {"predictors": 2, "seeds": 1, "episodes": SIZES, "priors": GAUSSIAN}
    values |= {"test": 50, "disputed": 50}
    widths = {"human_width": 1, "concept_amplitude": X_AMPLITUDE, "human_amplitude": H_AMPLITUDE}
    return build_job("data_size", TWO_BITS, widths, {}, "auto", **values | changed)


def compute_cost(n: int, amplitude: float, errors: float) -> float:
    """Returns the nats that a head pays at the least which reads one bit of this amplitude, with
    errors at a rate: its errors, and half the square of its weight.
    """

    def pay(weight: float) -> float:
        log_odds = amplitude * weight
        right = (1 - errors) * np.log1p(np.exp(-log_odds))
        return float(n * (right + errors * np.log1p(np.exp(log_odds))) + weight**2 / 2)

    return float(minimize_scalar(pay, bounds=(0, 60), method="bounded").fun)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data_size") / "run"
    job()(folder)
    return folder


def test_costs_and_the_predicted_crossings_are_those_computed_by_hand(folder):
    predictions = pd.read_parquet(folder / PREDICTIONS)
    assert predictions["costs_settled"].all()
    by_hand = pd.DataFrame({"train": SIZES, "predictor": 0})
    by_hand["cost_imitator"] = [compute_cost(n, H_AMPLITUDE, 0) for n in SIZES]
    by_hand["cost_translator"] = [compute_cost(n, X_AMPLITUDE, ERRORS) for n in SIZES]
    clean = np.array([compute_cost(n, X_AMPLITUDE, 0) for n in SIZES])
    by_hand["two_part"] = clean + compute_entropy(ERRORS) * np.array(SIZES)
    means = predictions.groupby("train").mean(numeric_only=True)
    for column in ("cost_imitator", "cost_translator", "two_part"):
        assert means[column].to_numpy() == pytest.approx(by_hand[column].to_numpy(), rel=0.05)
    for column in ("cost_translator", "two_part"):
        expected = predict_crossings(by_hand, column)[0]
        assert 4 < expected < 10
        found = predict_crossings(predictions, column)
        assert found.to_numpy() == pytest.approx(expected, abs=0.15)


def test_heads_of_few_episodes_are_translators_and_of_many_imitators(folder):
    contest = pd.read_parquet(folder / "data_size.parquet")
    follows = contest.groupby("train")["follows_concept"].mean()
    assert follows[16] == 1 and follows[1024] == 0
    assert contest["settled"].all()
    assert np.isfinite(measure_crossings(contest)).all()


def test_without_a_charge_no_crossing_is_predicted(trainer, tmp_path):
    small = job(strengths=[0.0], episodes=[16, 256])
    predictors = SeveralPredictors.build(small.world, small.core_model, 2, 0, 0, trainer)
    predictions = small.predict(predictors, tmp_path)
    assert (predictions["cost_translator"] > predictions["cost_imitator"]).all()
    crossing = summarise_crossings(predict_crossings(predictions, "cost_translator"))
    assert crossing.before == 2 and not crossing.mean.predictors
    assert crossing.describe() == "before the smallest size for 2 of 2"


def test_the_summary_and_the_figure_are_there_with_the_hash(folder):
    names = {path.name for path in folder.iterdir()}
    results = {"data_size.parquet", "data_size.png", "data_size.svg", "summary.md"}
    assert names == results | {PREDICTIONS, PREDICTED}
    digest = hashlib.sha256((folder / PREDICTIONS).read_bytes()).hexdigest()
    assert json.loads((folder / PREDICTED).read_text())["sha256"] == digest
    assert digest[:16] in (folder / "summary.md").read_text()


def test_predictions_are_written_before_the_contest_and_kept(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise InterruptedError

    small = job(episodes=[16, 64], predictors=1)
    monkeypatch.setattr(data_size.DataSize, "hold_contest", stop)
    with pytest.raises(InterruptedError):
        small(tmp_path)
    written = (tmp_path / PREDICTED).read_text()
    assert not (tmp_path / "data_size.parquet").exists()
    monkeypatch.undo()
    monkeypatch.setattr(data_size.DataSize, "predict", stop)
    small(tmp_path)
    assert (tmp_path / PREDICTED).read_text() == written


def make_contest(follows: list[list[float]]) -> pd.DataFrame:
    rows = []
    for predictor, own in enumerate(follows):
        for n, value in zip(SIZES, own, strict=True):
            rows.append(
                {"predictor": predictor, "train": n, "follows_concept": value}
                | {"prior": "p", "strength": 1.0}
            )
    return pd.DataFrame(rows)


def test_measured_crossings_are_where_follows_x_passes_a_half_for_good():
    contest = make_contest([[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
    assert measure_crossings(contest).tolist() == [5.5, 8.5, math.inf, -math.inf]
    crossing = summarise_crossings(measure_crossings(contest))
    assert (crossing.mean.value, crossing.before, crossing.never) == (7, 1, 1)
    assert "not up to the largest size for 1 of 4" in crossing.describe()


def test_crossings_are_compared_over_the_predictors_in_which_both_cross():
    measured = pd.Series([5.0, 6.0, 7.0, math.inf])
    assert compare_crossings(measured, pd.Series([6.0, 7.0, 8.0, 5.0])).value == -1
    assert judge_ratio(compare_crossings(measured, measured + 1)).startswith("the imitator takes")
    earlier = compare_crossings(measured, pd.Series([6.0, 7.1, 8.0, 5.0]))
    assert "earlier" in judge_ratio(earlier)
    unclear = compare_crossings(measured, pd.Series([4.0, 7.0, 7.5, 5.0]))
    assert "no difference" in judge_ratio(unclear)
    none = compare_crossings(measured, pd.Series([-math.inf] * 4))
    assert none.predictors == 0 and "nothing can be compared" in judge_ratio(none)


def test_a_crossing_lies_on_the_line_between_two_sizes():
    assert find_crossing(np.array([100.0, 200]), np.array([-20.0, 20])) == 150


def test_results_are_named_by_prior_and_by_strength_if_there_are_several():
    one = make_contest([[1, 1, 0]])
    both = pd.concat([one, one.assign(strength=2.0)])
    assert [result.name for result in collect_results(one, one)] == ["p"]
    names = [result.name for result in collect_results(both, both)]
    assert names == ["p, strength 1", "p, strength 2"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("episodes", [16]),
        ("episodes", [64, 16]),
        ("strengths", []),
        ("strengths", [-1.0]),
        ("predictors", 0),
        ("priors", {}),
        ("priors", {"downstream": node("prior/downstream.yaml")}),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(key, value):
    with pytest.raises(UserError, match=rf"^job\.{key}(\.downstream)?: [^\n]*\.$"):
        job(**{key: value})


def test_a_human_who_never_errs_is_refused():
    with pytest.raises(UserError, match=r"^world\.human_errors: [^\n]*\.$"):
        build_job("data_size", {"human_errors": 0.0}, {}, {}, "auto")
