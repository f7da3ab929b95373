"""How it was made: the judge's record, the predictors' certificates, what each run cost, its config and its versions."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from report.compare import KINDS
from report.page.html import Cell, number, section, table
from report.runs import Run

PARTS = ("preparing", "training", "billing", "judging")
"""Of a run's seconds, as predictor.json tells them."""


def judge(runs: tuple[Run, ...], place: str) -> str:
    """Returns the judge's confusion matrix on planted heads, over all runs of this world."""
    counts: dict[str, Counter[str]] = {}
    right = 0
    for head, _, verdict, n, is_right in (row for run in runs for row in run.about.get("judge_on_planted_heads", [])):
        counts.setdefault(head, Counter())[verdict] += n
        right += n * bool(is_right)
    total = sum(sum(row.values()) for row in counts.values())
    if not total:
        return ""
    lines: list[list[Cell]] = [[head.replace("_", " "), *(row[kind] or ("·", 0.0) for kind in KINDS)] for head, row in counts.items()]
    how = f"Heads built by hand, whose verdict is known, judged in these runs: {right:,} of {total:,} were called right. Rows: what was planted; columns: what the judge called it."
    return section(f"{place}-judge", "The judge on heads with known answers", how, table(["planted head", *(kind.replace("_", " ") for kind in KINDS)], lines, "Judge"))


def predictors(runs: tuple[Run, ...], place: str) -> str:
    """Returns what was certified of each predictor: that it knows X, uses it, and at which level."""
    abouts = {run.about.get("identity", run.name): (run, run.about) for run in runs}
    lines: list[list[Cell]] = []
    for identity, (run, about) in abouts.items():
        known = about.get("knowledge") or {}
        swaps = {int(swap["level"]): swap for swap in known.get("swaps", [])}
        for level, ceiling in known.get("ceilings", []):
            swap = swaps.get(int(level), {})
            moved = [number(swap.get(f"{one}_flips_{two}")) for one in ("concept", "human") for two in ("concept", "human")]
            lines.append([str(identity)[:8], str(run.config.get("core_model", {}).get("seed", "–")), int(level), number(ceiling), *moved, number(swap.get("random_flips"))])
    gates = "".join(f"<li>{escape(str(identity)[:8])}: {escape('; '.join(about.get('gates', [])))}</li>" for identity, (_, about) in abouts.items())
    surface = [about["surface_auroc"] for _, about in abouts.values() if about.get("surface_auroc") is not None]
    bag = f"<p class='said'>A bag of words ranks X on disputed episodes with AUROC {min(surface):.3f} to {max(surface):.3f}; 0.5 is no surface cue.</p>" if surface else ""
    how = (
        "Whether the question can be decided at all. Ceiling: share of disputed episodes on which a probe for X is right at a level. Then how often exchanging only "
        "the predictor's part of X, or of H, turns its own answer for X, or for H: a level holds X apart where X turns X and nothing else."
    )
    headings = ["predictor", "seed", "level", "ceiling", "X turns X", "X turns H", "H turns X", "H turns H", "random turns any"]
    shown = table(headings, lines, "Predictors") if lines else ""
    return section(f"{place}-predictors", "The predictors' certificates", how, f"<ul class='gates'>{gates}</ul>{bag}{shown}")


def costs(runs: tuple[Run, ...], place: str) -> str:
    """Returns a line a run: its heads, seconds and bytes, its versions, and a button that shows its config."""
    timed = [part for part in PARTS if any(part in _seconds(run) for run in runs)]
    lines = []
    for run in runs:
        first = run.heads.iloc[0]
        seconds = [number(_seconds(run).get(part), 1) for part in timed]
        whole = [number(sum(_seconds(run).values()), 1)] if timed else []
        code = [run.code[:8] or "–"] if any(other.code for other in runs) else []
        versions = f"Python {run.versions.get('python', '–')}, torch {run.versions.get('torch', '–')}"
        lines.append([run.name, str(first["prior"]), str(first["reporter"]), len(run.heads), *seconds, *whole, number(size(run.folder) / 1e6, 2), versions, *code])
    told = "" if timed else " These runs did not write down their seconds."
    how = f"Click a run's name for its whole config. MB: all files in its folder.{told}"
    code_heading = ["code"] if any(run.code for run in runs) else []
    headings = ["run", "prior", "reporter", "heads", *(f"{part}, s" for part in timed), *(["all, s"] if timed else []), "MB", "versions", *code_heading]
    total = f"<p class='said'>{len(runs):,} runs, {sum(len(run.heads) for run in runs):,} heads{_total(runs) if timed else ''}, {sum(size(run.folder) for run in runs) / 1e6:,.1f} MB.</p>"
    return section(f"{place}-runs", "Runs: seconds, bytes, configs", how, total + table(headings, lines, "Runs", search=len(lines) > 8))


def size(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _seconds(run: Run) -> dict[str, float]:
    found: Any = run.about.get("seconds") or {}
    return {str(part): float(value) for part, value in found.items() if not pd.isna(value)} if isinstance(found, dict) else {}


def _total(runs: tuple[Run, ...]) -> str:
    seconds = sum(sum(_seconds(run).values()) for run in runs)
    return f", {seconds / 60:,.1f} minutes, {1000 * seconds / max(sum(len(run.heads) for run in runs), 1):,.0f} ms a head"
