"""Two sweeps side by side: what differs is found, what does not is not, and what cannot be told is
said.
"""

import numpy as np
import pytest

from report.comparison import heads_of
from report.runs import find
from report.two_sweeps import against, differences, show, welch, words
from tests.report.planted_sweeps import heads, sweep, write


def of(folder):
    import pandas as pd

    return heads_of(pd.concat([run.heads for run in find([folder]).runs], ignore_index=True))


def test_a_planted_difference_is_found_under_its_own_prior_alone(tmp_path):
    first, second = (
        sweep(tmp_path / "a", {"none": 0.3, "speed": 0.2}),
        sweep(tmp_path / "b", {"none": 0.3, "speed": 0.5}),
    )
    lines = against(of(first), of(second))
    assert [line.key[1:3] for line in lines] == [("none", 0.0), ("speed", 0.25), ("speed", 1.0)]
    assert [line.follows.decided for line in lines] == [False, True, True]
    assert all(line.is_paired for line in lines)
    assert lines[1].follows.low < 0.3 < lines[1].follows.high
    assert (
        "Heads of B follow X more or less than those of A beyond chance in 2 of 3 lines"
        in words(lines)
    )


def test_sweeps_that_are_alike_are_said_to_be(tmp_path):
    first, second = sweep(tmp_path / "a", {"none": 0.3}), sweep(tmp_path / "b", {"none": 0.3})
    assert "None of 1 lines differs beyond chance" in words(against(of(first), of(second)))


def test_other_predictors_are_compared_by_their_means(tmp_path):
    for i in range(4):
        write(tmp_path / f"a/{i}", heads("none", predictor=i, follows=0.30 + 0.01 * i))
        write(tmp_path / f"b/{i}", heads("none", predictor=10 + i, follows=0.60 + 0.01 * i))
    (line,) = against(of(tmp_path / "a"), of(tmp_path / "b"))
    assert not line.is_paired and line.follows.decided and line.follows.value == pytest.approx(0.3)
    assert "heads are not paired" in words([line])


def test_one_predictor_against_another_cannot_be_told_from_chance(tmp_path):
    write(tmp_path / "a/0", heads("none", predictor=0))
    write(tmp_path / "b/0", heads("none", predictor=1))
    assert "Nothing can be told from chance" in words(
        against(of(tmp_path / "a"), of(tmp_path / "b"))
    )
    assert words([]) == "No prior and strength stands in both: there is nothing to compare."


def test_welchs_interval_is_the_known_one():
    low, high = welch(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), 0.95)
    assert (low + high) / 2 == 3 and high - 3 == pytest.approx(2.7764 * np.sqrt(2 / 3), rel=1e-4)


def test_what_differs_in_configs_versions_and_code_is_named(tmp_path, capsys):
    write(tmp_path / "a/0", heads("none"), versions={"code": "abc"})
    write(
        tmp_path / "b/0",
        heads("none"),
        world={"label_noise": 0.1},
        versions={"code": "def", "torch": "2.14.0"},
    )
    first, second = find([tmp_path / "a"]), find([tmp_path / "b"])
    assert differences(first.runs, second.runs) == [
        "config world.label_noise: – in A, 0.1 in B.",
        "version torch: 2.13.0 in A, 2.14.0 in B.",
        "version code: abc in A, def in B.",
    ]
    assert differences(first.runs, first.runs) == ["Their configs, versions and code are the same."]
    show(first, second)
    assert "config world.label_noise" in capsys.readouterr().out
