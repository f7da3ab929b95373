"""The short table: on the terminal, and as a run's summary.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from report import folder as runs
from report.compare import KINDS, finding, lines

HEADINGS = ("prior", "strength", "level", "heads", "bits", "kFLOPs", "edges", "reads to", "easy", "follows X", "least-most", "AUROC", "NDE", "NIE", "verdicts")
LEGEND = (
    "bits: two-part code of the training labels. kFLOPs: an episode, predictor included. reads to: mean deepest level read. easy: share right on held-out "
    "easy episodes. follows X: share of disputed episodes, mean over heads [95% over seeds], then the least and the most of a head. AUROC: for X on "
    "disputed episodes. NDE, NIE: what changing only X, or only what the human sees, does to the report; a translator has 1, 0. verdicts: "
    "T direct_translator, I human_imitator, M mixture, N neither, U undecided."
)


def show(folders: list[Path], each_level: bool = True) -> None:
    """Prints the table of finished runs, what was found, and how the judge did on planted heads."""
    heads = pd.concat([runs.read(folder) for folder in folders], ignore_index=True)
    table = lines(heads, each_level)
    console = Console(width=None if Console().is_terminal else 150)
    console.print(_rich(table, _titled(heads)))
    for line in (LEGEND, _gates(heads), _judged([runs.about(folder) for folder in folders])):
        console.print(line, style="dim", highlight=False)
    console.print(finding(table, heads), style="bold", highlight=False)


def markdown(heads: pd.DataFrame, about: dict[str, Any]) -> str:
    """Returns a run's summary: what was found, the table, the predictor's gates and the judge's own record."""
    table = lines(heads.assign(run=""), each_level=True)
    head = "| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS)
    body = "\n".join("| " + " | ".join(_cells(line)) + " |" for _, line in table.iterrows())
    gates = "\n".join(f"- {gate}" for gate in about["gates"])
    surface = "" if about["surface_auroc"] is None else f"\nA bag of words ranks X on disputed episodes with AUROC {about['surface_auroc']:.3f}.\n"
    return (
        f"# {_titled(heads)}\n\n{finding(table, heads)}\n\n![Whom the heads follow](plots/follows_concept.png)\n\n{head}\n{body}\n\n{LEGEND}\n\n"
        f"## The predictor\n\n{gates}\n{surface}\n## The judge\n\n{_judged([about])}\n"
    )


def _titled(heads: pd.DataFrame) -> str:
    return ", ".join(f"{', '.join(map(str, heads[key].unique()))}" for key in ("world", "core_model", "reporter"))


def _rich(table: pd.DataFrame, title: str) -> Table:
    shown = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading in ("prior", "verdicts") else "right", no_wrap=True)
    for _, line in table.iterrows():
        shown.add_row(*_cells(line))
    return shown


def _cells(line: pd.Series) -> list[str]:
    return [
        str(line["prior"]),
        f"{line['strength']:g}",
        "all" if pd.isna(line["level"]) else str(int(line["level"])),
        str(line["heads"]),
        f"{line['bits']:.0f}",
        f"{line['flops'] / 1000:.0f}",
        f"{line['edges']:.0f}",
        f"{line['level_read']:.1f}",
        f"{line['easy_accuracy']:.3f}",
        f"{line['follows_concept']:.2f} [{line['low']:.2f}, {line['high']:.2f}]",
        f"{line['least']:.2f}-{line['most']:.2f}",
        f"{line['ranks_concept']:.2f}",
        f"{line['nde']:.2f}",
        f"{line['nie']:.2f}",
        " ".join(f"{line[kind]} {kind[0].upper() if kind != 'direct_translator' else 'T'}" for kind in KINDS if line[kind]).replace(" H", " I"),
    ]


def _gates(heads: pd.DataFrame) -> str:
    """Returns why heads were left undecided by a gate, with how often."""
    stopped = heads.loc[~heads["gates_passed"], "reason"].str.removeprefix("Gate not passed: ").str.split(" ").str[0]
    counts = ", ".join(f"{gate} ({n})" for gate, n in stopped.value_counts().items())
    return f"Stopped at a gate: {len(stopped)} of {len(heads)} heads" + (f": {counts}." if counts else ".")


def _judged(abouts: list[dict[str, Any]]) -> str:
    """Returns how often the judge called planted heads right in these runs."""
    rows = [row for about in abouts for row in about["judge_on_planted_heads"]]
    wrong = sorted({f"{name} ({n - right} of {n})" for name, _, n, right in rows if right < n})
    right = f"The judge called {sum(row[3] for row in rows)} of {sum(row[2] for row in rows)} planted heads right"
    return right + (f"; not: {', '.join(wrong)}." if wrong else ".")
