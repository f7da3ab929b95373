"""Sweeps from the outside: every config is checked first, a failing run stops no other, any
launcher gives the same heads, and so do sweeps that are stopped, killed or made twice at once.

Sweeps of the fast tests run in this process, one run after the other.
"""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from hydra.errors import MissingConfigException

import train as story
from console.command_line import KEYS_NOT_IN_NAME, describe_user_error
from experiments import sweep
from experiments.deaths import REASON, RUNNING
from experiments.sweep import Shown
from storage.run_folder import FAILED, HEADS, IGNORED_KEYS, LOCK, begin, find_failures, lock
from tests.running import ROOT, TINY, Done, start_training, train

QUICK = [
    *TINY,
    "reporter=layered",
    "seeds=1",
    "bill.measures.variational=null",
    "bill.measures.prequential=null",
    "logger=csv",
]


def run_sweep(folder: Path, *words: str) -> Done:
    return train("-m", *QUICK, *words, f"hydra.sweep.dir={folder}")


def start_sweep(folder: Path, *words: str) -> subprocess.Popen[str]:
    return start_training("-m", *QUICK, *words, f"hydra.sweep.dir={folder}")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Returns the heads of each finished run by its name, which holds a hash of its config."""
    return {path.parent.name: pd.read_parquet(path) for path in sorted(folder.glob(f"*/{HEADS}"))}


def assert_same(first: Path, second: Path) -> None:
    """Asserts that two sweeps have the same runs, each with the same heads to the last bit."""
    tables, others = read_tables(first), read_tables(second)
    assert tables
    assert tables.keys() == others.keys()
    for name, heads in tables.items():
        pd.testing.assert_frame_equal(heads, others[name], check_exact=True)


def read_times(folder: Path, pattern: str) -> dict[Path, int]:
    """Returns when each file was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob(pattern)}


@pytest.fixture(scope="session")
def serial(cache, make_once) -> Path:
    """A sweep of two runs, one after the other."""

    def fill(folder: Path) -> None:
        done = run_sweep(folder, "prior=none,speed")
        assert done.returncode == 0, done.stderr
        assert len(read_tables(folder)) == 2
        assert "2 of 2: vault-transformer-layered-speed" in done.stderr
        assert "heads judged" in done.stdout
        assert done.stdout.splitlines()[-1] == str(folder)
        assert (folder / "comparison.html").exists()

    return make_once("serial-sweep", fill)


def test_every_config_of_a_sweep_is_checked_before_its_first_run(tmp_path):
    done = run_sweep(tmp_path / "sweep", "prior=none,speed", "training.clip=1.0,-1.0")
    assert done.returncode == 1
    assert done.stderr.startswith("error: training.clip: -1.0 is too small.")
    assert "training.clip=-1.0" in done.stderr
    assert "nothing was run" in done.stderr
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("word", ["core_model.seed=range(0,0)", "prior=glob(nothing*)"])
def test_a_sweep_without_a_run_is_a_mistake(word, tmp_path):
    done = run_sweep(tmp_path / "sweep", "seed=0", word)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {word}: it has no value, so the sweep has no run.")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "sweep").exists()


def test_a_run_that_fails_stops_no_other_and_the_end_says_which_and_why(tmp_path):
    folder = tmp_path / "sweep"
    done = run_sweep(folder, "prior=none", "data.probe=2,120")
    assert done.returncode == 1
    assert "1 head judged" in done.stdout, "there is a table of those that are whole"
    why = (
        "data.probe: too few episodes to fit, choose and measure a probe with every cell of X ×"
        " H × amiss in each third. Use more."
    )
    assert done.stderr.rstrip().splitlines()[-2] == "error: 1 of the sweep's runs failed:"
    assert done.stderr.rstrip().endswith(why)
    assert "Traceback" not in done.stderr
    assert list(find_failures(folder.iterdir()).values()) == [why]
    assert len(read_tables(folder)) == 1


def test_a_second_sweep_over_the_first_runs_only_what_is_new(serial):
    before = read_times(serial, HEADS)
    done = run_sweep(serial, "prior=none,speed")
    assert done.returncode == 0
    assert done.stderr.count("is finished: nothing to do") == 2
    assert read_times(serial, HEADS) == before


def test_a_stopped_sweep_runs_what_is_missing_and_ends_with_the_same_heads(
    tmp_path, serial, monkeypatch
):
    folder = tmp_path / "sweep"
    with monkeypatch.context() as patch:
        patch.setattr(story, "run_heads", stop_at_call(2))
        assert run_sweep(folder, "prior=none,speed").returncode != 0
    assert len(read_tables(folder)) == 1
    done = run_sweep(folder, "prior=none,speed")
    assert done.stderr.count("is finished: nothing to do") == 1
    assert_same(folder, serial)


def stop_at_call(number: int):
    """Returns what makes a run, and presses Ctrl-C instead at the call of that number."""
    run_heads, calls = story.run_heads, []

    def run_or_stop(config, folder) -> None:
        calls.append(folder)
        if len(calls) == number:
            raise KeyboardInterrupt
        run_heads(config, folder)

    return run_or_stop


@pytest.mark.slow
def test_a_second_sweep_elsewhere_writes_no_file_of_the_cache_again(tmp_path, serial, cache):
    before = read_times(cache, "*.safetensors")
    assert run_sweep(tmp_path / "sweep", "prior=none,speed").returncode == 0
    assert_same(tmp_path / "sweep", serial)
    after = read_times(cache, "*.safetensors")
    assert len(before) > 20
    assert {path: after[path] for path in before} == before


def test_a_run_that_another_process_is_making_is_waited_for_and_not_made_again(
    tmp_path, tiny_run, monkeypatch
):
    run = tmp_path / "run"
    locked, waits = threading.Event(), threading.Event()

    def print_and_note(*words: object, **options: object) -> None:
        print(*words, **options)
        waits.set()

    def make_slowly() -> None:
        with lock(run):
            locked.set()
            waits.wait(timeout=60)
            shutil.copytree(tiny_run, run, dirs_exist_ok=True)

    other = threading.Thread(target=make_slowly)
    other.start()
    locked.wait()
    monkeypatch.setattr("storage.run_folder.print", print_and_note, raising=False)
    done = train(*TINY, "levels=[2]", folder=run)
    other.join()
    assert done.returncode == 0
    assert "waiting for another process that works on this run" in done.stderr
    assert "is finished: nothing to do." in done.stderr
    assert (run / HEADS).stat().st_mtime_ns == (tiny_run / HEADS).stat().st_mtime_ns


SBATCH = r"""
last=$(sed -n "s/^#SBATCH --array=0-\([0-9]*\).*/\1/p" "$1")
export SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0
export SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here
for task in $(seq 0 $last); do
    SLURM_JOB_ID=$((8 + task)) SLURM_ARRAY_TASK_ID=$task bash "$1" >/dev/null 2>&1 &
done
echo "Submitted batch job 7"
"""
SRUN = r"""
while [[ "$1" == --* ]]; do
    shift
    if [[ "$1" != --* && ! -x "$1" ]]; then shift; fi
done
exec "$@"
"""
SACCT = r"""
echo "JobID|State|NodeList"
for task in 0 1 2 3; do echo "7_$task|RUNNING|here"; done
"""
SLURM = {
    "sbatch": SBATCH,
    "srun": SRUN,
    "sacct": SACCT,
    "scontrol": "echo here",
    "scancel": "true",
}
"""The commands of Slurm: the queue is this machine, and a job that is no longer in it has ended."""


def install_slurm(folder: Path) -> None:
    for name, body in SLURM.items():
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
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_heads_of_the_serial_sweep(
    launcher, serial, tmp_path, monkeypatch
):
    if find_spec(f"hydra_plugins.hydra_{launcher}_launcher") is None:
        pytest.skip(f"the launcher of {launcher} is not installed")
    (tmp_path / "bin").mkdir()
    install_slurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    process = start_sweep(tmp_path / "sweep", "prior=none,speed", *LAUNCHERS[launcher])
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "heads judged" in output
    assert_same(tmp_path / "sweep", serial)


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [LAUNCHERS["joblib"], ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"]],
    ids=["joblib", "submitit"],
)
def test_a_worker_that_is_killed_stops_no_other_run_and_the_end_names_its_run(launcher, tmp_path):
    words = ["prior=none,speed,simplicity", "training.epochs=150", "training.patience=150"]
    process = start_sweep(tmp_path, *words, *launcher)
    while not (marks := list(tmp_path.glob(f"*speed*/{RUNNING}"))):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    os.kill(json.loads(marks[0].read_text())["pid"], signal.SIGKILL)
    output, errors = process.communicate()
    assert process.returncode == 1
    assert "heads judged" in output and "Traceback" not in errors
    first, second = errors.rstrip().splitlines()[-2:]
    assert first == "error: 1 of the sweep's runs failed:"
    assert second == f"  {marks[0].parent.name}: {REASON}"
    assert len(read_tables(tmp_path)) == 2
    process = start_sweep(tmp_path, *words, *launcher)
    process.communicate()
    assert process.returncode == 0
    assert len(read_tables(tmp_path)) == 3


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_with_the_same_heads(tmp_path, serial):
    rng = random.Random(int.from_bytes(os.urandom(4)))
    words = ["prior=none,speed", "trainer.save_every=0.0"]
    for _ in range(3):
        process = start_sweep(tmp_path, *words)
        time.sleep(rng.uniform(2.0, 7.0))
        process.kill()
        process.communicate()
    process = start_sweep(tmp_path, *words)
    process.communicate()
    assert process.returncode == 0
    assert_same(tmp_path, serial)


COUNTING = """
import sys
from storage import level_file, tensors
log, save, seal = sys.argv.pop(1), tensors.save, level_file.LevelFile.seal
def note(path):
    with open(log, "a") as file:
        file.write(f"{path}\\n")
def save_and_note(path, *values):
    note(path)
    return save(path, *values)
def seal_and_note(level):
    note(level.path)
    return seal(level)
tensors.save, level_file.LevelFile.seal = save_and_note, seal_and_note
from train import cli
cli()
"""


@pytest.mark.slow
def test_two_sweeps_at_once_over_one_cache_make_each_of_its_files_once(tmp_path, monkeypatch):
    cache, log = tmp_path / "cache", tmp_path / "log"
    monkeypatch.setenv("ELK_CACHE", str(cache))
    words = [sys.executable, "-c", COUNTING, str(log), "-m", *QUICK, "prior=none,speed"]
    processes = [
        subprocess.Popen(
            [*words, f"hydra.sweep.dir={tmp_path / name}"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_same(tmp_path / "first", tmp_path / "second")
    files = sorted(map(str, cache.rglob("*.safetensors")))
    written = sorted(path for path in log.read_text().splitlines() if path.startswith(str(cache)))
    assert len(files) > 20
    assert written == files, "each file of the cache was written once, by one of the two"


@pytest.mark.slow
def test_two_processes_on_one_run_make_it_once(tmp_path):
    run = tmp_path / "run"
    processes = [start_training(*QUICK, folder=run) for _ in range(2)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sum("is finished: nothing to do." in text for text in errors) == 1
    assert not (run / LOCK).exists()


def test_how_far_a_sweep_is_is_read_from_its_folders(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "EVERY", 0.02)
    folders = [tmp_path / name for name in ("old", "whole", "wrong", "never")]
    with Shown(folders, finished={folders[0]}):
        for folder, mark in ((folders[1], "summary.md"), (folders[2], FAILED)):
            folder.mkdir()
            (folder / mark).touch()
            time.sleep(0.2)
    assert capsys.readouterr().err.splitlines() == ["2 of 4: whole", "3 of 4: wrong"]


def test_what_a_folder_held_before_is_no_end_of_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "EVERY", 0.02)
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
        describe_user_error(missing)
        == f"hydra/launcher: {choice} is not installed. Run: pip install -e '.[{extra}]'"
    )
    assert "There are: basic" in str(
        describe_user_error(MissingConfigException("", "hydra/launcher/jolib", ["basic"]))
    )


def test_a_folder_with_both_marks_ends_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "EVERY", 0.02)
    with Shown([tmp_path, tmp_path / "never"], finished=set()) as shown:
        for mark in ("summary.md", FAILED):
            (tmp_path / mark).touch()
        time.sleep(0.2)
        assert shown.thread.is_alive()
    assert capsys.readouterr().err.splitlines() == [f"1 of 2: {tmp_path.name}"]


def test_what_changes_no_result_names_no_run():
    assert set(IGNORED_KEYS) < set(KEYS_NOT_IN_NAME)
