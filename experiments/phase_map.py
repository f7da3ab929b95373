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
FEW = {
    "width_amplitude": ("core_model.concept_width=1,16", "core_model.concept_amplitude=0.5,2.0"),
    "widths": ("core_model.concept_width=1,16", "core_model.human_width=1,16"),
    "level_amplitude": ("world.human_level=1,3", "core_model.concept_amplitude=0.2,1.0"),
}
"""The values of a plane's dials where few cells are enough."""


@dataclass(frozen=True)
class PhaseMap:
    """Runs the sweep of each plane in a folder of its own, and draws the map. Finished runs are not
    repeated, so a map that was stopped resumes.

    Args:
        size: how many predictors, heads and cells: a key of `sizes`.
        launcher: how Hydra runs the cells: one after the other, or several at once.
        planes: names of sweeps in configs/sweep.
        sizes: of each size, what is set of every sweep. tiny has two values of each dial, two arms
            and the first plane alone.
    """

    size: str
    launcher: Literal["basic", "joblib", "ray"]
    planes: list[str]
    sizes: dict[str, list[str]]

    def __post_init__(self) -> None:
        if self.size not in self.sizes:
            raise UserError(
                f"job.size: there is no {self.size}.{did_you_mean(self.size, self.sizes)}"
                f" There are: {', '.join(self.sizes)}."
            )
        known = [path.stem for path in SWEEPS.glob("*.yaml")]
        for plane in self.planes:
            if plane not in known:
                raise UserError(
                    f"job.planes: there is no sweep {plane}.{did_you_mean(plane, known)} Sweeps are"
                    " in configs/sweep."
                )
        if not self.planes:
            raise UserError("job.planes: it is empty. Name a sweep: job.planes='[widths]'")

    def __call__(self, folder: Path) -> None:
        from report.phase_map.write import write_map

        is_tiny = self.size == "tiny"
        for plane in self.planes[:1] if is_tiny else self.planes:
            words = [f"+sweep={plane}", f"hydra.sweep.dir={folder.absolute() / plane}"]
            words += [f"hydra/launcher={self.launcher}", *self.sizes[self.size]]
            if is_tiny:
                words += [*FEW.get(plane, ()), "arm=none_adamw,simplicity"]
            self._run(plane, words)
        text = write_map(folder)
        with write_atomically(folder / SUMMARY) as temporary:
            temporary.write_text(to_markdown(text), encoding="utf-8")

    def _run(self, plane: str, words: list[str]) -> None:
        """Runs one sweep in a process of its own.

        Raises:
            UserError: some of its runs failed.
        """
        command = [sys.executable, str(TRAIN), *words]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise UserError(
                f"job.planes: some runs of {plane} failed; the reasons are above. The same command"
                " runs them again, and repeats none that is finished."
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
