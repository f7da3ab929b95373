"""The phase map: sweeps over planes of the ladder's dials, and the page that shows them.
python train.py experiment=phase_map
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from console.errors import UserError, did_you_mean
from storage.atomic import write_atomically
from storage.run_folder import SUMMARY

ROOT = Path(__file__).parents[1]
TRAIN = ROOT / "train.py"
SWEEPS = ROOT / "configs" / "sweep"


@dataclass(frozen=True)
class PhaseMap:
    """Runs the sweep of each plane in a folder of its own, and draws the map. Finished runs are not
    repeated, so a map that was stopped resumes.

    Args:
        size: how many planes, cells, predictors and heads: a key of `planes` and of `words`.
        launcher: how Hydra runs the cells: one after the other, or several at once.
        planes: names of sweeps in configs/sweep, by size.
        words: what is set of each of these sweeps, as on the command line, by size.
    """

    size: str
    launcher: Literal["basic", "joblib", "ray"]
    planes: dict[str, list[str]]
    words: dict[str, list[str]]

    def __post_init__(self) -> None:
        for key, by_size in (("planes", self.planes), ("words", self.words)):
            if self.size not in by_size:
                raise UserError(
                    f"job.size: job.{key} has no {self.size}.{did_you_mean(self.size, by_size)}"
                    f" It has: {', '.join(by_size)}."
                )
        key = f"job.planes.{self.size}"
        known = [path.stem for path in SWEEPS.glob("*.yaml")]
        for plane in self.planes[self.size]:
            if plane not in known:
                raise UserError(
                    f"{key}: there is no sweep {plane}.{did_you_mean(plane, known)} Sweeps are in"
                    " configs/sweep."
                )
        if not self.planes[self.size]:
            raise UserError(f"{key}: it is empty. Name a sweep: {key}='[widths]'")

    def __call__(self, folder: Path) -> None:
        from report.phase_map.write import write_map

        for plane in self.planes[self.size]:
            self._run(plane, folder.absolute() / plane)
        text = write_map(folder)
        with write_atomically(folder / SUMMARY) as temporary:
            temporary.write_text(to_markdown(text), encoding="utf-8")

    def _run(self, plane: str, folder: Path) -> None:
        """Runs one sweep in a process of its own.

        Raises:
            UserError: some of its runs failed.
        """
        where = [f"+sweep={plane}", f"hydra.sweep.dir={folder}", f"hydra/launcher={self.launcher}"]
        command = [sys.executable, str(TRAIN), *where, *self.words[self.size]]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise UserError(
                f"job.planes.{self.size}: some runs of {plane} failed; the reasons are above. The"
                " same command runs them again, and repeats none that is finished."
            )


def to_markdown(text: str) -> str:
    """Returns what a map shows as Markdown: a heading a plane, an item an arm.

    >>> print(to_markdown("widths, 2 runs") + "end")
    # Phase map
    <BLANKLINE>
    ## widths, 2 runs
    end
    """
    lines = ["# Phase map"]
    was_item = False
    for line in text.splitlines():
        is_item = line.startswith("  ")
        if not (is_item and was_item):
            lines.append("")
        lines.append(f"- {line.strip()}" if is_item else f"## {line}")
        was_item = is_item
    return "\n".join(lines) + "\n"
