"""A pytest plugin: `pytest --run runs/NAME` judges saved heads again, and passes only where every
head is a direct translator.

pytest --run runs/NAME                every head is a test
pytest --run runs/NAME --head 3       one head
pytest --run=/elsewhere/NAME          a folder outside of this one needs the =
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.errors import UserError

if TYPE_CHECKING:
    from verdict.verdict import Judgement


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --run and --head."""
    group = parser.getgroup("verdict", "judging the heads of finished runs")
    group.addoption(
        "--run",
        action="append",
        default=[],
        metavar="FOLDER",
        help="judge the heads of a finished run again, and nothing else",
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
    """Collects the heads of the named runs, and no other test, where a run is named."""
    folders: list[str] = session.config.getoption("--run")
    # The controller of pytest-xdist leaves collecting to its workers.
    if not folders or session.config.pluginmanager.hasplugin("dsession"):
        return None
    head = session.config.getoption("--head")
    items: list[pytest.Item] = []
    try:
        for folder in folders:
            items += collect_heads(session, Path(folder), head)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    session.items = items
    hook = session.config.hook
    hook.pytest_collection_modifyitems(session=session, config=session.config, items=items)
    hook.pytest_collection_finish(session=session)
    session.testscollected = len(session.items)
    return session.items


def collect_heads(session: pytest.Session, folder: Path, head: int | None) -> Iterator[pytest.Item]:
    """Yields the heads of the finished runs in a folder as tests; all of them, or one."""
    from storage.run_folder import check_whole, find_runs
    from verdict.__main__ import check_head, label_heads

    for run in find_runs([folder]):
        check_whole(run)
        labels = label_heads(run)
        if head is not None:
            check_head(run, head, len(labels))
        for k in range(len(labels)) if head is None else [head]:
            name = f"{run} head {k} ({labels[k]})"
            yield HeadItem.from_parent(session, name=name, folder=run, head=k)


class HeadItem(pytest.Item):
    """One head as a test."""

    def __init__(self, *, folder: Path, head: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder, self.head = folder, head

    def runtest(self) -> None:
        verdict = judge_once(self.folder).verdicts[self.head]
        if str(verdict.kind) != "direct_translator":
            raise NotATranslator(f"{self.name}: {verdict.kind}. {verdict.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        if isinstance(excinfo.value, (NotATranslator, UserError)):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.folder, None, self.name


class NotATranslator(Exception):
    """Raised for a head that is anything but a direct translator; says what it is, and why."""


@lru_cache(maxsize=1)
def judge_once(folder: Path) -> Judgement:
    """Returns the verdicts on the heads of a run, which are judged once for all tests."""
    from verdict.judge_again import judge_again

    return judge_again(folder)
