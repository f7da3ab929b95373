"""Double descent: peaks of planted curves, and those of heads with and without flipped labels."""

import numpy as np
import pandas as pd
import pytest

from console.errors import UserError
from experiments.double_descent import DoubleDescent
from experiments.double_descent_words import describe_peak
from experiments.peaks import choose_peak, find_peak, find_threshold, tabulate
from tests.experiments.made import build_job

TINY = {
    "predictors": 4,
    "seeds": 2,
    "episodes": [8, 12],
    "hidden": [1, 2, 4],
    "epochs": [1, 3],
    "test": 20,
    "disputed": 20,
}
WIDTHS = [10, 20, 30, 40]


def job(world: dict[str, object] | None = None, **changed: object) -> DoubleDescent:
    schedule = {"batch_size": 512}
    return build_job("double_descent", world or {}, {}, schedule, "adamw", **TINY | changed)


def make_curves(mean: list[float], sd: float = 0.1) -> pd.DataFrame:
    noise = np.random.default_rng(0).standard_normal((16, len(mean)))
    return pd.DataFrame(np.array(mean) + sd * noise, columns=WIDTHS)


def test_a_planted_peak_is_found_with_its_size():
    peak = find_peak(make_curves([1, 2, 5, 3]), 4)
    assert peak and peak.is_shown and peak.parameters == (10, 30, 40)
    assert peak.rise.low < 4 < peak.rise.high and peak.fall.low < 2 < peak.fall.high
    assert peak.rise.predictors == 8
    words = describe_peak("test NLL", peak, 60)
    assert words.startswith("Test NLL has a peak of 5.0") and "0.50 for each training" in words


@pytest.mark.parametrize("mean", [[4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 1.5, 4]])
def test_a_curve_that_falls_or_rises_or_has_a_valley_has_no_peak(mean):
    assert choose_peak(np.array(mean, float)) is None
    assert find_peak(make_curves(mean, sd=0.0), 1) is None
    assert describe_peak("test error", None, 60) == "Test error has no peak."


def test_noise_alone_shows_no_peak():
    for scale in (0.1, 10.0):
        peak = find_peak(make_curves([1, 1, 1, 1], scale), 4)
        assert peak is not None and not peak.is_shown
        assert describe_peak("test NLL", peak, 60).startswith("No peak of test NLL is shown")


def test_the_threshold_is_where_no_head_errs_on_its_labels():
    heads = pd.DataFrame({"parameters": [1, 1, 2, 2, 3, 3], "train_error": [0.1, 0, 0, 0, 0, 0]})
    assert find_threshold(heads) == 2
    assert find_threshold(heads.assign(train_error=0.1)) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("double_descent") / "run"
    job()(folder)
    return folder


def test_it_writes_its_files_and_a_row_for_each_head(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "double_descent.parquet",
        "double_descent.png",
        "double_descent.svg",
        "summary.md",
    }
    table = pd.read_parquet(folder / "double_descent.parquet")
    assert len(table) == 2 * 3 * 2 * 4 * 2
    assert sorted(table["parameters"].unique()) == [23, 45, 89]  # 22 for each unit, and a bias
    assert table["train_error"].between(0, 1).all() and (table["test_nll"] > 0).all()
    assert not table.duplicated(["train", "epochs", "parameters", "train_nll"]).any()
    assert "- **N = 8, 1 epochs.**" in (folder / "summary.md").read_text()


def measure_peak(label_noise: float, tmp_path):
    sizes = {"predictors": 12, "episodes": [320], "hidden": [1, 6, 64], "epochs": [1000]}
    sizes |= {"test": 500, "disputed": 100, "seeds": 1}
    table = pd.concat(job({"label_noise": label_noise}, **sizes).train_cells(tmp_path))
    return table, find_peak(tabulate(table, "test_nll"), 4)


@pytest.mark.slow
def test_with_flipped_labels_the_nll_peaks_where_heads_begin_to_fit_them(tmp_path):
    table, peak = measure_peak(0.2, tmp_path)
    assert peak and peak.is_shown and peak.parameters == (23, 133, 1409)
    errors = tabulate(table, "train_error").mean()
    assert errors[23] > 0.1 and errors[133] < 0.05 and errors[1409] == 0


@pytest.mark.slow
def test_without_flipped_labels_there_is_no_peak(tmp_path):
    table, peak = measure_peak(0.0, tmp_path)
    assert peak is None or not peak.is_shown
    assert (table["train_error"] == 0).all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("predictors", 3),
        ("hidden", [1, 2]),
        ("hidden", [1, 4, 2]),
        ("episodes", []),
        ("episodes", [20, 30, 40, 50, 60, 70, 80]),
        ("epochs", [5, 5]),
        ("epochs", [0]),
        ("test", 0),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(key, value):
    with pytest.raises(UserError, match=rf"^job\.{key}: [^\n]*\.$"):
        job(**{key: value})


def test_an_optimizer_without_epochs_is_refused():
    with pytest.raises(UserError, match=r"^optimizer: LBFGS does not [^\n]*\.$"):
        build_job("double_descent", {}, {}, {}, "lbfgs")


def test_heads_that_stop_early_are_refused():
    with pytest.raises(UserError, match=r"^training\.keep: [^\n]*\.$"):
        build_job("double_descent", {}, {}, {"keep": "best", "patience": 3}, "adamw")
