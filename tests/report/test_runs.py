"""What is wrong with runs is said by name in one line each, and the rest is shown."""

import json
import shutil

import pytest
import yaml

from console.errors import UserError
from report.runs import FAILED, find
from report.settings import mixed, settings
from storage.run_folder import CONFIG, HASHES, HEADS, PREDICTOR, VERSIONS, write_hashes
from tests.report.planted_sweeps import heads, sweep, write


@pytest.fixture
def folder(tmp_path):
    return sweep(tmp_path / "sweep", {"none": 0.4, "speed": 0.2}, predictors=2, seeds=4)


def names(found) -> list[str]:
    return [run.name for run in found.runs]


def test_every_finished_run_is_read_once_however_often_it_is_named(folder):
    found = find([folder, folder / "none-0", folder])
    assert names(found) == ["none-0", "none-1", "speed-0", "speed-1"]
    assert found.notices() == []
    assert {len(run.heads) for run in found.runs} == {4, 8}


def test_runs_that_are_not_finished_or_failed_are_named_and_the_rest_is_shown(folder):
    (folder / "speed-0" / HEADS).unlink()
    (folder / "speed-1" / HEADS).unlink()
    (folder / "speed-1" / FAILED).write_text("no space left\n")
    found = find([folder])
    assert names(found) == ["none-0", "none-1"]
    assert "speed-1 failed: no space left" in found.notices()
    assert "1 of 4 runs is not finished yet, so this is what 2 say: speed-0." in found.notices()


def test_a_run_that_failed_once_and_was_finished_later_is_finished(folder):
    (folder / "speed-1" / FAILED).write_text("no space left\n")
    assert "speed-1" in names(find([folder]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda run: (run / CONFIG).write_text("seed: 7\n"),
            "speed-0: config.yaml was changed after the run",
        ),
        (
            lambda run: (run / HEADS).write_bytes(b"PAR1"),
            "speed-0: heads.parquet was changed after the run",
        ),
        (lambda run: (run / VERSIONS).unlink(), "speed-0: versions.json is missing"),
        (lambda run: (run / HASHES).write_text("{"), "speed-0: hashes.json is damaged"),
        (
            lambda run: (run / HASHES).write_text('{"format": 1, "sha256": {}}'),
            "speed-0: another version of this software wrote it (format 1, here",
        ),
        (lambda run: (run / HASHES).unlink(), "speed-0: another version of this software wrote it"),
    ],
    ids=["config", "heads", "missing", "hashes", "format", "no hashes"],
)
def test_a_run_that_was_changed_lacks_a_file_or_is_of_another_version_is_left_out_by_name(
    folder, damage, said
):
    damage(folder / "speed-0")
    found = find([folder])
    assert names(found) == ["none-0", "none-1", "speed-1"]
    assert len(found.notices()) == 1 and found.notices()[0].startswith(said)


def test_the_same_run_under_two_names_counts_once(folder):
    shutil.copytree(folder / "speed-0", folder / "speed-0-copy")
    found = find([folder])
    assert len(found.runs) == 4
    assert (
        "speed-0-copy: the same config as speed-0, whose heads are counted once." in found.notices()
    )


def test_runs_made_by_other_code_are_shown_and_named(tmp_path):
    for i, code in enumerate(("a", "a", "b", "")):
        write(
            tmp_path / f"run{i}",
            heads("none", predictor=i),
            versions={"code": code} if code else None,
        )
    found = find([tmp_path])
    assert len(found.runs) == 4
    assert any(
        "2 runs are made by other code than the rest, and shown with them: run2, run3." in line
        for line in found.notices()
    )


def test_runs_of_two_folders_with_one_name_keep_apart(tmp_path):
    for part, predictor in (("a", 0), ("b", 1)):
        write(tmp_path / part / "run", heads("none", predictor=predictor))
    found = find([tmp_path / "a", tmp_path / "b"])
    assert len({run.heads["run"].iloc[0] for run in found.runs}) == 2


def test_folders_without_runs_are_said_in_one_line(tmp_path):
    with pytest.raises(
        UserError, match=r"it holds no finished run \(heads\.parquet\)\. Train first"
    ):
        find([tmp_path])
    with pytest.raises(UserError, match="there is no such folder"):
        find([tmp_path / "nowhere"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONFIG).write_text("seed: 0\n")
    with pytest.raises(
        UserError, match=r"no finished run that can be read\. 1 run is not finished"
    ):
        find([tmp_path])


def test_runs_of_other_worlds_and_other_judges_are_said_and_never_pooled(folder):
    write(folder / "short", heads("speed", predictor=9), world={"steps": 8})
    config = yaml.safe_load((folder / "none-0" / CONFIG).read_text()) | {"verdict": {"knows": 0.5}}
    strict = write(folder / "strict", heads("none", predictor=8))
    (strict / CONFIG).write_text(yaml.safe_dump(config))
    hashes = json.loads((strict / HASHES).read_text())
    del hashes["sha256"][CONFIG]
    (strict / HASHES).write_text(json.dumps(hashes))
    found = settings(find([folder]).runs)
    assert sorted(len(setting.runs) for setting in found) == [1, 1, 4]
    (line,) = mixed(found)
    assert (
        "Runs of 3 settings" in line
        and "world.steps 8: 1 run" in line.replace(")", "")
        and "verdict.knows 0.5" in line
    )
    assert mixed(found[:1]) == []


def test_runs_whose_prior_has_other_options_are_not_pooled_under_one_name(tmp_path):
    for i in range(2):
        run = write(tmp_path / f"run{i}", heads("speed", predictor=0))
        config = yaml.safe_load((run / CONFIG).read_text())
        config["prior"]["per_level"] = i
        (run / CONFIG).write_text(yaml.safe_dump(config))
        hashes = json.loads((run / HASHES).read_text())
        del hashes["sha256"][CONFIG]
        (run / HASHES).write_text(json.dumps(hashes))
    (setting,) = settings(find([tmp_path]).runs)
    assert sorted(setting.heads["prior"].unique()) == ["speed (per_level 0)", "speed (per_level 1)"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (heads("speed").drop(columns=["verdict"]), "heads.parquet lacks verdict."),
        (heads("speed")[:0], "heads.parquet holds no heads."),
    ],
    ids=["no verdict", "empty"],
)
def test_heads_that_cannot_be_compared_are_left_out_by_name(folder, frame, said):
    run = write(folder / "odd", heads("speed", predictor=9))
    frame.to_parquet(run / HEADS, index=False)
    write_hashes(run, run / HEADS)
    assert f"odd: {said}" in find([folder]).notices()[0]


def test_many_runs_that_are_left_out_are_counted(tmp_path):
    for i in range(12):
        run = write(tmp_path / f"run{i:02}", heads("none", predictor=i))
        if i:
            (run / VERSIONS).unlink()
    assert find([tmp_path]).notices()[-1] == "and 3 more like these."


def test_what_a_run_does_not_say_is_tolerated(tmp_path):
    run = write(tmp_path / "run", heads("speed"))
    (run / PREDICTOR).write_text("{}")
    hashes = json.loads((run / HASHES).read_text())
    del hashes["sha256"][PREDICTOR]
    (run / HASHES).write_text(json.dumps(hashes))
    assert len(find([tmp_path]).runs) == 1


@pytest.mark.parametrize(
    ("clocked", "seconds"),
    [({"seconds": [0.5, 0.25]}, [0.5, 0.25]), ({}, [None, None])],
    ids=["clocked", "not clocked"],
)
def test_each_heads_seconds_are_read_from_what_the_run_says_of_its_clock(
    clocked, seconds, tmp_path
):
    write(tmp_path / "run", heads("speed", seeds=2), clocked=clocked)
    assert find([tmp_path]).runs[0].heads["seconds"].tolist() == seconds
