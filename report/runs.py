"""What a folder of runs holds: the finished ones whole, and by name those that are not, that
failed, or that cannot be believed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.errors import UserError
from storage.fingerprint import shared
from storage.run_folder import (
    CONFIG,
    FAILED,
    HEADS,
    SUMMARY,
    VERSIONS,
    check_whole,
    drop_undeciding,
    read_config,
    read_heads,
    read_predictor,
)

if TYPE_CHECKING:
    import pandas as pd

NEEDED = (
    *(
        "world",
        "core_model",
        "predictor",
        "reporter",
        "prior",
        "strength",
        "seed",
        "level",
        "levels",
    ),
    *(
        "validation_nll",
        "easy_accuracy",
        "follows_concept",
        "gates_passed",
        "failed_gates",
        "verdict",
        "reason",
    ),
)
"""Columns without which heads cannot be compared."""
SHOWN = 8
"""Runs left out that are named one by one; the rest are counted."""


@dataclass(frozen=True)
class Run:
    """A finished run, as its folder tells it."""

    name: str
    """Its folder, from the one that was asked for on."""
    folder: Path
    config: dict[str, Any]
    versions: dict[str, str]
    about: dict[str, Any]
    heads: pd.DataFrame
    """One row a head; `run` is the name, `seconds` the clock's for 1,000 episodes."""

    @property
    def code(self) -> str:
        """The fingerprint of the code that all runs depend on, as it was then; empty where it was
        not written down.
        """
        return shared(str(self.versions.get("code", "")))


@dataclass(frozen=True)
class Found:
    """Everything that folders hold."""

    runs: tuple[Run, ...]
    unfinished: tuple[str, ...]
    """Names of runs that were begun and are not finished; whether they are at work a folder cannot
    tell.
    """
    failed: tuple[tuple[str, str], ...]
    """Names, and why in one line."""
    refused: tuple[str, ...]
    """One line each: which run is left out, why, and the cure."""

    def notices(self) -> list[str]:
        """Returns in words what is left out, a line each."""
        said = [*self.refused, *(f"{name} failed: {why}" for name, why in self.failed)]
        lines = said[:SHOWN] + (
            [f"and {len(said) - SHOWN} more like these."] if len(said) > SHOWN else []
        )
        if self.unfinished:
            named = ", ".join(self.unfinished[:4]) + (
                f" and {len(self.unfinished) - 4} more" if len(self.unfinished) > 4 else ""
            )
            are = "is" if len(self.unfinished) == 1 else "are"
            lines.append(
                f"{len(self.unfinished)} of {self.begun} runs {are} not finished yet, so this is"
                f" what {len(self.runs)} say: {named}."
            )
        return lines

    @property
    def begun(self) -> int:
        """How many runs were begun."""
        return len(self.runs) + len(self.unfinished) + len(self.failed)


def find(folders: list[Path]) -> Found:
    """Returns what folders hold at any depth, but for runs that were set aside; each run once,
    however often it was named.

    Raises:
        UserError: a folder is not there, or none of them holds a finished run that can be read.
    """
    places = {place.resolve(): name for folder in folders for place, name in _places(folder)}
    runs: dict[str, Run] = {}
    unfinished, failed, refused = [], [], []
    for place, name in sorted(places.items()):
        if not (place / HEADS).exists():
            why = _failure(place)
            failed.append((name, why)) if why else unfinished.append(name)
            continue
        try:
            run = _run(place, name)
            same = runs.setdefault(_key(run.config), run)
            if same is not run:
                refused.append(
                    f"{name}: the same config as {same.name}, whose heads are counted once."
                )
        except UserError as refusal:
            refused.append(str(refusal).replace(str(place), name))
    if not runs:
        raise UserError(_nothing(folders, unfinished, failed, refused))
    return Found(
        _distinct(tuple(runs.values())),
        tuple(unfinished),
        tuple(failed),
        (*refused, *_strangers(list(runs.values()))),
    )


def _places(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields the folders of runs, finished or not, with their names."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder. Name a run's folder, or one that holds runs."
        )
    for place in sorted({path.parent for name in (CONFIG, HEADS) for path in folder.rglob(name)}):
        inner = place.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts) or "~" in place.name
        job = (place / SUMMARY).exists() and not (place / HEADS).exists()
        if not hidden and not job:
            yield place, str(inner) if inner.parts else folder.resolve().name


def _run(place: Path, name: str) -> Run:
    """Reads a finished run; raises UserError where it is not whole, was changed by hand, or is of
    another version.
    """
    check_whole(place)
    try:
        said, heads = read_predictor(place), read_heads(place)
        versions = json.loads((place / VERSIONS).read_text())
    except (ValueError, OSError) as error:
        raise UserError(
            f"{place}: it cannot be read ({error}). Bring it back, or delete the folder and run it"
            " again."
        ) from None
    lacking = [name for name in NEEDED if name not in heads]
    if lacking or heads.empty:
        what = f"lacks {', '.join(lacking)}" if lacking else "holds no heads"
        raise UserError(f"{place}: {HEADS} {what}. Delete the folder and run it again.")
    clock = said.get("clocked", {}).get("seconds")
    return Run(
        name, place, read_config(place), versions, said, heads.assign(run=name, seconds=clock)
    )


def _failure(place: Path) -> str:
    file = place / FAILED
    return (
        file.read_text().partition("\n")[0].strip() or "no reason was written down"
        if file.exists()
        else ""
    )


def _key(config: dict[str, Any]) -> str:
    return json.dumps(drop_undeciding(config), sort_keys=True, default=str)


def _distinct(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Two folders may each hold a run of one name: then the names are the whole paths."""
    counts = Counter(run.name for run in runs)
    longer = [str(run.folder) if counts[run.name] > 1 else run.name for run in runs]
    return tuple(
        replace(run, name=name, heads=run.heads.assign(run=name))
        for run, name in zip(runs, longer, strict=True)
    )


def _strangers(runs: list[Run]) -> list[str]:
    """Returns a line for runs that other code, or other packages, made than most: they are shown,
    and named.
    """
    lines = []
    for what, of_run in (
        ("code", [run.code for run in runs]),
        ("package versions", [_packages(run.versions) for run in runs]),
    ):
        common = Counter(of_run).most_common(1)[0][0]
        others = [run.name for run, value in zip(runs, of_run, strict=True) if value != common]
        if others:
            named = ", ".join(others[:4]) + (
                f" and {len(others) - 4} more" if len(others) > 4 else ""
            )
            lines.append(
                f"{_runs(len(others))} made by other {what} than the rest, and shown with them:"
                f" {named}. Run them again to be sure."
            )
    return lines


def _packages(versions: dict[str, str]) -> str:
    return json.dumps(
        {name: value for name, value in versions.items() if name != "code"}, sort_keys=True
    )


def _nothing(
    folders: list[Path], unfinished: list[str], failed: list[tuple[str, str]], refused: list[str]
) -> str:
    where = ", ".join(map(str, folders))
    if not (unfinished or failed or refused):
        return f"{where}: it holds no finished run ({HEADS}). Train first: python train.py"
    parts = [f"{_runs(len(unfinished))} not finished"] if unfinished else []
    parts += [f"{name} failed: {why}" for name, why in failed] + refused
    return f"{where}: no finished run that can be read. " + "; ".join(parts)


def _runs(n: int) -> str:
    return "1 run is" if n == 1 else f"{n} runs are"
