"""A run's folder is finished or not; another config never overwrites results."""

import pandas as pd
import pytest
import torch

from console.errors import UserError
from storage.run_folder import (
    CHECKPOINT,
    CONFIG,
    HASHES,
    HEADS,
    PREDICTED,
    PREDICTIONS,
    SUMMARY,
    VERSIONS,
    begin,
    check_whole,
    find_failures,
    find_runs,
    is_finished,
    load_or_predict,
    read_config,
    read_heads,
    read_predictor,
    read_weights,
    record_failure,
    save,
    seal,
    write_hashes,
)

CONFIG_A = {"seed": 0, "trainer": {"bar": True}}
CONFIG_B = {"seed": 1, "trainer": {"bar": True}}


@pytest.fixture(autouse=True)
def fingerprint(monkeypatch) -> None:
    """One fingerprint for all configs: computing it reads the whole project."""
    monkeypatch.setattr("storage.run_folder.compute_fingerprint", lambda config: "code-1")


def finish(folder, config) -> None:
    """Writes a finished run into the folder."""
    begin(folder, config)
    pd.DataFrame({"seed": [config["seed"]]}).to_parquet(folder / HEADS)
    write_hashes(folder, folder / HEADS)


def test_a_run_is_finished_if_its_heads_are_there_under_the_same_config(tmp_path):
    assert not is_finished(tmp_path, CONFIG_A)
    begin(tmp_path, CONFIG_A)
    assert not is_finished(tmp_path, CONFIG_A)
    finish(tmp_path, CONFIG_A)
    assert is_finished(tmp_path, CONFIG_A)
    assert not is_finished(tmp_path, CONFIG_B)


def test_a_run_of_other_code_is_not_finished(tmp_path, monkeypatch):
    finish(tmp_path, CONFIG_A)
    monkeypatch.setattr("storage.run_folder.compute_fingerprint", lambda config: "code-2")
    assert not is_finished(tmp_path, CONFIG_A)


def test_a_job_is_finished_if_its_summary_is_there_under_the_same_config(tmp_path):
    job = CONFIG_A | {"job": {"rows": 16}}
    begin(tmp_path, job)
    assert not is_finished(tmp_path, job)
    (tmp_path / SUMMARY).write_text("done")
    assert is_finished(tmp_path, job)
    assert not is_finished(tmp_path, CONFIG_A | {"job": {"rows": 64}})


def test_another_trainer_does_not_make_another_run(tmp_path):
    finish(tmp_path, CONFIG_A)
    assert is_finished(tmp_path, CONFIG_A | {"trainer": {"bar": False}})


def test_saved_results_are_finished_after_seal_and_read_back(tmp_path):
    begin(tmp_path, CONFIG_A)
    weights = {"weight": torch.tensor([1.0, 2.0])}
    heads = pd.DataFrame({"seed": [0, 1]})
    save(tmp_path, weights, {"levels": [3]}, heads, {"name": "tiny"})
    assert not is_finished(tmp_path, CONFIG_A)
    seal(tmp_path)
    assert is_finished(tmp_path, CONFIG_A)
    check_whole(tmp_path)
    weights, facts = read_weights(tmp_path)
    assert weights["weight"].tolist() == [1.0, 2.0] and facts == {"levels": [3]}
    assert read_heads(tmp_path)["seed"].tolist() == [0, 1]
    assert set(read_heads(tmp_path)["run"]) == {tmp_path.name}
    assert read_predictor(tmp_path) == {"name": "tiny"}
    assert read_config(tmp_path) == CONFIG_A
    (tmp_path / "heads.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"heads\.safetensors is damaged"):
        read_weights(tmp_path)


def test_results_of_another_config_are_set_aside_and_other_files_stay(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for config in (CONFIG_A, CONFIG_B, CONFIG_A):
        finish(folder, config)
    seeds = [
        pd.read_parquet(tmp_path / name / HEADS)["seed"][0] for name in ("run", "run~1", "run~2")
    ]
    assert seeds == [0, 0, 1]
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_checkpoint_of_another_config_is_removed(tmp_path):
    begin(tmp_path, CONFIG_A)
    (tmp_path / CHECKPOINT).touch()
    begin(tmp_path, CONFIG_A)
    assert (tmp_path / CHECKPOINT).exists()
    begin(tmp_path, CONFIG_B)
    assert not (tmp_path / CHECKPOINT).exists()


def test_finished_runs_are_found_at_any_depth_without_those_set_aside(tmp_path):
    own = ("a", "a~v2", "b/c", "b~1/c", "~d")
    for name in (*own, "a~1", "b/c~12", "unfinished"):
        begin(tmp_path / name, CONFIG_A)
        if name != "unfinished":
            (tmp_path / name / HEADS).touch()
    assert [str(run.relative_to(tmp_path)) for run in find_runs([tmp_path])] == list(own)
    assert find_runs([tmp_path / "a~1"]) == [tmp_path / "a~1"]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"it holds no finished run \(heads\.parquet\)"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="there is no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_failed_runs_are_found_with_their_reason(tmp_path):
    record_failure(tmp_path / "a", "seeds: 0 is too few.")
    record_failure(tmp_path / "b", "KeyError: 'x'", "Traceback\n...")
    (tmp_path / "c").mkdir()
    folders = [tmp_path / name for name in "abc"]
    assert find_failures(folders) == {"a": "seeds: 0 is too few.", "b": "KeyError: 'x'"}
    begin(tmp_path / "a", CONFIG_A)
    assert find_failures(folders) == {"b": "KeyError: 'x'"}


def test_a_folder_that_is_not_writable_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"hydra\.run\.dir: .* is not writable"):
        begin(tmp_path / "file" / "run", CONFIG_A)
    assert not (tmp_path / "file" / "run" / CONFIG).exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda run: (run / CONFIG).write_text("seed: 7\n"),
            r"config\.yaml was changed after the run",
        ),
        (lambda run: (run / VERSIONS).unlink(), r"versions\.json is missing"),
        (lambda run: (run / HASHES).write_text('{"format": 2'), r"hashes\.json is damaged"),
        (lambda run: (run / HASHES).unlink(), "another version of this software wrote it"),
    ],
    ids=["changed", "missing", "hashes", "version"],
)
def test_a_run_is_whole_until_a_file_is_changed_missing_or_of_another_version(
    tmp_path, damage, message
):
    finish(tmp_path, CONFIG_A)
    check_whole(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        check_whole(tmp_path)


def test_results_of_an_older_format_are_set_aside(tmp_path):
    finish(tmp_path / "run", CONFIG_A)
    (tmp_path / "run" / HASHES).unlink()
    assert not is_finished(tmp_path / "run", CONFIG_A)
    begin(tmp_path / "run", CONFIG_A)
    assert (tmp_path / "run~1" / HEADS).exists()
    assert not (tmp_path / "run" / HEADS).exists()


def test_predictions_are_written_once_and_go_with_their_config(tmp_path):
    begin(tmp_path, CONFIG_A)
    first = load_or_predict(tmp_path, lambda: pd.DataFrame({"predicts": ["tie"]}))
    before = (tmp_path / PREDICTED).read_text()
    begin(tmp_path, CONFIG_A)
    again = load_or_predict(tmp_path, lambda: pd.DataFrame({"predicts": ["direct_translator"]}))
    assert first["predicts"].tolist() == again["predicts"].tolist() == ["tie"]
    assert (tmp_path / PREDICTED).read_text() == before and len(before) > 64
    (tmp_path / PREDICTIONS).write_bytes(b"other")
    with pytest.raises(UserError, match="was changed after it was written"):
        load_or_predict(tmp_path, lambda: pd.DataFrame())
    begin(tmp_path, CONFIG_B)
    assert not (tmp_path / PREDICTIONS).exists() and not (tmp_path / PREDICTED).exists()
