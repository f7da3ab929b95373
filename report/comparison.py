"""The comparison of the heads of a setting: a line a reporter, prior, strength and level, with
intervals, and the answer in words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from report.answer import Answer, compose_answer
from report.bimodality import find_differing_predictors, find_two_modes
from report.columns import COSTS, find_families
from report.intervals import N_CLAIMS, SHARE, estimate_mean
from report.lines import KINDS, select_compared
from report.matched import select_matched
from report.settings import Setting

KEYS = ["reporter", "prior", "strength", "level"]
AVERAGED = (
    "concept_accuracy",
    "concept_accuracy_worst",
    "easy_accuracy",
    "easy_auroc",
    "validation_nll",
    "ranks_concept",
    "nde",
    "nie",
    "swap_concept",
    "swap_human",
    "worst_family_gap",
    *COSTS,
)
"""Columns of heads whose mean over heads is a column of the comparison."""
ORDER = (
    "setting",
    "world",
    "core_model",
    *KEYS,
    "chosen",
    "matched",
    "heads",
    "predictors",
    "gates_passed",
    *KINDS,
    "translators",
    "follows_concept",
    "translators_low",
    "translators_high",
    "translators_low_corrected",
    "translators_high_corrected",
    "follows_concept_low",
    "follows_concept_high",
    "follows_concept_low_corrected",
    "follows_concept_high_corrected",
    "least",
    "median",
    "most",
    "two_modes",
    "predictors_differ",
    *AVERAGED,
)
"""The columns of the comparison; those of families follow."""


@dataclass(frozen=True)
class Compared:
    """A setting with its heads as they are compared."""

    setting: Setting
    each: pd.DataFrame
    """Heads of every level, numbered over the whole page in `index`."""
    heads: pd.DataFrame
    """Those that stand for their prior and strength."""
    lines: pd.DataFrame
    """The lines of these heads."""
    each_lines: pd.DataFrame
    """The lines of the heads of every level."""
    answer: Answer

    @property
    def matched(self) -> pd.DataFrame:
        """The heads at matched accuracy."""
        return self.heads[self.heads["matched"]]

    @property
    def levels(self) -> pd.DataFrame:
        """The heads of every level at the strengths of those at matched accuracy, which count as
        one strength: heads beside each other differ only in what they read.
        """
        keys = ["predictor", "reporter", "prior", "strength"]
        return self.each.merge(self.matched[keys].drop_duplicates(), on=keys).assign(strength=0.0)


def compare(setting: Setting, start: int = 0) -> Compared:
    """Returns the comparison of a setting's heads.

    Args:
        start: number of its first head on the page.
    """
    each = choose_heads(setting.heads, each_level=True)
    each = each.assign(index=range(start, start + len(each)))
    heads = choose_heads(each) if each["level"].nunique() > 1 else each
    matched = heads[heads["matched"]]
    each = each.assign(
        matched=each["index"].isin(matched["index"]),
        chosen=each["index"].isin(heads["index"]),
    )
    lines = build_lines(setting.name, heads)
    each_lines = lines if len(heads) == len(each) else build_lines(setting.name, each)
    return Compared(setting, each, heads, lines, each_lines, compose_answer(matched))


def choose_heads(heads: pd.DataFrame, each_level: bool = False) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength, with three flags: `translator`,
    `matched` (at matched accuracy) and `chosen`.
    """
    compared = select_compared(heads, each_level).reset_index(drop=True)
    matched = select_matched(compared)
    return compared.assign(
        translator=compared["verdict"] == "direct_translator",
        matched=compared.index.isin(matched.index),
        chosen=True,
    )


def build_lines(setting: str, heads: pd.DataFrame) -> pd.DataFrame:
    """Returns one line a reporter, prior, strength and level of heads that `choose_heads` chose; of
    each reporter, those without a prior first.
    """
    groups = list(heads.groupby(KEYS, dropna=False, sort=True))
    rows = []
    for key, group in groups:
        rows.append(dict(zip(KEYS, key, strict=True)) | _build_line(group, N_CLAIMS * len(groups)))
    columns = [*ORDER, *find_families(heads)]
    table = pd.DataFrame(rows).assign(setting=setting).reindex(columns=columns)
    is_first = table["prior"] == "none"
    table = table.assign(rank=np.where(is_first, "", table["prior"]))
    table = table.sort_values(["reporter", "rank", "strength"], kind="stable", ignore_index=True)
    return table.drop(columns="rank").astype({"level": "Int64"})


def _build_line(heads: pd.DataFrame, among: int) -> dict[str, object]:
    """Returns the line of heads that share a key.

    Args:
        among: number of shares for which the corrected intervals hold together.
    """
    predictor_K = heads["predictor"].to_numpy(object)
    follows_K = heads["follows_concept"].to_numpy(float)
    modes = find_two_modes(follows_K, predictor_K)
    differing = find_differing_predictors(follows_K, predictor_K)
    line: dict[str, object] = {key: heads[key].iloc[0] for key in ("world", "core_model")}
    line |= {kind: int((heads["verdict"] == kind).sum()) for kind in KINDS}
    line |= _average("translators", heads["translator"].to_numpy(bool), predictor_K, among)
    line |= _average("follows_concept", follows_K, predictor_K, among)
    for name in (*AVERAGED, *find_families(heads)):
        line[name] = float(heads[name].astype(float).mean()) if name in heads else np.nan
    return line | {
        "heads": len(heads),
        "predictors": heads["predictor"].nunique(),
        "gates_passed": heads["gates_passed"].mean(),
        "matched": heads.groupby("predictor")["matched"].any().mean(),
        "chosen": bool(heads["chosen"].all()),
        "least": follows_K.min(),
        "median": float(np.median(follows_K)),
        "most": follows_K.max(),
        "two_modes": modes.describe() if modes else "",
        "predictors_differ": differing.describe() if differing else "",
    }


def _average(
    name: str,
    value_K: NDArray[np.float64 | np.bool_],
    predictor_K: NDArray[np.object_],
    among: int,
) -> dict[str, object]:
    """Returns the mean of a share under its name, with its own limits and the corrected ones."""
    alone = estimate_mean(value_K, predictor_K, bounds=SHARE)
    together = estimate_mean(value_K, predictor_K, among, SHARE)
    return {
        name: alone.value,
        f"{name}_low": alone.low,
        f"{name}_high": alone.high,
        f"{name}_low_corrected": together.low,
        f"{name}_high_corrected": together.high,
    }
