"""The comparison of the heads of a setting: a line a reporter, prior, strength and level, with
intervals, and the answer in words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from console.errors import UserError
from report.answer import Answer, compose_answer
from report.arms import has_no_prior
from report.bimodality import find_differing_predictors, find_two_modes
from report.columns import COSTS, find_families
from report.intervals import N_CLAIMS, SHARE, estimate_mean
from report.lines import KINDS, select_compared
from report.matched import flag_matched
from report.settings import Setting
from report.settling import (
    add_settled,
    compute_median_gap,
    compute_settled_share,
    count_with_settled,
    keep_settled,
)

KEYS = ["reporter", "prior", "strength", "level"]
AVERAGED = (
    "concept_accuracy",
    "concept_accuracy_worst",
    "easy_accuracy",
    "easy_auroc",
    "calibrated_nll",
    "ranks_concept",
    "nde",
    "nie",
    "swap_concept",
    "swap_human",
    "worst_family_gap",
    *COSTS,
)
"""Columns of heads whose mean over settled heads is a column of the comparison."""
ORDER = (
    "setting",
    "world",
    "core_model",
    *KEYS,
    "chosen",
    "matched",
    "heads",
    "settled",
    "median_gap",
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
    level: str
    """In words, the level that is compared and who chose it."""

    @property
    def matched(self) -> pd.DataFrame:
        """The settled heads at matched accuracy."""
        return self.heads[self.heads["matched"]]

    @property
    def shown(self) -> pd.DataFrame:
        """The heads at matched accuracy, and those beside them that have not settled."""
        return self.heads[self.heads["shown"]]

    @property
    def levels(self) -> pd.DataFrame:
        """The heads of every level at the strengths of those that are shown, which count as one
        strength: heads beside each other differ only in what they read.
        """
        keys = ["predictor", "reporter", "prior", "strength"]
        return self.each.merge(self.shown[keys].drop_duplicates(), on=keys).assign(strength=0.0)


def compare(setting: Setting, start: int = 0, level: int | None = None) -> Compared:
    """Returns the comparison of a setting's heads.

    Args:
        start: number of its first head on the page.
        level: the level to compare; None for the one that held-out easy episodes choose.

    Raises:
        UserError: no head reads this level.
    """
    each = choose_heads(setting.heads, each_level=True)
    each = each.assign(index=range(start, start + len(each)))
    _check_level(each, level)
    heads = choose_heads(each, level=level)
    indices = {flag: heads.loc[heads[flag], "index"] for flag in ("matched", "shown", "chosen")}
    each = each.assign(**{flag: each["index"].isin(index) for flag, index in indices.items()})
    lines = build_lines(setting.name, heads)
    each_lines = lines if len(heads) == len(each) else build_lines(setting.name, each)
    words = _describe_level(each, heads, level)
    return Compared(setting, each, heads, lines, each_lines, compose_answer(heads), words)


def choose_heads(
    heads: pd.DataFrame, each_level: bool = False, level: int | None = None
) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength, with flags: `settled`,
    `translator`, `matched` (at matched accuracy), `shown` (these, and those beside them that have
    not settled) and `chosen`.
    """
    compared = select_compared(add_settled(heads), each_level, level).reset_index(drop=True)
    is_translator = compared["verdict"] == "direct_translator"
    return flag_matched(compared.assign(translator=is_translator, chosen=True))


def _check_level(each: pd.DataFrame, level: int | None) -> None:
    levels = sorted(each["level"].dropna().unique())
    if level is not None and level not in levels and each["level"].notna().any():
        known = ", ".join(str(int(value)) for value in levels)
        raise UserError(f"--level {level}: no head reads this level alone. Levels: {known}.")


def _describe_level(each: pd.DataFrame, heads: pd.DataFrame, level: int | None) -> str:
    """Returns in words which level is compared and how it was chosen; empty where heads read all
    levels.
    """
    if heads["level"].isna().all():
        return ""
    chosen = heads.dropna(subset="level").groupby("reporter")["level"].unique()
    several = len(chosen) > 1
    names = []
    for reporter, levels in chosen.items():
        words = " and ".join(f"level {int(value)}" for value in levels)
        names.append(f"{words} ({reporter})" if several else words)
    where = f"Compared at {', '.join(names)}"
    if each["level"].nunique() == 1:
        return f"{where}, the only one that these heads read."
    if level is not None:
        return (
            f"{where}, which --level chose: intervals do not allow for a level that is chosen by"
            " looking at results."
        )
    return (
        f"{where}, where a prior reaches the least error on held-out easy episodes; whom heads"
        " follow plays no part in this choice. python -m report FOLDER --level N compares at"
        " another, --level all at each."
    )


def build_lines(setting: str, heads: pd.DataFrame) -> pd.DataFrame:
    """Returns one line a reporter, prior, strength and level of heads that `choose_heads` chose; of
    each reporter, those without a prior first.
    """
    groups = list(heads.groupby(KEYS, dropna=False, sort=True))
    n_shares = N_CLAIMS * count_with_settled(group for _, group in groups)
    rows = []
    for key, group in groups:
        rows.append(dict(zip(KEYS, key, strict=True)) | _build_line(group, n_shares))
    columns = [*ORDER, *find_families(heads)]
    table = pd.DataFrame(rows).assign(setting=setting).reindex(columns=columns)
    table = table.assign(has_prior=~has_no_prior(table["prior"]))
    order = ["reporter", "has_prior", "prior", "strength"]
    table = table.sort_values(order, kind="stable", ignore_index=True)
    return table.drop(columns="has_prior").astype(dict.fromkeys(("level", *KINDS), "Int64"))


def _build_line(heads: pd.DataFrame, among: int) -> dict[str, object]:
    """Returns the line of heads that share a key: how many have settled, and figures of these.

    Args:
        among: number of shares for which the corrected intervals hold together.
    """
    settled = keep_settled(heads)
    line: dict[str, object] = {key: heads[key].iloc[0] for key in ("world", "core_model")}
    line |= {
        "heads": len(heads),
        "settled": compute_settled_share(heads),
        "median_gap": compute_median_gap(heads),
        "predictors": heads["predictor"].nunique(),
        "matched": heads.groupby("predictor")["matched"].any().mean(),
        "chosen": bool(heads["chosen"].all()),
        "two_modes": "",
        "predictors_differ": "",
    }
    return line if settled.empty else line | _summarise_settled(settled, among)


def _summarise_settled(heads: pd.DataFrame, among: int) -> dict[str, object]:
    """Returns the figures of a line's settled heads."""
    predictor_K = heads["predictor"].to_numpy(object)
    follows_K = heads["follows_concept"].to_numpy(float)
    modes = find_two_modes(follows_K, predictor_K)
    differing = find_differing_predictors(follows_K, predictor_K)
    figures: dict[str, object] = {kind: int((heads["verdict"] == kind).sum()) for kind in KINDS}
    figures |= _average("translators", heads["translator"].to_numpy(bool), predictor_K, among)
    figures |= _average("follows_concept", follows_K, predictor_K, among)
    for name in (*AVERAGED, *find_families(heads)):
        figures[name] = float(heads[name].astype(float).mean()) if name in heads else np.nan
    return figures | {
        "gates_passed": heads["gates_passed"].mean(),
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
