"""Runs that are unfinished, damaged or different are named in one line each."""

import json
import shutil

import pytest
import yaml

from console.errors import UserError
from report.runs import FAILED, find
from report.settings import describe_several_settings, group_by_setting
from storage.run_folder import CONFIG, HASHES, HEADS, PREDICTOR, VERSIONS, write_hashes
from tests.report.planted_sweeps import heads, sweep, write


@pytest.fixture
def folder(tmp_path):
    return sweep(tmp_path / "sweep", {"none": 0.4, "speed": 0.2}, predictors=2, seeds=4)


def list_names(runs) -> list[str]:
    return [run.name for run in runs.runs]


def change(run, name: str, text: str) -> None:
    """Changes a file of a run in a way that its hashes permit."""
    (run / name).write_text(text)
    hashes = json.loads((run / HASHES).read_text())
    del hashes["sha256"][name]
    (run / HASHES).write_text(json.dumps(hashes))


def test_every_finished_run_is_read_once_however_often_it_is_named(folder):
    runs = find([folder, folder / "none-0", folder])
    assert list_names(runs) == ["none-0", "none-1", "speed-0", "speed-1"]
    assert runs.notices() == []
    assert {len(run.heads) for run in runs.runs} == {4, 8}


def test_runs_that_are_unfinished_or_failed_are_named_and_the_others_are_used(folder):
    (folder / "speed-0" / HEADS).unlink()
    (folder / "speed-1" / HEADS).unlink()
    (folder / "speed-1" / FAILED).write_text("no space left\n")
    runs = find([folder])
    assert list_names(runs) == ["none-0", "none-1"]
    assert runs.notices() == [
        "speed-1 failed: no space left",
        "1 of 4 runs is not finished: speed-0. The results are from 2 finished runs.",
    ]


def test_a_run_that_failed_once_and_was_finished_later_is_finished(folder):
    (folder / "speed-1" / FAILED).write_text("no space left\n")
    assert "speed-1" in list_names(find([folder]))


DAMAGES = {
    "config": (
        lambda run: (run / CONFIG).write_text("seed: 7\n"),
        "speed-0: config.yaml was changed after the run",
    ),
    "heads": (
        lambda run: (run / HEADS).write_bytes(b"PAR1"),
        "speed-0: heads.parquet was changed after the run",
    ),
    "missing": (
        lambda run: (run / VERSIONS).unlink(),
        "speed-0: versions.json is missing",
    ),
    "hashes": (
        lambda run: (run / HASHES).write_text("{"),
        "speed-0: hashes.json is damaged",
    ),
    "format": (
        lambda run: (run / HASHES).write_text('{"format": 1, "sha256": {}}'),
        "speed-0: another version of this software wrote it (format 1, here",
    ),
    "no hashes": (
        lambda run: (run / HASHES).unlink(),
        "speed-0: another version of this software wrote it",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_run_that_was_changed_lacks_a_file_or_has_another_version_is_left_out_by_name(
    folder, damage, message
):
    damage(folder / "speed-0")
    runs = find([folder])
    assert list_names(runs) == ["none-0", "none-1", "speed-1"]
    (notice,) = runs.notices()
    assert notice.startswith(message)


def test_the_same_run_in_two_folders_counts_once(folder):
    shutil.copytree(folder / "speed-0", folder / "speed-0-copy")
    runs = find([folder])
    assert len(runs.runs) == 4
    assert runs.notices() == [
        "speed-0-copy: it has the same config as speed-0. Only the heads of speed-0 are counted."
    ]


def test_runs_with_other_code_are_used_and_named(tmp_path):
    for i, code in enumerate(("a", "a", "b", "")):
        versions = {"code": code} if code else None
        write(tmp_path / f"run{i}", heads("none", predictor=i), versions=versions)
    runs = find([tmp_path])
    assert len(runs.runs) == 4
    assert runs.notices() == [
        "2 runs used other code than most runs: run2, run3. They are included; run them again to"
        " be sure."
    ]


def test_runs_with_one_name_in_two_folders_have_distinct_names(tmp_path):
    for part, predictor in (("a", 0), ("b", 1)):
        write(tmp_path / part / "run", heads("none", predictor=predictor))
    runs = find([tmp_path / "a", tmp_path / "b"]).runs
    assert len({run.heads["run"].iloc[0] for run in runs}) == 2


def test_folders_without_runs_are_refused_in_one_line(tmp_path):
    message = r"it holds no finished run \(heads\.parquet\)\. Train first"
    with pytest.raises(UserError, match=message):
        find([tmp_path])
    with pytest.raises(UserError, match="there is no such folder"):
        find([tmp_path / "nowhere"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONFIG).write_text("seed: 0\n")
    with pytest.raises(UserError, match=r"no finished run can be read\. 1 run is not finished"):
        find([tmp_path])


def test_runs_with_other_worlds_and_other_judges_are_named_and_never_pooled(folder):
    write(folder / "short", heads("speed", predictor=9), world={"steps": 8})
    config = yaml.safe_load((folder / "none-0" / CONFIG).read_text()) | {"verdict": {"knows": 0.5}}
    strict = write(folder / "strict", heads("none", predictor=8))
    change(strict, CONFIG, yaml.safe_dump(config))
    settings = group_by_setting(find([folder]).runs)
    assert sorted(len(setting.runs) for setting in settings) == [1, 1, 4]
    (line,) = describe_several_settings(settings)
    assert "Runs of 3 settings" in line
    assert "world.steps 8: 1 run" in line.replace(")", "")
    assert "verdict.knows 0.5" in line
    assert describe_several_settings(settings[:1]) == []


def test_runs_whose_prior_has_other_options_are_not_pooled_under_one_name(tmp_path):
    for i in range(2):
        run = write(tmp_path / f"run{i}", heads("speed", predictor=0))
        config = yaml.safe_load((run / CONFIG).read_text())
        config["prior"]["per_level"] = i
        change(run, CONFIG, yaml.safe_dump(config))
    (setting,) = group_by_setting(find([tmp_path]).runs)
    assert sorted(setting.heads["prior"].unique()) == ["speed (per_level 0)", "speed (per_level 1)"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (heads("speed").drop(columns=["verdict"]), "heads.parquet lacks verdict."),
        (heads("speed")[:0], "heads.parquet holds no heads."),
    ],
    ids=["no verdict", "empty"],
)
def test_heads_that_cannot_be_compared_are_left_out_by_name(folder, frame, message):
    run = write(folder / "odd", heads("speed", predictor=9))
    frame.to_parquet(run / HEADS, index=False)
    write_hashes(run, run / HEADS)
    assert f"odd: {message}" in find([folder]).notices()[0]


def test_many_notices_are_counted(tmp_path):
    for i in range(12):
        run = write(tmp_path / f"run{i:02}", heads("none", predictor=i))
        if i:
            (run / VERSIONS).unlink()
    assert find([tmp_path]).notices()[-1] == "and 3 more notices like these."


def test_a_run_without_facts_about_its_predictor_is_used(tmp_path):
    run = write(tmp_path / "run", heads("speed"))
    change(run, PREDICTOR, "{}")
    assert len(find([tmp_path]).runs) == 1


@pytest.mark.parametrize(
    ("clocked", "seconds"),
    [({"seconds": [0.5, 0.25]}, [0.5, 0.25]), ({}, [None, None])],
    ids=["measured", "not measured"],
)
def test_the_seconds_of_each_head_are_read_from_the_facts_of_the_run(clocked, seconds, tmp_path):
    write(tmp_path / "run", heads("speed", seeds=2), clocked=clocked)
    assert find([tmp_path]).runs[0].heads["seconds"].tolist() == seconds
