"""Two sweeps side by side: what differs in how they were made, and in whom their heads follow.
python -m report --compare A B
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from report.answer import written as with_interval
from report.comparison import KEYS, heads_of
from report.intervals import LEVEL, Mean, mean, paired
from report.lines import written
from report.runs import Found, Run
from report.settings import flat, settings

Floats = NDArray[np.floating[Any]]
SHOWN = 12
"""Differences in configs that are shown, the rest counted."""


@dataclass(frozen=True)
class Line:
    """One reporter, prior, strength and level in two sweeps."""

    key: tuple[str, str, float, float]
    first: Mean
    second: Mean
    follows: Mean | None
    """Second less first, of how far heads follow X; None where there is nothing to tell chance by."""
    translators: Mean | None
    is_paired: bool
    """Whether the same predictors and seeds stand in both."""


def show(first: Found, second: Found) -> None:
    """Prints both sweeps side by side, and what differs between them."""
    from rich.table import Table

    from report.summary import console

    out = console()
    for mark, found in (("A", first), ("B", second)):
        heads = sum(len(run.heads) for run in found.runs)
        out.print(f"{mark}: {len(found.runs)} runs, {heads:,} heads.", highlight=False)
        for notice in found.notices():
            out.print(f"! {mark}: {notice}", style="yellow", highlight=False)
    for said in differences(first.runs, second.runs):
        out.print(said, highlight=False)
    lines = against(_heads(first), _heads(second))
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    several = len({line.key[0] for line in lines}) > 1
    for heading in (
        *(["reporter"] if several else []),
        "prior",
        "strength",
        "level",
        "A follows X",
        "B follows X",
        "B - A",
        "translators, B - A",
        "",
    ):
        table.add_column(heading, no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line, several))
    out.print(table)
    out.print(words(lines), style="bold", highlight=False)


def against(first: pd.DataFrame, second: pd.DataFrame) -> list[Line]:
    """Returns a line for each reporter, prior, strength and level that stands in both, with
    intervals that hold for all together.

    Heads of the same predictor and seed are compared with each other; where no predictor is in
    both, the predictors' means are (Welch's).
    """
    groups = [
        {_plain(*key): group for key, group in heads.groupby(KEYS, dropna=False)}
        for heads in (first, second)
    ]
    both = [(key, groups[0][key], group) for key, group in groups[1].items() if key in groups[0]]
    return [
        _line(key, one, other, len(both))
        for key, one, other in sorted(both, key=lambda item: (item[0][1] != "none", item[0]))
    ]


def differences(first: tuple[Run, ...], second: tuple[Run, ...]) -> list[str]:
    """Returns in words what differs in configs, versions and code of two sweeps, a line each."""
    lines = []
    for what, of in (("config", _configs), ("version", _versions)):
        values = [of(first), of(second)]
        keys = [
            key for key in {**values[0], **values[1]} if values[0].get(key) != values[1].get(key)
        ]
        lines += [
            f"{what} {key}: {values[0].get(key, '–')} in A, {values[1].get(key, '–')} in B."
            for key in keys[:SHOWN]
        ]
        lines += [f"and {len(keys) - SHOWN} more in their {what}s."] if len(keys) > SHOWN else []
    return lines or ["Their configs, versions and code are the same."]


def words(lines: list[Line]) -> str:
    """Returns in words which lines differ beyond chance."""
    if not lines:
        return "No prior and strength stands in both: there is nothing to compare."
    sure = [line for line in lines if line.follows is not None and line.follows.decided]
    asked = [line for line in lines if line.follows is not None]
    unpaired = (
        ""
        if all(line.is_paired for line in lines)
        else " Where no predictor is in both, heads are not paired, and intervals are wide."
    )
    if not asked:
        return (
            "Nothing can be told from chance: the sweeps share no predictor, and one of them has"
            " one predictor only."
        )
    if not sure:
        return (
            f"None of {len(asked)} lines differs beyond chance in whom its heads follow (95% for"
            f" all together).{unpaired}"
        )
    said = [
        f"{line.key[1]} {written(line.key[2])} by {with_interval(line.follows)}"
        for line in sure
        if line.follows is not None
    ]
    where = f"beyond chance in {len(sure)} of {len(asked)} lines (95% for all together)"
    return f"Heads of B follow X more or less than those of A {where}: {'; '.join(said)}.{unpaired}"


def welch(first_P: Floats, second_P: Floats, level: float) -> tuple[float, float]:
    """Returns the interval of the second mean less the first, of clusters that are not paired
    (Welch 1947); NaN with fewer than two in either.
    """
    if min(len(first_P), len(second_P)) < 2:
        return np.nan, np.nan
    parts = [values.var(ddof=1) / len(values) for values in (first_P, second_P)]
    middle, total = float(second_P.mean() - first_P.mean()), sum(parts)
    if total == 0:
        return middle, middle
    freedom = total**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (first_P, second_P), strict=True)
    )
    half = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(total))
    return middle - half, middle + half


def _line(
    key: tuple[str, str, float, float], first: pd.DataFrame, second: pd.DataFrame, among: int
) -> Line:
    own = [
        mean(
            heads["follows_concept"].to_numpy(float),
            heads["predictor"].to_numpy(object),
            bounds=(0.0, 1.0),
        )
        for heads in (first, second)
    ]
    found = [paired(second, first, name, among) for name in ("follows_concept", "translator")]
    is_paired = found[0] is not None
    if not is_paired:
        found = [
            _unpaired(first, second, name, among) for name in ("follows_concept", "translator")
        ]
    return Line(key, own[0], own[1], found[0], found[1], is_paired)


def _unpaired(first: pd.DataFrame, second: pd.DataFrame, name: str, among: int) -> Mean | None:
    of = [
        heads[name].astype(float).groupby(heads["predictor"]).mean().to_numpy(float)
        for heads in (first, second)
    ]
    low, high = welch(of[0], of[1], 1 - (1 - LEVEL) / among)
    if np.isnan(low):
        return None
    return Mean(
        float(of[1].mean() - of[0].mean()),
        max(low, -1.0),
        min(high, 1.0),
        len(of[0]) + len(of[1]),
        len(first) + len(second),
    )


def _heads(found: Found) -> pd.DataFrame:
    return pd.concat(
        [heads_of(setting.heads) for setting in settings(found.runs)], ignore_index=True
    )


def _plain(reporter: Any, prior: Any, strength: Any, level: Any) -> tuple[str, str, float, float]:
    """Returns a key in which a missing level equals itself."""
    return str(reporter), str(prior), float(strength), -1.0 if pd.isna(level) else float(level)


def _cells(line: Line, several: bool) -> list[str]:
    level = "all" if line.key[3] < 0 else f"{line.key[3]:.0f}"
    told = (
        (
            "not decided"
            if not line.follows.decided
            else "more"
            if line.follows.value > 0
            else "less"
        )
        if line.follows
        else "cannot be told"
    )
    cells = [
        line.key[1],
        written(line.key[2]),
        level,
        *(_said(value) for value in (line.first, line.second, line.follows, line.translators)),
        told,
    ]
    return [line.key[0], *cells] if several else cells


def _said(value: Mean | None) -> str:
    return "–" if value is None else with_interval(value)


def _configs(runs: tuple[Run, ...]) -> dict[str, str]:
    """Returns each value of the configs of a sweep; where runs differ, all of them."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in flat(
            {key: value for key, value in run.config.items() if key != "trainer"}
        ):
            values.setdefault(key, set()).add(value)
    return {key: ", ".join(sorted(found)) for key, found in values.items()}


def _versions(runs: tuple[Run, ...]) -> dict[str, str]:
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.versions.items():
            values.setdefault(key, set()).add(str(value))
    return {key: ", ".join(sorted(found)) for key, found in values.items()}
