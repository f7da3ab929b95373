"""Heads of every prior at matched accuracy: whom they follow, and what they cost in every unit.
python -m report FOLDER --matched
"""

from __future__ import annotations

import pandas as pd

from report.intervals import estimate_mean
from report.lines import KINDS, written

NEAR = 0.01
"""Nats an episode by which heads at matched accuracy may err more than the best."""
SETTLED = 0.9
"""Share of heads whose learning coefficient has settled below which the share is written beside the
mean.
"""
PLACE = ["world", "predictor", "reporter", "level"]
UNITS = {
    "prequential_bits": ("bits", 1.0),
    "variational_bits": ("own bits", 1.0),
    "two_part_bits": ("two-part bits", 1.0),
    "explanation_bits": ("explanation bits", 1.0),
    "edges": ("edges", 1.0),
    "flops": ("MFLOPs", 1e-6),
    "level_read": ("reads to level", 1.0),
    "steps": ("steps", 1.0),
    "gates": ("gates", 1.0),
    "depth": ("depth", 1.0),
    "seconds": ("ms for 1,000", 1e3),
}
"""Columns of the bill, what the table calls them, and the unit that it writes them in."""
LEGEND = (
    "Of each prior the heads of its largest strength whose mean error on held-out easy episodes is"
    " within 0.01 nats of the least that any prior reaches on the same predictor with the same"
    " reporter. follows X: share of disputed episodes, mean over predictors, [95% over predictors"
    " and their heads, for all lines together], then least, quarter, median, three quarters, most."
    " translators, imitators, mixtures: share of heads with that verdict; the rest are neither or"
    " undecided. Costs are means over heads. ms for 1,000: milliseconds for 1,000 episodes by the"
    " clock, predictor to the level read and a head's share. learning coefficient: mean over the"
    " heads whose chains have settled; their share in brackets where it is below 0.9."
)


def matched(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns the heads of each prior's largest strength that errs no more than 0.01 nats an
    episode above the best, on held-out easy episodes.

    The best is the least mean error that any prior and strength reaches in the same world, on the
    same predictor, with the same reporter and level: at the same accuracy, and nowhere else, is it
    fair to ask which prior finds which head. Heads without a prior stay; a prior none of whose
    strengths comes near on a predictor is left out there.
    """
    error = heads.groupby([*PLACE, "prior", "strength"], dropna=False)["validation_nll"].transform(
        "mean"
    )
    best = error.groupby([heads[key] for key in PLACE], dropna=False).transform("min")
    near = heads[(error <= best + NEAR) | (heads["prior"] == "none")]
    return near[
        near["strength"]
        == near.groupby([*PLACE, "prior"], dropna=False)["strength"].transform("max")
    ]


def table(heads: pd.DataFrame) -> str:
    """Returns one line a reporter and prior as a Markdown table, with what it means below."""
    chosen, lines = matched(heads), []
    chosen = chosen.assign(unpriced=chosen["prior"] == "none").sort_values(
        ["reporter", "unpriced", "prior"], ascending=[True, False, True]
    )
    units = [unit for unit in UNITS if unit in chosen and chosen[unit].notna().any()]
    for (reporter, prior), group in chosen.groupby(["reporter", "prior"], sort=False):
        follows = group["follows_concept"]
        said = estimate_mean(
            follows.to_numpy(float),
            group["predictor"].to_numpy(object),
            chosen.groupby(["reporter", "prior"]).ngroups,
            (0.0, 1.0),
        )
        verdicts = group["verdict"].value_counts(normalize=True)
        spread = " ".join(f"{follows.quantile(at):.2f}" for at in (0, 0.25, 0.5, 0.75, 1))
        cells = [
            str(reporter),
            str(prior),
            (
                " ".join(written(value) for value in sorted(group["strength"].unique()))
                if prior != "none"
                else "–"
            ),
        ]
        cells += [str(len(group)), str(group["predictor"].nunique())]
        cells += [f"{verdicts.get(kind, 0):.2f}" for kind in KINDS[:3]] + [
            f"{said.value:.2f} [{said.low:.2f}, {said.high:.2f}]",
            spread,
        ]
        cells += (
            [f"{group['easy_accuracy'].mean():.3f}"]
            + [_cost(group[unit].mean() * UNITS[unit][1]) for unit in units]
            + [_coefficient(group)]
        )
        lines.append("| " + " | ".join(cells) + " |")
    headings = [
        "reporter",
        "prior",
        "strength",
        "heads",
        "predictors",
        "translators",
        "imitators",
        "mixtures",
        "follows X",
        "least ¼ ½ ¾ most",
        "easy",
    ]
    headings += [UNITS[unit][0] for unit in units] + ["learning coefficient"]
    return "\n".join(
        ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings), *lines, "", LEGEND, ""]
    )


def show(heads: pd.DataFrame) -> None:
    """Prints the table of heads of one setting."""
    from rich.console import Console
    from rich.markdown import Markdown

    from report.lines import compared

    console, said = Console(), table(compared(heads, each_level=True))
    console.print(Markdown(said)) if console.is_terminal else print(said)


def _coefficient(group: pd.DataFrame) -> str:
    """Returns the mean learning coefficient of the heads that have settled, with their share where
    it is low; a dash where none was measured.
    """
    if "learning_coefficient" not in group or group["learning_coefficient"].isna().all():
        return "–"
    measured = group[group["learning_coefficient"].notna()]
    settled = measured["learning_coefficient_settled"] == 1
    mean = _cost(measured["learning_coefficient"][settled].mean())
    return mean if settled.mean() >= SETTLED else f"{mean} ({settled.mean():.2f})"


def _cost(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}" if value < 10 else f"{value:.0f}"
