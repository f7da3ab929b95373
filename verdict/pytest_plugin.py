"""pytest as the door: `pytest --run runs/NAME` judges saved heads afresh, and passes only where
every head is a direct translator.

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
        help="judge the heads of a finished run afresh, and nothing else",
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
    if not folders or session.config.pluginmanager.hasplugin(
        "dsession"
    ):  # which has its workers collect
        return None
    try:
        session.items = [
            item
            for folder in folders
            for item in _items(session, Path(folder), session.config.getoption("--head"))
        ]
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    session.config.hook.pytest_collection_modifyitems(
        session=session, config=session.config, items=session.items
    )
    session.config.hook.pytest_collection_finish(session=session)
    session.testscollected = len(session.items)
    return session.items


def _items(session: pytest.Session, place: Path, head: int | None) -> Iterator[pytest.Item]:
    from storage.run_folder import check_whole, find_runs
    from verdict.__main__ import check_head, labels

    for folder in find_runs([place]):
        check_whole(folder)
        names = labels(folder)
        if head is not None:
            check_head(folder, head, len(names))
        for k in range(len(names)) if head is None else [head]:
            yield HeadItem.from_parent(
                session, name=f"{folder} head {k} ({names[k]})", folder=folder, head=k
            )


class HeadItem(pytest.Item):
    """One head as a test."""

    def __init__(self, *, folder: Path, head: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder, self.head = folder, head

    def runtest(self) -> None:
        verdict = _judged(self.folder).verdicts[self.head]
        if str(verdict.kind) != "direct_translator":
            raise NoTranslator(f"{self.name}: {verdict.kind}. {verdict.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        return (
            str(excinfo.value)
            if isinstance(excinfo.value, (NoTranslator, UserError))
            else str(super().repr_failure(excinfo, style))
        )

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.folder, None, self.name


class NoTranslator(Exception):
    """Raised by a head that is anything but a direct translator; says what it is, and why."""


@lru_cache(maxsize=1)
def _judged(folder: Path) -> Judgement:
    from verdict.judge_again import judge_again

    return judge_again(folder)
