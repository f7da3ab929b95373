"""How it was made: the judge's record, the predictors' certificates, what each run cost, its config
and its versions.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from report.lines import KINDS
from report.page.html import Columns, number, section, table
from report.runs import Run

PARTS = ("preparing", "training", "billing", "judging")
"""Of a run's seconds, as predictor.json tells them."""


def judge(runs: tuple[Run, ...], place: str) -> str:
    """Returns the judge's confusion matrix on planted heads, over all runs of this world."""
    counts: dict[str, Counter[str]] = {}
    right = 0
    for head, _, verdict, n, is_right in (
        row for run in runs for row in run.about.get("judge_on_planted_heads", [])
    ):
        counts.setdefault(head, Counter())[verdict] += n
        right += n * bool(is_right)
    total = sum(sum(row.values()) for row in counts.values())
    columns: Columns = {"planted head": [head.replace("_", " ") for head in counts]}
    columns |= {
        kind.replace("_", " "): [row[kind] or ("·", 0.0) for row in counts.values()]
        for kind in KINDS
    }
    how = (
        f"Heads built by hand, whose verdict is known, judged in these runs: {right:,} of"
        f" {total:,} were called right. Rows: what was planted; columns: what the judge called it."
    )
    return section(
        f"{place}-judge",
        "The judge on heads with known answers",
        how,
        table(columns, "Judge") if total else "",
    )


def predictors(runs: tuple[Run, ...], place: str) -> str:
    """Returns what was certified of each predictor: that it knows X, uses it, and at which level."""
    of = {str(run.about.get("identity", run.name))[:8]: run for run in runs}
    gates = "".join(
        f"<li>{escape(identity)}: {escape('; '.join(run.about.get('gates', [])))}</li>"
        for identity, run in of.items()
    )
    surface = [
        run.about["surface_auroc"]
        for run in of.values()
        if run.about.get("surface_auroc") is not None
    ]
    bag = (
        f"A bag of words ranks X on disputed episodes with AUROC {min(surface):.3f} to"
        f" {max(surface):.3f}; 0.5 is no cue."
        if surface
        else ""
    )
    levels = [
        (identity, run, level, ceiling)
        for identity, run in of.items()
        for level, ceiling in _known(run).get("ceilings", [])
    ]
    swaps = [
        {swap["level"]: swap for swap in _known(run).get("swaps", [])}.get(level, {})
        for _, run, level, _ in levels
    ]
    columns: Columns = {
        "predictor": [identity for identity, *_ in levels],
        "seed": [str(run.config.get("core_model", {}).get("seed", "–")) for _, run, *_ in levels],
        "level": [int(level) for *_, level, _ in levels],
        "ceiling": [number(ceiling) for *_, ceiling in levels],
    }
    turns = [
        ("X", "concept", "X", "concept"),
        ("X", "concept", "H", "human"),
        ("H", "human", "X", "concept"),
        ("H", "human", "H", "human"),
    ]
    columns |= {
        f"{one} turns {other}": [number(swap.get(f"{first}_flips_{second}")) for swap in swaps]
        for one, first, other, second in turns
    }
    columns["random turns any"] = [number(swap.get("random_flips")) for swap in swaps]
    how = (
        "Whether the question can be decided at all. Ceiling: share of disputed episodes on which a"
        " probe for X is right at a level. Then how often exchanging only the predictor's part of"
        " X, or of H, turns its own answer for X, or for H: a level holds X apart where X turns X"
        " alone."
    )
    shown = table(columns, "Predictors") if levels else ""
    return section(
        f"{place}-predictors",
        "The predictors' certificates",
        f"{how} {bag}",
        f"<ul class='gates'>{gates}</ul>{shown}",
    )


def costs(runs: tuple[Run, ...], place: str) -> str:
    """Returns a line a run: its heads, seconds and bytes, its versions, and a button that shows its
    config.
    """
    timed = [part for part in PARTS if any(part in _seconds(run) for run in runs)]
    sizes = [size(run.folder) / 1e6 for run in runs]
    columns: Columns = {
        "run": [run.name for run in runs],
        "prior": [str(run.heads["prior"].iloc[0]) for run in runs],
        "reporter": [str(run.heads["reporter"].iloc[0]) for run in runs],
        "heads": [len(run.heads) for run in runs],
        **{f"{part}, s": [number(_seconds(run).get(part), 1) for run in runs] for part in timed},
        **({"all, s": [number(sum(_seconds(run).values()), 1) for run in runs]} if timed else {}),
        "MB": [number(value) for value in sizes],
        "versions": [
            f"Python {run.versions.get('python', '–')}, torch {run.versions.get('torch', '–')}"
            for run in runs
        ],
        **(
            {"code": [run.code[:8] or "–" for run in runs]} if any(run.code for run in runs) else {}
        ),
    }
    n = sum(len(run.heads) for run in runs)
    seconds = sum(sum(_seconds(run).values()) for run in runs)
    spent = (
        f"{seconds / 60:,.1f} minutes, {1000 * seconds / n:,.0f} ms a head"
        if timed
        else "seconds not written down"
    )
    how = (
        f"{len(runs):,} runs, {n:,} heads, {spent}, {sum(sizes):,.1f} MB with all files of their"
        " folders. Click a run's name for its whole config."
    )
    return section(
        f"{place}-runs",
        "Runs: seconds, bytes, configs",
        how,
        table(columns, "Runs", search=len(runs) > 8),
    )


def size(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _known(run: Run) -> dict[str, Any]:
    return run.about.get("knowledge") or {}


def _seconds(run: Run) -> dict[str, float]:
    found = run.about.get("seconds")
    return (
        {str(part): float(value) for part, value in found.items() if not pd.isna(value)}
        if isinstance(found, dict)
        else {}
    )
