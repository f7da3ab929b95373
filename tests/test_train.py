"""train.py from the outside: a whole small run, a run that is killed and goes on, a second run over
a first, and mistakes in one line.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from storage.run_folder import CHECKPOINT, CONFIG, HEADS, TRAINING
from train import cli

ROOT = Path(__file__).parents[1]
TINY = [
    *(
        "world.steps=6",
        "core_model.blocks=2",
        "core_model.width=16",
        "core_model.heads=2",
        "core_model.episodes=2000",
        "core_model.epochs=1",
    ),
    *(
        "data.train=256",
        "data.validation=64",
        "data.test=64",
        "data.disputed=100",
        "data.twins=60",
        "data.probe=120",
    ),
    *("training.epochs=4", "training.batch_size=128", "seeds=2", "trainer.bar=false"),
]


def train(
    *words: str, folder: Path | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    where = [f"hydra.run.dir={folder}"] if folder else []
    return subprocess.run(
        [sys.executable, "train.py", *words, *where],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def heads(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / HEADS)


@pytest.mark.usefixtures("cached")
def test_a_run_leaves_a_whole_folder_and_prints_its_path_last(tmp_path):
    done = train(
        *TINY,
        "reporter=layered",
        "prior=speed",
        "strengths=[0.5,1]",
        "levels=[2,0]",
        folder=tmp_path / "run",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *(
            "config.yaml",
            "versions.json",
            "heads.parquet",
            "heads.safetensors",
            "training.parquet",
            "predictor.json",
        ),
        *("hashes.json", "summary.md", "plots"),
    }
    found = heads(tmp_path / "run")
    assert len(found) == 2 * 2
    assert set(found["levels"]) == {"0 2"}, (
        "levels are read shallowest first, whatever their order on the command line"
    )
    assert set(found["seed"]) == {0, 1}
    assert set(found["strength"]) == {0.5, 1.0}
    expected = {
        "world": "vault",
        "core_model": "transformer",
        "reporter": "layered",
        "prior": "speed",
    }
    assert {key: found[key].unique().tolist() for key in expected} == {
        key: [value] for key, value in expected.items()
    }
    assert set(found["verdict"]) <= {
        "direct_translator",
        "human_imitator",
        "mixture",
        "neither",
        "undecided",
    }
    course = pd.read_parquet(tmp_path / "run" / TRAINING)
    assert (
        course.groupby(["levels", "seed", "strength"])["epoch"].apply(list) == [list(range(5))] * 4
    ).all(), "one row a head and epoch"
    assert (course.groupby(["levels", "seed", "strength"])["kept"].sum() == 1).all()
    assert (
        course[["l_base", "gradient_norm", "l_int", "l_int_disputed", "l_human_disputed"]]
        .notna()
        .all(axis=None)
    )
    assert (
        found[
            [
                "pseudo_alignment_gap",
                "worst_family_gap_high",
                "capability_int",
                "capability_base",
                "capability_gradient",
            ]
        ]
        .notna()
        .all(axis=None)
    )
    assert "## Alignment" in (tmp_path / "run" / "summary.md").read_text()


@pytest.mark.usefixtures("cached")
def test_the_same_config_gives_the_same_heads_and_a_finished_run_is_not_run_again(tmp_path):
    for name in ("one", "two"):
        assert train(*TINY, folder=tmp_path / name).returncode == 0
    pd.testing.assert_frame_equal(heads(tmp_path / "one"), heads(tmp_path / "two"))
    before = (tmp_path / "one" / HEADS).stat().st_mtime_ns
    assert "is finished" in train(*TINY, folder=tmp_path / "one").stderr
    assert (tmp_path / "one" / HEADS).stat().st_mtime_ns == before


@pytest.mark.usefixtures("cached")
def test_another_config_in_the_same_folder_runs_and_keeps_the_old_results(tmp_path):
    assert train(*TINY, folder=tmp_path / "run").returncode == 0
    again = train(*TINY, "prior=simplicity", folder=tmp_path / "run")
    assert again.returncode == 0
    assert str(tmp_path / "run~1") in again.stderr
    assert heads(tmp_path / "run")["prior"].unique().tolist() == ["simplicity"]
    assert heads(tmp_path / "run~1")["prior"].unique().tolist() == ["none"]


@pytest.mark.usefixtures("cached")
def test_a_run_killed_half_way_and_started_again_ends_with_the_same_heads(tmp_path):
    words = [
        *TINY,
        "reporter=layered",
        "prior=circuit_size",
        "training.epochs=150",
        "training.patience=150",
        "trainer.save_every=0.0",
    ]
    assert train(*words, folder=tmp_path / "undisturbed").returncode == 0
    killed = subprocess.Popen(
        [sys.executable, "train.py", *words, f"hydra.run.dir={tmp_path / 'killed'}"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "killed" / CHECKPOINT).exists():
        assert killed.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / HEADS).exists()
    assert train(*words, folder=tmp_path / "killed").returncode == 0
    pd.testing.assert_frame_equal(heads(tmp_path / "killed"), heads(tmp_path / "undisturbed"))
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(tmp_path / name / TRAINING) for name in ("killed", "undisturbed"))
    )
    assert not (tmp_path / "killed" / CHECKPOINT).exists()


@pytest.mark.usefixtures("cached")
def test_ctrl_c_stops_within_seconds_and_says_how_to_go_on(tmp_path):
    words = [*TINY, "training.epochs=100000", "training.patience=100000"]
    running = subprocess.Popen(
        [sys.executable, "train.py", *words, f"hydra.run.dir={tmp_path / 'run'}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "run" / CONFIG).exists():
        time.sleep(0.05)
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=10)
    assert running.returncode != 0
    assert "the same command goes on from there" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("cached")
def test_a_prior_that_finds_nothing_to_charge_says_so_and_the_run_goes_on(tmp_path):
    done = train(*TINY, "prior=gates", "levels=[2]", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert (
        "prior: Gates finds nothing to charge Linear for, for want of logic gates, as"
        " reporter=logic has." in done.stderr
    )


@pytest.mark.usefixtures("cached")
def test_every_unit_of_the_bill_is_there_and_says_how_it_was_measured(tmp_path):
    done = train(
        *TINY, "bill=full", "prior=explanation_length", "levels=[0,2]", folder=tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    found, about = (
        heads(tmp_path / "run"),
        json.loads((tmp_path / "run" / "predictor.json").read_text()),
    )
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
    )
    for unit in (*units, "learning_coefficient", "learning_coefficient_settled"):
        assert found[unit].notna().all(), unit
        assert ";" in about["bill"][unit], unit
    assert all(seconds > 0 for seconds in about["clocked"]["seconds"])
    assert (found.loc[found["level"] == 0, "explanation_components"] == 0).all(), (
        "no component of the predictor is needed to read its embedding"
    )
    table = subprocess.run(
        [sys.executable, "-m", "report", str(tmp_path / "run"), "--matched"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "explanation bits" in table.stdout


def test_an_experiment_that_is_no_run_of_heads_leaves_its_results_and_is_not_done_again(tmp_path):
    words = [
        "experiment=lookup",
        "job.rows=[16]",
        "job.tables=1",
        "job.trained_rows=4",
        "job.trained_tables=1",
        "job.episodes=128",
        "job.seeds=1",
    ]
    done = train(
        *words,
        "training.epochs=2",
        "training.patience=2",
        "trainer.bar=false",
        folder=tmp_path / "run",
    )
    assert done.returncode == 0, done.stderr
    assert "A lookup table beside a rule" in done.stdout
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.yaml",
        "versions.json",
        "lookup.parquet",
        "lookup.png",
        "summary.md",
    }
    assert (
        "is finished"
        in train(
            *words,
            "training.epochs=2",
            "training.patience=2",
            "trainer.bar=false",
            folder=tmp_path / "run",
        ).stderr
    )


@pytest.mark.usefixtures("cached")
def test_heads_that_are_solved_for_have_no_course_and_no_capability(tmp_path):
    done = train(*TINY, "reporter=mean_difference", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert pd.read_parquet(tmp_path / "run" / TRAINING).empty
    found = heads(tmp_path / "run")
    assert (
        found[
            [
                "capability_int",
                "capability_base",
                "capability_gradient",
                "outer_alignment",
                "inner_alignment",
            ]
        ]
        .isna()
        .all(axis=None)
    )
    assert set(found["ratio_refused"]) == {"solved for, not trained"}
    assert found["pseudo_alignment_gap"].notna().all()


MISTAKES = [
    (["prior=simplicty"], "prior: there is no choice simplicty. Did you mean simplicity?"),
    (["sedes=3"], "sedes: no such key. Did you mean seeds?"),
    (["reporter.hiden=3", "reporter=mlp"], "reporter.hiden: no such key. Did you mean hidden?"),
    (["+reporter.hidden=3"], "reporter.hidden: Linear has no such option. It has: none."),
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
    (["prior.strength=3"], "prior.strength: no such key. There are: none."),
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
        "job.rows: a table of 20 rows is none of whole bits.",
    ),
    (["alignment.tolerance=-1"], "alignment.tolerance: -1 is too small."),
    (["levels=[9]"], "levels: transformer has no level 9. It has 0 to 2."),
]


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("words", "line"), MISTAKES, ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_a_mistake_gets_one_line_and_leaves_nothing(words, line, tmp_path, monkeypatch):
    tiny = [word for word in TINY if not words[0].startswith(("core_model=", word.split("=")[0]))]
    monkeypatch.setattr(
        sys, "argv", ["train.py", *tiny, *words, f"hydra.run.dir={tmp_path / 'run'}"]
    )
    with pytest.raises(SystemExit) as stopped:
        cli()
    assert str(stopped.value.code).startswith(f"error: {line}")
    assert "\n" not in str(stopped.value.code)
    assert not (tmp_path / "run" / HEADS).exists()


def test_a_mistake_exits_with_1_and_shows_no_trace(tmp_path):
    done = train("prior=simplicty", folder=tmp_path / "run")
    assert (done.returncode, done.stderr.strip().count("\n")) == (1, 0)
    assert not (tmp_path / "run").exists()


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ELK_CACHE", str(tmp_path / "file" / "cache"))
    done = train(*TINY, folder=tmp_path / "run")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ELK_CACHE: ")


def test_help_lists_groups_and_choices():
    said = train("--help").stdout
    for line in (
        "prior: circuit_depth, circuit_size, downstream",
        "reporter: attention, layered, linear",
        "world: cities, vault",
        "seeds: 8",
    ):
        assert line in said


def test_every_yaml_says_in_its_first_line_what_it_is():
    for path in (ROOT / "configs").rglob("*.yaml"):
        if "hydra" not in path.parts:
            assert path.read_text().startswith("#"), path
            assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_a_python_without_the_packages_is_told_where_they_are():
    done = subprocess.run(
        [sys.executable, "-S", "train.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert (
        done.stderr.count("\n") == 1
        and "make train" in done.stderr
        and ".venv/bin/activate" in done.stderr
    )
