"""A run whose process is killed is written down as failed, and the sweep goes on without it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import sweep
from experiments.deaths import (
    REASON,
    RUNNING,
    STARTED,
    DeathWatch,
    find_died,
    has_failed,
    mark_running,
    note_killed_workers,
    note_start,
    record_interrupted,
)
from experiments.sweep import Sweep, run_to_end
from storage.run_folder import FAILED, record_failure
from tests.running import ROOT

RUN = """
import sys, time
from pathlib import Path
from experiments.deaths import mark_running
with mark_running(Path(sys.argv[1])):
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    """The command is given now."""
    monkeypatch.setenv(STARTED, str(time.time_ns() - 10_000_000))


def start_run(folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Starts a run in a process of its own, and waits until it has marked its folder."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder), str(seconds)], cwd=ROOT)
    while not (folder / RUNNING).exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def wait_until(happens, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_run_of_a_killed_process_has_failed_and_that_of_another_has_not(tmp_path):
    killed, ended, spared = (tmp_path / name for name in ("killed", "ended", "spared"))
    with DeathWatch([killed, ended, spared]) as watch:
        processes = [start_run(killed, 60), start_run(ended, 0.1), start_run(spared, 60)]
        wait_until(lambda: len(watch.process_of) >= 2)
        watch.killed.add(processes[2].pid)
        processes[0].kill()
        processes[2].kill()
        for process in processes:
            process.wait()
        wait_until((killed / FAILED).exists)
        wait_until(lambda: not (spared / RUNNING).exists())
    assert (killed / FAILED).read_text() == f"{REASON}\n"
    assert not (ended / FAILED).exists() and not (spared / FAILED).exists()
    assert find_died([killed, ended, spared]) == {killed}


def test_a_mark_of_an_earlier_command_is_no_run(tmp_path):
    start_run(tmp_path, 60).kill()
    with DeathWatch([tmp_path]):
        assert not (tmp_path / RUNNING).exists()
    assert not has_failed(tmp_path)


def test_a_failure_of_an_earlier_command_does_not_count(tmp_path):
    record_failure(tmp_path, REASON)
    assert has_failed(tmp_path) and find_died([tmp_path]) == {tmp_path}
    time.sleep(0.02)
    note_start()
    assert not has_failed(tmp_path) and find_died([tmp_path]) == set()


def test_where_the_dead_process_is_unknown_every_interrupted_run_has_failed(tmp_path):
    for name in ("interrupted", "never"):
        (tmp_path / name).mkdir()
    (tmp_path / "interrupted" / RUNNING).touch()
    record_interrupted(tmp_path.iterdir())
    assert find_died(tmp_path.iterdir()) == {tmp_path / "interrupted"}


def test_a_mark_is_removed_at_the_end_also_of_a_run_that_fails(tmp_path):
    def fail() -> None:
        with mark_running(tmp_path / "run"):
            assert str(os.getpid()) in (tmp_path / "run" / RUNNING).read_text()
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert list((tmp_path / "run").iterdir()) == []


def test_joblib_still_ends_its_processes_as_this_project_expects():
    loky = pytest.importorskip("joblib.externals.loky.process_executor")
    before = loky.kill_process_tree
    with note_killed_workers(set()):
        assert loky.kill_process_tree is not before
    assert loky.kill_process_tree is before


def run_sweep_of(folder: Path, errors: list[Exception | None]):
    """Returns a command that starts a sweep each time and ends as listed; a run dies before each
    error.
    """

    def main() -> None:
        error = errors.pop(0)
        started = Sweep()
        started._runs = {folder: {}}
        started._died_before = find_died([folder])
        sweep.STARTED_SWEEPS.append(started)
        if error:
            if isinstance(error, RuntimeError):
                record_failure(folder, REASON)
            raise error

    return main


def test_a_sweep_goes_on_after_a_death_and_not_after_another_error(tmp_path):
    errors: list[Exception | None] = [RuntimeError("a worker died"), None]
    run_to_end(run_sweep_of(tmp_path, errors))
    assert errors == []
    note_start()
    time.sleep(0.02)
    with pytest.raises(ValueError, match="not a death"):
        run_to_end(run_sweep_of(tmp_path / "other", [ValueError("not a death"), None]))
