"""Draw a phase map.   python -m report.phase_map runs/phase_map

Each folder in it that holds runs is a plane: two dials of the world or of the predictor differ
between its runs, and arms in each cell. Writes map.html, and a PNG and an SVG of each plane.
"""

from __future__ import annotations

import sys
from pathlib import Path

from console.command_line import run_command
from console.errors import UserError


def main(words: list[str]) -> None:
    """Draws the map of a folder.

    Raises:
        UserError: no folder, an option, or a folder without planes.
    """
    if "--help" in words or "-h" in words:
        print(__doc__)
        return
    if len(words) != 1 or words[0].startswith("-"):
        raise UserError("Name one folder of planes: python -m report.phase_map runs/phase_map")
    from report.phase_map.write import PAGE, write_map

    folder = Path(words[0])
    print(write_map(folder))
    print(folder / PAGE)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), "Stopped.")
