"""What runs must share to be compared."""

import pytest

from report.runs import find
from report.settings import setting_of, settings
from storage.run_folder import NOT_DECIDING, drop_undeciding
from tests.report.planted_sweeps import heads, write


@pytest.mark.parametrize("key", NOT_DECIDING)
def test_runs_that_differ_in_what_changes_no_result_are_one_setting(key):
    """A sweep gone on with another logger is one sweep."""
    shared = {"world": {"steps": 8}, "core_model": {"seed": 0}}
    one, other = shared | {key: {"bar": True}}, shared | {key: {"bar": False}}
    assert setting_of(one) == setting_of(other)
    assert drop_undeciding(one) == drop_undeciding(other)
    assert setting_of(shared | {"verdict": {"direct": 0.8}}) != setting_of(
        shared | {"verdict": {"direct": 0.9}}
    )


def test_a_head_of_two_runs_counts_once(tmp_path):
    """A sweep of three seeds over one of eight trains three heads again, which are the same."""
    for n in (8, 3):
        write(tmp_path / str(n), heads(seeds=n))
    found = find([tmp_path])
    assert len(found.runs) == 2
    (setting,) = settings(found.runs)
    assert sorted(setting.heads["seed"]) == list(range(8))


@pytest.mark.parametrize("fuller", [8, 3])
def test_of_a_head_of_two_runs_the_fuller_bill_counts(fuller, tmp_path):
    for n in (8, 3):
        write(
            tmp_path / str(n),
            heads(seeds=n).assign(
                learning_coefficient=[
                    float(seed) if n == fuller else float("nan") for seed in range(n)
                ]
            ),
        )
    (setting,) = settings(find([tmp_path]).runs)
    assert sorted(setting.heads["seed"]) == list(range(8))
    assert sorted(setting.heads["learning_coefficient"].dropna()) == list(range(fuller))
