"""How heads are trained by steps: epochs, rates, ramps, and when a head is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from console.errors import UserError


@dataclass(frozen=True)
class Schedule:
    """How heads are trained; the same for every prior, so that priors are compared and not
    schedules.

    Args:
        epochs: passes over the training episodes.
        batch_size: episodes a step.
        learning_rate: AdamW's at the start, without weight decay; falls to 0 along a cosine. A list
            gives each strength its own.
        clip: largest norm of a head's gradient.
        ramp: share of the training over which the charge rises from 0 to its full strength.
        halting_bonus: nats of loss taken off for each nat of entropy of the halting distribution,
            until `bonus_from`; then falls to 0 at `bonus_to`.
        bonus_from: share of the training.
        bonus_to: share of the training.
        patience: epochs without improvement on held-out easy episodes after which a head is done,
            counted once charge and bonus have settled.
        order: own gives each seed its own order of the data, shared one order to all.
        precision: of the products in a head. medium rounds what is multiplied to bfloat16 where
            that is faster, bfloat16 rounds the product too; weights, errors, charges and Adam's
            averages are float32 in each.
    """

    epochs: int
    batch_size: int
    learning_rate: float | list[float]
    clip: float
    ramp: float
    halting_bonus: float
    bonus_from: float
    bonus_to: float
    patience: int
    order: Literal["own", "shared"]
    precision: Literal["float32", "medium", "bfloat16"]

    def __post_init__(self) -> None:
        for key, least in {
            "epochs": 1,
            "batch_size": 1,
            "halting_bonus": 0,
            "ramp": 0,
            "bonus_from": 0,
            "patience": 0,
        }.items():
            if getattr(self, key) < least:
                raise UserError(
                    f"training.{key}: {getattr(self, key)} is too small. Use {least} or more."
                )
        for key in ("learning_rate", "clip"):
            if not all(value > 0 for value in _listed(getattr(self, key))):
                raise UserError(
                    f"training.{key}: {getattr(self, key)} is too small. Use a number above 0."
                )
        for key, most, name in (
            ("ramp", 1.0, "1"),
            ("bonus_to", 1.0, "1"),
            ("bonus_from", self.bonus_to, "training.bonus_to"),
        ):
            if getattr(self, key) > most:
                raise UserError(
                    f"training.{key}: {getattr(self, key)} is a share of the training. Use"
                    f" {name} at most."
                )

    def rates(self, strengths: int) -> list[float]:
        """Returns the learning rate of each strength.

        Raises:
            UserError: there are not as many.
        """
        given = _listed(self.learning_rate)
        if isinstance(self.learning_rate, list) and len(given) != strengths:
            cure = "Give each strength one, or one number for all."
            raise UserError(
                f"training.learning_rate: {given} are {len(given)} for {strengths} strengths."
                f" {cure}"
            )
        return given if isinstance(self.learning_rate, list) else given * strengths

    def strength_share(self, progress: float) -> float:
        """Returns which share of its strength a prior has at this share of the training."""
        return min(1.0, progress / self.ramp) if self.ramp else 1.0

    def bonus(self, progress: float) -> float:
        """Returns the weight of the halting entropy at this share of the training."""
        return self.halting_bonus * min(
            1.0, max(0.0, (self.bonus_to - progress) / max(self.bonus_to - self.bonus_from, 1e-9))
        )


def _listed(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]
