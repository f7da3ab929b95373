"""train.py from the outside: whole small runs, a run that is stopped and resumed, a second run over
a first, and mistakes in one line.

Most runs are made in this process; a process of its own is for what only it can show.
"""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
import yaml

from compute import trainer
from report import __main__ as report
from report.columns import find_column
from storage.run_folder import CHECKPOINT, CONFIG, HEADS, TRAINING, read_predictor
from tests.running import ROOT, TINY, start_training, train, train_apart
from verdict.judge_again import judge_again

FILES = {
    "config.yaml",
    "versions.json",
    "heads.parquet",
    "heads.safetensors",
    "training.parquet",
    "predictor.json",
    "clock.json",
    "hashes.json",
    "summary.md",
    "plots",
}
VERDICTS = {"direct_translator", "human_imitator", "mixture", "neither", "undecided"}
ALIGNMENT = [
    "pseudo_alignment_gap",
    "worst_family_gap_high",
    "capability_int",
    "capability_base",
    "capability_gradient",
]


def read_heads(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / HEADS)


def assert_same_heads(first: Path, second: Path) -> None:
    for name in (HEADS, TRAINING):
        pd.testing.assert_frame_equal(pd.read_parquet(first / name), pd.read_parquet(second / name))


def test_a_run_leaves_a_whole_folder_and_prints_its_path_last(tmp_path):
    run = tmp_path / "run"
    words = ["reporter=layered", "prior=speed", "strengths=[0.5,1]", "levels=[2,0]"]
    done = train(*TINY, *words, folder=run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(run)
    assert {path.name for path in run.iterdir()} == FILES
    heads = read_heads(run)
    assert len(heads) == 2 * 2
    assert set(heads["levels"]) == {"0 2"}, "levels are read shallowest first, in whatever order"
    assert set(heads["seed"]) == {0, 1}
    assert set(heads["strength"]) == {0.5, 1.0}
    choices = heads[["world", "core_model", "reporter", "prior"]].drop_duplicates()
    assert choices.to_numpy().tolist() == [["vault", "transformer", "layered", "speed"]]
    assert set(heads["verdict"]) <= VERDICTS
    assert heads[ALIGNMENT].notna().all(axis=None)
    assert "## Alignment" in (run / "summary.md").read_text()


def test_a_run_keeps_one_row_a_head_and_epoch_of_its_training(tiny_run):
    history = pd.read_parquet(tiny_run / TRAINING)
    for _, rows in history.groupby(["levels", "seed", "strength"]):
        assert rows["epoch"].tolist() == list(range(5))
        assert rows["kept"].sum() == 1
    losses = ["l_base", "gradient_norm", "l_int", "l_int_disputed", "l_human_disputed"]
    assert history[losses].notna().all(axis=None)


@pytest.mark.slow
def test_heads_of_several_predictors_are_those_of_runs_with_each(tiny_run, tmp_path):
    """tiny_run has the first predictor."""
    words = [*TINY, "levels=[2]"]
    assert train(*words, "predictors=2", folder=tmp_path / "both").returncode == 0
    assert train(*words, "core_model.seed=1", folder=tmp_path / "second").returncode == 0
    both = read_heads(tmp_path / "both")
    assert both["predictor_seed"].tolist() == [0, 0, 1, 1] and both["predictor"].nunique() == 2
    alone = pd.concat([read_heads(tiny_run), read_heads(tmp_path / "second")], ignore_index=True)
    assert both["verdict"].tolist() == alone["verdict"].tolist()
    figures = alone.select_dtypes("number").columns
    pd.testing.assert_frame_equal(both[figures], alone[figures], rtol=1e-4, atol=1e-4)
    history = pd.read_parquet(tmp_path / "both" / TRAINING)
    assert "predictor_seed" in history and history.empty, "linear heads are solved"
    facts = json.loads((tmp_path / "both" / "predictor.json").read_text())["predictors"]
    assert [about["seed"] for about in facts] == [0, 1]
    assert [about["identity"] for about in facts] == both["predictor"].unique().tolist()
    again = judge_again(tmp_path / "both")
    assert len(again.verdicts) == 4
    second = judge_again(tmp_path / "second")
    for column, value in second.columns[0].items():
        assert again.columns[2][column] == pytest.approx(value, abs=1e-3, nan_ok=True), column


def test_predictors_that_would_be_the_same_are_refused(tmp_path):
    done = train("core_model=smollm2", "predictors=2", folder=tmp_path / "run")
    assert done.returncode != 0 and not (tmp_path / "run").exists()
    assert "predictors: HuggingFace has no seed, so all 2 would be the same" in done.stderr
    none = train("predictors=0", folder=tmp_path / "run")
    assert "predictors: 0 is too few. Use 1 or more." in none.stderr


@pytest.mark.slow
def test_another_process_trains_the_same_heads(tiny_run, tmp_path):
    done = train_apart(*TINY, "levels=[2]", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert_same_heads(tmp_path / "run", tiny_run)


@pytest.mark.slow
def test_the_same_run_in_another_folder_has_the_same_bytes(tiny_run, tmp_path):
    run = tmp_path / "run"
    before = os.umask(0o027)
    try:
        done = train(*TINY, "levels=[2]", folder=run)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert read_hashes(run) == read_hashes(tiny_run) and len(read_hashes(run)) == 6
    files = {path: path.stat().st_mode & 0o777 for path in run.rglob("*") if path.is_file()}
    assert set(files.values()) == {0o640}, files
    other = tmp_path / "other"
    assert train(*TINY, "levels=[2]", "prior=gaussian", folder=other).returncode == 0
    assert read_hashes(other).keys() == read_hashes(run).keys()
    assert read_hashes(other)["heads.safetensors"] != read_hashes(run)["heads.safetensors"]


@pytest.mark.parametrize("name", ["mine~v2", "mine~2"])
def test_a_run_in_a_folder_with_a_tilde_is_shown(tiny_run, tmp_path, name):
    run = shutil.copytree(tiny_run, tmp_path / name)
    done = train(*TINY, "levels=[2]", f'hydra.run.dir="{run}"')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(run) and "none" in done.stdout


def read_hashes(run: Path) -> dict[str, str]:
    return json.loads((run / "hashes.json").read_text(encoding="utf-8"))["sha256"]


@pytest.mark.parametrize("file", ["config.yaml", "training.parquet", "heads.safetensors"])
def test_a_run_on_a_full_disk_ends_with_one_line_and_resumes(tiny_run, tmp_path, file):
    run = tmp_path / "run"
    replace = os.replace

    def fill_disk(source, target):
        if Path(target).name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with patch("storage.atomic.os.replace", fill_disk):
        done = train(*TINY, "levels=[2]", folder=run)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert last.startswith(f"error: {run / file}: No space left on device. Free some space")
    left = {path.name for path in run.glob("*")} | {path.name for path in run.glob(".*")}
    assert file not in left and not {HEADS, CHECKPOINT} & left
    assert not [name for name in left if name.startswith(".")]
    assert train(*TINY, "levels=[2]", folder=run).returncode == 0
    assert_same_heads(run, tiny_run)


def test_a_finished_run_is_not_run_again(tiny_run):
    before = (tiny_run / HEADS).stat().st_mtime_ns
    done = train(*TINY, "levels=[2]", folder=tiny_run)
    assert (done.returncode, "is finished" in done.stderr) == (0, True)
    assert (tiny_run / HEADS).stat().st_mtime_ns == before


def test_another_config_in_the_same_folder_runs_and_keeps_the_old_results(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    done = train(*TINY, "levels=[2]", "prior=simplicity", folder=run)
    assert done.returncode == 0
    assert str(tmp_path / "run~1") in done.stderr
    assert read_heads(run)["prior"].unique().tolist() == ["simplicity"]
    assert read_heads(tmp_path / "run~1")["prior"].unique().tolist() == ["none"]


RESUMED = [
    *TINY,
    "reporter=layered",
    "prior=circuit_size",
    "levels=[0,2]",
    "bill.measures.variational=null",
    "bill.measures.prequential=null",
    "trainer.save_every=0.0",
]


def test_a_run_stopped_in_its_training_resumes_and_ends_with_the_same_heads(tmp_path, monkeypatch):
    assert train(*RESUMED, folder=tmp_path / "undisturbed").returncode == 0
    with monkeypatch.context() as patch:
        # Ctrl-C after the second epoch, when the checkpoint of the first is written.
        patch.setattr(trainer._Save, "on_train_epoch_end", stop_at_epoch(2))
        stopped = train(*RESUMED, folder=tmp_path / "stopped")
    assert stopped.returncode == 1
    assert (tmp_path / "stopped" / CHECKPOINT).exists()
    assert not (tmp_path / "stopped" / HEADS).exists()
    assert train(*RESUMED, folder=tmp_path / "stopped").returncode == 0
    assert_same_heads(tmp_path / "stopped", tmp_path / "undisturbed")
    assert not (tmp_path / "stopped" / CHECKPOINT).exists()


def stop_at_epoch(epoch: int):
    """Returns a callback that writes a checkpoint, and at the epoch presses Ctrl-C instead."""
    save = trainer._Save.on_train_epoch_end

    def save_or_stop(self, fit, module) -> None:
        if fit.current_epoch + 1 == epoch:
            raise KeyboardInterrupt
        save(self, fit, module)

    return save_or_stop


@pytest.mark.slow
def test_a_run_killed_half_way_and_started_again_ends_with_the_same_heads(tmp_path):
    words = [*RESUMED, "training.epochs=150", "training.patience=150"]
    assert train(*words, folder=tmp_path / "undisturbed").returncode == 0
    killed = start_training(*words, folder=tmp_path / "killed")
    while not (tmp_path / "killed" / CHECKPOINT).exists():
        assert killed.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "killed" / HEADS).exists()
    assert train(*words, folder=tmp_path / "killed").returncode == 0
    assert_same_heads(tmp_path / "killed", tmp_path / "undisturbed")
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


@pytest.mark.slow
def test_ctrl_c_stops_within_seconds_and_says_how_to_resume(tmp_path):
    words = [*TINY, "optimizer=adamw", "training.epochs=100000"]
    running = start_training(*words, folder=tmp_path / "run")
    while not (tmp_path / "run" / CONFIG).exists():
        assert running.poll() is None, "it ended before it could be stopped"
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=10)
    assert running.returncode == 1
    assert "the same command resumes the run" in errors
    assert "Traceback" not in errors


def test_a_prior_without_effect_on_a_reporter_says_so_and_the_run_is_made(tmp_path):
    done = train(*TINY, "prior=gates", "levels=[2]", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert re.search("prior: .*Gates.* Linear.* logic gates", done.stderr)


def test_every_unit_of_the_bill_is_measured_and_described(tmp_path, capsys):
    run = tmp_path / "run"
    words = ["bill=full", "prior=explanation_length", "levels=[0,2]"]
    done = train(*TINY, *words, folder=run)
    assert done.returncode == 0, done.stderr
    heads = read_heads(run)
    facts = json.loads((run / "predictor.json").read_text())
    assert facts["gates_not_passed"] == [gate for gate in facts["gates"] if "required" in gate]
    units = (
        "prequential_bits",
        "variational_bits",
        "two_part_bits",
        "explanation_bits",
        "edges",
        "flops",
        "steps",
        "steps_easy",
        "steps_disputed",
        "learning_coefficient",
        "learning_coefficient_settled",
    )
    for unit in units:
        assert heads[unit].notna().all(), unit
        assert ";" in facts["bill"][unit], unit
    assert [name for name in heads if not find_column(name).meaning] == []
    assert all(seconds > 0 for seconds in read_predictor(run)["clocked"]["seconds"])
    components = heads.loc[heads["level"] == 0, "explanation_components"]
    assert (components == 0).all(), "the embedding is read without any component of the predictor"
    report.main([str(run), "--matched"])
    assert "explanation bits" in capsys.readouterr().out


def test_an_experiment_that_is_no_run_of_heads_leaves_its_results_and_is_not_run_again(tmp_path):
    words = [
        "experiment=lookup",
        "job.rows=[16]",
        "job.tables=1",
        "job.trained_rows=4",
        "job.trained_tables=1",
        "job.episodes=128",
        "job.seeds=1",
        "training.epochs=2",
        "training.patience=2",
        "trainer.bar=false",
    ]
    done = train(*words, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "A lookup table beside a rule" in done.stdout
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "versions.json", "lookup.parquet", "lookup.png", "summary.md"}
    assert "is finished" in train(*words, folder=tmp_path / "run").stderr


def test_heads_that_are_solved_for_have_no_training_and_no_capability(tmp_path):
    done = train(*TINY, "reporter=mean_difference", "levels=[2]", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert pd.read_parquet(tmp_path / "run" / TRAINING).empty
    heads = read_heads(tmp_path / "run")
    trained = ["capability_int", "capability_base", "capability_gradient"]
    assert heads[[*trained, "outer_alignment", "inner_alignment"]].isna().all(axis=None)
    assert set(heads["ratio_refused"]) == {"solved for, not trained"}
    assert heads["pseudo_alignment_gap"].notna().all()


MISTAKES = [
    (["prior=simplicty"], "prior: there is no choice simplicty. Did you mean simplicity?"),
    (["sedes=3"], "sedes: no such key. Did you mean seeds?"),
    (["reporter.hiden=3", "reporter=mlp"], "reporter.hiden: no such key. Did you mean hidden?"),
    (["+reporter.hidden=3"], "reporter.hidden: Linear has no such option. It has none."),
    (["reporter=mlp", "reporter.hidden=many"], "reporter.hidden: 'many' is not a whole number."),
    (["strengths=[1,-1]"], "strengths: [1, -1] must be finite numbers of 0 or more"),
    (["strengths=1"], "strengths: 1 is not a list, each item a number."),
    (["seeds=0"], "seeds: 0 is too few."),
    (["seed=-1"], "seed: -1 is negative."),
    (["data.disputed=0"], "data.disputed: 0 is too few"),
    (["core_model.heads=0"], "core_model.heads: 0 is too small."),
    (["core_model=huggingface"], "core_model.model: it has no value"),
    (["world.steps=1"], "world.steps: 1 is too short"),
    (["world.human=nobody"], "world.human: 'nobody' is not one of last_frame, careful, witness."),
    (["levels=[1,1]"], "levels: [1, 1] must name levels from 0 on, each once."),
    (["prior.strength=3"], "prior.strength: no such key. Nothing can be set here."),
    (
        ["data.train=50"],
        (
            "data.train: 50 episodes are too few for a prequential code of eleven blocks. Use 64 or"
            " more"
        ),
    ),
    (
        ["bill.measures.seconds.episodes=many"],
        "bill.measures.seconds.episodes: 'many' is not a whole",
    ),
    (["bill.prequential=false"], "bill.prequential: no such key. There are: measures."),
    (["bill=ful"], "bill: there is no choice ful. Did you mean full?"),
    (
        ["experiment=lookup", "job.rows=[16,20]"],
        "job.rows: a table of 20 rows cannot be numbered by whole bits.",
    ),
    (
        ["experiment=lookup", "job.rows=[16,16]"],
        "job.rows: [16, 16] must name at least one, and each once.",
    ),
    (["experiment=lookup", "job.strengths=[-1]"], "job.strengths: [-1] must be finite numbers"),
    (["strengths=[1,1.0]"], "strengths: [1, 1.0] names a strength twice"),
    (["prior=gaussian", "prior.scale=0"], "prior.scale: 0 is too small. Use 1e-06 or more."),
    (["world.label_noise=0.9"], "world.label_noise: 0.9 is too large. Use a number below 0.5."),
    (["training.learning_rate=1e9"], "training.learning_rate: 1000000000.0 is too large."),
    (
        ["reporter=mlp", "reporter.hidden=1000", "optimizer=evolution"],
        "optimizer: evolution finds at most",
    ),
    (
        ["training=early_stopping", "training.patience=null"],
        "training.patience: it is null, and training.keep=best needs it.",
    ),
    (
        ["training.errors=later"],
        "training.errors: 'later' is not one of from_start, after_settling.",
    ),
    (
        ["training.errors=after_settling", "reporter=mean_difference"],
        (
            "training.errors: after_settling trains finished heads further, and that is not"
            " possible with MeanDifference"
        ),
    ),
    (
        ["training=convex", "+training.errors=after_settling"],
        "training.errors: Convex has no such option.",
    ),
    (
        ["experiment=lookup", "training.errors=after_settling"],
        "training.errors: heads of lookup meet all episodes from the start.",
    ),
    (["prior=speed", "prior.log_alpha=-50"], "prior.log_alpha: -50 is too small. Use -5 or more."),
    (["reporter=mlp", "reporter.hidden=0"], "reporter.hidden: 0 is too small. Use 1 or more."),
    (["reporter=attention", "reporter.steps=0"], "reporter.steps: 0 is too small."),
    (["prior=simplicity", "prior.sigma=0"], "prior.sigma: 0 is too small."),
    (["verdict.turn=3"], "verdict.turn: 3 is too few to hold both values of X. Use 20 or more"),
    (["trainer.accelerator=tpu9"], "trainer.accelerator: there is no tpu9. There are: auto, cpu"),
    (["alignment.tolerance=-1"], "alignment.tolerance: -1 is too small."),
    (["levels=[9]"], "levels: the core model has no level 9. It has 0 to 2."),
    (
        ["core_model.model=/data/epoch=3/model"],
        (
            "core_model.model=/data/epoch=3/model: text with special letters needs quotes. Write"
            """ 'core_model.model="/data/epoch=3/model"'"""
        ),
    ),
    (
        ["logger=null"],
        "logger: it is null or deleted, and a run needs it. Choose one, for example l",
    ),
    (
        ["~reporter"],
        "reporter: it is null or deleted, and a run needs it. Choose one, for example r",
    ),
    (["data=null"], "data: it is null or deleted, and a run needs its keys. Set one: data.train=."),
    (["data=4096"], "data: 4096 is a single value, and a run needs its keys. Set one: data.train="),
    (["~seed"], "seed: it has no value, and Plan needs one. Set it: seed=..."),
    (["prior=3"], "prior: 3 is not the name of a choice. There are: circuit_depth, "),
    (["+job=null"], "job: None is no part. Give it a _target_ and its values."),
    (["~prior._target_"], "prior._target_: it is missing. Name a class by its module: "),
]


@pytest.mark.parametrize(
    ("words", "line"), MISTAKES, ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_a_mistake_gets_one_line_and_leaves_nothing(words, line, tmp_path):
    changed = words[0].split("=")[0]
    tiny = [word for word in TINY if not word.startswith(changed)]
    if words[0].startswith("core_model="):
        tiny = []
    done = train(*tiny, *words, folder=tmp_path / "run")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {line}")
    assert not (tmp_path / "run" / HEADS).exists()


def test_a_mistake_exits_with_1_and_shows_no_trace(tmp_path):
    done = train_apart("prior=simplicty", folder=tmp_path / "run")
    assert (done.returncode, done.stderr.strip().count("\n")) == (1, 0)
    assert not (tmp_path / "run").exists()


def test_a_cache_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ELK_CACHE", str(tmp_path / "file" / "cache"))
    done = train(*TINY, "seed=7", folder=tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ELK_CACHE: ")


def test_help_lists_groups_and_choices_without_importing_torch():
    words = [sys.executable, "-X", "importtime", "train.py", "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    for line in (
        "optimizer: adamw, annealing, auto, evolution, lbfgs, momentum, sgd",
        "prior: circuit_depth, circuit_size, downstream",
        "reporter: attention, ccs, contrast, crc, direction",
        "world: activations, carries, cities, ladder, opinions, table, vault",
        "seeds: 8",
    ):
        assert line in done.stdout
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, flags=re.MULTILINE))
    assert "hydra" in imported
    assert not {"torch", "numpy", "pandas", "datasets"} & imported


def test_every_yaml_says_in_its_first_line_what_it_is():
    for path in (ROOT / "configs").rglob("*.yaml"):
        if "hydra" not in path.parts:
            assert path.read_text().startswith("#"), path
            assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_a_python_without_the_packages_names_the_commands_that_install_them():
    words = [sys.executable, "-S", "train.py"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make train" in done.stderr
    assert ".venv/bin/activate" in done.stderr
