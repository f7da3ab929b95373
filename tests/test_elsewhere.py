"""The commands and the pytest plugin from the folder of a project whose modules have the names of
ours.
"""

import os
import subprocess
import sys

import pytest

import elk_command
from tests.running import ROOT, run_here

FOREIGN = [
    "configs/__init__.py",
    "report/__init__.py",
    "train.py",
    "training.py",
    "verdict.py",
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that Python finds before this checkout; each of its modules refuses its import."""
    for name in FOREIGN:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise ImportError('a module of the other project')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    return tmp_path


def python(folder, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_names_clash_there(project):
    done = python(project, "-m", "verdict", "run")
    assert "a module of the other project" in done.stderr


@pytest.mark.slow
def test_the_plugin_judges_a_run_there_and_gives_the_reasons(project, tiny_run):
    done = python(project, "-m", "pytest", "-p", "elk_pytest", f"--run={tiny_run}")
    assert "2 failed" in done.stdout, done.stdout + done.stderr
    assert "head 1 (level 2, seed 1, strength 0): undecided." in done.stdout


def test_the_plugin_lets_other_tests_run_there(project):
    (project / "test_it.py").write_text("def test_it(): pass\n")
    assert "1 passed" in python(project, "-m", "pytest", "-p", "elk_pytest").stdout


@pytest.mark.slow
def test_a_command_judges_a_run_there(project, tiny_run):
    done = python(project, "-m", "elk_command", "verdict", str(tiny_run))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("undecided") == 2


def test_a_command_trains_there(project):
    done = python(project, "-m", "elk_command", "train", "prior=simplicty")
    assert done.returncode == 1
    assert done.stderr.startswith("error: prior: there is no choice simplicty.")


def test_help_lists_the_commands_and_an_unknown_one_is_reported():
    assert "elk verdict" in run_here(elk_command.main, "elk").stdout
    done = run_here(elk_command.main, "elk", "judge")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: judge: no such command. There are: train, report, verdict, calibrate.\n"
    )


def test_without_its_checkout_the_command_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(elk_command, "ROOT", tmp_path)
    done = run_here(elk_command.main, "elk", "train")
    assert (done.returncode, "pip install -e ." in done.stderr) == (1, True)
