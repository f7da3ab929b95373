"""The whole page: its sections in order, and the data that its script reads."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

import pandas as pd

from report.columns import COSTS, find_column
from report.comparison import Compared, build_lines
from report.drawing import Drawing
from report.page import costs, findings, methods, tables
from report.page.findings import Drawings
from report.page.html import render_section
from report.page.pack import EVIDENCE, build_columns, describe_columns, pack
from report.runs import FoundRuns
from report.settings import MOST_DRAWN, describe_several_settings
from storage.run_folder import CONFIG

FILES = Path(__file__).parent
LINES = (
    "Means of settled heads over predictors; intervals at 95%, each by itself. comparison.csv has"
    " the same figures, and the limits that hold for all lines together."
)


EXPLAINED = ("spread", "gates_passed", "settled", "median_gap", "calibrated_nll")
"""Columns that the glossary explains beside evidence and costs."""


def build_page(title: str, runs: FoundRuns, parts: list[Compared]) -> str:
    """Returns the page.

    Args:
        runs: everything that the folders hold.
        parts: the comparison of each setting.
    """
    drawn: Drawings = {}
    articles = []
    heads = []
    configs = {}
    for i, part in enumerate(parts):
        drawings = drawn if i < MOST_DRAWN else None
        articles.append(_build_article(part, f"s{i}", drawings, len(parts) > 1))
        heads.append(part.each.assign(setting=i))
        for run in part.setting.runs:
            configs[run.name] = (run.folder / CONFIG).read_text(encoding="utf-8")
    all_heads = pd.concat(heads, ignore_index=True)
    data = {
        "heads": build_columns(all_heads),
        "columns": describe_columns(),
        "evidence": EVIDENCE,
        "dots": {mark: _locate_dots(drawing) for mark, drawing in drawn.items()},
        "configs": configs,
    }
    notices = [*describe_several_settings([part.setting for part in parts]), *runs.notices()]
    page = Template((FILES / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(title),
        description=escape(parts[0].answer.headline),
        css=(FILES / "page.css").read_text(encoding="utf-8"),
        script=(FILES / "page.js").read_text(encoding="utf-8"),
        notices=_build_notices(notices),
        body="".join(articles) + methods.render_statistics(),
        glossary=_build_glossary([*EVIDENCE, *EXPLAINED, *COSTS]),
        data=pack(data),
        counts=escape(f"{len(runs.runs)} runs, {len(all_heads):,} heads"),
    )


def _build_article(part: Compared, place: str, drawn: Drawings | None, several: bool) -> str:
    """Returns everything about one setting.

    Args:
        place: how the names of its sections begin.
        drawn: the drawings of the page, to which those of this setting are added; None where it is
            not drawn.
        several: whether the page has other settings, so that this one needs a heading.
    """
    shown, runs = part.shown, part.setting.runs
    pieces = [
        findings.render_answer(part, place, drawn),
        *_build_panels(part, place, drawn),
        tables.tabulate_matched(shown, place),
        tables.tabulate_apart(part.heads, place),
        tables.tabulate_pairs(part.answer, place),
        "" if drawn is None else costs.render_fronts(part.lines, place),
        _build_level_table(part, place),
        tables.tabulate_families(shown, place),
        tables.tabulate_reporters(shown, place),
        methods.render_judge(runs, place),
        methods.render_predictors(runs, place),
        render_section(
            f"{place}-lines", "Every prior and strength", LINES, tables.tabulate_lines(part.lines)
        ),
        methods.render_runs(runs, place),
    ]
    heading = f"<h2>{escape(part.setting.name)}</h2>" if several else ""
    return f'<article id="{place}">{heading}{"".join(pieces)}</article>'


def _build_panels(part: Compared, place: str, drawn: Drawings | None) -> list[str]:
    """Returns the panels against strength, and those against level where there are several."""
    if drawn is None:
        return []
    panels = [findings.render_panels(part.heads, part.lines, "strength", place, drawn)]
    if part.each["level"].nunique() > 1:
        heads = part.levels
        lines = build_lines(part.setting.name, heads)
        panels.append(findings.render_panels(heads, lines, "level", place, drawn))
    return panels


def _build_level_table(part: Compared, place: str) -> str:
    if part.each["level"].nunique() < 2:
        return ""
    by_level = part.each_lines
    shown = tables.tabulate_lines(by_level[by_level["level"].notna()], "Levels")
    how = "Heads that read one level only; every level."
    return render_section(f"{place}-levels", "By level", how, shown)


def _locate_dots(drawing: Drawing) -> dict[str, list[int]]:
    """Returns the head of each dot, and where the dot is in tenths of the figure's units."""
    located: dict[str, list[int]] = {"head": [], "x": [], "y": []}
    for which, (_, dots) in enumerate(drawing.dots):
        places = (drawing.locate_dots(which) * 10).round().astype(int)
        located["head"] += dots.head_K.tolist()
        located["x"] += places[:, 0].tolist()
        located["y"] += places[:, 1].tolist()
    return located


def _build_glossary(names: Iterable[str]) -> str:
    """Returns the headings of columns and their meanings, as entries of a list."""
    entries = []
    for name in names:
        column = find_column(name)
        entries.append(f"<dt>{escape(column.heading)}</dt><dd>{escape(column.meaning)}</dd>")
    return "".join(entries)


def _build_notices(notices: list[str]) -> str:
    if not notices:
        return ""
    items = "".join(f"<li>{escape(notice)}</li>" for notice in notices)
    title = "<b>Some runs are left out, or were made differently.</b>"
    return f'<aside class="notices" aria-label="What is left out">{title}<ul>{items}</ul></aside>'
