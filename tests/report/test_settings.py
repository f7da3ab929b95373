"""What must be equal in runs that are compared, and which heads count."""

import time
from pathlib import Path

import pytest

from report.runs import Run, find
from report.settings import extract_setting, group_by_setting
from storage.run_folder import IGNORED_KEYS, drop_ignored_keys
from tests.report.planted_sweeps import heads, write


@pytest.mark.parametrize("key", IGNORED_KEYS)
def test_runs_that_differ_in_what_changes_no_result_have_one_setting(key):
    """A sweep that is resumed with another logger is one sweep."""
    shared = {"world": {"steps": 8}, "core_model": {"seed": 0}}
    first, second = shared | {key: {"bar": True}}, shared | {key: {"bar": False}}
    assert extract_setting(first) == extract_setting(second)
    assert drop_ignored_keys(first) == drop_ignored_keys(second)
    lenient, strict = shared | {"verdict": {"direct": 0.8}}, shared | {"verdict": {"direct": 0.9}}
    assert extract_setting(lenient) != extract_setting(strict)


def test_a_head_of_two_runs_counts_once(tmp_path):
    """A sweep of three seeds after one of eight trains three of the same heads again."""
    for n in (8, 3):
        write(tmp_path / str(n), heads(seeds=n))
    runs = find([tmp_path]).runs
    assert len(runs) == 2
    (setting,) = group_by_setting(runs)
    assert sorted(setting.heads["seed"]) == list(range(8))


@pytest.mark.parametrize("fuller", [8, 3])
def test_of_a_head_of_two_runs_the_fuller_bill_counts(fuller, tmp_path):
    for n in (8, 3):
        values = [float(seed) if n == fuller else float("nan") for seed in range(n)]
        write(tmp_path / str(n), heads(seeds=n).assign(learning_coefficient=values))
    (setting,) = group_by_setting(find([tmp_path]).runs)
    assert sorted(setting.heads["seed"]) == list(range(8))
    assert sorted(setting.heads["learning_coefficient"].dropna()) == list(range(fuller))


TWO_HEADS = heads(seeds=2)


def plant_run(name: str, prior: dict, reporter: str = "linear") -> Run:
    """Returns a run of two heads that was never written."""
    config = {"prior": prior, "reporter": {"_target_": reporter}, "core_model": {}}
    own = {"predictor": name, "prior": name.partition("-")[0], "reporter": reporter, "run": name}
    return Run(name, Path(name), config, {}, {}, TWO_HEADS.assign(**own))


def test_options_in_which_runs_of_a_prior_differ_are_part_of_its_name():
    runs = (
        plant_run("speed-0", {"halt": 1, "depth": 3}),
        plant_run("speed-1", {"halt": 2, "depth": 3}),
        plant_run("speed-2", {"depth": 3}),
        plant_run("none-0", {"halt": 7}),
    )
    (setting,) = group_by_setting(runs)
    named = dict(zip(setting.heads["predictor"], setting.heads["prior"], strict=True))
    assert named == {
        "speed-0": "speed (halt 1)",
        "speed-1": "speed (halt 2)",
        "speed-2": "speed",
        "none-0": "none",
    }
    assert set(runs[0].heads["prior"]) == {"speed"}


def test_the_cost_of_grouping_follows_the_number_of_runs_and_not_its_square():
    runs = tuple(plant_run(f"speed-{i}", {"halt": i % 3}) for i in range(300))

    def measure_seconds(n: int) -> float:
        start = time.process_time()
        group_by_setting(runs[:n])
        return time.process_time() - start

    measure_seconds(30)
    assert measure_seconds(300) < 30 * max(measure_seconds(30), 0.01)
