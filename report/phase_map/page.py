"""The page of a phase map: what it shows in words, a figure of each plane, and the heads of every
cell.
"""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from report.lines import KINDS
from report.page.html import Columns, render_table
from report.phase_map.drawing import find_anchor
from report.phase_map.planes import Cell, Plane, describe_values
from report.phase_map.words import describe_plane, summarise
from storage.run_folder import PREDICTED, read_facts

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
       color: #1f2328; background: #fefefe; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #d0d4da; }
details { margin: .2rem 0; } summary { cursor: pointer; }
details:target > summary, summary:hover { background: #eef2f6; }
.said { color: #4b5563; }
"""
OPEN_TARGET = """
function show() {
  const cell = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (cell && cell.tagName === "DETAILS") { cell.open = true; cell.scrollIntoView(); }
}
addEventListener("hashchange", show); show();
"""
"""Opens the heads of the cell that was clicked on."""


def build_page(planes: list[Plane], figures: list[Figure]) -> str:
    """Returns map.html, one file that needs no other."""
    n_heads = sum(plane.n_heads for plane in planes)
    n_runs = sum(len(plane.cells) for plane in planes)
    sections = []
    for plane, figure in zip(planes, figures, strict=True):
        sections.append(render_plane(plane, figure))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Phase map</title><style>{CSS}</style></head>
<body><h1>Which prior finds the translator?</h1>
<p><strong>{escape(summarise(planes))}</strong></p>
<p class="said">{n_runs:,} runs, {n_heads:,} judged heads. Each cell shows the verdicts of the whole
judge on the heads of its predictors. Lines are predictions: under a prior from planted costs, which
were measured and written before the heads were trained; without one from how fast the optimizer
grows a head along X and along H; under the length of an explanation from the elements of the
circuit that a predictor is built of. Click on a cell for its heads.</p>
{"".join(sections)}
<script>{OPEN_TARGET}</script></body></html>
"""


def render_plane(plane: Plane, figure: Figure) -> str:
    """Returns everything on one plane."""
    words = "".join(f"<li>{escape(line)}</li>" for line in describe_plane(plane))
    notices = "".join(f"<p>! {escape(line)}</p>" for line in plane.notices)
    cells = []
    for arm in plane.arms:
        ordered = sorted(plane.list_cells(arm), key=lambda cell: find_place(plane, cell))
        rows = "".join(render_cell(plane, cell) for cell in ordered)
        cells.append(f"<h3>{escape(arm)}</h3>{rows}")
    title = plane.name.replace("_", " ")
    return (
        f'<section><h2 id="{escape(plane.name)}">{escape(title)}</h2><ul>{words}</ul>'
        f"{render_svg(figure)}{notices}{''.join(cells)}</section>"
    )


def find_place(plane: Plane, cell: Cell) -> tuple[int, ...]:
    """Returns where a cell lies on each axis."""
    pairs = zip(plane.values, cell.place, strict=True)
    return tuple(values.index(value) for values, value in pairs)


def render_cell(plane: Plane, cell: Cell) -> str:
    """Returns a cell's heads by predictor, which a click opens."""
    shares = ", ".join(
        f"{kind.replace('_', ' ')} {share:.2f}" for kind, share in cell.shares.items() if share
    )
    predicted = cell.predicted.replace("_", " ") or "nothing"
    head = f"{describe_values(plane, cell.place)}: {shares}; predicted: {predicted}"
    columns: Columns = {"predictor": [str(seed) for seed in cell.heads["predictor_seed"].unique()]}
    groups = cell.heads.groupby("predictor_seed", sort=False)
    for kind in KINDS:
        columns[kind.replace("_", " ")] = [int((own["verdict"] == kind).sum()) for _, own in groups]
    columns["follows X"] = [f"{own['follows_concept'].mean():.2f}" for _, own in groups]
    columns["settled"] = [f"{own['settled'].mean():.2f}" for _, own in groups]
    for name in ("cost_found", "cost_translator", "cost_imitator"):
        if name in cell.heads:
            columns[name.replace("_", " ")] = [f"{own[name].min():.4f}" for _, own in groups]
    table = render_table(columns, head)
    facts = read_facts(cell.folder / PREDICTED)
    predictions = ""
    if facts:
        predictions = f" Predictions written {facts['written']}, SHA-256 {facts['sha256'][:16]}…"
    source = f"<p class='said'>{escape(cell.folder.name)}.{escape(predictions)}</p>"
    summary = f"<summary>{escape(head)}</summary>"
    return f'<details id="{escape(find_anchor(plane, cell))}">{summary}{table}{source}</details>'


def render_svg(figure: Figure) -> str:
    """Returns a figure as an inline SVG."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def build_table(planes: list[Plane]) -> pd.DataFrame:
    """Returns map.parquet: one row a plane, cell and arm."""
    rows = []
    for plane in planes:
        for cell in plane.cells.values():
            row: dict[str, Any] = {"plane": plane.name, "arm": cell.arm}
            for i, (axis, value) in enumerate(zip(plane.axes, cell.place, strict=True), start=1):
                row |= {f"axis_{i}": axis, f"value_{i}": value}
            row |= {f"share_{kind}": share for kind, share in cell.shares.items()}
            rows.append(
                row
                | {
                    "follows_concept": cell.follows,
                    "heads": len(cell.heads),
                    "predictors": cell.heads["predictor"].nunique(),
                    "settled": cell.settled,
                    "predicted": cell.predicted,
                    "difference": cell.difference,
                    "is_clear": cell.is_clear,
                    "holds": cell.holds,
                    "missed": cell.missed,
                }
            )
    return pd.DataFrame(rows)


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Writes a figure as a PNG and as an SVG."""
    figure.savefig(folder / f"{name}.png", dpi=160)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
