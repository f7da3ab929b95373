"""The short table: on the terminal, and as a run's summary.md."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from report import alignment
from report.finding import finding
from report.lines import KINDS, compared, lines, written
from report.plots import plot_follows_concept
from report.runs import find
from report.settings import Setting, describe_several_settings, group_by_setting
from storage import run_folder as runs
from storage.atomic import replacing

HEADINGS = (
    *(
        "reporter",
        "prior",
        "strength",
        "level",
        "heads",
        "bits",
        "own bits",
        "kFLOPs",
        "edges",
        "reads to",
        "easy",
        "easy AUROC",
    ),
    *("follows X", "least-most", "AUROC", "NDE", "NIE", "swap X", "swap H", "verdicts"),
)
DROPPED_FIRST = (
    "easy AUROC",
    "reads to",
    "AUROC",
    "heads",
    "least-most",
    "edges",
    "swap H",
    "swap X",
    "NIE",
    "NDE",
    "level",
    "own bits",
    "bits",
    "kFLOPs",
    "easy",
)
"""Columns that a narrow terminal goes without, the first of them first."""
LEGEND = (
    "bits: prequential code of the training labels by learners with a head's live edges. own bits:"
    " variational code about the head itself. kFLOPs: an episode, predictor included. reads to:"
    " mean deepest level read. easy, easy AUROC: share right, and AUROC, on held-out easy episodes."
    " follows X: share of disputed episodes, mean over predictors [95% over predictors and their"
    " heads], then the least and the most of a head. AUROC: for X on disputed episodes. NDE, NIE:"
    " what changing only X, or only what the human sees, does to the report; a translator has 1, 0."
    " swap X, swap H: what exchanging only the predictor's own part of X, or of H, does to it."
    " verdicts: T direct_translator, I human_imitator, M mixture, N neither, U undecided."
)


def show(folders: list[Path], each_level: bool = True) -> None:
    """Prints the table of finished runs, what was found, and how the judge did on planted heads;
    one after the other where settings differ.
    """
    found = find(folders)
    parts = group_by_setting(found.runs)
    for setting in parts:
        show_setting(setting, each_level)
    show_notices([*describe_several_settings(parts), *found.notices()])


def show_setting(setting: Setting, each_level: bool) -> None:
    """Prints the same of the runs of one setting."""
    table, out = lines(setting.heads, each_level), console()
    out.print(_fitting(table, _titled(setting.heads), out))
    abouts, heads = [run.about for run in setting.runs], compared(setting.heads, each_level=True)
    for line in (LEGEND, _gates(heads), *_predictors(abouts), _judged(abouts), *_in_turns(heads)):
        out.print(line, style="dim", highlight=False)
    out.print(finding(table, heads), style="bold", highlight=False)


def show_notices(lines: list[str]) -> None:
    """Prints what is left out, a line each, by name."""
    for line in lines:
        console().print(f"! {line}", style="yellow", highlight=False)


def console() -> Console:
    """Returns a terminal; into a file it is 160 columns wide, unless COLUMNS says otherwise."""
    return Console(width=None if Console().is_terminal or "COLUMNS" in os.environ else 160)


def show_job(folder: Path) -> None:
    """Prints what an experiment that is no run of heads found."""
    from rich.markdown import Markdown

    console().print(Markdown((folder / runs.SUMMARY).read_text()))


def write_summary(folder: Path, heads: pd.DataFrame, about: dict[str, Any]) -> None:
    """Writes a run's summary.md, and the plot in it."""
    plots = folder / runs.PLOTS
    plots.mkdir(exist_ok=True)
    key = "level" if heads["level"].nunique() > 1 else "strength"
    plot_follows_concept(key, heads, plots / "follows_concept.png")
    with replacing(folder / runs.SUMMARY) as temporary:
        temporary.write_text(markdown(heads, about))


def markdown(heads: pd.DataFrame, about: dict[str, Any]) -> str:
    """Returns a run's summary: what was found, the table, the predictor's gates and the judge's own
    record.
    """
    heads = compared(heads.assign(run=""), each_level=True)
    table = lines(heads, each_level=True)
    head = "| " + " | ".join(HEADINGS[1:]) + " |\n|" + " --- |" * len(HEADINGS[1:])
    body = "\n".join("| " + " | ".join(_cells(line)[1:]) + " |" for _, line in table.iterrows())
    gates = "\n".join(f"- {line}" for line in (*about["gates"], *_surface([about])))
    judged = "\n\n".join([_judged([about]), _planted(about), *_in_turns(heads)])
    return (
        f"# {_titled(heads)}\n\n{finding(table, heads)}\n\n![Whom the heads"
        f" follow](plots/follows_concept.png)\n\n{head}\n{body}\n\n{LEGEND}\n\n{alignment.section(heads)}##"
        f" The predictor\n\n{gates}\n\n## The judge\n\n{judged}\n"
    )


def _titled(heads: pd.DataFrame) -> str:
    return ", ".join(
        f"{', '.join(map(str, heads[key].unique()))}" for key in ("world", "core_model", "reporter")
    )


def _fitting(table: pd.DataFrame, title: str, console: Console) -> Table:
    """Returns the table with as many columns as the console has room for."""
    always = set() if table["reporter"].nunique() > 1 else {"reporter"}
    for dropped in range(len(DROPPED_FIRST) + 1):
        shown = _rich(table, title, always | set(DROPPED_FIRST[:dropped]))
        if (
            Measurement.get(console, console.options.update(width=1_000), shown).maximum
            <= console.width
        ):
            break
    return shown


def _rich(table: pd.DataFrame, title: str, dropped: set[str]) -> Table:
    shown = Table(
        title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True
    )
    kept = [i for i, heading in enumerate(HEADINGS) if heading not in dropped]
    for i in kept:
        shown.add_column(
            HEADINGS[i],
            justify="left" if HEADINGS[i] in ("reporter", "prior", "verdicts") else "right",
            no_wrap=True,
        )
    for _, line in table.iterrows():
        cells = _cells(line)
        shown.add_row(*(cells[i] for i in kept))
    return shown


def _cells(line: pd.Series) -> list[str]:
    return [
        str(line["reporter"]),
        str(line["prior"]),
        written(line["strength"]),
        "all" if pd.isna(line["level"]) else str(int(line["level"])),
        str(line["heads"]),
        _whole(line["prequential_bits"]),
        _whole(line["variational_bits"]),
        f"{line['flops'] / 1000:.0f}",
        _whole(line["edges"]),
        f"{line['level_read']:.1f}",
        f"{line['easy_accuracy']:.3f}",
        f"{line['easy_auroc']:.3f}",
        f"{line['follows_concept']:.2f} [{line['low']:.2f}, {line['high']:.2f}]",
        f"{line['least']:.2f}-{line['most']:.2f}",
        f"{line['ranks_concept']:.2f}",
        f"{line['nde']:.2f}",
        f"{line['nie']:.2f}",
        *(
            "–" if pd.isna(line[name]) else f"{line[name]:.2f}"
            for name in ("swap_concept", "swap_human")
        ),
        " ".join(
            f"{line[kind]} {kind[0].upper() if kind != 'direct_translator' else 'T'}"
            for kind in KINDS
            if line[kind]
        ).replace(" H", " I"),
    ]


def _whole(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.0f}"


def _gates(heads: pd.DataFrame) -> str:
    """Returns how many heads were stopped at which gate; one head may fail at several."""
    stopped = heads.loc[heads["failed_gates"] != "", "failed_gates"]
    counts = stopped.str.split(", ").explode().value_counts(sort=False)
    return (
        f"Stopped at a gate: {len(stopped)} of {len(heads)} heads"
        + "".join(f"; {gate}: {n}" for gate, n in counts.items())
        + "."
    )


def _predictors(abouts: list[dict[str, Any]]) -> list[str]:
    """Returns the gates that predictors failed, and what a bag of words makes of the world."""
    failed = {gate for about in abouts for gate in about["gates"] if "(asked" in gate}
    return [f"The predictor: {gate}" for gate in sorted(failed)] + _surface(abouts)


def _surface(abouts: list[dict[str, Any]]) -> list[str]:
    values = [about["surface_auroc"] for about in abouts if about["surface_auroc"] is not None]
    return (
        [
            f"A bag of words ranks X on disputed episodes with AUROC {min(values):.3f} to"
            f" {max(values):.3f}; 0.5 is no surface cue."
        ]
        if values
        else []
    )


def _in_turns(heads: pd.DataFrame) -> list[str]:
    """Returns how many disputed episodes were not read, where the judge looked in turns and stopped
    when it was sure.
    """
    if (
        "sure_after" not in heads
        or "disputed" not in heads
        or (heads["sure_after"] >= heads["disputed"]).all()
    ):
        return []
    of_run = heads.groupby("run")[["sure_after", "disputed"]].max().sum()
    saved = 1 - of_run["sure_after"] / of_run["disputed"]
    return [
        f"Judged in turns: {of_run['sure_after']:,} of {of_run['disputed']:,} disputed episodes"
        f" were read, {100 * saved:.0f}% saved."
    ]


def _planted(about: dict[str, Any]) -> str:
    """Returns what the judge called each planted head on this run's episodes, as a table."""
    called: dict[str, Counter[str]] = {}
    for head, _, verdict, count, _ in about["judge_on_planted_heads"]:
        called.setdefault(head, Counter())[verdict] += count
    names = " | ".join(_plain(kind) for kind in KINDS)
    lines = [
        f"| {_plain(head)} | " + " | ".join(str(counts[kind]) for kind in KINDS) + " |"
        for head, counts in called.items()
    ]
    return "\n".join([f"| planted head | {names} |", "| --- |" + " --- |" * len(KINDS), *lines])


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _judged(abouts: list[dict[str, Any]]) -> str:
    """Returns how often the judge called planted heads right in these runs, and what it called the
    others.
    """
    rows = [row for about in abouts for row in about["judge_on_planted_heads"]]
    right = sum(count for *_, count, is_right in rows if is_right)
    wrong = Counter[str]()
    for head, _, verdict, count, is_right in rows:
        wrong[f"{head} called {verdict}"] += count * (not is_right)
    others = "".join(f"; {n} {words}" for words, n in wrong.items() if n)
    return (
        f"The judge's rule called {right} of {sum(row[3] for row in rows)} planted heads right that"
        f" were told the truth{others}."
    )
