"""Writes the comparison of runs: table, plots and page.   python -m report FOLDER [--to DIR]"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from console.errors import UserError
from report import figures, summary
from report.answer import format_prior
from report.columns import find_column
from report.comparison import Compared, build_lines, compare
from report.drawing import Drawing
from report.page.document import build_page
from report.page.findings import sort_groups
from report.runs import FoundRuns, find
from report.settings import MOST_DRAWN, describe_several_settings, group_by_setting
from storage.atomic import write_atomically

PAGE = "comparison.html"


def summarise(
    folders: list[Path], to: Path, level: int | None = None, each_level: bool = False
) -> None:
    """Compares the runs in folders: writes tables, plots and page into the folder `to`, and prints
    the table of each setting, the answer in words, what is left out, and where the page is.

    Args:
        level: the level to compare; None for the one that held-out easy episodes choose.
        each_level: whether to print the lines and the answer of each level.

    Raises:
        UserError: there is no finished run, no head reads the level, or `to` cannot be written.
    """
    runs = find(folders)
    parts, paths = write(runs, to, level)
    summary.show_comparisons(parts, each_level)
    summary.show_notices(
        [*describe_several_settings([part.setting for part in parts]), *runs.notices()]
    )
    kinds = sorted({path.suffix[1:] for path in paths[:-1]})
    print(f"{paths[-1]}  (and {len(paths) - 1} files beside it: {', '.join(kinds)})")


def write(
    runs: FoundRuns, folder: Path, level: int | None = None
) -> tuple[list[Compared], list[Path]]:
    """Writes everything into a folder, each file whole or not at all, and returns the comparisons
    and the files, the page last.
    """
    parts: list[Compared] = []
    n_heads = 0
    for setting in group_by_setting(runs.runs):
        parts.append(compare(setting, n_heads, level))
        n_heads += len(parts[-1].each)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = _write_tables(parts, folder)
        for i, part in enumerate(parts[:MOST_DRAWN]):
            mark = f"-{i + 1}" if len(parts) > 1 else ""
            paths += _write_plots(part, folder / "plots", mark)
        with write_atomically(folder / PAGE) as temporary:
            temporary.write_text(build_page(_compose_title(parts), runs, parts), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder}: it cannot be written ({error.strerror}). Name another with --to DIR."
        ) from None
    return parts, [*paths, folder / PAGE]


def _write_tables(parts: list[Compared], folder: Path) -> list[Path]:
    """Writes comparison.parquet, with each column's unit and meaning in its metadata,
    comparison.csv, and comparison_columns.csv, which has these units and meanings.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pd.concat([part.each_lines for part in parts], ignore_index=True)
    columns = [find_column(str(key)) for key in table]
    described = pd.DataFrame(
        {
            "column": [column.name for column in columns],
            "unit": [column.unit for column in columns],
            "meaning": [column.meaning for column in columns],
        }
    )
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    fields = []
    for field, column in zip(arrow.schema, columns, strict=True):
        fields.append(field.with_metadata({"unit": column.unit, "meaning": column.meaning}))
    paths = [folder / f"comparison{ending}" for ending in (".parquet", ".csv", "_columns.csv")]
    with write_atomically(paths[0]) as temporary:
        pq.write_table(arrow.cast(pa.schema(fields, metadata=arrow.schema.metadata)), temporary)
    for path, frame in ((paths[1], table), (paths[2], described)):
        with write_atomically(path) as temporary:
            frame.to_csv(temporary, index=False, encoding="utf-8")
    return paths


def _write_plots(part: Compared, folder: Path, mark: str) -> list[Path]:
    """Writes each drawing as PNG and SVG.

    Args:
        mark: which setting they belong to; empty where there is one.
    """
    paths = []
    for key, drawing in _draw(part).items():
        png = folder / f"comparison_{key}{mark}.png"
        with write_atomically(png) as temporary:
            drawing.save_png(temporary)
        svg = png.with_suffix(".svg")
        with write_atomically(svg) as temporary:
            temporary.write_text(drawing.render_svg(), encoding="utf-8")
        paths += [png, svg]
    return paths


def _draw(part: Compared) -> dict[str, Drawing]:
    """Returns the drawings of a setting by their names."""
    several = part.shown["reporter"].nunique() > 1
    groups = [(format_prior(*key, several), group) for key, group in sort_groups(part.shown)]
    drawings = {"matched": figures.draw_strips(groups)}
    for key, heads in (("strength", part.heads), ("level", part.levels)):
        if heads[key].nunique() > 1:
            table = build_lines(part.setting.name, heads)
            grid = figures.draw_panel_grid(heads, table, key)
            if grid is not None:
                drawings[f"by_{key}"] = grid
    return drawings


def _compose_title(parts: list[Compared]) -> str:
    titles = []
    for part in parts:
        reporters = sorted(part.heads["reporter"].unique())
        titles.append(f"{part.setting.name} ({', '.join(reporters)})")
    return "; ".join(titles)
