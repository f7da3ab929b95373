"""How heads are trained by steps: epochs, rates, ramps, and when a head is done."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from console.errors import UserError
from console.ranges import Count, Episodes, LearningRate, NotNegative, Positive, Range


@dataclass(frozen=True)
class Schedule:
    """How heads are trained; the same for every prior, so that priors are compared and not
    schedules.

    Args:
        keep: last, the heads as they are at the end; or best, each head as it was after the epoch
            in which it was best on held-out easy episodes.
        epochs: passes over the training episodes.
        batch_size: episodes a step.
        learning_rate: of the first step; falls to 0 along a cosine. A list gives each strength its
            own; null takes the optimizer's own.
        clip: largest norm of a head's gradient.
        ramp: share of the training over which the charge rises from 0 to its full strength.
        halting_bonus: nats of loss taken off for each nat of entropy of the halting distribution,
            until `bonus_from`; then falls to 0 at `bonus_to`.
        bonus_from: share of the training.
        bonus_to: share of the training.
        patience: with `keep` best, epochs without improvement on held-out easy episodes after which
            a head is done, counted once charge and bonus have settled. With `keep` last, not used.
        order: own gives each seed its own order of the data, shared one order to all.
        precision: of the products in a head. medium rounds what is multiplied to bfloat16 where
            that is faster, bfloat16 rounds the product too; weights, errors, charges and Adam's
            averages are float32 in each.
        initial_scale: factor of the weights that heads start with. Where nothing is charged, what
            training leaves of them decides for episodes unlike the training ones.
        errors: from_start, heads meet the human's errors from the start of their training; or
            after_settling, they are first trained on the easy episodes whose label is X, and then
            go on with all: as long again, with the whole charge and no bonus. It shows whether
            training that met errors later ends elsewhere. The experimenter uses X here, so it is an
            instrument and nothing that a user of a real predictor could do. Heads that are solved
            as the one optimum do not depend on where they start.
    """

    keep: Literal["last", "best"]
    epochs: Count
    batch_size: Episodes
    learning_rate: LearningRate | list[LearningRate] | None
    clip: Positive
    ramp: NotNegative
    halting_bonus: Annotated[float, Range(0, 100)]
    bonus_from: NotNegative
    bonus_to: NotNegative
    patience: Annotated[int, Range(0, 1_000_000)] | None
    order: Literal["own", "shared"]
    precision: Literal["float32", "medium", "bfloat16"]
    initial_scale: Annotated[float, Range(0, 1000)]
    errors: Literal["from_start", "after_settling"]

    def __post_init__(self) -> None:
        least = {"epochs": 1, "batch_size": 1} | dict.fromkeys(
            ("halting_bonus", "ramp", "bonus_from", "patience"), 0
        )
        for key, bound in least.items():
            value = getattr(self, key)
            if value is not None and value < bound:
                raise UserError(f"training.{key}: {value} is too small. Use {bound} or more.")
        rates = self.learning_rate if isinstance(self.learning_rate, list) else [self.learning_rate]
        if not all(rate is None or rate > 0 for rate in rates):
            raise UserError(
                f"training.learning_rate: {self.learning_rate} is too small. Use a number above 0."
            )
        if not self.clip > 0:
            raise UserError(f"training.clip: {self.clip} is too small. Use a number above 0.")
        if self.keep == "best" and self.patience is None:
            raise UserError(
                "training.patience: it is null, and training.keep=best needs it. Use"
                " training.patience=10, or training.keep=last."
            )
        self._check_share("ramp", 1.0, "1")
        self._check_share("bonus_to", 1.0, "1")
        self._check_share("bonus_from", self.bonus_to, "training.bonus_to")

    def _check_share(self, key: str, most: float, name: str) -> None:
        value = getattr(self, key)
        if value > most:
            raise UserError(
                f"training.{key}: {value} is a share of the training. Use {name} at most."
            )

    def list_rates(self, n_strengths: int, default: float) -> list[float]:
        """Returns the learning rate of each strength.

        Args:
            default: the optimizer's own.

        Raises:
            UserError: there is another number of rates.
        """
        rates = default if self.learning_rate is None else self.learning_rate
        if not isinstance(rates, list):
            return [rates] * n_strengths
        if len(rates) != n_strengths:
            raise UserError(
                f"training.learning_rate: {rates} are {len(rates)} for {n_strengths} strengths."
                " Give each strength one, or one number for all."
            )
        return rates

    def check_from_start(self, job: str) -> None:
        """Raises UserError where heads of an experiment would meet errors later."""
        if self.errors != "from_start":
            raise UserError(
                f"training.errors: heads of {job} meet all episodes from the start. Use"
                " training.errors=from_start."
            )

    def continue_at_full_strength(self) -> Schedule:
        """Returns the schedule of a second training: as long, with the whole charge and no bonus
        from the start.
        """
        return replace(self, ramp=0.0, halting_bonus=0.0)

    def count_settling_epochs(self, has_exits: bool) -> int:
        """Returns the epochs until charge and bonus no longer change.

        Args:
            has_exits: whether the heads can stop early; others have no bonus.
        """
        share = max(self.ramp, self.bonus_to if has_exits else 0.0)
        return math.ceil(self.epochs * share)

    def strength_share(self, progress: float) -> float:
        """Returns which share of its strength a prior has at this share of the training."""
        return min(1.0, progress / self.ramp) if self.ramp else 1.0

    def bonus(self, progress: float) -> float:
        """Returns the weight of the halting entropy at this share of the training."""
        falling = max(self.bonus_to - self.bonus_from, 1e-9)
        share = min(1.0, max(0.0, (self.bonus_to - progress) / falling))
        return self.halting_bonus * share
