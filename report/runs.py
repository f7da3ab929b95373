"""Finds the runs in folders: the finished runs with their heads, and the names of runs that are
unfinished, have failed, or cannot be used.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.errors import UserError
from storage.fingerprint import get_shared_part
from storage.run_folder import (
    CONFIG,
    FAILED,
    HEADS,
    SUMMARY,
    VERSIONS,
    check_whole,
    drop_ignored_keys,
    is_set_aside,
    read_config,
    read_heads,
    read_predictor,
)

if TYPE_CHECKING:
    import pandas as pd

NEEDED = (
    "world",
    "core_model",
    "predictor",
    "reporter",
    "prior",
    "strength",
    "seed",
    "level",
    "levels",
    "validation_nll",
    "easy_accuracy",
    "follows_concept",
    "gates_passed",
    "failed_gates",
    "verdict",
    "reason",
)
"""Columns without which heads cannot be compared."""
MOST_NOTICES = 8
"""Largest number of notices about single runs; further ones are counted."""
MOST_NAMES = 4
"""Largest number of runs that one notice names; further ones are counted."""


@dataclass(frozen=True)
class Run:
    """A finished run, as read from its folder."""

    name: str
    """The path of its folder relative to the folder that was searched."""
    folder: Path
    config: dict[str, Any]
    versions: dict[str, str]
    about: dict[str, Any]
    """Facts about the predictors and the judge, from predictor.json."""
    heads: pd.DataFrame
    """One row per head. `run` is the run's name, `seconds` the measured time for 1,000 episodes."""

    @property
    def abouts(self) -> list[dict[str, Any]]:
        """Facts about each predictor."""
        return list_predictors(self.about)

    @property
    def code(self) -> str:
        """The fingerprint of the code that all runs depend on; empty where it was not recorded."""
        return get_shared_part(str(self.versions.get("code", "")))


@dataclass(frozen=True)
class FoundRuns:
    """All runs in some folders."""

    runs: tuple[Run, ...]
    """The finished runs."""
    unfinished: tuple[str, ...]
    """Names of runs that have started and are not finished. They may still be running."""
    failed: tuple[tuple[str, str], ...]
    """Names of failed runs, each with the reason in one line."""
    refused: tuple[str, ...]
    """One line for each run that is left out or differs: its name, the reason and the cure."""

    def notices(self) -> list[str]:
        """Returns one line for each run that is left out or differs from the others."""
        lines = [*self.refused, *(f"{name} failed: {reason}" for name, reason in self.failed)]
        n_more = len(lines) - MOST_NOTICES
        if n_more > 0:
            lines = [*lines[:MOST_NOTICES], f"and {n_more} more notices like these."]
        if self.unfinished:
            n = len(self.unfinished)
            lines.append(
                f"{n} of {self.started} runs {'is' if n == 1 else 'are'} not finished:"
                f" {_join_names(self.unfinished)}. The results are from"
                f" {_count_runs(len(self.runs), 'finished ')}."
            )
        return lines

    @property
    def started(self) -> int:
        """Number of runs that have started."""
        return len(self.runs) + len(self.unfinished) + len(self.failed)


def find(folders: list[Path]) -> FoundRuns:
    """Returns the runs in folders at any depth, each run once. Runs that were moved aside do not
    count.

    Raises:
        UserError: a folder does not exist, or no folder holds a finished run that can be read.
    """
    names = {}
    for folder in folders:
        for path, name in _walk(folder):
            names[path.resolve()] = name
    runs: dict[str, Run] = {}
    unfinished, failed, refused = [], [], []
    for folder, name in sorted(names.items()):
        if not (folder / HEADS).exists():
            reason = _read_failure(folder)
            if reason:
                failed.append((name, reason))
            else:
                unfinished.append(name)
            continue
        try:
            run = _read_run(folder, name)
            same = runs.setdefault(_serialize_config(run.config), run)
            if same is not run:
                refused.append(
                    f"{name}: it has the same config as {same.name}. Only the heads of"
                    f" {same.name} are counted."
                )
        except UserError as error:
            refused.append(str(error).replace(str(folder), name))
    if not runs:
        raise UserError(_explain_no_runs(folders, unfinished, failed, refused))
    refused += _describe_other_versions(list(runs.values()))
    distinct = _make_names_distinct(tuple(runs.values()))
    return FoundRuns(distinct, tuple(unfinished), tuple(failed), tuple(refused))


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields the folders of runs, finished or not, with their names."""
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder. Name the folder of a run, or a folder that"
            " contains runs."
        )
    for path in sorted({file.parent for name in (CONFIG, HEADS) for file in folder.rglob(name)}):
        relative = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        is_old = bool(relative.parts) and is_set_aside(path)
        is_job = (path / SUMMARY).exists() and not (path / HEADS).exists()
        if not is_hidden and not is_old and not is_job:
            yield path, str(relative) if relative.parts else folder.resolve().name


def _read_run(folder: Path, name: str) -> Run:
    """Reads a finished run.

    Raises:
        UserError: a file is missing or was changed, or another version of this software wrote it.
    """
    check_whole(folder)
    try:
        about, heads = read_predictor(folder), read_heads(folder)
        versions = json.loads((folder / VERSIONS).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(
            f"{folder}: it cannot be read ({error}). Restore it, or delete the folder and run it"
            " again."
        ) from None
    missing = [column for column in NEEDED if column not in heads]
    if missing or heads.empty:
        defect = f"lacks {', '.join(missing)}" if missing else "holds no heads"
        raise UserError(f"{folder}: {HEADS} {defect}. Delete the folder and run it again.")
    seconds = about.get("clocked", {}).get("seconds")
    calibrated = heads.get("calibrated_nll", heads["validation_nll"])
    heads = heads.assign(run=name, seconds=seconds, calibrated_nll=calibrated)
    return Run(name, folder, read_config(folder), versions, about, heads)


def list_predictors(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the facts about each predictor in predictor.json; there is a list of them where a run
    has several.
    """
    predictors: list[dict[str, Any]] = about.get("predictors", [about])
    return predictors


def _read_failure(folder: Path) -> str:
    """Returns the reason why a run failed; empty where it did not fail."""
    file = folder / FAILED
    if not file.exists():
        return ""
    first_line = file.read_text(encoding="utf-8").partition("\n")[0]
    return first_line.strip() or "the reason was not recorded"


def _serialize_config(config: dict[str, Any]) -> str:
    return json.dumps(drop_ignored_keys(config), sort_keys=True, default=str)


def _make_names_distinct(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Returns the runs; those that share a name have their whole paths as names."""
    counts = Counter(run.name for run in runs)
    renamed = []
    for run in runs:
        if counts[run.name] > 1:
            name = str(run.folder)
            renamed.append(replace(run, name=name, heads=run.heads.assign(run=name)))
        else:
            renamed.append(run)
    return tuple(renamed)


def _describe_other_versions(runs: list[Run]) -> list[str]:
    """Returns a line about runs whose code, or whose packages, differ from those of most runs."""
    codes = [run.code for run in runs]
    packages = [_serialize_packages(run.versions) for run in runs]
    lines = []
    for kind, values in (("code", codes), ("package versions", packages)):
        common = Counter(values).most_common(1)[0][0]
        others = [run.name for run, value in zip(runs, values, strict=True) if value != common]
        if others:
            cure = (
                "It is included; run it again to be sure."
                if len(others) == 1
                else "They are included; run them again to be sure."
            )
            lines.append(
                f"{_count_runs(len(others))} used other {kind} than most runs:"
                f" {_join_names(others)}. {cure}"
            )
    return lines


def _serialize_packages(versions: dict[str, str]) -> str:
    packages = {name: version for name, version in versions.items() if name != "code"}
    return json.dumps(packages, sort_keys=True)


def _explain_no_runs(
    folders: list[Path], unfinished: list[str], failed: list[tuple[str, str]], refused: list[str]
) -> str:
    names = ", ".join(map(str, folders))
    if not (unfinished or failed or refused):
        return f"{names}: it holds no finished run ({HEADS}). Train first: python train.py"
    reasons = []
    if unfinished:
        verb = "is" if len(unfinished) == 1 else "are"
        reasons.append(f"{_count_runs(len(unfinished))} {verb} not finished")
    reasons += [f"{name} failed: {reason}" for name, reason in failed] + refused
    return f"{names}: no finished run can be read. {'; '.join(reasons)}"


def _join_names(names: list[str] | tuple[str, ...]) -> str:
    n_more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {n_more} more" if n_more > 0 else "")


def _count_runs(n: int, adjective: str = "") -> str:
    return f"1 {adjective}run" if n == 1 else f"{n} {adjective}runs"
