"""How many predictors a sweep needs: what the spread of finished runs says of each pair of arms.

python -m report --power FOLDER
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from console.errors import UserError
from console.terminal import open_console
from report.answer import FEW_PREDICTORS, format_prior
from report.columns import get_heading
from report.comparison import compare
from report.intervals import LEVEL, N_CLAIMS
from report.pairs import PairedHeads, count_differences, pair_priors
from report.power import (
    LEAST_PREDICTORS,
    MOST_PREDICTORS,
    Spread,
    estimate_spread,
    find_least_difference,
    find_predictors,
)
from report.runs import FoundRuns
from report.settings import Setting, describe_several_settings, group_by_setting
from report.settling import describe_settled, keep_settled
from report.summary import show_notices

CLAIMS = {"follows_concept": "follows_concept", "translator": "translators"}
"""From a column of heads to the column of the comparison that has its heading."""
DIFFERENCES = (0.1, 0.2)
"""Differences for which predictors are counted."""
POWERS = (0.8, 0.9)
GOAL = 0.2
"""The difference that the advice is about."""


@dataclass(frozen=True)
class Need:
    """What one pair of arms needs to detect a difference in one claim."""

    name: str
    """Both arms in words."""
    level: float
    """Of the interval of its difference: all intervals together hold at 95%."""
    spread: Spread
    least: float | None
    """Smallest difference detected with the predictors at hand; None if there is none."""
    counts: tuple[tuple[int | None, ...], ...]
    """Least number of predictors for each of DIFFERENCES and each of POWERS."""

    @property
    def count(self) -> int | None:
        """Least number of predictors for GOAL and the lower power."""
        return self.counts[DIFFERENCES.index(GOAL)][0]

    def count_at_high_sd(self) -> int | None:
        """Returns that number if the standard deviation is at its upper limit."""
        return find_predictors(self.spread.assume_high(), GOAL, POWERS[0], self.level)


def show(runs: FoundRuns, level: int | None = None) -> None:
    """Prints for each setting a table of each claim, and what to do.

    Args:
        level: the level to compare; None for the one that held-out easy episodes choose.

    Raises:
        UserError: no setting has two arms with settled heads on at least 3 shared predictors.
    """
    settings = group_by_setting(runs.runs)
    problems = []
    for setting in settings:
        try:
            _show_setting(setting, level)
        except UserError as error:
            problems.append(str(error))
    if len(problems) == len(settings):
        raise UserError(problems[0])
    show_notices([*problems, *describe_several_settings(settings), *runs.notices()])


def compute_needs(
    paired: list[PairedHeads], column: str, several_reporters: bool = False
) -> list[Need]:
    """Returns what each pair that shares enough predictors needs, with the largest standard
    deviation first.

    Args:
        paired: all pairs of the comparison: the level is corrected for both claims of each.
        column: `follows_concept` or `translator`.
    """
    level = compute_level(paired)
    needs = []
    for two in _keep_estimable(paired):
        arms = [format_prior(two.reporter, arm, False) for arm in (two.first, two.second)]
        name = " – ".join(arms)
        if several_reporters:
            name = f"{name} ({two.reporter})"
        needs.append(_compute_need(name, estimate_spread(two.heads, column), level))
    return sorted(needs, key=lambda need: -need.spread.sd)


def compute_level(paired: list[PairedHeads]) -> float:
    """Returns the level of one interval of the comparison, such that all hold together at 95%."""
    return 1 - (1 - LEVEL) / count_differences(paired)


def advise(needs_of: dict[str, list[Need]], at_hand: int) -> str:
    """Returns in words how many predictors GOAL takes, and what to train.

    Args:
        needs_of: of each column, what the pairs need.
        at_hand: number of predictors that every pair has.
    """
    takes, train = [], []
    has_few = False
    for column, needs in needs_of.items():
        known = [need for need in needs if need.spread.is_known]
        if not known:
            continue
        claim = get_heading(CLAIMS[column])
        count = _find_most([need.count for need in known])
        worst = max(known, key=lambda need: need.spread.high)
        high = _find_most([count, worst.count_at_high_sd()])
        takes.append(f"{_format_count(count)} predictors for {claim} (up to {_format_count(high)})")
        total = max(count or 0, FEW_PREDICTORS)
        if count is not None and total > at_hand:
            train.append(f"core_model.seed='range({total})' for {claim}")
            has_few |= total > count
        elif count is None:
            train.append(f"fewer arms, or look for larger differences, for {claim}")
    if not takes:
        return (
            "No number of predictors is named: no predictor differs from another. Compare arms"
            " whose heads do not all agree."
        )
    few = f" Fewer than {FEW_PREDICTORS} can agree by chance." if has_few else ""
    action = f"Train {', '.join(train)}; each pair has {at_hand} or more.{few}"
    if not train:
        action = f"The {at_hand} that each pair has are enough."
    return (
        f"To detect a difference of {GOAL} in each pair with {POWERS[0]:.0%} power takes"
        f" {' and '.join(takes)}: the larger number if predictors differ as much as the interval of"
        f" sd allows. {action}"
    )


def _find_most(counts: list[int | None]) -> int | None:
    """Returns the largest of these numbers of predictors; None, which is more, if one is None."""
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def _show_setting(setting: Setting, level: int | None) -> None:
    part = compare(setting, level=level)
    paired = pair_priors(part.matched)
    _check_pairs(part.heads, part.matched, paired)
    several = part.matched["reporter"].nunique() > 1
    needs_of = {column: compute_needs(paired, column, several) for column in CLAIMS}
    out = open_console()
    for column, needs in needs_of.items():
        _show_table(f"{setting.name}: {get_heading(CLAIMS[column])}", needs)
    out.print(_explain(paired), style="dim", highlight=False)
    for remark in filter(None, [describe_settled(part.heads), part.level]):
        out.print(remark, style="dim", highlight=False)
    at_hand = min(need.spread.predictors for needs in needs_of.values() for need in needs)
    out.print(advise(needs_of, at_hand), style="bold", highlight=False)


def _check_pairs(heads: pd.DataFrame, matched: pd.DataFrame, paired: list[PairedHeads]) -> None:
    """Checks that there is a pair of arms that shares enough predictors.

    Raises:
        UserError: there is none.
    """
    if keep_settled(heads).empty:
        raise UserError(f"--power: no head has settled. {describe_settled(heads)}")
    n_arms = len(matched[["reporter", "prior"]].drop_duplicates())
    if n_arms < 2:
        raise UserError(
            "--power: it compares two arms, and settled heads at matched accuracy are of one"
            f" alone ({matched['prior'].iloc[0]}). Train another on the same predictors:"
            " python train.py -m arm=none,simplicity"
        )
    if not paired:
        raise UserError(
            "--power: no two arms of the same reporter, whose heads passed the gates, share a"
            " predictor and a seed of heads. Train them with the same core_model.seed and seeds."
        )
    if not _keep_estimable(paired):
        raise UserError(
            f"--power: it needs {LEAST_PREDICTORS} predictors to see how much they differ, and no"
            " two arms share so many. Train more: core_model.seed='range(8)'"
        )


def _keep_estimable(paired: list[PairedHeads]) -> list[PairedHeads]:
    """Returns the pairs that share enough predictors."""
    return [two for two in paired if two.heads["predictor"].nunique() >= LEAST_PREDICTORS]


def _compute_need(name: str, spread: Spread, level: float) -> Need:
    counts = []
    for difference in DIFFERENCES:
        counts.append(tuple(find_predictors(spread, difference, p, level) for p in POWERS))
    return Need(
        name,
        level,
        spread,
        find_least_difference(spread, spread.predictors, POWERS[0], level),
        tuple(counts),
    )


def _show_table(title: str, needs: list[Need]) -> None:
    from rich.text import Text

    from report.terminal_table import create_table

    table = create_table(title)
    table.add_column("pair of arms")
    headings = ["predictors", "sd", "detects", *(f"for {d}" for d in DIFFERENCES)]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for need in needs:
        table.add_row(*(Text(cell) for cell in _format_need(need)))
    open_console().print(table)


def _format_need(need: Need) -> list[str]:
    spread = need.spread
    sd = f"{spread.sd:.2f} [{spread.low:.2f}, {spread.high:.2f}]"
    if not spread.is_known:
        return [need.name, str(spread.predictors), "0", *["–"] * (1 + len(DIFFERENCES))]
    least = "none" if need.least is None else f"{need.least:.2f}"
    counts = [" / ".join(_format_count(n) for n in own) for own in need.counts]
    return [need.name, str(spread.predictors), sd, least, *counts]


def _format_count(n: int | None) -> str:
    return f">{MOST_PREDICTORS:,}" if n is None else f"{n:,}"


def _explain(paired: list[PairedHeads]) -> str:
    n = count_differences(paired)
    lower, upper = (f"{power:.0%}" for power in POWERS)
    left_out = len(paired) - len(_keep_estimable(paired))
    few = ""
    if left_out:
        few = (
            f" Pairs that share fewer than {LEAST_PREDICTORS} predictors are left out: {left_out}."
        )
    return (
        "Settled heads at matched accuracy, paired on the same predictor and seed. sd: standard"
        " deviation over predictors of their mean differences, with its 95% interval. detects: the"
        f" smallest difference that the predictors at hand detect with {lower} power. for 0.1, for"
        f" 0.2: predictors that detect such a difference with {lower} / {upper} power, at that sd"
        " and with as many heads a predictor; a difference between shares of translators makes"
        " predictors differ by itself. Detected: an interval excludes 0 that holds at 95%"
        f" for all {n} differences together ({N_CLAIMS} claims, {n // N_CLAIMS} pairs).{few}"
    )
