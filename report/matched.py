"""Heads of every prior at matched accuracy: what they follow, and what they cost in every unit.

python -m report FOLDER --matched
"""

from __future__ import annotations

import pandas as pd

from report.answer import format_mean
from report.arms import has_no_prior, is_without_prior
from report.columns import COSTS, explain, find_column, format_markdown, get_heading
from report.intervals import N_CLAIMS, estimate_column, group_by_prior
from report.lines import KINDS, format_strength
from report.settling import (
    count_settled,
    count_with_settled,
    describe_unsettled,
    keep_settled,
)

NEAR = 0.01
"""Nats an episode by which heads at matched accuracy may err more than the best."""
SETTLED = 0.9
"""Share of heads whose learning coefficient has settled below which the share is written beside the
mean.
"""
WHERE = ["world", "predictor", "reporter", "level"]
"""What heads must share for their errors to be compared."""
ACCURACIES = ("concept_accuracy", "concept_accuracy_worst")
COLUMNS = (
    "reporter",
    "prior",
    "strength",
    "settled",
    "predictors",
    *KINDS[:3],
    *ACCURACIES,
    "follows_concept",
    "quartiles",
    "easy_accuracy",
)
"""The table's first columns; those of the bill follow."""
LEGEND = (
    "Of each prior, the settled heads of its largest strength whose mean error on held-out easy"
    f" episodes is at most {NEAR} nats above the least that any prior reaches on the same predictor"
    " with the same reporter and level. Figures are means over settled heads; follows X is a mean"
    " over predictors, with its interval over predictors and their heads, 95% for the translators"
    " and the follows X of all lines together. Verdicts are shares of heads. The learning"
    " coefficient is that of the heads whose chains have settled; their share stands in brackets"
    f" where it is below {SETTLED}."
)


def select_matched(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns the settled heads of each prior's largest strength that errs at most 0.01 nats an
    episode above the best, on held-out easy episodes.

    The best is the least mean error that any prior and strength reaches in the same world, on the
    same predictor, with the same reporter and level: priors are compared fairly only at the same
    accuracy. Heads without a prior stay; a prior without a strength that comes near is left out on
    that predictor.
    """
    return _select_near(keep_settled(heads))


def flag_matched(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns heads with two flags: `matched`, and `shown`, which heads of the same strength that
    have not settled have too. Of a prior without settled heads, those of its largest strength
    near its own best are shown.
    """
    is_matched = heads.index.isin(select_matched(heads).index)
    flagged = heads.assign(matched=is_matched)
    by_strength = flagged.groupby([*WHERE, "prior", "strength"], dropna=False)
    is_shown = by_strength["matched"].transform("any")
    for _, group in group_by_prior(heads):
        if not group["settled"].any():
            is_shown |= heads.index.isin(_select_near(group).index)
    return flagged.assign(shown=is_shown)


def format_table(heads: pd.DataFrame) -> str:
    """Returns one line a reporter and prior as a Markdown table, with its legend below.

    Args:
        heads: those that `flag_matched` flagged.
    """
    shown = heads[heads["shown"]]
    costs = [name for name in COSTS if name in shown and shown[name].notna().any()]
    groups = group_by_prior(shown)
    groups.sort(key=lambda item: (item[0][0], not is_without_prior(item[0][1]), item[0][1]))
    n_lines = count_with_settled(group for _, group in groups)
    rows = [_format_line(*key, group, costs, n_lines) for key, group in groups]
    names = [*COLUMNS, *costs, "learning_coefficient"]
    table = format_markdown([get_heading(name) for name in names], rows)
    meanings = explain(names[names.index("follows_concept") :])
    return f"{table}\n\n{LEGEND} {meanings}\n"


def show(heads: pd.DataFrame) -> None:
    """Prints the table of heads of one setting that `flag_matched` flagged."""
    from rich.markdown import Markdown

    from console.terminal import open_console

    console = open_console()
    text = format_table(heads)
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        print(text)


def _select_near(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns the heads at matched accuracy among these."""
    by_strength = heads.groupby([*WHERE, "prior", "strength"], dropna=False)
    error = by_strength["calibrated_nll"].transform("mean")
    best = error.groupby([heads[key] for key in WHERE], dropna=False).transform("min")
    near = heads[(error <= best + NEAR) | has_no_prior(heads["prior"])]
    largest = near.groupby([*WHERE, "prior"], dropna=False)["strength"].transform("max")
    return near[near["strength"] == largest]


def _format_line(
    reporter: str, prior: str, heads: pd.DataFrame, costs: list[str], among: int
) -> list[str]:
    """Returns the cells of one reporter and prior: figures of its settled heads, and dashes where
    there are none.

    Args:
        among: number of lines for which the intervals hold together.
    """
    settled = keep_settled(heads)
    strengths = [format_strength(value) for value in sorted(heads["strength"].unique())]
    start = [reporter, prior, "–" if is_without_prior(prior) else " ".join(strengths)]
    start += [count_settled(heads), str(heads["predictor"].nunique())]
    if settled.empty:
        n_others = len(COLUMNS) - len(start) + len(costs)
        return [*start, describe_unsettled(heads), *["–"] * n_others]
    return start + _format_figures(settled, costs, among)


def _format_figures(heads: pd.DataFrame, costs: list[str], among: int) -> list[str]:
    """Returns the cells of a line from the verdicts on, of settled heads."""
    follows = heads["follows_concept"]
    interval = estimate_column(heads, "follows_concept", N_CLAIMS * among)
    quartiles = [f"{follows.quantile(at):.2f}" for at in (0, 0.25, 0.5, 0.75, 1)]
    return [
        *(f"{(heads['verdict'] == kind).mean():.2f}" for kind in KINDS[:3]),
        *(
            find_column(name).format(heads[name].mean()) if name in heads else "–"
            for name in ACCURACIES
        ),
        format_mean(interval),
        " ".join(quartiles),
        *(find_column(name).format(heads[name].mean()) for name in ("easy_accuracy", *costs)),
        _format_coefficient(heads),
    ]


def _format_coefficient(heads: pd.DataFrame) -> str:
    """Returns the mean learning coefficient of the heads whose chains have settled, with their
    share where it is low; a dash where none was measured.
    """
    if "learning_coefficient" not in heads or heads["learning_coefficient"].isna().all():
        return "–"
    measured = heads[heads["learning_coefficient"].notna()]
    has_settled = measured["learning_coefficient_settled"] == 1
    mean_settled = measured["learning_coefficient"][has_settled].mean()
    text = find_column("learning_coefficient").format(mean_settled)
    share = has_settled.mean()
    return text if share >= SETTLED else f"{text} ({share:.2f})"
