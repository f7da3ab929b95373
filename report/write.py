"""Writes the comparison of runs: table, plots and page.   python -m report FOLDER [FOLDER ...]
[--to DIR]
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from console.errors import UserError
from report import comparison, figures
from report.answer import format_prior
from report.page.document import Compared, compare, page
from report.page.findings import sort_groups
from report.runs import FoundRuns
from report.settings import group_by_setting
from storage.atomic import replacing

PAGE = "comparison.html"


def write(found: FoundRuns, folder: Path) -> tuple[list[Compared], list[Path]]:
    """Writes everything into a folder, each file whole or not at all, and returns what was compared
    and the files.
    """
    parts: list[Compared] = []
    for setting in group_by_setting(found.runs):
        parts.append(compare(setting, sum(len(part.each) for part in parts)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = comparison.write(
            pd.concat(
                [comparison.lines(part.setting.name, part.each) for part in parts],
                ignore_index=True,
            ),
            folder,
        )
        paths += [
            path
            for i, part in enumerate(parts)
            for path in _plots(part, folder / "plots", f"-{i + 1}" if len(parts) > 1 else "")
        ]
        with replacing(folder / PAGE) as temporary:
            temporary.write_text(page(_title(parts), found, parts), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder}: it cannot be written ({error.strerror}). Name another with --to DIR."
        ) from None
    return parts, [*paths, folder / PAGE]


def _plots(part: Compared, folder: Path, mark: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    several = part.matched["reporter"].nunique() > 1
    drawings = {
        "matched": figures.draw_strips(
            [(format_prior(*key, several), group) for key, group in sort_groups(part.matched)]
        )
    }
    for key, heads in (("strength", part.heads), ("level", part.levels)):
        if heads[key].nunique() > 1:
            table = part.lines if key == "strength" else comparison.lines(part.setting.name, heads)
            grid = figures.draw_panel_grid(heads, table, key)
            if grid is not None:
                drawings[f"by_{key}"] = grid
    paths = []
    for what, drawing in drawings.items():
        png, svg = folder / f"comparison_{what}{mark}.png", folder / f"comparison_{what}{mark}.svg"
        drawing.save_png(png)
        svg.write_text(drawing.render_svg(), encoding="utf-8")
        paths += [png, svg]
    return paths


def _title(parts: list[Compared]) -> str:
    return "; ".join(
        f"{part.setting.name} ({', '.join(sorted(part.heads['reporter'].unique()))})"
        for part in parts
    )
