"""In a log, work that takes long is named, with how far it is; short work leaves nothing."""

import time

import pytest

from console import progress
from console.progress import QUIET, line


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.delenv(QUIET, raising=False)
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    monkeypatch.setattr(progress, "PAUSE", 0.05)


def wait_for(capsys, words: str) -> str:
    """Returns what was written to stderr up to these words."""
    seen = ""
    while words not in seen:
        time.sleep(0.01)
        seen += capsys.readouterr().err
    return seen


def test_long_work_is_named_and_again_with_how_far_it_is(impatient, capsys):
    with line("Reading", total=200, done=50) as reading:
        assert wait_for(capsys, "Reading, 25% (0 s) ...\n")
        reading.move_to(100, "Still reading")
        assert wait_for(capsys, "Still reading, 50% (")
    with line("Fitting"):
        assert wait_for(capsys, "Fitting (0 s) ...\n")


def test_short_work_leaves_nothing_in_a_log(capsys, monkeypatch):
    monkeypatch.delenv(QUIET, raising=False)
    with line("Reading"):
        pass
    assert not capsys.readouterr().err


def test_a_process_that_shares_a_log_is_quiet(impatient, capsys, monkeypatch):
    monkeypatch.setenv(QUIET, "1")
    with line("Reading"):
        time.sleep(0.3)
    assert not capsys.readouterr().err
