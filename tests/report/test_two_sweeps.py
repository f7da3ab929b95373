"""Two sweeps side by side: planted differences are found, and what cannot be tested is named."""

import numpy as np
import pandas as pd
import pytest

from report.comparison import choose_heads
from report.runs import find
from report.two_sweeps import (
    compare_lines,
    compute_welch_interval,
    describe_differences,
    describe_lines,
    show,
)
from tests.report.planted_sweeps import heads, sweep, write


def read(folder) -> pd.DataFrame:
    frames = [run.heads for run in find([folder]).runs]
    return choose_heads(pd.concat(frames, ignore_index=True))


def test_a_planted_difference_is_found_under_its_own_prior_only(tmp_path):
    first = sweep(tmp_path / "a", {"none": 0.3, "speed": 0.2})
    second = sweep(tmp_path / "b", {"none": 0.3, "speed": 0.5})
    lines = compare_lines(read(first), read(second))
    priors = [(line.prior, line.strength) for line in lines]
    assert priors == [("none", 0.0), ("speed", 0.25), ("speed", 1.0)]
    assert [line.follows.decided for line in lines] == [False, True, True]
    assert all(line.is_paired for line in lines)
    assert lines[1].follows.low < 0.3 < lines[1].follows.high
    sentence = (
        "Heads of B follow X significantly more or less often than heads of A in 2 of 3 lines"
    )
    assert sentence in describe_lines(lines)
    assert "95% for all 6 differences together: follows X and translators" in describe_lines(lines)


def test_no_difference_is_claimed_between_sweeps_that_are_alike(tmp_path):
    first, second = sweep(tmp_path / "a", {"none": 0.3}), sweep(tmp_path / "b", {"none": 0.3})
    lines = compare_lines(read(first), read(second))
    assert "None of 1 lines differs significantly" in describe_lines(lines)


def test_sweeps_that_share_no_predictor_are_compared_by_their_means(tmp_path):
    for i in range(4):
        write(tmp_path / f"a/{i}", heads("none", predictor=i, follows=0.30 + 0.01 * i))
        write(tmp_path / f"b/{i}", heads("none", predictor=10 + i, follows=0.60 + 0.01 * i))
    (line,) = compare_lines(read(tmp_path / "a"), read(tmp_path / "b"))
    assert not line.is_paired and line.follows.decided
    assert line.follows.value == pytest.approx(0.3)
    assert "heads are not paired" in describe_lines([line])


def test_one_predictor_against_another_cannot_be_tested(tmp_path):
    write(tmp_path / "a/0", heads("none", predictor=0))
    write(tmp_path / "b/0", heads("none", predictor=1))
    lines = compare_lines(read(tmp_path / "a"), read(tmp_path / "b"))
    assert "No difference can be tested" in describe_lines(lines)
    assert "there is nothing to compare" in describe_lines([])


def test_welchs_interval_equals_the_known_one():
    first, second = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    low, high = compute_welch_interval(first, second, 0.95)
    assert (low + high) / 2 == 3
    assert high - 3 == pytest.approx(2.7764 * np.sqrt(2 / 3), rel=1e-4)


def test_differences_in_configs_versions_and_code_are_named(tmp_path, capsys):
    write(tmp_path / "a/0", heads("none"), versions={"code": "abc"})
    versions = {"code": "def", "torch": "2.14.0"}
    write(tmp_path / "b/0", heads("none"), world={"label_noise": 0.1}, versions=versions)
    first, second = find([tmp_path / "a"]), find([tmp_path / "b"])
    assert describe_differences(first.runs, second.runs) == [
        "config world.label_noise: – in A; 0.1 in B.",
        "version torch: 2.13.0 in A; 2.14.0 in B.",
        "version code: abc in A; def in B.",
    ]
    same = describe_differences(first.runs, first.runs)
    assert same == ["Their configs, versions and code are the same."]
    show(first, second)
    assert "config world.label_noise" in capsys.readouterr().out
