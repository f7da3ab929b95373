"""The whole page, and what it weighs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from report.answer import Answer, compose_answer
from report.comparison import heads_of, lines
from report.page import costs, findings, methods, tables
from report.page.findings import Drawings
from report.page.html import render_section
from report.page.pack import RATES, columns, packed
from report.runs import FoundRuns
from report.settings import Setting, describe_several_settings

HERE = Path(__file__).parent
EVERYTHING = (
    "Means over predictors; intervals at 95%, each by itself. comparison.csv has them too, and"
    " those that hold for all lines together."
)


@dataclass(frozen=True)
class Compared:
    """A setting with its heads as they are compared."""

    setting: Setting
    each: pd.DataFrame
    """Heads of every level, numbered over the whole page in `index`."""
    heads: pd.DataFrame
    """Those that stand for their prior and strength."""
    lines: pd.DataFrame
    answer: Answer

    @property
    def matched(self) -> pd.DataFrame:
        """The heads at matched accuracy."""
        return self.heads[self.heads["matched"]]

    @property
    def levels(self) -> pd.DataFrame:
        """The heads of every level at the strengths of those at matched accuracy, which count as
        one strength: heads beside each other differ in what they read alone.
        """
        keys = ["predictor", "reporter", "prior", "strength"]
        return self.each.merge(self.matched[keys].drop_duplicates(), on=keys).assign(strength=0.0)


def compare(setting: Setting, start: int) -> Compared:
    """Returns the comparison of a setting's heads.

    Args:
        start: number of its first head on the page.
    """
    each = heads_of(setting.heads, each_level=True)
    each = each.assign(index=range(start, start + len(each)))
    heads = heads_of(each) if each["level"].nunique() > 1 else each
    each = each.assign(
        matched=each["index"].isin(heads.loc[heads["matched"], "index"]),
        chosen=each["index"].isin(heads["index"]),
    )
    return Compared(
        setting, each, heads, lines(setting.name, heads), compose_answer(heads[heads["matched"]])
    )


def page(title: str, all_found: FoundRuns, parts: list[Compared]) -> str:
    """Returns the page."""
    drawn: Drawings = {}
    body = "".join(_setting(part, f"s{i}", drawn, len(parts) > 1) for i, part in enumerate(parts))
    notices = [*describe_several_settings([part.setting for part in parts]), *all_found.notices()]
    heads = pd.concat(
        [part.each.assign(setting=i) for i, part in enumerate(parts)], ignore_index=True
    )
    data = {
        "heads": columns(heads),
        "words": RATES,
        "dots": {mark: _places(drawing) for mark, drawing in drawn.items()},
        "configs": {
            run.name: (run.folder / "config.yaml").read_text()
            for part in parts
            for run in part.setting.runs
        },
    }
    values = {
        "title": escape(title),
        "description": escape(parts[0].answer.headline),
        "css": (HERE / "page.css").read_text(),
        "script": (HERE / "page.js").read_text(),
        "notices": _notices(notices),
        "body": body,
        "data": packed(data),
        "counts": escape(f"{len(all_found.runs)} runs, {len(heads):,} heads"),
    }
    return Template((HERE / "page.html").read_text()).substitute(values)


def _setting(part: Compared, place: str, drawn: Drawings, several: bool) -> str:
    matched, runs = part.matched, part.setting.runs
    levelled = part.each["level"].nunique() > 1
    by_level = lines(part.setting.name, part.each) if levelled else part.lines
    levels = tables.everything(by_level[by_level["level"].notna()], "Levels") if levelled else ""
    pieces = [
        findings.render_answer(matched, part.answer, place, drawn),
        findings.render_panels(part.heads, part.lines, "strength", place, drawn),
        (
            findings.render_panels(
                part.levels, lines(part.setting.name, part.levels), "level", place, drawn
            )
            if levelled
            else ""
        ),
        tables.matched(matched, place),
        tables.pairwise(part.answer, place),
        costs.render_fronts(part.lines, place),
        render_section(
            f"{place}-levels", "By level", "Heads that read one level only; every level.", levels
        ),
        tables.families(matched, place),
        tables.reporters(matched, place),
        methods.render_judge(runs, place),
        methods.render_predictors(runs, place),
        render_section(
            f"{place}-lines", "Every prior and strength", EVERYTHING, tables.everything(part.lines)
        ),
        methods.render_runs(runs, place),
    ]
    heading = f"<h2>{escape(part.setting.name)}</h2>" if several else ""
    return f'<article id="{place}">{heading}{"".join(pieces)}</article>'


def _places(drawing: Any) -> dict[str, list[int]]:
    """Returns the head of each dot, and where it lies in tenths of the figure's units."""
    out: dict[str, list[int]] = {"head": [], "x": [], "y": []}
    for which, (_, dots) in enumerate(drawing.dots):
        places = (drawing.locate_dots(which) * 10).round().astype(int)
        out["head"] += dots.head_K.tolist()
        out["x"] += places[:, 0].tolist()
        out["y"] += places[:, 1].tolist()
    return out


def _notices(lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        '<aside class="notices" aria-label="What is left out"><b>Not all is here, or not all'
        f" agrees.</b><ul>{items}</ul></aside>"
    )
