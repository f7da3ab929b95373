"""Writes the files of a phase map beside its planes."""

from __future__ import annotations

from pathlib import Path

from report.phase_map.drawing import draw_plane
from report.phase_map.page import build_page, build_table, save_figure
from report.phase_map.planes import read_planes
from report.phase_map.words import describe_plane, summarise
from storage.atomic import write_atomically
from storage.run_folder import save_table

PAGE, TABLE = "map.html", "map.parquet"


def write_map(folder: Path) -> str:
    """Writes map.html, map.parquet, and a PNG and an SVG of each plane; returns what they show in
    words.

    Raises:
        UserError: no plane is there.
    """
    planes = read_planes(folder)
    figures = [draw_plane(plane) for plane in planes]
    for plane, figure in zip(planes, figures, strict=True):
        save_figure(figure, folder, plane.name)
    save_table(folder, TABLE, build_table(planes))
    with write_atomically(folder / PAGE) as temporary:
        temporary.write_text(build_page(planes, figures), encoding="utf-8")
    lines = [f"  {summarise(planes)}"]
    for plane in planes:
        lines.append(f"{plane.name}: {len(plane.cells)} runs, {plane.n_heads:,} heads")
        lines += [f"  {line}" for line in describe_plane(plane)]
    return "\n".join(lines)
