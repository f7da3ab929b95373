"""pytest plugin: `pytest --run runs/NAME` judges saved heads on new episodes, and passes only where
every head is a direct translator.

pytest --run runs/NAME                every head is a test
pytest --run runs/NAME --head 3       one head
pytest --run=/elsewhere/NAME          a folder outside of this one needs the =

The checkout's code runs in a process of its own: a project that is tested may have a `configs` or a
`report` of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from elk_command import make_environment


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --run and --head."""
    group = parser.getgroup("verdict", "judging the heads of finished runs")
    group.addoption(
        "--run",
        action="append",
        default=[],
        metavar="FOLDER",
        help="judge the heads of a finished run on new episodes, and nothing else",
    )
    group.addoption(
        "--head",
        type=int,
        default=None,
        metavar="NUMBER",
        help="judge this head alone; the first is 0",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> object | None:
    """Collects the heads of the runs named, and no other test, where a run is named."""
    folders: list[str] = session.config.getoption("--run")
    plugins = session.config.pluginmanager
    # With pytest-xdist, the workers collect.
    if not folders or plugins.hasplugin("dsession"):
        return None
    try:
        heads = list_heads(folders, session.config.getoption("--head"))
    except JudgeError as error:
        raise pytest.UsageError(str(error)) from None
    session.items = [HeadItem.from_parent(session, **head) for head in heads]
    hook = session.config.hook
    hook.pytest_collection_modifyitems(session=session, config=session.config, items=session.items)
    hook.pytest_collection_finish(session=session)
    session.testscollected = len(session.items)
    return session.items


class HeadItem(pytest.Item):
    """One head as a test."""

    def __init__(self, *, folder: str, head: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder, self.head = folder, head

    def runtest(self) -> None:
        verdict = judge(self.folder)[self.head]
        if verdict["kind"] != "direct_translator":
            raise NoTranslator(f"{self.name}: {verdict['kind']}. {verdict['reason']}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        if isinstance(excinfo.value, (NoTranslator, JudgeError)):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, None, str]:
        return Path(self.folder), None, self.name


class NoTranslator(Exception):
    """Raised for a head that is anything but a direct translator; says what it is, and why."""


class JudgeError(Exception):
    """Raised when heads cannot be listed or judged; says why."""


def list_heads(folders: list[str], head: int | None) -> list[dict[str, Any]]:
    """Returns the name, folder and number of each head, or of one head a run."""
    number = [] if head is None else ["--head", str(head)]
    heads: list[dict[str, Any]] = call("list", *folders, *number)
    return heads


@cache
def judge(folder: str) -> list[dict[str, str]]:
    """Returns the verdict on each head of a run: its kind, and the reason."""
    verdicts: list[dict[str, str]] = call("judge", folder)
    return verdicts


def call(*words: str) -> Any:
    """Returns what `python -m verdict.as_json` of this checkout prints.

    Raises:
        JudgeError: what is wrong with a run, or the last lines of a process that broke down.
    """
    done = subprocess.run(
        [sys.executable, "-m", "verdict.as_json", *words],
        env=os.environ | make_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise JudgeError(done.stderr.strip().removeprefix("error: "))
    return json.loads(done.stdout)
