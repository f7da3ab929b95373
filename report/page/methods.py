"""How the results were produced: the judge's verdicts on planted heads, the predictors'
certificates, and the costs, configs and versions of the runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from report.lines import KINDS
from report.page.html import Columns, format_number, render_section, render_table
from report.planted import collect_record
from report.runs import Run

STATISTICS = (
    "Predictors are the sample, and head seeds lie within them. Intervals are Student's over the"
    " means of predictors, and never narrower than those of the heads taken as independent. The"
    " interval of a share is also never narrower than the exact one (Clopper and Pearson) with"
    " predictors as the number of trials: with 4 predictors it is about 0.8 wide, with 8 about 0.6,"
    " with 16 about 0.4. With one predictor an interval covers its head seeds only.",
    "Differences between priors are of heads with the same predictor and seed. The share of"
    " translators and how often heads follow X are claimed together, so their intervals are"
    " corrected together (Bonferroni). In simulations with 8 or 16 predictors, priors that do the"
    " same are called different in at most 5% of sweeps. The rate is higher (8%) for five priors on"
    " 4 predictors that each go wholly one way, and for two priors with equal shares of which one"
    " gives all or nothing: 29% with 4 predictors, 10% with 8, 5% with 16.",
    "Two modes are looked for within predictors (the dip of Hartigan and Hartigan, added over"
    " predictors, against the distribution with one mode that gives the largest dips). Predictors"
    " differ where the test of Kruskal and Wallis finds it. In simulations, both are wrong in at"
    " most 1% of sweeps.",
)
"""How intervals, differences and modes are computed."""
PARTS = ("preparing", "predicting", "training", "billing", "judging")
"""Parts of a run whose seconds predictor.json may hold."""
FLIPS = {
    "X flips X": "concept_flips_concept",
    "X flips H": "concept_flips_human",
    "H flips X": "human_flips_concept",
    "H flips H": "human_flips_human",
    "random flips any": "random_flips",
}
"""Headings and keys of what exchanging a part of an activation does to the predictor."""


@dataclass(frozen=True)
class Level:
    """What is known of one level of a predictor."""

    predictor: str
    seed: str
    level: int
    ceiling: float
    swap: dict[str, Any]


def render_judge(runs: tuple[Run, ...], anchor: str) -> str:
    """Returns the judge's confusion matrix on planted heads, over the runs of this world whose
    predictors passed their gates.
    """
    record = collect_record(about for run in runs for about in run.abouts)
    if not record.n and not record.stopped:
        return ""
    counts = record.verdicts.values()
    columns: Columns = {"planted head": [head.replace("_", " ") for head in record.verdicts]}
    for kind in KINDS:
        columns[kind.replace("_", " ")] = [row[kind] or ("·", 0.0) for row in counts]
    explanation = (
        "Planted heads are built by hand so that the correct verdict is known. They measure the"
        " judge's rule and its intervals on these episodes, and nothing about a predictor."
        f" {escape(record.describe())} Rows: the planted head; columns: the judge's verdict."
    )
    title = "The judge on heads with known answers"
    table = render_table(columns, "Judge") if record.n else "<p>No run has such a record.</p>"
    return render_section(f"{anchor}-judge", title, explanation, table)


def render_statistics() -> str:
    """Returns how intervals, differences and modes are computed."""
    content = "".join(f"<p>{escape(sentence)}</p>" for sentence in STATISTICS)
    title = "Intervals, differences and modes"
    return render_section("statistics", title, "The same rules hold for all figures.", content)


def render_predictors(runs: tuple[Run, ...], anchor: str) -> str:
    """Returns the certificates of each predictor: that it knows X, uses it, and at which level."""
    predictors = {}
    for run in runs:
        for about in run.abouts:
            seed = run.config.get("core_model", {}).get("seed", "–")
            predictors[str(about.get("identity", run.name))[:8]] = {"seed": seed} | about
    gates = ""
    levels = []
    for name, about in predictors.items():
        gates += f"<li>{escape(name)}: {escape('; '.join(about.get('gates', [])))}</li>"
        levels += _list_levels(name, about)
    columns: Columns = {
        "predictor": [level.predictor for level in levels],
        "seed": [level.seed for level in levels],
        "level": [level.level for level in levels],
        "ceiling": [format_number(level.ceiling) for level in levels],
    }
    for heading, key in FLIPS.items():
        columns[heading] = [format_number(level.swap.get(key)) for level in levels]
    explanation = (
        "They show whether the question can be decided at all. Ceiling: share of disputed episodes"
        " on which a probe for X at this level is correct. The other columns: how often exchanging"
        " only the predictor's part of X, or of H, flips its own answer for X, or for H. A level"
        f" separates X from H where X flips X only. {_describe_surface(predictors)}"
    )
    table = render_table(columns, "Predictors") if levels else ""
    content = f"<ul class='gates'>{gates}</ul>{table}"
    title = "The predictors' certificates"
    return render_section(f"{anchor}-predictors", title, explanation, content)


def render_runs(runs: tuple[Run, ...], anchor: str) -> str:
    """Returns a row for each run: its heads, seconds, megabytes and versions."""
    seconds = [_read_seconds(run) for run in runs]
    parts = [part for part in PARTS if any(part in own for own in seconds)]
    megabytes = [measure_size(run.folder) / 1e6 for run in runs]
    columns: Columns = {
        "run": [run.name for run in runs],
        "prior": [str(run.heads["prior"].iloc[0]) for run in runs],
        "reporter": [str(run.heads["reporter"].iloc[0]) for run in runs],
        "heads": [len(run.heads) for run in runs],
    }
    for part in parts:
        columns[f"{part}, s"] = [format_number(own.get(part), 1) for own in seconds]
    if parts:
        columns["all, s"] = [format_number(sum(own.values()), 1) for own in seconds]
    columns["MB"] = [format_number(size) for size in megabytes]
    columns["versions"] = [_describe_versions(run) for run in runs]
    if any(run.code for run in runs):
        columns["code"] = [run.code[:8] or "–" for run in runs]
    n_heads = sum(len(run.heads) for run in runs)
    total = sum(sum(own.values()) for own in seconds)
    duration = f"{total / 60:,.1f} minutes, {1000 * total / n_heads:,.0f} ms per head"
    if not parts:
        duration = "seconds not recorded"
    explanation = (
        f"{len(runs):,} {'run' if len(runs) == 1 else 'runs'}, {n_heads:,} heads, {duration},"
        f" {sum(megabytes):,.1f} MB in all files of their folders. Click the name of a run to see"
        " its whole config."
    )
    title = "Runs: seconds, bytes, configs"
    table = render_table(columns, "Runs", search=len(runs) > 8)
    return render_section(f"{anchor}-runs", title, explanation, table)


def measure_size(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _list_levels(predictor: str, about: dict[str, Any]) -> list[Level]:
    """Returns what predictor.json holds about each level of a predictor."""
    knowledge = about.get("knowledge") or {}
    swaps = {swap["level"]: swap for swap in knowledge.get("swaps", [])}
    return [
        Level(predictor, str(about["seed"]), int(level), ceiling, swaps.get(level, {}))
        for level, ceiling in knowledge.get("ceilings", [])
    ]


def _describe_surface(predictors: dict[str, dict[str, Any]]) -> str:
    """Returns how well words alone predict X, in worlds of text."""
    values = [about.get("surface_auroc") for about in predictors.values()]
    aurocs = [value for value in values if value is not None]
    if not aurocs:
        return ""
    return (
        f"A bag of words predicts X on disputed episodes with AUROC {min(aurocs):.3f} to"
        f" {max(aurocs):.3f}; 0.5 means that there is no surface cue."
    )


def _describe_versions(run: Run) -> str:
    return f"Python {run.versions.get('python', '–')}, torch {run.versions.get('torch', '–')}"


def _read_seconds(run: Run) -> dict[str, float]:
    seconds = run.about.get("seconds")
    if not isinstance(seconds, dict):
        return {}
    return {str(part): float(value) for part, value in seconds.items() if not pd.isna(value)}
