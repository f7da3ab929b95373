"""The page's tables of heads: at matched accuracy, two by two, by level, family and reporter, and
every line.
"""

from __future__ import annotations

import pandas as pd

from report.answer import Answer, compute_translator_shares, format_prior
from report.comparison import family_columns
from report.intervals import Mean, estimate_mean
from report.lines import KINDS, written
from report.matched import UNITS
from report.page.findings import sort_groups
from report.page.html import (
    Cell,
    Columns,
    format_cost,
    format_interval,
    format_number,
    render_section,
    render_table,
)
from report.pairs import Pair

SHORT = dict(
    zip(KINDS, ("translators", "imitators", "mixtures", "neither", "undecided"), strict=True)
)


def matched(heads: pd.DataFrame, place: str) -> str:
    """Returns the table at matched accuracy: every prior, whom its heads follow, and what they cost
    in every unit.
    """
    groups, shares = sort_groups(heads), compute_translator_shares(heads)
    follows = [
        estimate_mean(
            group["follows_concept"].to_numpy(float),
            group["predictor"].to_numpy(object),
            len(groups),
            (0.0, 1.0),
        )
        for _, group in groups
    ]
    strengths = [
        " ".join(written(value) for value in sorted(group["strength"].unique()))
        for _, group in groups
    ]
    columns: Columns = {
        "prior": [prior for (_, prior), _ in groups],
        "reporter": [reporter for (reporter, _), _ in groups],
        "translators": [_cell(shares[key]) for key, _ in groups],
        "follows X": [_cell(value) for value in follows],
        "strength": [
            "–" if prior == "none" else said
            for ((_, prior), _), said in zip(groups, strengths, strict=True)
        ],
        "heads": [len(group) for _, group in groups],
        "predictors": [group["predictor"].nunique() for _, group in groups],
        **{
            SHORT[kind]: [format_number((group["verdict"] == kind).mean()) for _, group in groups]
            for kind in KINDS[1:]
        },
        "past the gates": [format_number(group["gates_passed"].mean()) for _, group in groups],
        "easy": [format_number(group["easy_accuracy"].mean(), 3) for _, group in groups],
        **{
            said: [format_cost(group[unit].mean() * scale) for _, group in groups]
            for unit, (said, scale) in UNITS.items()
            if _known(heads, unit)
        },
    }
    how = (
        "Of each prior the heads of its largest strength whose mean error on held-out easy episodes"
        " is within 0.01 nats of the least that any prior reaches on the same predictor. Verdicts"
        " and gates are shares of heads, easy the share right on easy episodes, costs means over"
        " heads; intervals are over predictors and hold at 95% for all lines together."
    )
    return render_section(
        f"{place}-matched",
        "At matched accuracy, in every unit",
        how,
        render_table(_one_reporter(columns), "Matched accuracy"),
    )


def pairwise(answer: Answer, place: str) -> str:
    """Returns the table of differences of priors, two by two."""
    pairs = answer.pairs
    columns: Columns = {
        "first prior": [pair.first for pair in pairs],
        "second prior": [pair.second for pair in pairs],
        "reporter": [pair.reporter for pair in pairs],
        "translators, difference": [_cell(pair.translators) for pair in pairs],
        "follows X, difference": [_cell(pair.follows) for pair in pairs],
        "decided": [_decided(pair) for pair in pairs],
        "paired heads": [pair.follows.heads for pair in pairs],
    }
    how = (
        "The first prior less the second, head by head: same predictor, same seed. Intervals hold"
        f" at 95% for all {len(pairs)} pairs together (Student's over predictors, never narrower"
        " than what the heads give; Bonferroni). Only what excludes 0 is called decided."
    )
    return render_section(
        f"{place}-pairs",
        "Priors two by two",
        how,
        render_table(_one_reporter(columns), "Pairs", search=len(pairs) > 8) if pairs else "",
    )


def families(heads: pd.DataFrame, place: str) -> str:
    """Returns whom heads at matched accuracy follow on each family of tampering; in older runs, on
    the worst for each head.
    """
    found, groups = family_columns(heads), sort_groups(heads)
    columns: Columns = {
        "prior": [format_prior(*key, heads["reporter"].nunique() > 1) for key, _ in groups]
    }
    if found:
        how = (
            "Share of the disputed episodes of each kind of tampering on which heads at matched"
            " accuracy follow X, mean over heads."
        )
        columns |= {
            column[16:].replace("_", " "): [
                format_number(group[column].mean()) for _, group in groups
            ]
            for column in found
        }
    elif _known(heads, "worst_family"):
        how = (
            "How far heads at matched accuracy fall from easy episodes on the kind of tampering"
            " that is worst for each, and which that is: shares."
        )
        columns["fall on the worst"] = [
            format_number(group["worst_family_gap"].mean()) for _, group in groups
        ]
        kinds = sorted(heads["worst_family"].dropna().unique())
        columns |= {
            f"worst: {kind}": [
                format_number((group["worst_family"] == kind).mean()) for _, group in groups
            ]
            for kind in kinds
        }
    else:
        return ""
    return render_section(
        f"{place}-families", "By kind of tampering", how, render_table(columns, "Families")
    )


def reporters(heads: pd.DataFrame, place: str) -> str:
    """Returns whom heads follow under each reporter, prior by prior side by side; nothing where
    there is one.
    """
    groups, shares, names = (
        dict(sort_groups(heads)),
        compute_translator_shares(heads),
        sorted(heads["reporter"].unique()),
    )
    if len(names) < 2:
        return ""
    priors = sorted(heads["prior"].unique(), key=lambda prior: (prior != "none", prior))
    columns: Columns = {"prior": list(priors)}
    for one in names:
        columns[f"{one}: translators"] = [
            _cell(shares[(one, prior)]) if (one, prior) in shares else None for prior in priors
        ]
        follows = [
            groups[(one, prior)]["follows_concept"].mean() if (one, prior) in groups else None
            for prior in priors
        ]
        columns[f"{one}: follows X"] = [format_number(value) for value in follows]
    how = (
        "Heads at matched accuracy: share that are translators [95% for all together], and that"
        " follow X, mean over heads."
    )
    return render_section(
        f"{place}-reporters", "By reporter", how, render_table(columns, "Reporters")
    )


def everything(lines: pd.DataFrame, title: str = "Every prior and strength") -> str:
    """Returns every line of the comparison as a table."""
    columns: Columns = {
        "prior": list(lines["prior"]),
        "reporter": list(lines["reporter"]),
        "strength": [(written(value), float(value)) for value in lines["strength"]],
        **(
            {"level": ["all" if pd.isna(value) else int(value) for value in lines["level"]]}
            if lines["level"].notna().any()
            else {}
        ),
        **{
            said: _ends(lines, column)
            for said, column in (("translators", "translators"), ("follows X", "follows_concept"))
        },
        "least–most": [
            f"{least:.2f}–{most:.2f}"
            for least, most in zip(lines["least"], lines["most"], strict=True)
        ],
        "heads": [int(value) for value in lines["heads"]],
        "predictors": [int(value) for value in lines["predictors"]],
        **{f"n {SHORT[kind]}": [int(value) for value in lines[kind]] for kind in KINDS},
        "error, nats": [format_number(value, 4) for value in lines["validation_nll"]],
        "easy": [format_number(value, 3) for value in lines["easy_accuracy"]],
        **{
            said: [format_cost(value * scale) for value in lines[unit]]
            for unit, (said, scale) in UNITS.items()
            if _known(lines, unit)
        },
    }
    if (lines["two_heaps"] != "").any():
        columns["two modes"] = [_where(words) for words in lines["two_heaps"]]
    return render_table(_one_reporter(columns), title, search=len(lines) > 8)


def _where(modes: str) -> str:
    """Returns where two modes are, in few words.

    >>> _where("two modes, 5% near 0.06 and 95% near 0.97 (both under every predictor)")
    '5% 0.06, 95% 0.97'
    """
    return (
        modes.split(" (", maxsplit=1)[0]
        .removeprefix("two modes, ")
        .replace(" near", "")
        .replace(" and", ",")
    )


def _one_reporter(columns: Columns) -> Columns:
    """Returns columns without that of reporters where all are the same."""
    return {
        key: cells for key, cells in columns.items() if key != "reporter" or len(set(cells)) > 1
    }


def _ends(lines: pd.DataFrame, column: str) -> list[Cell]:
    return [
        format_interval(*row)
        for row in lines[[column, f"{column}_low", f"{column}_high"]].itertuples(index=False)
    ]


def _decided(pair: Pair) -> str:
    both = (("translators", pair.translators), ("follows X", pair.follows))
    return (
        ", ".join(
            f"{what} {'more' if value.value > 0 else 'less'}"
            for what, value in both
            if value.decided
        )
        or "not decided"
    )


def _known(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())


def _cell(value: Mean) -> tuple[str, float]:
    return format_interval(value.value, value.low, value.high)
