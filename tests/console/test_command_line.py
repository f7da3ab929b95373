"""Names of sweeps, and a user's mistake in one line."""

import os
import subprocess
import sys

import pytest

from console.command_line import UNREAD, describe_user_error, name_sweep, run_command
from console.errors import UserError, did_you_mean
from console.progress import line
from tests.running import ROOT


def name(monkeypatch, *words: str) -> str:
    """Returns the name of a sweep with these words on the command line."""
    monkeypatch.setenv("ELK_SWEEP_NAME", "")
    name_sweep(words)
    return os.environ["ELK_SWEEP_NAME"]


def test_a_sweep_is_named_after_its_overrides(monkeypatch):
    words = ("-m", "seeds=2", "prior=none,speed", "hydra/launcher=joblib")
    assert name(monkeypatch, *words) == "sweep-prior=none+speed-seeds=2-256ce3"
    assert name(monkeypatch, *reversed(words)) == name(monkeypatch, *words)
    assert name(monkeypatch, "-m", "seeds=3", "prior=none,speed") != name(monkeypatch, *words)


def test_a_long_name_is_shortened_and_stays_unique(monkeypatch):
    strengths = ",".join(map(str, range(100)))
    first = name(monkeypatch, f"strengths={strengths}")
    second = name(monkeypatch, f"strengths={strengths},100")
    assert first != second and len(first) == len(second) == len("sweep-") + 60 + len("-123456")


def test_a_similar_word_is_suggested():
    assert did_you_mean("hiden", ["hidden", "seeds"]) == " Did you mean hidden?"
    assert did_you_mean("xyz", ["hidden", "seeds"]) == ""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("seeds: 0 is too few."), "seeds: 0 is too few."),
        (
            PermissionError(13, "Permission denied", "/runs"),
            "/runs: Permission denied. Name another folder, or make it writable.",
        ),
        (OSError("no file"), None),
        (KeyError("x"), None),
    ],
)
def test_only_a_users_mistake_has_a_line(error, message):
    assert describe_user_error(error) == message


def fail(error: BaseException) -> None:
    raise error


def test_a_users_mistake_ends_a_command_with_one_line(monkeypatch):
    monkeypatch.delenv("ELK_TRACE", raising=False)
    with pytest.raises(SystemExit, match=r"^error: seeds: 0 is too few\.$"):
        run_command(lambda: fail(UserError("seeds: 0 is too few.")), "Stopped.")
    with pytest.raises(SystemExit, match=r"^\nStopped\.$"):
        run_command(lambda: fail(KeyboardInterrupt()), "Stopped.")
    with pytest.raises(KeyError):
        run_command(lambda: fail(KeyError("x")), "Stopped.")
    monkeypatch.setenv("ELK_TRACE", "1")
    with pytest.raises(UserError):
        run_command(lambda: fail(UserError("seeds: 0 is too few.")), "Stopped.")


COMMANDS = [
    ["train.py", "--help"],
    ["train.py", "--cfg", "job"],
    ["-m", "report", "--help"],
    ["-m", "report.columns"],
    ["-m", "verdict", "--help"],
    ["-m", "verdict.calibration", "--help"],
    ["elk_command.py", "--help"],
    ["elk_command.py", "report", "--help"],
]


def run_unread(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with its output in a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("option", ["-u", "-W default"])
def test_a_command_whose_output_nobody_reads_ends_quietly(option):
    program = "from console.command_line import run_command; run_command(lambda: print(1), '')"
    done = run_unread(option, "-c", program)
    assert (done.returncode, done.stderr) == (UNREAD, "")


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_whose_output_nobody_reads_ends_quietly(words):
    done = run_unread(*words)
    assert (done.returncode, done.stderr) == (UNREAD, "")


def test_another_broken_pipe_is_an_error():
    with pytest.raises(BrokenPipeError):
        run_command(lambda: fail(BrokenPipeError()), "Stopped.")


def test_progress_is_not_shown_without_a_terminal(capsys):
    with line("Working", 2) as outer, line("Reading") as inner:
        outer.move_to(1)
        inner.move_to(1, "Still reading")
    assert capsys.readouterr().err == ""
