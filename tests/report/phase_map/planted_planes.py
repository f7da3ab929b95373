"""Planes of planted cells.   Not a test: what tests are made of."""

from pathlib import Path

import pandas as pd

from report.phase_map.planes import Cell, Plane

AXES = ("core_model.concept_width", "core_model.concept_amplitude")
WIDTHS, AMPLITUDES = ("1", "16"), ("0.5", "2.0")


def plant_cell(
    place: tuple[str, str],
    arm: str,
    verdicts: list[str],
    predicted: str = "",
    difference: float = float("nan"),
    excess: float = 0.0,
    predictors: int = 2,
) -> Cell:
    """Returns a cell whose predictors have the same heads, of these verdicts.

    Args:
        excess: nats an episode that every head pays more than the cheaper planted head.
    """
    rows = []
    for predictor in range(predictors):
        for verdict in verdicts:
            rows.append(
                {
                    "predictor": f"hash{predictor}",
                    "predictor_seed": predictor,
                    "verdict": verdict,
                    "follows_concept": float(verdict == "direct_translator"),
                    "settled": True,
                    "cost_found": 0.3 + excess,
                    "cost_translator": 0.3,
                    "cost_imitator": 0.3 + abs(difference),
                }
            )
    return Cell(place, arm, pd.DataFrame(rows), Path("run"), predicted, difference)


def plant_plane(cells: list[Cell], name: str = "width_amplitude") -> Plane:
    """Returns a plane of these cells."""
    arms = tuple(dict.fromkeys(cell.arm for cell in cells))
    by_place = {(cell.place, cell.arm): cell for cell in cells}
    return Plane(name, AXES, (WIDTHS, AMPLITUDES), arms, by_place, ())
