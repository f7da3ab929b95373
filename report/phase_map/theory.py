"""What gradient descent finds without a charge, where a linear head reads X and H at one level of a
constructed predictor.

Along X's code of width m and amplitude g, the gradient of a linear head has the length g, and the
length g·√m when each coordinate's is made equally large. The head follows what grows faster: plain
gradient descent decides by g alone, Adam by g·√m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

SPEED: dict[str, Callable[[float, float], float]] = {
    "sgd": lambda amplitude, width: amplitude,
    "momentum": lambda amplitude, width: amplitude,
    "adamw": lambda amplitude, width: amplitude * math.sqrt(width),
}
"""How fast a head grows along a code, by the optimizer."""
TIE = 1e-6


def predict_without_charge(config: dict[str, Any]) -> str:
    """Returns the kind of head that the optimizer finds, or "tie"; empty where this theory says
    nothing: other reporters, predictors and optimizers, and labels on which the human errs, which
    X does not fit however fast heads grow along it.
    """
    world, core_model = config["world"], config["core_model"]
    is_linear = config["reporter"]["_target_"].endswith(".Linear")
    has_codes = core_model["_target_"].endswith(".Constructed")
    optimizer = config["optimizer"]["_target_"].rpartition(".")[2].lower()
    if not (is_linear and has_codes) or optimizer not in SPEED:
        return ""
    levels = config.get("levels") or []
    complete = max(world["concept_level"], world["human_level"])
    if len(levels) != 1 or levels[0] < complete or not world["stores_human"]:
        return ""
    if world.get("human_errors"):
        return ""
    compute_speed = SPEED[optimizer]
    concept = compute_speed(core_model["concept_amplitude"], core_model["concept_width"])
    human = compute_speed(core_model["human_amplitude"], core_model["human_width"])
    if abs(concept - human) <= TIE * human:
        return "tie"
    return "direct_translator" if concept > human else "human_imitator"
