"""The peaks of `double_descent` in words, and its table."""

from __future__ import annotations

import pandas as pd

from experiments.peaks import PEAKS, Peak, find_peak, find_threshold, tabulate
from report.intervals import Mean, estimate_mean


def summarise(table: pd.DataFrame, label_noise: float) -> str:
    """Returns the result in words, as Markdown."""
    cells = []
    for _, heads in table.groupby(["train", "epochs"]):
        cells.append((int(heads["train"].iloc[0]), int(heads["epochs"].iloc[0]), heads))
    n_means = 2 * len(cells) * len(PEAKS)
    described = []
    shown = dict.fromkeys(PEAKS, 0)
    for train, epochs, heads in cells:
        sentences = [describe_threshold(heads)]
        for column, name in PEAKS.items():
            peak = find_peak(tabulate(heads, column), n_means)
            shown[column] += peak is not None and peak.is_shown
            sentences.append(describe_peak(name, peak, train))
        sentences.append(describe_following(heads))
        described.append(f"- **N = {train}, {epochs:,} epochs.** {' '.join(sentences)}")
    counts = [f"{PEAKS[column]} in {count}" for column, count in shown.items()]
    lines = [
        "# Double descent",
        "",
        f"{table['predictor'].nunique()} predictors, {label_noise:g} of the training labels"
        f" flipped. A peak is shown of {' and of '.join(counts)} of the {len(cells)} pairs of N"
        " training episodes and a length of training.",
        "",
        "Where a peak is, is chosen on half of the predictors; by how much the curve rises to it"
        " and falls after it is measured on the other half, with intervals over predictors for all"
        f" {n_means} differences together. A peak is shown where both intervals are above 0.",
        "",
        *described,
        "",
    ]
    return "\n".join([*lines, *format_table(table), ""])


def describe_threshold(heads: pd.DataFrame) -> str:
    """Returns from how many parameters on all heads fit their labels, in words."""
    threshold = find_threshold(heads)
    if threshold is None:
        least = heads.groupby("parameters")["train_error"].mean().min()
        return f"At no width do all heads fit all labels (training error {least:.3f} at the least)."
    return f"All heads fit all labels from {threshold:,} parameters on."


def describe_peak(name: str, peak: Peak | None, train: int) -> str:
    """Returns whether there is a peak, in words.

    Args:
        train: number of training episodes.
    """
    if peak is None:
        return (
            f"{name.capitalize()} has no peak." if name.islower() else f"T{name[1:]} has no peak."
        )
    before, at, after = peak.parameters
    sizes = (
        f"it rises by {format_mean(peak.rise)} from {before:,} to {at:,} parameters and falls by"
        f" {format_mean(peak.fall)} to {after:,}"
    )
    subject = f"T{name[1:]}"
    if peak.is_shown:
        place = f"{at:,} parameters, {at / train:.2f} for each training episode"
        return f"{subject} has a peak of {peak.height:.2f} at {place}: {sizes}."
    return f"No peak of {name} is shown: {sizes}."


def describe_following(heads: pd.DataFrame) -> str:
    """Returns how follows X changes from the narrowest heads to the widest, in words."""
    curves = tabulate(heads, "follows_concept")
    few, many = curves.columns[0], curves.columns[-1]
    change_P = (curves[many] - curves[few]).to_numpy()
    change = estimate_mean(change_P, curves.index.to_numpy(object))
    return (
        f"From {few:,} to {many:,} parameters follows X changes from {curves[few].mean():.2f} to"
        f" {curves[many].mean():.2f}, by {format_mean(change)}."
    )


def format_mean(mean: Mean) -> str:
    """Returns a mean with its interval."""
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def format_table(table: pd.DataFrame) -> list[str]:
    """Returns the means over predictors, as a Markdown table."""
    columns = ["train_error", "train_nll", "test_error", "test_nll", "follows_concept"]
    keys = ["train", "epochs", "hidden", "parameters"]
    lines = [f"| {' | '.join([*keys, *columns])} |", "|---" * (len(keys) + len(columns)) + "|"]
    means = table.groupby(keys, as_index=False)[columns].mean()
    for _, row in means.iterrows():
        cells = [str(int(row[key])) for key in keys] + [f"{row[key]:.3f}" for key in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
