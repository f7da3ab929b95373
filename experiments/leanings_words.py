"""What `leanings` found, in words, beside what was registered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from report.intervals import Mean, estimate_mean

PLACE = ["context", "prior", "level"]


class Change(NamedTuple):
    """How much better X is ranked at the highest strength than at the lowest."""

    context: str
    prior: str
    level: int
    mean: Mean


def compute_changes(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns for each context, prior, level, adapter and resampling how much more settled heads
    rank X at the highest strength than at the lowest; resamplings in which one of the two has not
    settled are left out.
    """
    rows = []
    settled = heads[heads["settled"]]
    for (context, prior), own in settled.groupby(["context", "prior"], sort=False):
        keys = ["level", "adapter", "resampling"]
        ranks = own.pivot(index=keys, columns="strength", values="ranks_concept")
        strengths = heads.loc[heads["prior"] == prior, "strength"]
        lowest, highest = strengths.min(), strengths.max()
        if {lowest, highest} <= set(ranks):
            change = (ranks[highest] - ranks[lowest]).dropna().rename("change").reset_index()
            rows.append(change.assign(context=context, prior=prior))
    columns = [*PLACE, "adapter", "resampling", "change"]
    return pd.concat(rows)[columns] if rows else pd.DataFrame(columns=columns)


def estimate_changes(heads: pd.DataFrame) -> list[Change]:
    """Returns the mean change for each context, prior and level, over adapters and their
    resamplings; the intervals hold for all of them together.
    """
    groups = list(compute_changes(heads).groupby(PLACE, sort=False))
    changes = []
    for (context, prior, _), own in groups:
        adapter_K = own["adapter"].to_numpy(object)
        change_K = own["change"].to_numpy(np.float64)
        mean = estimate_mean(change_K, adapter_K, len(groups), (-1.0, 1.0))
        changes.append(Change(str(context), str(prior), int(own["level"].iloc[0]), mean))
    return changes


def summarise(heads: pd.DataFrame, predictions: pd.DataFrame, digest: str) -> str:
    """Returns the result in words, as Markdown.

    Args:
        predictions: the registered sign of each context and prior.
        digest: of the predictions.
    """
    names = zip(predictions["context"], predictions["prior"], strict=True)
    signs = dict(zip(names, map(int, predictions["sign"]), strict=True))
    changes = estimate_changes(heads)
    verdicts = [judge_change(each.mean, signs[each.context, each.prior]) for each in changes]
    counts = [f"{verdicts.count(word)} {word}" for word in ("as registered", "the opposite")]
    known = heads.groupby(["context", "adapter"])["known"].first()
    lines = [
        "# Leanings",
        "",
        f"Of {len(changes)} changes {' and '.join(counts)}; of the others the interval contains 0.",
        "",
        f"{heads['adapter'].nunique()} adapters, {heads['resampling'].nunique()} resamplings of the"
        f" easy statements, {heads['settled'].sum():,} of {len(heads):,} heads settled. AUROC for X"
        f" on the {known.min():,} to {known.max():,} disputed statements that an adapter knows: 1"
        " is a translator's order, 0 an imitator's. Registered before heads were trained"
        f" (predictions.parquet, SHA-256 {digest[:16]}...): at the highest strength X is ranked"
        " better than at the lowest in Alice's context, and worse in Bob's. Changes are means over"
        " adapters; their 95% intervals hold for all together.",
        "",
        "| context | prior | level | change | registered |",
        "|---|---|---|---|---|",
    ]
    for each, verdict in zip(changes, verdicts, strict=True):
        change = f"{each.mean.value:+.2f} [{each.mean.low:+.2f}, {each.mean.high:+.2f}]"
        lines.append(f"| {each.context} | {each.prior} | {each.level} | {change} | {verdict} |")
    for (context, prior), own in heads.groupby(["context", "prior"], sort=False):
        lines += ["", f"AUROC for X of settled heads, {context}, {prior}, by strength:", ""]
        lines += tabulate(own)
    return "\n".join([*lines, ""])


def judge_change(mean: Mean, sign: int) -> str:
    """Returns whether a change is as registered.

    >>> judge_change(Mean(0.2, 0.1, 0.3, 8, 80), 1), judge_change(Mean(0.2, 0.1, 0.3, 8, 80), -1)
    ('as registered', 'the opposite')
    """
    if not mean.decided:
        return "not decided"
    return "as registered" if np.sign(mean.value) == sign else "the opposite"


def tabulate(heads: pd.DataFrame) -> list[str]:
    """Returns the mean AUROC over adapters, and the least and the largest of an adapter, by level
    and strength.
    """
    strengths = sorted(heads["strength"].unique())
    lines = [f"| level | {' | '.join(f'{strength:g}' for strength in strengths)} |"]
    lines.append("|---" * (len(strengths) + 1) + "|")
    settled = heads[heads["settled"]]
    for level, own in settled.groupby("level"):
        cells = []
        for strength in strengths:
            at_strength = own[own["strength"] == strength]
            of_adapters = at_strength.groupby("adapter")["ranks_concept"].mean()
            least, most = of_adapters.min(), of_adapters.max()
            cells.append(f"{of_adapters.mean():.2f} ({least:.2f}–{most:.2f})")
        lines.append(f"| {level} | {' | '.join(cells)} |")
    return lines
