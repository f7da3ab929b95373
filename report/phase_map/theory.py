"""What theory predicts where a linear head reads X and H at one level of a constructed predictor.

Without a charge: along X's code of width m and amplitude g, the gradient of a linear head has the
length g, and the length g·√m when each coordinate's is made equally large. The head follows what
grows faster: plain gradient descent decides by g alone, Adam by g·√m.

Under the price of a circuit through predictor and head: the circuit of a translator has the
products that complete X and an edge for each coordinate of its code, that of an imitator those of
H.
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


def predict(config: dict[str, Any]) -> str:
    """Returns the kind of head that is found, or "tie"; empty where this theory says nothing: other
    reporters, predictors, priors and optimizers, and labels on which the human errs, which X does
    not fit however fast heads grow along it.
    """
    if not reads_complete_codes(config) or config["world"].get("human_errors"):
        return ""
    prior = config["prior"]["_target_"].rpartition(".")[2]
    if prior == "NoPrior":
        return predict_without_charge(config)
    return predict_joint_length(config) if prior == "ExplanationLength" else ""


def reads_complete_codes(config: dict[str, Any]) -> bool:
    """Whether linear heads read X and H at one level of a constructed predictor that completes
    both.
    """
    world = config["world"]
    is_linear = config["reporter"]["_target_"].endswith(".Linear")
    has_codes = config["core_model"]["_target_"].endswith(".Constructed")
    levels = config.get("levels") or []
    if not (is_linear and has_codes and len(levels) == 1 and world["stores_human"]):
        return False
    if max(world.get("concept_parity", 1), world.get("human_parity", 1)) > 1:
        return False
    return levels[0] >= max(world["concept_level"], world["human_level"])


def predict_without_charge(config: dict[str, Any]) -> str:
    """Returns the kind of head that grows faster, or "tie"; empty for other optimizers."""
    optimizer = config["optimizer"]["_target_"].rpartition(".")[2].lower()
    if optimizer not in SPEED:
        return ""
    compute_speed, core_model = SPEED[optimizer], config["core_model"]
    concept = compute_speed(core_model["concept_amplitude"], core_model["concept_width"])
    human = compute_speed(core_model["human_amplitude"], core_model["human_width"])
    return choose_larger(concept, human)


def predict_joint_length(config: dict[str, Any]) -> str:
    """Returns the kind of head whose circuit is shorter, or "tie": each element costs its name, and
    an edge its weight besides.
    """
    world, core_model = config["world"], config["core_model"]
    products = world["concept_level"] + world["human_level"]
    name_nats = math.log(products + world["bits"])
    edge_nats = name_nats + math.log(config["data"]["train"]) / 2
    concept = name_nats * world["concept_level"] + edge_nats * core_model["concept_width"]
    human = name_nats * world["human_level"] + edge_nats * core_model["human_width"]
    return choose_larger(human, concept)


def choose_larger(translator: float, imitator: float) -> str:
    """Returns the kind of head of the larger number.

    >>> choose_larger(2.0, 1.0), choose_larger(1.0, 1.0)
    ('direct_translator', 'tie')
    """
    if abs(translator - imitator) <= TIE * imitator:
        return "tie"
    return "direct_translator" if translator > imitator else "human_imitator"
