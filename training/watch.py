"""Watches a fit and leaves it as it is: the objective that heads are trained on, epoch by epoch,
and what else is measured of them.

K: heads, in the order of `Heads.table`; E: epochs watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from compute.lightning import pl
from training.heads import Heads

if TYPE_CHECKING:
    import pandas as pd

WATCHED = 256
"""Episodes of each mix on which heads are measured, the same at each epoch: few, so that a fit
takes hardly longer.
"""

HEAD_COLUMNS = {
    "level": "Int64",
    "levels": "str",
    "seed": "int64",
    "strength": "float64",
    "epoch": "int64",
}
FIGURES = ("l_base", "gradient_norm", "l_int", "l_int_disputed", "l_human_disputed")
"""The columns of training.parquet, but for its last."""


class Moment(NamedTuple):
    """All heads at one time of a fit."""

    heads: Heads
    """As they would be, were they finished now."""
    l_base_K: Tensor
    """Nats an episode of the last batch, before its step: against the human's answers, with the
    whole charge.
    """
    gradient_norm_K: Tensor
    """Norm of the gradient there, in nats an episode per unit of the trained parameters."""


@dataclass(frozen=True)
class Course:
    """How the training of K heads went. Figures have shape (E, K); E is 0 where heads were solved
    for and not trained.
    """

    epochs: tuple[int, ...]
    """Passes over the training episodes that were done; 0 is before any step."""
    figures: dict[str, Tensor]
    """l_base and gradient_norm, as in `Moment`, and what was measured, each under its own name."""
    kept_K: Tensor
    """The epoch whose weights the finished head has."""


class Watch(pl.Callback):
    """Takes note of all heads before the first step and at the end of each epoch. What it noted is
    part of the fit's checkpoint.

    What a step computes anyhow is taken from the last step of an epoch, so it is of one step before
    the epoch's end; before the first step, of the first. It costs nothing then.

    Args:
        measure: what else is to be noted of heads, each figure of shape (K,). What it returns is
            kept, and training never looks at it.
        tell: where the figures of an epoch go as well, as soon as they are known.
    """

    look: Callable[[], Moment]
    kept_K: Tensor

    def __init__(
        self,
        measure: Callable[[Heads], dict[str, Tensor]],
        tell: Callable[[dict[str, Tensor], int], None] | None = None,
    ) -> None:
        self.measure, self.tell = measure, tell
        self.noted: dict[int, dict[str, Tensor]] = {}

    @property
    def course(self) -> Course:
        """All that was noted."""
        epochs = sorted(self.noted)
        names = self.noted[epochs[0]] if epochs else {}
        return Course(
            tuple(epochs),
            {name: torch.stack([self.noted[epoch][name] for epoch in epochs]) for name in names},
            self.kept_K,
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.noted:
            self._note(trainer.current_epoch)
        for epoch in sorted(self.noted):  # where a fit goes on, a log begins anew
            self._told(epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object
    ) -> None:
        if trainer.global_step == 1:
            self.noted[0] |= self._paid(self.look())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note(trainer.current_epoch + 1)
        self._told(trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        return {"noted": self.noted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.noted = dict(state_dict["noted"])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _note(self, epoch: int) -> None:
        now = self.look()
        self.noted[epoch] = self._paid(now) | self.measure(now.heads)

    def _told(self, epoch: int) -> None:
        if self.tell:
            self.tell(self.noted[epoch], epoch)

    def _paid(self, now: Moment) -> dict[str, Tensor]:
        return {"l_base": now.l_base_K, "gradient_norm": now.gradient_norm_K}


def build_history_table(heads: Heads, course: Course) -> pd.DataFrame:
    """Returns training.parquet: how the training of each head went, one row a head and epoch; no
    rows for heads that were solved for.

    epoch: passes over the training episodes that were done, 0 before any step. l_base: nats an
    episode of easy training episodes against H, with the whole charge. gradient_norm: of that, in
    nats an episode per unit of the trained parameters. l_int: nats an episode against X on
    everything as it comes. l_int_disputed, l_human_disputed: nats an episode against X, and against
    H, on disputed episodes. kept: whether the finished head has this epoch's weights (before edges
    are taken away).
    """
    import pandas as pd

    rows = []
    for k, (levels, seed, strength) in enumerate(heads.table):
        head = {
            "level": levels[0] if len(levels) == 1 else None,
            "levels": " ".join(map(str, levels)),
            "seed": seed,
            "strength": strength,
        }
        for e, epoch in enumerate(course.epochs):
            figures = {name: float(value_EK[e, k]) for name, value_EK in course.figures.items()}
            rows.append(
                head | {"epoch": epoch} | figures | {"kept": epoch == int(course.kept_K[k])}
            )
    types = HEAD_COLUMNS | dict.fromkeys(FIGURES, "float64") | {"kept": "bool"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)
