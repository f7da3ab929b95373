"""The short table and what it shows in words: on the terminal, and as a run's summary.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from console.terminal import open_console
from report import apart
from report.alignment import format_section
from report.answer import format_mean
from report.columns import explain, find_column, format_markdown, get_heading
from report.comparison import Compared, compare
from report.intervals import Mean
from report.lines import KINDS, format_level, format_strength
from report.planted import Record, collect_record, list_gates_not_passed
from report.plots import plot_follows_concept
from report.runs import find
from report.settings import Setting, describe_several_settings, group_by_setting
from report.settling import (
    add_settled,
    describe_settled,
    explain_gap,
    explain_unsettled,
    format_gap,
    format_settled,
    keep_settled,
)
from storage import run_folder
from storage.atomic import write_atomically

COLUMNS = (
    "reporter",
    "prior",
    "strength",
    "level",
    "settled",
    "median_gap",
    "prequential_bits",
    "variational_bits",
    "flops",
    "edges",
    "level_read",
    "easy_accuracy",
    "easy_auroc",
    "concept_accuracy",
    "concept_accuracy_worst",
    "follows_concept",
    "spread",
    "ranks_concept",
    "nde",
    "nie",
    "swap_concept",
    "swap_human",
    "verdicts",
)
DROPPED_FIRST = (
    "easy_auroc",
    "level_read",
    "median_gap",
    "ranks_concept",
    "spread",
    "edges",
    "swap_human",
    "swap_concept",
    "nie",
    "nde",
    "variational_bits",
    "prequential_bits",
    "flops",
    "easy_accuracy",
    "concept_accuracy_worst",
    "concept_accuracy",
    "settled",
)
"""Columns that a narrow terminal does not show, the first of them first."""
APART = (
    "reporter",
    "prior",
    "strength",
    "level",
    "heads",
    "median_gap",
    "easy_accuracy",
    "concept_accuracy",
    "concept_accuracy_worst",
    "follows_concept",
    "spread",
    "verdicts",
)
"""Columns of heads that are shown apart."""
DROPPED_APART = ("easy_accuracy", "concept_accuracy_worst", "concept_accuracy", "spread")
PLAIN = ("reporter", "prior", "strength", "level")
"""Columns that need no explanation."""
LETTERS = dict(zip(KINDS, "TIMNU", strict=True))
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
    """Prints the comparison of each setting; below the first table, what the headings mean. Where
    no head has settled, a line above the table says so.

    Args:
        each_level: whether heads that read one level have a line a level, and each level its own
            answer; else only those of the compared level have one.
    """
    out = open_console()
    tables = [part.each_lines if each_level else part.lines for part in parts]
    names = [_choose_columns(table, out, LAYOUT) for table in tables]
    for i, part in enumerate(parts):
        if part.matched.empty:
            out.print(Text(part.answer.headline, style="bold"))
        out.print(_build_table(tables[i], _compose_title(part.each), names[i], LAYOUT))
        _show_apart(part.each if each_level else part.heads, out)
        if i == 0:
            out.print(_build_legend({name for shown in names for name in shown}))
        abouts = [run.about for run in part.setting.runs]
        remarks = [
            _describe_settling(part),
            part.level,
            _count_gates(part.each),
            *_describe_predictors(abouts),
        ]
        remarks += [collect_record(abouts).describe(), *_count_saved(part.each)]
        for remark in filter(None, remarks):
            out.print(Text(remark, style="dim"))
        if not part.matched.empty:
            out.print(Text(find_answer(tables[i], part), style="bold"))
        if each_level and part.each["level"].nunique() > 1:
            out.print(Text(_join(_answer_each_level(part))))


def _show_apart(heads: pd.DataFrame, out: Console) -> None:
    """Prints the figures of heads that have not settled, where all of a line have not."""
    table = apart.build_lines_apart(heads)
    if table.empty:
        return
    names = _choose_columns(table, out, APART_LAYOUT)
    out.print(_build_table(table, apart.TITLE, names, APART_LAYOUT))


def _answer_each_level(part: Compared) -> list[str]:
    """Returns the answer at each level in a line."""
    levels = sorted(part.each["level"].dropna().unique())
    lines = [
        "At each level by itself (intervals hold for one level, not for all of them together):"
    ]
    for level in levels:
        answer = compare(part.setting, level=int(level)).answer
        lines.append(f"Level {level}: {answer.headline}")
    return lines


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
    rows = [[_format_cell(name, line) for name in names] for _, line in table.iterrows()]
    lines_apart = _format_apart(part.each)
    gates = [f"- {line}" for line in (*about["gates"], *_describe_surface([about]))]
    record = collect_record([about])
    judge = [record.describe(), *_count_saved(part.each)]
    if record.n:
        judge.insert(1, _tabulate_planted(record))
    words = filter(None, [_describe_settling(part), find_answer(table, part), part.level])
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
    names = APART[1:]
    rows = [[_format_cell_apart(name, line) for name in names] for _, line in table.iterrows()]
    lines = format_markdown([get_heading(name) for name in names], rows)
    return f"{apart.TITLE}:\n\n{lines}\n\n"


def find_answer(table: pd.DataFrame, part: Compared) -> str:
    """Returns in words what the lines of a table show of settled heads, and how far that reaches;
    nothing is claimed that its corrected interval does not support.
    """
    answer = part.answer
    if part.matched.empty:
        return answer.headline
    counts = keep_settled(part.each)["verdict"].value_counts()
    verdicts = ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in KINDS)
    words = [f"Verdicts on settled heads: {verdicts}."]
    if table["level"].nunique() > 1:
        best = table.sort_values("calibrated_nll", kind="stable").iloc[0]
        easy = f"{get_heading('easy_auroc')} {best['easy_auroc']:.3f}"
        disputed = f"{get_heading('ranks_concept')} {best['ranks_concept']:.3f}"
        words.append(
            f"The least error on held-out easy episodes is that of prior {best['prior']}, strength"
            f" {format_strength(best['strength'])}, level {format_level(best['level'])}: {easy}, on"
            f" disputed episodes {disputed}."
        )
    return " ".join([*words, answer.headline, *answer.details, answer.scope])


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
    for name in COLUMNS:
        if name in names and name not in PLAIN:
            column = find_column(name)
            legend.add_row(Text(column.heading), Text(column.meaning), style="dim")
    return legend


def _choose_columns(table: pd.DataFrame, out: Console, layout: Layout) -> list[str]:
    """Returns as many of the columns as the terminal has room for; one reporter or level needs
    none.
    """
    same = [name for name in ("reporter", "level") if table[name].nunique(dropna=False) == 1]
    names = [name for name in layout.columns if name not in same]
    unlimited = out.options.update(width=1_000)
    for dropped in layout.dropped_first:
        shown = _build_table(table, "", names, layout)
        if Measurement.get(out, unlimited, shown).maximum <= out.width:
            break
        names.remove(dropped)
    return names


def _build_table(table: pd.DataFrame, title: str, names: list[str], layout: Layout) -> Table:
    shown = Table(
        title=Text(title),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    for name in names:
        is_text = name in ("reporter", "prior", "verdicts")
        shown.add_column(get_heading(name), justify="left" if is_text else "right", no_wrap=True)
    for _, line in table.iterrows():
        shown.add_row(*(Text(layout.format_cell(name, line)) for name in names))
    return shown


def _format_cell_apart(name: str, line: pd.Series) -> str:
    """Returns one column of a line of heads that are shown apart as text."""
    if name == "follows_concept":
        return f"{line['follows_concept']:.2f}"
    if name == "verdicts":
        return _format_verdicts(line)
    return _format_cell(name, line)


@dataclass(frozen=True)
class Layout:
    """How a table on the terminal is laid out."""

    columns: tuple[str, ...]
    dropped_first: tuple[str, ...]
    """Columns that a narrow terminal does not show, the first of them first."""
    format_cell: Callable[[str, pd.Series], str]
    """From a column and a line to its text."""


def _format_verdicts(line: pd.Series) -> str:
    """Returns how many heads of a line have which verdict."""
    return " ".join(f"{line[kind]} {LETTERS[kind]}" for kind in KINDS if line[kind])


def _format_cell(name: str, line: pd.Series) -> str:
    """Returns one column of a line of the comparison as text."""
    if name == "strength":
        return format_strength(line["strength"])
    if name == "level":
        return format_level(line["level"])
    if name == "settled":
        return format_settled(line["settled"], line["heads"])
    if name == "median_gap":
        return format_gap(line["median_gap"])
    if name == "follows_concept":
        if not line["settled"] > 0:
            return explain_unsettled(line["settled"])
        low, high = line["follows_concept_low"], line["follows_concept_high"]
        return format_mean(Mean(line["follows_concept"], low, high, 0, 0))
    if name == "spread":
        is_known = pd.notna(line["least"])
        return f"{line['least']:.2f}–{line['most']:.2f}" if is_known else "–"
    if name == "verdicts":
        if not line["settled"] > 0:
            return explain_gap(line["median_gap"])
        return _format_verdicts(line)
    value = line[name]
    return value if isinstance(value, str) else find_column(name).format(value)


LAYOUT = Layout(COLUMNS, DROPPED_FIRST, _format_cell)
APART_LAYOUT = Layout(APART, DROPPED_APART, _format_cell_apart)


def _count_gates(heads: pd.DataFrame) -> str:
    """Returns how many heads fail which gate; one head may fail several."""
    failed = heads.loc[heads["failed_gates"] != "", "failed_gates"]
    counts = failed.str.split(", ").explode().value_counts(sort=False)
    of_gates = "".join(f"; {gate}: {n}" for gate, n in counts.items())
    return f"Heads with a gate that is not passed: {len(failed)} of {len(heads)}{of_gates}."


def _describe_predictors(abouts: list[dict[str, Any]]) -> list[str]:
    """Returns the gates that predictors do not pass, and how well a bag of words ranks X."""
    not_passed: set[str] = set()
    for about in abouts:
        not_passed.update(list_gates_not_passed(about))
    return [f"The predictor: {gate}" for gate in sorted(not_passed)] + _describe_surface(abouts)


def _describe_surface(abouts: list[dict[str, Any]]) -> list[str]:
    values = [about["surface_auroc"] for about in abouts if about["surface_auroc"] is not None]
    if not values:
        return []
    return [
        f"A bag of words ranks X on disputed episodes with AUROC {min(values):.3f} to"
        f" {max(values):.3f}; 0.5 is no surface cue."
    ]


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
