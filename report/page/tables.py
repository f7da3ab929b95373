"""The page's tables of heads: at matched accuracy, two by two, by level, family and reporter, and
every line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from report import apart
from report.answer import Answer, compute_translator_shares, format_prior
from report.arms import is_without_prior
from report.columns import COSTS, find_column, find_families, get_heading
from report.intervals import N_CLAIMS, Mean, estimate_column
from report.lines import KINDS, format_level, format_strength
from report.matched import NEAR
from report.page.findings import sort_groups
from report.page.html import Cell, Columns, format_interval, render_section, render_table
from report.pairs import Pair
from report.settling import (
    compute_median_gap,
    compute_settled_share,
    describe_unsettled,
    format_gap,
    format_settled,
    keep_settled,
)

SEARCHABLE = 8
"""Lines above which a table has a field that filters them."""


def tabulate_matched(heads: pd.DataFrame, place: str) -> str:
    """Returns the table at matched accuracy: every prior, what its settled heads follow, and their
    costs in every unit; dashes where no head has settled.
    """
    groups = sort_groups(heads)
    keys = [key for key, _ in groups]
    every = [group for _, group in groups]
    frames = [keep_settled(group) for group in every]
    shares = compute_translator_shares(heads)
    translators: list[Cell] = []
    for arm, group in groups:
        is_known = arm in shares
        translators.append(_build_interval(shares[arm]) if is_known else _build_unsettled(group))
    columns: Columns = {
        "prior": [prior for _, prior in keys],
        "reporter": [reporter for reporter, _ in keys],
        "translators": translators,
        "follows_concept": [_average_follows(group, len(shares)) for group in frames],
        "strength": [_list_strengths(group) for group in every],
        "settled": [_build_settled(compute_settled_share(group), len(group)) for group in every],
        "median_gap": [_build_gap(compute_median_gap(group)) for group in every],
        "predictors": [group["predictor"].nunique() for group in every],
    }
    for kind in KINDS[1:]:
        columns[kind] = [_build_share((group["verdict"] == kind).mean()) for group in frames]
    for key in ("gates_passed", "easy_accuracy", *_find_known(heads, COSTS)):
        columns[key] = _average(frames, key)
    how = (
        "Of each prior, the settled heads of its largest strength whose mean error on held-out easy"
        f" episodes is at most {NEAR} nats above the least that any prior reaches on the same"
        " predictor. Verdicts and gates are shares of settled heads, the other figures means over"
        " them, but N·gap the median over all heads;"
        " intervals are over predictors and hold at 95% for the translators and the follows X of"
        " all lines together."
    )
    title = "At matched accuracy, in every unit"
    return render_section(f"{place}-matched", title, how, _build_table(columns, "Matched accuracy"))


def tabulate_apart(heads: pd.DataFrame, place: str) -> str:
    """Returns the table of lines of which no head has settled; empty where there are none."""
    lines = apart.build_lines_apart(heads)
    if lines.empty:
        return ""
    both = zip(lines["least"], lines["most"], strict=True)
    columns: Columns = {
        "prior": list(lines["prior"]),
        "reporter": list(lines["reporter"]),
        "strength": [(format_strength(value), float(value)) for value in lines["strength"]],
        "follows_concept": [_build_number("follows_concept", v) for v in lines["follows_concept"]],
        "spread": [f"{least:.2f}–{most:.2f}" for least, most in both],
        "median_gap": [_build_gap(gap) for gap in lines["median_gap"]],
    }
    for key in ("heads", "predictors", *KINDS):
        columns[key] = [_build_count(value) for value in lines[key]]
    for key in ("concept_accuracy", "concept_accuracy_worst", "easy_accuracy"):
        columns[key] = [_build_number(key, value) for value in lines[key]]
    how = (
        "Lines of which no head is known to have reached the optimum of what it is charged. They"
        " speak of their training as much as of their prior. Means over heads, without intervals."
    )
    return render_section(f"{place}-apart", apart.TITLE, how, _build_table(columns, "Apart"))


def tabulate_pairs(answer: Answer, place: str) -> str:
    """Returns the table of differences of priors, two by two."""
    pairs = answer.pairs
    if not pairs:
        return ""
    columns: Columns = {
        "first prior": [pair.first for pair in pairs],
        "second prior": [pair.second for pair in pairs],
        "reporter": [pair.reporter for pair in pairs],
        f"{get_heading('translators')}, difference": [
            _build_interval(pair.translators) for pair in pairs
        ],
        f"{get_heading('follows_concept')}, difference": [
            _build_interval(pair.follows) for pair in pairs
        ],
        "decided": [_describe_decision(pair) for pair in pairs],
        "paired heads": [pair.follows.heads for pair in pairs],
    }
    how = (
        "The first prior less the second, head by head: same predictor, same seed. Intervals hold"
        f" at 95% for all {N_CLAIMS * len(pairs)} differences of this table together (Student's"
        " over predictors, never narrower than what the heads give; Bonferroni). A difference is"
        " decided if its interval excludes 0."
    )
    shown = render_table(_drop_single_reporter(columns), "Pairs", search=len(pairs) > SEARCHABLE)
    return render_section(f"{place}-pairs", "Priors two by two", how, shown)


def tabulate_families(heads: pd.DataFrame, place: str) -> str:
    """Returns what heads at matched accuracy follow on each family of tampering; of runs of earlier
    versions, the worst family for each.
    """
    heads = keep_settled(heads)
    groups = sort_groups(heads)
    frames = [group for _, group in groups]
    several = heads["reporter"].nunique() > 1
    columns: Columns = {get_heading("prior"): [format_prior(*key, several) for key, _ in groups]}
    families = find_families(heads)
    if families:
        how = (
            "Share of the disputed episodes of each kind of tampering on which the report is X, of"
            " heads at matched accuracy; mean over heads."
        )
        for family in families:
            columns[get_heading(family)] = _average(frames, family)
    elif _find_known(heads, ["worst_family"]):
        how = (
            "The kind of tampering on which a head follows X least, compared with easy episodes:"
            " the mean gap there, and the share of heads for which each kind is the worst."
        )
        columns[get_heading("worst_family_gap")] = _average(frames, "worst_family_gap")
        for kind in sorted(heads["worst_family"].dropna().unique()):
            shares = [(group["worst_family"] == kind).mean() for group in frames]
            columns[f"worst: {kind}"] = [_build_share(share) for share in shares]
    else:
        return ""
    return render_section(
        f"{place}-families", "By kind of tampering", how, render_table(columns, "Families")
    )


def tabulate_reporters(heads: pd.DataFrame, place: str) -> str:
    """Returns what heads follow under each reporter, prior by prior side by side; nothing where
    there is one reporter.
    """
    heads = keep_settled(heads)
    reporters = sorted(heads["reporter"].unique())
    if len(reporters) < 2:
        return ""
    groups = dict(sort_groups(heads))
    shares = compute_translator_shares(heads)
    priors = sorted(heads["prior"].unique(), key=lambda prior: (not is_without_prior(prior), prior))
    columns: Columns = {get_heading("prior"): list(priors)}
    for reporter in reporters:
        of_translators: list[Cell] = []
        of_follows: list[Cell] = []
        for prior in priors:
            group = groups.get((reporter, prior))
            is_there = group is not None
            of_translators.append(_build_interval(shares[(reporter, prior)]) if is_there else None)
            follows = None if group is None else group["follows_concept"].mean()
            of_follows.append(_build_number("follows_concept", follows))
        columns[f"{reporter}: {get_heading('translators')}"] = of_translators
        columns[f"{reporter}: {get_heading('follows_concept')}"] = of_follows
    how = (
        "Heads at matched accuracy: the share that are translators, with intervals at 95% for all"
        " together, and the mean over heads of how far they follow X."
    )
    return render_section(
        f"{place}-reporters", "By reporter", how, render_table(columns, "Reporters")
    )


def tabulate_lines(lines: pd.DataFrame, title: str = "Every prior and strength") -> str:
    """Returns every line of the comparison as a table."""
    columns: Columns = {
        "prior": list(lines["prior"]),
        "reporter": list(lines["reporter"]),
        "strength": [(format_strength(value), float(value)) for value in lines["strength"]],
    }
    if lines["level"].notna().any():
        levels = [format_level(value) for value in lines["level"]]
        columns["level"] = [level if level == "all" else int(level) for level in levels]
    for key in ("translators", "follows_concept"):
        ends = lines[[key, f"{key}_low", f"{key}_high"]].itertuples(index=False)
        columns[key] = [format_interval(*row) for row in ends]
    both = zip(lines["least"], lines["most"], strict=True)
    columns["spread"] = [
        "–" if pd.isna(least) else f"{least:.2f}–{most:.2f}" for least, most in both
    ]
    counts = zip(lines["settled"], lines["heads"], strict=True)
    columns["settled"] = [_build_settled(share, n) for share, n in counts]
    columns["median_gap"] = [_build_gap(gap) for gap in lines["median_gap"]]
    for key in ("predictors", *KINDS):
        columns[key] = [_build_count(value) for value in lines[key]]
    for key in ("calibrated_nll", "easy_accuracy", *_find_known(lines, COSTS)):
        columns[key] = [_build_number(key, value) for value in lines[key]]
    if (lines["two_modes"] != "").any():
        columns["two_modes"] = [_shorten_modes(words) for words in lines["two_modes"]]
    if (lines["predictors_differ"] != "").any():
        columns["predictors_differ"] = list(lines["predictors_differ"])
    return _build_table(columns, title)


def _build_table(columns: Columns, title: str) -> str:
    """Returns a table of columns that are given by their names."""
    shown = {}
    for key, cells in _drop_single_reporter(columns).items():
        # Beside their share, the number of translators needs another heading.
        mark = "n " if key in KINDS and KINDS[0] in columns else ""
        shown[f"{mark}{get_heading(key)}"] = cells
    n_lines = len(columns["prior"])
    return render_table(shown, title, search=n_lines > SEARCHABLE)


def _build_number(key: str, value: float | None) -> Cell:
    """Returns a value of a column as a cell; a dash for a missing one."""
    if value is None or pd.isna(value):
        return "–", float("-inf")
    column = find_column(key)
    return column.format(value).replace("-", "−"), float(value * column.scale)


def _build_share(value: float) -> Cell:
    return _build_number("translators", value)


def _build_count(value: int | None) -> Cell:
    return ("–", float("-inf")) if pd.isna(value) else int(value)


def _build_settled(share: float, n: int) -> Cell:
    return format_settled(share, n), share


def _build_gap(gap: float) -> Cell:
    return format_gap(gap), gap


def _build_unsettled(heads: pd.DataFrame) -> Cell:
    return describe_unsettled(heads), float("-inf")


def _build_interval(value: Mean) -> Cell:
    return format_interval(value.value, value.low, value.high)


def _average(frames: Iterable[pd.DataFrame], key: str) -> list[Cell]:
    return [_build_number(key, group[key].mean()) for group in frames]


def _average_follows(heads: pd.DataFrame, among: int) -> Cell:
    """Returns how far heads follow X, with an interval that holds for `among` lines together."""
    return _build_interval(estimate_column(heads, "follows_concept", N_CLAIMS * among))


def _list_strengths(heads: pd.DataFrame) -> str:
    if is_without_prior(heads["prior"].iloc[0]):
        return "–"
    return " ".join(format_strength(value) for value in sorted(heads["strength"].unique()))


def _describe_decision(pair: Pair) -> str:
    """Returns in words which differences of a pair are decided."""
    decided = []
    for key, value in (("translators", pair.translators), ("follows_concept", pair.follows)):
        if value.decided:
            decided.append(f"{get_heading(key)} {'more' if value.value > 0 else 'less'}")
    return ", ".join(decided) or "not decided"


def _shorten_modes(words: str) -> str:
    """Returns where two modes are, in few words.

    >>> _shorten_modes("two modes, 5% near 0.06 and 95% near 0.97 (within every predictor)")
    '5% 0.06, 95% 0.97'
    """
    modes = re.findall(r"(\d+%) near ([\d.]+)", words)
    return ", ".join(f"{share} {center}" for share, center in modes)


def _drop_single_reporter(columns: Columns) -> Columns:
    """Returns columns without that of reporters where all are the same."""
    if len(set(columns["reporter"])) > 1:
        return columns
    return {key: cells for key, cells in columns.items() if key != "reporter"}


def _find_known(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Returns which of these columns hold any value."""
    return [key for key in names if key in frame and frame[key].notna().any()]
