"""The predicted and the measured crossings of `data_size` in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.crossings import PREDICTED, Result, compare_crossings, summarise_crossings
from report.intervals import Mean


def summarise(results: Sequence[Result], errors: float, digest: str) -> str:
    """Returns the result in words, as Markdown.

    Args:
        errors: share of easy episodes on which the human errs.
        digest: of the predictions.
    """
    n_predictors = results[0].contest["predictor"].nunique()
    lines = [
        "# Data size",
        "",
        f"{n_predictors} predictors. X is the cheaper feature and is wrong on {errors:g} of the"
        " labels; H is dearer and never wrong. Predicted before the contest was trained, from"
        f" planted heads (predictions.parquet, SHA-256 {digest[:16]}...). Numbers are training"
        " episodes from which on heads follow X on less than half of disputed episodes, with"
        " intervals over predictors.",
        "",
        "| prior | measured | predicted by planted heads with errors | by the two-part rule"
        " | measured / first | measured / second | settled heads |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        lines.append(format_row(result))
    lines += [""]
    for result in results:
        lines.append(describe(result))
    return "\n".join([*lines, "", *format_follows(results), ""])


def format_row(result: Result) -> str:
    """Returns one row of the table of crossings."""
    measured_P = result.measured_P
    cells = [result.name, summarise_crossings(measured_P).describe()]
    predicted = [result.predict(column) for column in PREDICTED]
    cells += [summarise_crossings(log2_P).describe() for log2_P in predicted]
    cells += [format_ratio(compare_crossings(measured_P, log2_P)) for log2_P in predicted]
    settled_K = result.contest["settled"]
    cells.append(f"{settled_K.sum()} of {len(settled_K)}")
    return f"| {' | '.join(cells)} |"


def describe(result: Result) -> str:
    """Returns whether predictions hold, in words."""
    measured_P = result.measured_P
    clauses = []
    for column, name in PREDICTED.items():
        ratio = compare_crossings(measured_P, result.predict(column))
        clauses.append(f"{name}: {judge_ratio(ratio)}")
    return f"- **{result.name}.** {'; '.join(clauses)}."


def judge_ratio(log2_ratio: Mean) -> str:
    """Returns whether the measured crossing is earlier or later than predicted, in words."""
    if not log2_ratio.predictors:
        return "no predictor crosses in both, so nothing can be compared"
    if np.isnan(log2_ratio.low):
        return f"{format_ratio(log2_ratio)} times the prediction, of a single predictor"
    share = f"{format_ratio(log2_ratio)} times the prediction"
    if log2_ratio.high < 0:
        return f"the imitator takes over earlier, at {share}"
    if log2_ratio.low > 0:
        return f"the imitator takes over later, at {share}"
    return f"no difference from the measured crossing is shown, {share}"


def format_ratio(log2_mean: Mean) -> str:
    """Returns a ratio with its interval; a dash where there is none."""
    if not log2_mean.predictors:
        return "–"
    value, low, high = (2.0**log2 for log2 in log2_mean[:3])
    return f"{value:.2f}" if np.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def format_follows(results: Sequence[Result]) -> list[str]:
    """Returns how often heads follow X by number of episodes, as a Markdown table."""
    sizes = sorted(results[0].contest["train"].unique())
    lines = ["Follows X, by number of training episodes:", ""]
    lines += [f"| prior | {' | '.join(map(str, sizes))} |", "|---" * (len(sizes) + 1) + "|"]
    for result in results:
        means = result.contest.groupby("train")["follows_concept"].mean()
        lines.append(f"| {result.name} | {' | '.join(f'{value:.2f}' for value in means)} |")
    return lines
