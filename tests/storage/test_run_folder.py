"""A run's folder is whole or not finished; another config never overwrites results."""

import pandas as pd
import pytest

from console.errors import UserError
from storage.run_folder import (
    CHECKPOINT,
    CONFIG,
    HASHES,
    HEADS,
    VERSIONS,
    begin,
    check_whole,
    find_runs,
    is_finished,
    write_hashes,
)

CONFIG_A, CONFIG_B = {"seed": 0, "trainer": {"bar": True}}, {"seed": 1, "trainer": {"bar": True}}


def finish(folder, config):
    begin(folder, config)
    pd.DataFrame({"seed": [config["seed"]]}).to_parquet(folder / HEADS)
    write_hashes(folder, folder / HEADS)


def test_a_run_is_finished_when_its_heads_are_there_under_the_same_config(tmp_path):
    assert not is_finished(tmp_path, CONFIG_A)
    begin(tmp_path, CONFIG_A)
    assert not is_finished(tmp_path, CONFIG_A)
    finish(tmp_path, CONFIG_A)
    assert is_finished(tmp_path, CONFIG_A)
    assert not is_finished(tmp_path, CONFIG_B)


def test_how_lightning_runs_a_fit_makes_no_other_run(tmp_path):
    finish(tmp_path, CONFIG_A)
    assert is_finished(tmp_path, CONFIG_A | {"trainer": {"bar": False}})


def test_results_of_another_config_are_set_aside_and_files_of_others_stay(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for config in (CONFIG_A, CONFIG_B, CONFIG_A):
        finish(folder, config)
    assert [
        pd.read_parquet(tmp_path / name / HEADS)["seed"][0] for name in ("run", "run~1", "run~2")
    ] == [0, 0, 1]
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_unfinished_fit_of_another_config_is_not_gone_on_with(tmp_path):
    begin(tmp_path, CONFIG_A)
    (tmp_path / CHECKPOINT).touch()
    begin(tmp_path, CONFIG_A)
    assert (tmp_path / CHECKPOINT).exists()
    begin(tmp_path, CONFIG_B)
    assert not (tmp_path / CHECKPOINT).exists()


def test_find_runs_are_found_at_any_depth_but_for_those_set_aside(tmp_path):
    for name in ("a", "b/c", "a~1", "unfinished"):
        begin(tmp_path / name, CONFIG_A)
        if name != "unfinished":
            (tmp_path / name / HEADS).touch()
    assert [str(run.relative_to(tmp_path)) for run in find_runs([tmp_path])] == ["a", "b/c"]


def test_a_folder_without_runs_is_said(tmp_path):
    with pytest.raises(UserError, match=r"it holds no finished run \(heads\.parquet\)"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="there is no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"hydra\.run\.dir: .* cannot be written"):
        begin(tmp_path / "file" / "run", CONFIG_A)
    assert not (tmp_path / "file" / "run" / CONFIG).exists()


def test_a_whole_run_passes_and_one_that_was_changed_lacks_a_file_or_is_of_another_version_is_said(
    tmp_path,
):
    finish(tmp_path, CONFIG_A)
    check_whole(tmp_path)
    (tmp_path / CONFIG).write_text("seed: 7\n")
    with pytest.raises(UserError, match=r"config\.yaml was changed after the run"):
        check_whole(tmp_path)
    finish(tmp_path, CONFIG_A)
    (tmp_path / VERSIONS).unlink()
    with pytest.raises(UserError, match=r"versions\.json is missing"):
        check_whole(tmp_path)
    (tmp_path / HASHES).write_text('{"format": 2')
    with pytest.raises(UserError, match=r"hashes\.json is damaged"):
        check_whole(tmp_path)
    (tmp_path / HASHES).unlink()
    with pytest.raises(UserError, match="another version of this software wrote it"):
        check_whole(tmp_path)


def test_results_of_an_older_version_are_set_aside_and_made_anew(tmp_path):
    finish(tmp_path / "run", CONFIG_A)
    (tmp_path / "run" / HASHES).unlink()
    assert not is_finished(tmp_path / "run", CONFIG_A)
    begin(tmp_path / "run", CONFIG_A)
    assert (tmp_path / "run~1" / HEADS).exists()
    assert not (tmp_path / "run" / HEADS).exists()
