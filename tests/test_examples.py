"""Every command that help, README and docs show is one that can be given: its config composes, and
each of its parts is built.
"""

import ast
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest

import train as story
from configs.plan import check_config
from console.command_line import run_command
from experiments import sweep
from report import __main__ as report
from tests.running import ROOT, TINY, Done, run_here, train
from verdict import __main__ as verdict
from verdict.calibration import __main__ as calibration

FIRST = [
    "README.md",
    "configs/hydra/help/elk.yaml",
    "configs/hydra/help/calibrate.yaml",
    "train.py",
]
"""What a newcomer reads: its commands are among the fast tests."""
SOURCES = [
    *FIRST,
    *("elk_command.py", "report/__main__.py", "verdict/__main__.py", "verdict/as_json.py"),
    "verdict/calibration/__main__.py",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").rglob("*.yaml"))),
]
COMMAND = re.compile(r"(?:python (?:train\.py|-m [a-z_.]+)|elk [a-z]+)(?: +[^`\n#]+)?")
END = re.compile(r"\s{2,}| \(| \.\.\.|; | and | \[|`")
"""What follows a command in a line."""
MODULES = {"train": "train.py", "report": "-m report", "verdict": "-m verdict"}
LAUNCHER = re.compile(r"hydra/launcher=([a-z]+)")


def list_commands() -> dict[str, str]:
    """Returns each command of the sources, as a user would type it, with its first source."""
    commands: dict[str, str] = {}
    for source in SOURCES:
        text = re.sub(r"\s*\\\n\s*", " ", read_text(ROOT / source))
        if source.endswith(".md"):
            # A command within a sentence may go over the end of a line.
            text = re.sub(r"(?<=[^`])`([^`]+)`(?!`)", lambda span: span[0].replace("\n", " "), text)
        for found in COMMAND.findall(text):
            command = END.split(found)[0].strip()
            commands.setdefault(re.sub(r"^elk (\w+)", name_module, command), source)
    return commands


def read_text(path: Path) -> str:
    """Returns a page, or what stands at the top of a module."""
    text = path.read_text()
    return (ast.get_docstring(ast.parse(text)) or "") if path.suffix == ".py" else text


def name_module(found: re.Match[str]) -> str:
    """Returns the command of Python that a command of elk stands for."""
    return f"python {MODULES.get(found[1], '-m verdict.calibration')}"


COMMANDS = list_commands()


def stop_after_check(config, folder: Path) -> None:
    check_config(config)
    sys.exit(0)


def stop_after_checks(self, config, **_: object) -> None:
    sweep.check_runs(config)
    sys.exit(0)


def split_into_two_runs(config, split_runs=sweep.split_runs) -> list[sweep.Words]:
    runs = split_runs(config)
    return [runs[0], runs[-1]]


def check_train(words: list[str]) -> Done:
    """Runs train.py up to where its config is checked; of a sweep, the first and the last one."""
    with (
        patch.object(story, "run", stop_after_check),
        patch.object(sweep.Sweep, "on_multirun_start", stop_after_checks),
        patch.object(sweep, "split_runs", split_into_two_runs),
    ):
        return train(*words)


def check_calibration(words: list[str]) -> Done:
    def calibrate(config) -> None:
        calibration.read_calibration_plan(config)
        for part in calibration.PARTS:
            calibration.build(config[part], part)
        sys.exit(0)

    with patch.object(calibration, "calibrate", calibrate):
        return run_here(lambda: run_command(calibration.main, ""), "calibration", *words)


def test_the_commands_are_found():
    assert len(COMMANDS) > 40
    assert "python train.py reporter=layered prior=speed" in COMMANDS
    assert "python train.py reporter=linear seeds=4 world.human=witness" in COMMANDS
    assert "python -m verdict runs/NAME --head 3" in COMMANDS
    assert any("hydra.launcher" in command and "--cfg" in command for command in COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[] if source in FIRST else pytest.mark.slow)
        for command, source in COMMANDS.items()
    ],
)
def test_a_command_can_be_given(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launcher = LAUNCHER.search(command)
    if launcher and find_spec(f"hydra_plugins.hydra_{launcher[1]}_launcher") is None:
        pytest.skip(f"the launcher of {launcher[1]} is not installed")
    program, *words = shlex.split(command.removeprefix("python ").removeprefix("-m "))
    if program == "train.py":
        done = check_train(words)
    elif program == "verdict.calibration":
        done = check_calibration(words)
    elif program == "report":
        report._check_options(words)
        return
    elif program == "verdict":
        assert not words or verdict.parse(words)[0]
        return
    else:
        assert find_spec(program), program
        return
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_the_first_example_of_help_runs(tmp_path):
    text = (ROOT / "configs/hydra/help/elk.yaml").read_text()
    words = shlex.split(re.findall(r"python train\.py (.+)", text)[0])
    done = train(*TINY, *words, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
