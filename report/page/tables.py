"""The page's tables of heads: at matched accuracy, two by two, on the fronts, by level, family and reporter, and every line."""

from __future__ import annotations

from html import escape

import pandas as pd

from report import figures
from report.answer import Answer, name, translators
from report.clusters import Mean, mean
from report.compare import KINDS, written
from report.comparison import COLUMNS, family_columns
from report.matched import UNITS
from report.page.found import rows
from report.page.html import Cell, between, cost, figure, number, section, table

SHORT = {"direct_translator": "translators", "human_imitator": "imitators", "mixture": "mixtures", "neither": "neither", "undecided": "undecided"}


def matched(heads: pd.DataFrame, place: str) -> str:
    """Returns the table at matched accuracy: every prior, whom its heads follow, and what they cost in every unit."""
    shares, lines = translators(heads), []
    units = [unit for unit in UNITS if unit in heads and heads[unit].notna().any()]
    for key, group in rows(heads):
        follows = mean(group["follows_concept"].to_numpy(float), group["predictor"].to_numpy(object), len(shares), (0.0, 1.0))
        strengths = " ".join(sorted({written(value) for value in group["strength"]})) if key[1] != "none" else "–"
        line: list[Cell] = [*reversed(key), strengths, len(group), group["predictor"].nunique(), _cell(shares[key])]
        line += [number((group["verdict"] == kind).mean()) for kind in KINDS[1:]] + [_cell(follows), number(group["easy_accuracy"].mean(), 3)]
        lines.append(line + [cost(group[unit].mean() * UNITS[unit][1]) for unit in units])
    headings = ["prior", "reporter", "strength", "heads", "predictors", ("translators", "share of heads [corrected 95%]"), *list(SHORT.values())[1:]]
    headings += [("follows X", "share of disputed episodes, mean over predictors [corrected 95%]"), ("easy", "share right on held-out easy episodes")]
    how = (
        "Of each prior the heads of its largest strength whose mean error on held-out easy episodes is within 0.01 nats of the least that any prior "
        "reaches on the same predictor. Shares of heads by verdict; intervals are over predictors and hold at 95% for all lines together; costs are means over heads."
    )
    return section(f"{place}-matched", "At matched accuracy, in every unit", how, table(headings + [UNITS[unit][0] for unit in units], lines, "Matched accuracy"))


def pairwise(answer: Answer, place: str) -> str:
    """Returns the table of differences of priors, two by two."""
    lines: list[list[Cell]] = []
    for pair in answer.pairs:
        told = [f"{what} {'more' if value.value > 0 else 'less'}" for what, value in (("translators", pair.translators), ("follows X", pair.follows)) if value.decided]
        lines.append([pair.first, pair.second, pair.reporter, _cell(pair.translators), _cell(pair.follows), ", ".join(told) or "not decided", pair.follows.heads])
    how = (
        f"The first prior less the second, head by head: the same predictor, the same seed. Intervals hold at 95% for all {len(lines)} pairs together "
        "(Student's over predictors, never narrower than what the heads give; Bonferroni). Only what excludes 0 is called decided."
    )
    headings = ["first prior", "second prior", "reporter", "translators, difference", "follows X, difference", "decided", "paired heads"]
    return section(f"{place}-pairs", "Priors two by two", how, table(headings, lines, "Pairs", search=len(lines) > 8) if lines else "")


def fronts(lines: pd.DataFrame, place: str) -> str:
    """Returns the Pareto fronts of each unit of the bill, against error and against following X."""
    cells, several = [], lines["reporter"].nunique() > 1
    for unit, (said, scale) in UNITS.items():
        if unit not in lines or lines[unit].nunique() < 2:
            continue
        both = []
        for against, words in (("validation_nll", "error"), ("follows_concept", "following X")):
            drawing, best = figures.front(lines, unit, said, scale, against)
            named = "".join(f"<li>{escape(name(line['reporter'], line['prior'], several))} {written(line['strength']) if line['strength'] else ''}</li>" for line in best)
            both.append(figure(drawing.svg(), "", f"<ol>{named}</ol>", f"{said} against {words}"))
        cells.append(f"<div class='pareto'><h4>{escape(said)}</h4>{''.join(both)}</div>")
    how = (
        "Each point is a prior at a strength, mean over its heads. Numbered: no other is both cheaper and better (left: fewer nats of error on held-out easy "
        "episodes; right: follows X on more of the disputed ones). Costs are those of the finished heads."
    )
    return section(f"{place}-fronts", "What it costs: Pareto fronts", how, f'<div class="fronts">{"".join(cells)}</div>' if cells else "")


def levels(lines: pd.DataFrame, place: str) -> str:
    """Returns the table by level, where heads read one level."""
    return section(f"{place}-levels", "By level", "Heads that read one level only; every level that was trained.", everything(lines, f"{place}-levels-table") if lines["level"].nunique() > 1 else "")


def families(heads: pd.DataFrame, place: str) -> str:
    """Returns whom heads at matched accuracy follow on each family of tampering; in older runs, on the worst for each head."""
    found, several = family_columns(heads), heads["reporter"].nunique() > 1
    if found:
        lines = [[name(*key, several), *(number(group[column].mean()) for column in found)] for key, group in rows(heads)]
        how = "Share of the disputed episodes of each kind of tampering on which heads at matched accuracy follow X, mean over heads."
        return section(f"{place}-families", "By kind of tampering", how, table(["prior", *(column.removeprefix("follows_concept_").replace("_", " ") for column in found)], lines, "Families"))
    if "worst_family" not in heads or heads["worst_family"].isna().all():
        return ""
    kinds = sorted(heads["worst_family"].dropna().unique())
    lines = [[name(*key, several), *(number((group["worst_family"] == kind).mean()) for kind in kinds), number(group["worst_family_gap"].mean())] for key, group in rows(heads)]
    how = "Share of heads at matched accuracy for which each kind of tampering is the worst, and how far they fall on it from easy episodes: share of episodes, mean over heads."
    return section(f"{place}-families", "By kind of tampering", how, table(["prior", *(f"worst: {kind}" for kind in kinds), "mean fall on the worst"], lines, "Families"))


def reporters(heads: pd.DataFrame, place: str) -> str:
    """Returns whom heads follow under each reporter, prior by prior side by side; nothing where there is one."""
    names = sorted(heads["reporter"].unique())
    if len(names) < 2:
        return ""
    shares, lines = translators(heads), []
    for prior in sorted(heads["prior"].unique(), key=lambda prior: (prior != "none", prior)):
        groups = [heads[(heads["prior"] == prior) & (heads["reporter"] == one)] for one in names]
        line: list[Cell] = [prior]
        for one, group in zip(names, groups, strict=True):
            line += [_cell(shares[(one, prior)]) if len(group) else "–", number(group["follows_concept"].mean())]
        lines.append(line)
    headings = ["prior", *(f"{one}: {what}" for one in names for what in ("translators", "follows X"))]
    return section(f"{place}-reporters", "By reporter", "Heads at matched accuracy: share that are translators [corrected 95%], and that follow X, mean over heads.", table(headings, lines, "Reporters"))


def everything(lines: pd.DataFrame, name: str = "Every prior and strength") -> str:
    """Returns every line of the comparison as a table."""
    costs = [unit for unit in ("prequential_bits", "flops", "edges", "level_read") if lines[unit].notna().any()]
    out = []
    for _, line in lines.iterrows():
        cells: list[Cell] = [line["prior"], line["reporter"], (written(line["strength"]), float(line["strength"])), "all" if pd.isna(line["level"]) else int(line["level"])]
        cells += [int(line["heads"]), int(line["predictors"]), between(*(line[f"translators{end}"] for end in ("", "_low", "_high")))]
        cells += [between(*(line[f"follows_concept{end}"] for end in ("", "_low", "_high"))), f"{line['least']:.2f}–{line['most']:.2f}"]
        cells += [int(line[kind]) for kind in KINDS] + [number(line["validation_nll"], 4), number(line["easy_accuracy"], 3)]
        out.append(cells + [cost(line[unit] * UNITS[unit][1]) for unit in costs] + [line["two_heaps"]])
    headings = ["prior", "reporter", ("strength", COLUMNS["strength"][0]), "level", "heads", "predictors", ("translators", "share [its own 95%]")]
    headings += [("follows X", "share [its own 95%]"), "least–most", *SHORT.values(), ("error", "nats an episode, held-out easy"), ("easy", "share right")]
    return table(headings + [UNITS[unit][0] for unit in costs] + ["two heaps"], out, name, search=len(out) > 8)


def _cell(value: Mean) -> tuple[str, float]:
    return between(value.value, value.low, value.high)
