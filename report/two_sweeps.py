"""Compares two sweeps: how their configs differ, and how often their heads follow X.

python -m report --compare A B
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from console.terminal import open_console
from report.answer import format_mean
from report.arms import flatten, is_without_prior
from report.columns import get_heading
from report.comparison import KEYS, choose_heads
from report.intervals import (
    LEVEL,
    N_CLAIMS,
    Mean,
    estimate_column,
    estimate_paired_difference,
    pair_heads,
)
from report.lines import format_strength
from report.runs import FoundRuns, Run
from report.settings import group_by_setting
from report.settling import describe_settled, keep_settled

Floats = NDArray[np.floating[Any]]
INTERVALS = (
    "Settled heads only. Intervals at 95%: of A and of B each by itself, of B - A for all lines"
    " together. The decision is about follows X."
)
MOST_DIFFERENCES = 12
"""Largest number of differences in configs that are shown; further ones are counted."""


@dataclass(frozen=True)
class Line:
    """One reporter, prior, strength and level in two sweeps."""

    reporter: str
    prior: str
    strength: float
    level: float
    """-1 where heads read all levels."""
    first: Mean
    second: Mean
    follows: Mean | None
    """Second less first: the share of disputed episodes on which heads follow X. None where no
    interval exists.
    """
    translators: Mean | None
    is_paired: bool
    """Whether the same predictors and seeds occur in both sweeps."""

    @property
    def is_unsettled(self) -> bool:
        """Whether one of the sweeps has no settled heads here."""
        return min(self.first.heads, self.second.heads) == 0


Key = tuple[str, str, float, float]
"""Reporter, prior, strength and level of a line."""


def show(first: FoundRuns, second: FoundRuns, level: int | None = None) -> None:
    """Prints both sweeps side by side, and the differences between them.

    Args:
        level: the level to compare; None for the one that held-out easy episodes choose.
    """
    from rich.table import Table

    out = open_console()
    heads = {"A": _select_heads(first, level), "B": _select_heads(second, level)}
    for letter, sweep in (("A", first), ("B", second)):
        n_heads = sum(len(run.heads) for run in sweep.runs)
        about = f"{len(sweep.runs)} runs, {n_heads:,} heads. {describe_settled(heads[letter])}"
        out.print(f"{letter}: {about}", highlight=False)
        for notice in sweep.notices():
            out.print(f"! {letter}: {notice}", style="yellow", highlight=False)
    for difference in describe_differences(first.runs, second.runs):
        out.print(difference, highlight=False)
    lines = compare_lines(heads["A"], heads["B"])
    several = len({line.reporter for line in lines}) > 1
    follows = get_heading("follows_concept")
    headings = ["prior", "strength", "level", f"A {follows}", f"B {follows}", "B - A"]
    headings += [f"{get_heading('translators')}, B - A", "decision"]
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ["reporter", *headings] if several else headings:
        table.add_column(heading)
    for line in lines:
        cells = _format_line(line)
        table.add_row(*(cells if several else cells[1:]))
    out.print(table)
    out.print(INTERVALS)
    out.print(describe_lines(lines), style="bold", highlight=False)


def compare_lines(first: pd.DataFrame, second: pd.DataFrame) -> list[Line]:
    """Returns a line for each reporter, prior, strength and level that occurs in both sweeps, with
    figures of settled heads. The intervals of the differences hold for follows X and translators of
    all lines together.

    Heads with the same predictor and seed are compared with each other. Where the sweeps share no
    predictor, the means of the predictors are compared (Welch).
    """
    first_groups, second_groups = _group_by_line(first), _group_by_line(second)
    keys = [key for key in second_groups if key in first_groups]
    keys.sort(key=lambda key: (not is_without_prior(key[1]), key))
    n = N_CLAIMS * max(sum(_have_settled(first_groups[k], second_groups[k]) for k in keys), 1)
    return [_compare_line(key, first_groups[key], second_groups[key], n) for key in keys]


def describe_differences(first: tuple[Run, ...], second: tuple[Run, ...]) -> list[str]:
    """Returns one line for each difference in the configs, versions and code of two sweeps."""
    lines = _list_differences("config", _collect_configs(first), _collect_configs(second))
    lines += _list_differences("version", _collect_versions(first), _collect_versions(second))
    return lines or ["Their configs, versions and code are the same."]


def describe_lines(lines: list[Line]) -> str:
    """Returns in words which lines differ significantly."""
    if not lines:
        return "No prior and strength occurs in both sweeps, so there is nothing to compare."
    if all(line.is_unsettled for line in lines):
        return "No difference is claimed: no line has settled heads in both sweeps."
    tested = [line for line in lines if line.follows is not None]
    if not tested:
        return (
            "No difference can be tested: the sweeps share no predictor, and one of them has only"
            " one predictor."
        )
    unpaired = " Where the sweeps share no predictor, heads are not paired and intervals are wide."
    if all(line.is_paired for line in tested):
        unpaired = ""
    follows = _list_decided([(line, line.follows) for line in lines])
    translators = _list_decided([(line, line.translators) for line in lines])
    n_settled = sum(not line.is_unsettled for line in lines)
    family = f"95% for all {N_CLAIMS * n_settled} differences together: follows X and translators"
    if not follows and not translators:
        return (
            f"None of {len(tested)} lines differs significantly in how often heads follow X or in"
            f" the share of translators ({family}).{unpaired}"
        )
    return (
        "Heads of B follow X significantly more or less often than heads of A in"
        f" {len(follows)} of {len(tested)} lines{_introduce(follows)}; the share of translators"
        f" differs significantly in {len(translators)}{_introduce(translators)} ({family})."
        f"{unpaired}"
    )


def compute_welch_interval(
    first_means: Floats, second_means: Floats, level: float
) -> tuple[float, float]:
    """Returns the interval of the second mean less the first for clusters that are not paired
    (Welch 1947); NaN with fewer than two clusters in either sweep.
    """
    if min(len(first_means), len(second_means)) < 2:
        return np.nan, np.nan
    first, second = _compute_squared_error(first_means), _compute_squared_error(second_means)
    middle, total = float(second_means.mean() - first_means.mean()), first + second
    if total == 0:
        return middle, middle
    first_part, second_part = first**2 / (len(first_means) - 1), second**2 / (len(second_means) - 1)
    degrees = total**2 / (first_part + second_part)
    half = float(stdtrit(degrees, (1 + level) / 2) * np.sqrt(total))
    return middle - half, middle + half


def _list_decided(differences: list[tuple[Line, Mean | None]]) -> list[str]:
    """Returns in words the lines whose difference, B less A, is significant."""
    return [
        f"{line.prior} {format_strength(line.strength)} by {format_mean(difference)}"
        for line, difference in differences
        if difference is not None and difference.decided
    ]


def _introduce(words: list[str]) -> str:
    return f": {', '.join(words)}" if words else ""


def _compute_squared_error(means: Floats) -> float:
    """Returns the squared standard error of the mean of means."""
    return means.var(ddof=1) / len(means)


def _group_by_line(heads: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Returns the heads of each line. A missing level becomes -1, which equals itself."""
    groups = {}
    for _, group in heads.groupby(KEYS, dropna=False):
        reporter, prior, strength, level = group[KEYS].iloc[0]
        level = -1.0 if pd.isna(level) else float(level)
        groups[str(reporter), str(prior), float(strength), level] = group
    return groups


def _compare_line(key: Key, first: pd.DataFrame, second: pd.DataFrame, n_differences: int) -> Line:
    first, second = keep_settled(first), keep_settled(second)
    columns = ("follows_concept", "translator")
    pairs = pair_heads(second, first, columns)
    differences: list[Mean | None] = []
    for column in columns:
        if pairs.empty:
            differences.append(_estimate_unpaired_difference(first, second, column, n_differences))
        else:
            differences.append(estimate_paired_difference(pairs, column, n_differences))
    return Line(
        *key,
        first=estimate_column(first, "follows_concept"),
        second=estimate_column(second, "follows_concept"),
        follows=differences[0],
        translators=differences[1],
        is_paired=not pairs.empty,
    )


def _have_settled(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return bool(first["settled"].any() and second["settled"].any())


def _estimate_unpaired_difference(
    first: pd.DataFrame, second: pd.DataFrame, column: str, n_differences: int
) -> Mean | None:
    first_means, second_means = _compute_means(first, column), _compute_means(second, column)
    low, high = compute_welch_interval(first_means, second_means, 1 - (1 - LEVEL) / n_differences)
    if np.isnan(low):
        return None
    difference = float(second_means.mean() - first_means.mean())
    n_predictors, n_heads = len(first_means) + len(second_means), len(first) + len(second)
    return Mean(difference, max(low, -1.0), min(high, 1.0), n_predictors, n_heads)


def _compute_means(heads: pd.DataFrame, column: str) -> Floats:
    """Returns the mean of a column under each predictor."""
    return heads[column].astype(float).groupby(heads["predictor"]).mean().to_numpy(float)


def _select_heads(sweep: FoundRuns, level: int | None) -> pd.DataFrame:
    frames = [choose_heads(setting.heads, level=level) for setting in group_by_setting(sweep.runs)]
    return pd.concat(frames, ignore_index=True)


def _format_line(line: Line) -> list[str]:
    if line.is_unsettled:
        decision = "not settled"
    elif line.follows is None:
        decision = "cannot be tested"
    elif not line.follows.decided:
        decision = "not decided"
    else:
        decision = "more" if line.follows.value > 0 else "less"
    level = "all" if line.level < 0 else f"{line.level:.0f}"
    means = (line.first, line.second, line.follows, line.translators)
    cells = ["–" if mean is None else format_mean(mean) for mean in means]
    return [line.reporter, line.prior, format_strength(line.strength), level, *cells, decision]


def _list_differences(kind: str, first: dict[str, str], second: dict[str, str]) -> list[str]:
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    lines = [
        f"{kind} {key}: {first.get(key, '–')} in A; {second.get(key, '–')} in B."
        for key in keys[:MOST_DIFFERENCES]
    ]
    if len(keys) > MOST_DIFFERENCES:
        lines.append(f"and {len(keys) - MOST_DIFFERENCES} more differences in their {kind}s.")
    return lines


def _collect_configs(runs: tuple[Run, ...]) -> dict[str, str]:
    """Returns each value of a sweep's configs; where runs differ, all their values."""
    values: dict[str, set[str]] = {}
    for run in runs:
        config = {key: value for key, value in run.config.items() if key != "trainer"}
        for key, value in flatten(config):
            values.setdefault(key, set()).add(value)
    return _join_values(values)


def _collect_versions(runs: tuple[Run, ...]) -> dict[str, str]:
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.versions.items():
            values.setdefault(key, set()).add(str(value))
    return _join_values(values)


def _join_values(values: dict[str, set[str]]) -> dict[str, str]:
    return {key: " or ".join(sorted(options)) for key, options in values.items()}
