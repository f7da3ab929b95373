"""What a comparison prints and writes: the table of each setting, the answer in words, what was
left out, and where the page lies.
"""

from __future__ import annotations

from pathlib import Path


def summarise(folders: list[Path], to: Path) -> None:
    """Compares the runs in folders; writes tables, plots and page into the folder `to`, and prints
    where.

    Raises:
        UserError: there is no finished run, or `to` cannot be written.
    """
    from report import summary
    from report.runs import find
    from report.settings import describe_several_settings
    from report.write import write

    found = find(folders)
    parts, paths = write(found, to)
    for part in parts:
        summary.show_setting(part.setting, each_level=False)
    summary.show_notices(
        [*describe_several_settings([part.setting for part in parts]), *found.notices()]
    )
    print(
        f"{paths[-1]}  (and {len(paths) - 1} files beside it:"
        f" {', '.join(sorted({path.suffix[1:] for path in paths[:-1]}))})"
    )
