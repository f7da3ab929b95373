"""Sweeps from the outside: every config checked first, a failing run beside whole ones, any
launcher, runs killed at any moment, two at once.
"""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import sweeps
from hydra.errors import MissingConfigException

from console.command_line import NAMELESS, one_line
from experiments.sweep import Shown
from storage.run_folder import FAILED, HEADS, LOCK, NOT_DECIDING, begin, find_failures
from tests.test_train import ROOT, TINY, train

QUICK = [
    *TINY,
    "reporter=layered",
    "seeds=1",
    "bill.measures.variational=null",
    "bill.measures.prequential=null",
    "logger=csv",
]


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return train("-m", *QUICK, *words, f"hydra.sweep.dir={folder}")


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Returns the heads of each finished run by the run's name, which holds a hash of its config."""
    return {path.parent.name: pd.read_parquet(path) for path in sorted(folder.glob(f"*/{HEADS}"))}


def assert_same(one: Path, other: Path) -> None:
    """Asserts that two sweeps have the same runs, and each of them the same heads to the last bit."""
    first, second = tables(one), tables(other)
    assert first
    assert first.keys() == second.keys()
    for name, heads in first.items():
        pd.testing.assert_frame_equal(heads, second[name], check_exact=True)


@pytest.fixture(scope="module")
def serial(shared_cache, tmp_path_factory) -> Path:
    """A sweep of two runs, one after the other."""
    folder = tmp_path_factory.mktemp("serial")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELK_CACHE", str(shared_cache))
        done = sweep(folder, "prior=none,speed")
    assert done.returncode == 0, done.stderr
    assert len(tables(folder)) == 2
    assert "2 of 2: vault-transformer-layered-speed" in done.stderr
    assert "heads judged" in done.stdout
    assert done.stdout.splitlines()[-1] == str(folder)
    assert (folder / "comparison.html").exists()
    return folder


def test_every_config_of_a_sweep_is_checked_before_its_first_run(tmp_path):
    done = sweep(tmp_path / "sweep", "prior=none,speed", "training.clip=1.0,-1.0")
    assert done.returncode == 1
    assert done.stderr.startswith("error: training.clip: -1.0 is too small.")
    assert "training.clip=-1.0" in done.stderr
    assert "nothing was run" in done.stderr
    assert not (tmp_path / "sweep").exists()


@pytest.mark.usefixtures("cached")
def test_a_run_that_fails_stops_no_other_and_the_end_says_which_and_why(tmp_path, serial):
    folder = tmp_path / "sweep"
    done = sweep(folder, "prior=none", "levels=[9],null")
    assert done.returncode == 1
    assert "heads judged" in done.stdout, "there is a table of those that are whole"
    assert done.stderr.rstrip().splitlines()[-2] == "error: 1 of the sweep's runs failed:"
    assert done.stderr.rstrip().endswith("levels: transformer has no level 9. It has 0 to 2.")
    assert "Traceback" not in done.stderr
    assert list(find_failures(folder.iterdir()).values()) == [
        "levels: transformer has no level 9. It has 0 to 2."
    ]
    assert len(tables(folder)) == 1


@pytest.mark.usefixtures("cached")
def test_a_second_sweep_over_the_first_runs_only_what_is_new(tmp_path, serial):
    before = {path: path.stat().st_mtime_ns for path in serial.glob(f"*/{HEADS}")}
    done = sweep(serial, "prior=none,speed")
    assert done.returncode == 0
    assert done.stderr.count("is finished: nothing to do") == 2
    assert {path: path.stat().st_mtime_ns for path in serial.glob(f"*/{HEADS}")} == before


def slurm(folder: Path) -> None:
    """Puts the commands of a Slurm into a folder: its queue is this machine, and a job that leaves
    it has ended.
    """
    commands = {
        "sbatch": (
            'SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7; for task in $(seq 0 $(sed -n "s/^#SBATCH'
            ' --array=0-\\([0-9]*\\).*/\\1/p" "$1")); do\nenv SLURM_JOB_ID=$((8 + task))'
            " SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 SLURM_PROCID=0"
            " SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here bash"
            ' "$1" >/dev/null 2>&1 &\ndone; echo "Submitted batch job 7"'
        ),
        "srun": (
            'while [[ "$1" == --* ]]; do shift; if [[ "$1" != --* && ! -x "$1" ]]; then shift; fi;'
            ' done; exec "$@"'
        ),
        "sacct": (
            'echo "JobID|State|NodeList"; for task in 0 1 2 3; do echo "7_$task|RUNNING|here"; done'
        ),
        "scontrol": "echo here",
        "scancel": "true",
    }
    for name, body in commands.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)


LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "ray": [
        "hydra/launcher=ray",
        "+hydra.launcher.ray.init.num_cpus=2",
        "+hydra.launcher.ray.init.include_dashboard=false",
    ],
    "submitit": [
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.timeout_min=10",
        "hydra.launcher.cpus_per_task=1",
    ],
}


@pytest.mark.slow
@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_heads_of_the_serial_sweep(
    launcher, serial, tmp_path, monkeypatch
):
    if find_spec(f"hydra_plugins.hydra_{launcher}_launcher") is None:
        pytest.skip(f"the launcher of {launcher} is not installed")
    (tmp_path / "bin").mkdir()
    slurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    done = sweep(tmp_path / "sweep", "prior=none,speed", *LAUNCHERS[launcher])
    assert done.returncode == 0, done.stderr
    assert "heads judged" in done.stdout
    assert_same(tmp_path / "sweep", serial)


@pytest.mark.usefixtures("cached")
def test_a_sweep_killed_at_random_moments_ends_with_the_same_heads(tmp_path, serial):
    chance, kills = random.Random(int.from_bytes(os.urandom(4))), 0
    words = [
        sys.executable,
        "train.py",
        "-m",
        *QUICK,
        "prior=none,speed",
        "trainer.save_every=0.0",
        f"hydra.sweep.dir={tmp_path}",
    ]
    while kills < 3:
        running = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(2.0, 7.0))
        running.send_signal(signal.SIGKILL)
        running.wait()
        kills += 1
    assert subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert_same(tmp_path, serial)


COUNTING = """
import sys
from storage import level_file
from storage import tensors as store
file, save, seal = sys.argv.pop(1), store.save, level_file.LevelFile.seal
def note(path):
    with open(file, "a") as log:
        log.write(str(path) + "\\n")
def saved(path, *given):
    note(path)
    return save(path, *given)
def sealed(level):
    note(level.path)
    return seal(level)
store.save, level_file.LevelFile.seal = saved, sealed
from train import cli
cli()
"""


def test_two_sweeps_at_once_over_one_cache_make_each_of_its_files_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ELK_CACHE", str(tmp_path / "cache"))
    words = [
        sys.executable,
        "-c",
        COUNTING,
        str(tmp_path / "log"),
        "-m",
        *QUICK,
        "prior=none,speed",
    ]
    both = [
        subprocess.Popen(
            [*words, f"hydra.sweep.dir={tmp_path / name}"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for running in both:
        _, said = running.communicate()
        assert running.returncode == 0, said
    assert_same(tmp_path / "one", tmp_path / "two")
    kept = sorted(map(str, (tmp_path / "cache").rglob("*.safetensors")))
    made = sorted(
        path
        for path in (tmp_path / "log").read_text().splitlines()
        if path.startswith(str(tmp_path / "cache"))
    )
    assert len(kept) > 20
    assert made == kept, "each file of the cache was written once, by one of the two"


@pytest.mark.usefixtures("cached")
def test_two_processes_on_one_run_make_it_once(tmp_path):
    words = [sys.executable, "train.py", *QUICK, f"hydra.run.dir={tmp_path / 'run'}"]
    both = [
        subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [running.communicate()[1] for running in both]
    assert [running.returncode for running in both] == [0, 0], said
    assert sum("is finished: nothing to do." in one for one in said) == 1
    assert not (tmp_path / "run" / LOCK).exists()


def test_how_far_a_sweep_is_is_read_from_its_folders(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "EVERY", 0.02)
    folders = [tmp_path / name for name in ("old", "whole", "wrong", "never")]
    with Shown(folders, finished={folders[0]}):
        for folder, mark in ((folders[1], "summary.md"), (folders[2], FAILED)):
            folder.mkdir()
            (folder / mark).touch()
            time.sleep(0.2)
    assert capsys.readouterr().err.splitlines() == ["2 of 4: whole", "3 of 4: wrong"]


def test_what_a_folder_held_before_is_no_end_of_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "EVERY", 0.02)
    (tmp_path / FAILED).touch()
    with Shown([tmp_path], finished=set()):
        time.sleep(0.2)
        assert capsys.readouterr().err == ""
        begin(tmp_path, {"seed": 0})
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("choice", "extra"),
    [("joblib", "joblib"), ("ray", "ray"), ("ray_aws", "ray"), ("submitit_slurm", "slurm")],
)
def test_a_launcher_that_is_not_installed_is_said_with_the_line_that_installs_it(choice, extra):
    missing = MissingConfigException("", f"hydra/launcher/{choice}", ["basic"])
    assert (
        one_line(missing)
        == f"hydra/launcher: {choice} is not installed. Run: pip install -e '.[{extra}]'"
    )
    assert "There are: basic" in str(
        one_line(MissingConfigException("", "hydra/launcher/jolib", ["basic"]))
    )


def test_a_folder_with_both_marks_ends_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "EVERY", 0.02)
    with Shown([tmp_path, tmp_path / "never"], finished=set()) as shown:
        for mark in ("summary.md", FAILED):
            (tmp_path / mark).touch()
        time.sleep(0.2)
        assert shown.thread.is_alive()
    assert capsys.readouterr().err.splitlines() == [f"1 of 2: {tmp_path.name}"]


def test_what_changes_no_result_names_no_run():
    assert set(NOT_DECIDING) < set(NAMELESS)
