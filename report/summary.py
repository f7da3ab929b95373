"""The short table and what it shows in words: on the terminal, and as a run's summary.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from console.terminal import open_console
from report import apart
from report.alignment import format_section
from report.answer import count, join_words, list_failed_gates
from report.columns import explain, find_column, format_markdown, get_heading
from report.comparison import Compared, compare
from report.lines import KINDS, format_level, format_strength
from report.planted import Record, collect_record, list_gates_not_passed
from report.plots import plot_follows_concept
from report.runs import find, list_predictors
from report.settings import Setting, describe_several_settings, group_by_setting
from report.settling import (
    add_settled,
    describe_settled,
    keep_settled,
)
from report.terminal_table import (
    APART_LAYOUT,
    COLUMNS,
    LAYOUT,
    PLAIN,
    build_table,
    choose_columns,
)
from storage import run_folder
from storage.atomic import write_atomically

UNDECIDED = "undecided"
LEGEND = (
    "Means over settled heads; follows X: mean over predictors, with its 95% interval over"
    " predictors and their heads, each line by itself. With one predictor the interval does not"
    " cover others."
)


def show(folders: list[Path], each_level: bool = True) -> None:
    """Prints the table of finished runs, its answer in words, and how the judge did on planted
    heads; settings that differ one after the other.
    """
    runs = find(folders)
    parts = group_by_setting(runs.runs)
    show_comparisons([compare(setting) for setting in parts], each_level)
    show_notices([*describe_several_settings(parts), *runs.notices()])


def show_comparisons(parts: list[Compared], each_level: bool) -> None:
    """Prints the comparison of each setting: the answer, the table, and below it what the answer
    rests on; below the first table, what the headings mean.

    Args:
        each_level: whether heads that read one level have a line a level, and each level its own
            answer; else only those of the compared level have one.
    """
    out = open_console()
    tables = [part.each_lines if each_level else part.lines for part in parts]
    names = [choose_columns(table, out, LAYOUT) for table in tables]
    for i, part in enumerate(parts):
        opening = compose_opening(part)
        out.print(Text(opening, style="bold"))
        out.print(build_table(tables[i], _compose_title(part.each), names[i], LAYOUT))
        shown = {name for row in names for name in row}
        shown |= _show_apart(part.each if each_level else part.heads, out)
        if i == 0:
            out.print(_build_legend(shown))
        abouts = [about for run in part.setting.runs for about in run.abouts]
        remarks = [
            _describe_settling(part),
            part.level,
            *_count_gates(part.each, opening),
            *_describe_predictors(abouts),
        ]
        remarks += [collect_record(abouts).describe(), *_count_saved(part.each)]
        for remark in filter(None, remarks):
            out.print(Text(remark, style="dim"))
        details = compose_details(tables[i], part)
        if details:
            out.print(Text(details))
        if each_level and part.each["level"].nunique() > 1:
            out.print(Text(_join(_answer_each_level(part))))


def _show_apart(heads: pd.DataFrame, out: Console) -> set[str]:
    """Prints the figures of heads that have not settled, where all of a line have not; returns the
    columns that it shows.
    """
    table = apart.build_lines_apart(heads)
    if table.empty:
        return set()
    names = choose_columns(table, out, APART_LAYOUT)
    out.print(build_table(table, apart.TITLE, names, APART_LAYOUT))
    return set(names)


def _answer_each_level(part: Compared) -> list[str]:
    """Returns the answer at each level in a line; levels with the same answer share one."""
    levels = sorted(part.each["level"].dropna().unique())
    by_headline: dict[str, list[str]] = {}
    for level in levels:
        answer = compare(part.setting, level=int(level)).answer
        by_headline.setdefault(answer.headline, []).append(str(level))
    return [
        "At each level by itself (intervals hold for one level, not for all of them together):",
        *(f"Level {', '.join(at)}: {headline}" for headline, at in by_headline.items()),
    ]


def show_notices(notices: list[str]) -> None:
    """Prints what is left out, a line each, by name."""
    for notice in notices:
        open_console().print(Text(f"! {notice}", style="yellow"))


def show_job(folder: Path) -> None:
    """Prints the result of an experiment that is no run of heads."""
    from rich.markdown import Markdown

    open_console().print(Markdown((folder / run_folder.SUMMARY).read_text(encoding="utf-8")))


def write_summary(folder: Path, heads: pd.DataFrame, about: dict[str, Any]) -> None:
    """Writes a run's summary.md, and the plot in it."""
    key = "level" if heads["level"].nunique() > 1 else "strength"
    with write_atomically(folder / run_folder.PLOTS / "follows_concept.png") as temporary:
        plot_follows_concept(key, add_settled(heads), temporary)
    with write_atomically(folder / run_folder.SUMMARY) as temporary:
        temporary.write_text(format_summary(heads, about), encoding="utf-8")


def format_summary(heads: pd.DataFrame, about: dict[str, Any]) -> str:
    """Returns a run's summary: the answer, the table, the predictor's gates and the judge's own
    record.
    """
    part = compare(Setting("", (), heads.assign(run="")))
    table = part.each_lines
    names = COLUMNS[1:]
    rows = [[LAYOUT.format_cell(name, line) for name in names] for _, line in table.iterrows()]
    lines_apart = _format_apart(part.each)
    abouts = list_predictors(about)
    gates = [f"- {line}" for line in _list_gates(abouts)]
    record = collect_record(abouts)
    judge = [record.describe(), *_count_saved(part.each)]
    if record.n:
        judge.insert(1, _tabulate_planted(record))
    opening, details = compose_opening(part), compose_details(table, part)
    words = filter(None, [f"**{opening}**", details, _describe_settling(part), part.level])
    return f"""# {_compose_title(heads)}

{_join(words, 2)}

![Whom the heads follow](plots/follows_concept.png)

{format_markdown([get_heading(name) for name in names], rows)}

{LEGEND} {explain(name for name in names if name not in PLAIN)}

{lines_apart}{format_section(part.each)}## The predictor

{_join(gates)}

## The judge

{_join(judge, 2)}
"""


def _format_apart(heads: pd.DataFrame) -> str:
    """Returns the figures of heads that are shown apart as a section of a run's summary; empty
    where there are none.
    """
    table = apart.build_lines_apart(heads)
    if table.empty:
        return ""
    names = APART_LAYOUT.columns[1:]
    rows = [
        [APART_LAYOUT.format_cell(name, line) for name in names] for _, line in table.iterrows()
    ]
    lines = format_markdown([get_heading(name) for name in names], rows)
    return f"{apart.TITLE}:\n\n{lines}\n\n"


def compose_opening(part: Compared) -> str:
    """Returns the answer in words: the verdicts on settled heads, and what they show; nothing is
    claimed that its corrected interval does not support.
    """
    if part.matched.empty:
        return part.answer.headline
    settled = keep_settled(part.each)
    if set(settled["verdict"]) == {UNDECIDED} and (settled["failed_gates"] != "").all():
        return (
            f"No verdict: all {count(len(settled), 'settled head')} are undecided;"
            f" {join_words(list_failed_gates(settled))}."
        )
    return f"{_describe_verdicts(settled)} {part.answer.headline}"


def compose_details(table: pd.DataFrame, part: Compared) -> str:
    """Returns in words what else the lines of a table show of settled heads, and how far that
    reaches; empty where no head has settled.
    """
    if part.matched.empty:
        return ""
    words = []
    if table["level"].nunique() > 1:
        best = table.sort_values("calibrated_nll", kind="stable").iloc[0]
        easy = f"{get_heading('easy_auroc')} {best['easy_auroc']:.3f}"
        disputed = f"{get_heading('ranks_concept')} {best['ranks_concept']:.3f}"
        sentence = (
            f"The least error on held-out easy episodes is that of prior {best['prior']}, strength"
            f" {format_strength(best['strength'])}, level {format_level(best['level'])}: {easy}"
        )
        if pd.notna(best["ranks_concept"]):
            sentence += f", on disputed episodes {disputed}"
        words.append(f"{sentence}.")
    return " ".join([*words, *part.answer.details, part.answer.scope])


def _describe_verdicts(heads: pd.DataFrame) -> str:
    """Returns how many heads have which verdict, and why most of the undecided ones are.

    Args:
        heads: settled ones.
    """
    counts = heads["verdict"].value_counts()
    listed = [_count_kind(counts[kind], kind) for kind in KINDS if kind in counts]
    verdicts = f"Verdicts on {count(len(heads), 'settled head')}: {', '.join(listed)}"
    if set(counts.index) != {UNDECIDED}:
        return f"{verdicts}."
    last_sentences = heads["reason"].str.split(r"(?<=\.) ", regex=True).str[-1]
    return f"{verdicts}, most because: {last_sentences.mode()[0]}"


def _count_kind(n: int, kind: str) -> str:
    """Returns how many heads are of a kind.

    >>> _count_kind(2, "direct_translator"), _count_kind(2, "neither")
    ('2 direct translators', '2 neither')
    """
    return f"{n:,} {kind}" if kind in ("neither", UNDECIDED) else count(n, kind.replace("_", " "))


def _describe_settling(part: Compared) -> str:
    """Returns how many heads have settled; empty where none has, for then that is the answer."""
    return "" if part.matched.empty else describe_settled(part.each)


def _compose_title(heads: pd.DataFrame) -> str:
    names: list[str] = []
    for key in ("world", "core_model", "reporter"):
        names += map(str, heads[key].unique())
    return ", ".join(names)


def _build_legend(names: set[str]) -> Table:
    """Returns what the headings of these columns mean, a line each."""
    legend = Table.grid(padding=(0, 2))
    legend.title = Text(LEGEND)
    legend.title_justify = "left"
    for name in dict.fromkeys((*COLUMNS, *APART_LAYOUT.columns)):
        if name in names and name not in PLAIN:
            column = find_column(name)
            legend.add_row(Text(column.heading), Text(column.meaning), style="dim")
    return legend


def _count_gates(heads: pd.DataFrame, opening: str) -> list[str]:
    """Returns how many heads fail which gates, in a line; none where the opening says it."""
    gates = join_words(list_failed_gates(heads))
    if not gates or gates in opening:
        return []
    return [f"Of {count(len(heads), 'head')}, {gates}."]


def _describe_predictors(abouts: list[dict[str, Any]]) -> list[str]:
    """Returns the gates that predictors do not pass, and how well a bag of words ranks X."""
    not_passed: set[str] = set()
    for about in abouts:
        not_passed.update(list_gates_not_passed(about))
    return [f"The predictor: {gate}" for gate in sorted(not_passed)] + _describe_surface(abouts)


def _list_gates(abouts: list[dict[str, Any]]) -> list[str]:
    """Returns the gates of the predictors of a run; of several, by their seeds."""
    lines = []
    for about in abouts:
        prefix = f"predictor {about['seed']}: " if len(abouts) > 1 else ""
        lines += [prefix + gate for gate in about["gates"]]
    return lines + _describe_surface(abouts)


def _describe_surface(abouts: list[dict[str, Any]]) -> list[str]:
    """Returns what the controls on texts rank, in a line; runs of earlier versions have one control
    alone.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for about in abouts:
        for name, control in about.get("controls", {}).items():
            found.setdefault(name, []).append(control)
    if found:
        listed = [f"{_space(name)} {_format_control(values)}" for name, values in found.items()]
        line = (
            "Controls, AUROC for X on held-out easy and on disputed episodes (0.5 is chance):"
            f" {', '.join(listed)}."
        )
        if len(found.get("level_0", [])) < len(abouts):
            line += " Level 0 holds NaN or infinity, so it is left out."
        return [line]
    values = [about["surface_auroc"] for about in abouts if about["surface_auroc"] is not None]
    if not values:
        return []
    return [
        f"A bag of words ranks X on disputed episodes with AUROC {min(values):.3f} to"
        f" {max(values):.3f}; 0.5 is no surface cue."
    ]


def _format_control(values: list[dict[str, float]]) -> str:
    """Returns the mean over predictors on easy and on disputed episodes; a dash for NaN.

    >>> _format_control([{"easy": 0.5, "disputed": float("nan")}])
    '0.50 and –'
    """
    means = pd.DataFrame(values)[["easy", "disputed"]].mean()
    return " and ".join("–" if pd.isna(mean) else f"{mean:.2f}" for mean in means)


def _count_saved(heads: pd.DataFrame) -> list[str]:
    """Returns how many disputed episodes were not read, where the judge reads in turns and stops
    when it is certain.
    """
    if not {"sure_after", "disputed"} <= set(heads):
        return []
    if (heads["sure_after"] >= heads["disputed"]).all():
        return []
    read, available = heads.groupby("run")[["sure_after", "disputed"]].max().sum()
    return [
        f"Judged in turns: {read:,} of {available:,} disputed episodes were read,"
        f" {1 - read / available:.0%} saved."
    ]


def _tabulate_planted(record: Record) -> str:
    """Returns the verdicts on each planted head on a run's episodes, as a table."""
    rows = []
    for head, counts in record.verdicts.items():
        rows.append([_space(head), *(str(counts[kind]) for kind in KINDS)])
    return format_markdown(["planted head", *map(_space, KINDS)], rows)


def _space(name: str) -> str:
    return name.replace("_", " ")


def _join(lines: Iterable[str], breaks: int = 1) -> str:
    return ("\n" * breaks).join(lines)
