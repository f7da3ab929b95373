"""Watches a fit without changing it: the training loss, epoch by epoch, and what else is measured
of the heads.

K: heads, in the order of `Heads.table`; E: epochs watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from compute.lightning import pl
from training.heads import Heads
from training.objective import Head, Objective
from training.task import Task

if TYPE_CHECKING:
    import pandas as pd

WATCHED = 256
"""Episodes of each mix on which heads are measured, the same at each epoch: few, so that they
hardly slow the fit down.
"""

HEAD_COLUMNS = {
    "predictor_seed": "int64",
    "level": "Int64",
    "levels": "str",
    "seed": "int64",
    "strength": "float64",
    "epoch": "int64",
}
FIGURES = ("l_base", "gradient_norm", "l_int", "l_int_disputed", "l_human_disputed")
"""The columns of training.parquet, but for its last."""


class Watched(Protocol):
    """Heads on the grid G × S × M in a fit."""

    objective: Objective

    @property
    def head(self) -> Head:
        """The stack of all heads."""

    @property
    def loss_GSM(self) -> Tensor:
        """Nats an episode before the last step."""

    @property
    def norm_GSM(self) -> Tensor:
        """Norm of the gradient there."""


class Snapshot(NamedTuple):
    """All heads at one time of a fit."""

    heads: Heads
    """As they would be if they were finished now."""
    l_base_K: Tensor
    """Nats an episode of the last batch, before its step: against the human's answers, with the
    whole charge.
    """
    gradient_norm_K: Tensor
    """Norm of the gradient there, in nats an episode per unit of the trained parameters."""


@dataclass(frozen=True)
class History:
    """The training of K heads. Figures have shape (E, K); E is 0 for heads that were solved and not
    trained.
    """

    epochs: tuple[int, ...]
    """Passes over the training episodes that were done; 0 is before any step."""
    figures: dict[str, Tensor]
    """l_base and gradient_norm, as in `Snapshot`, and what else was measured, by name."""
    kept_K: Tensor
    """The epoch whose weights the finished head has."""

    def split(self, parts: int) -> list[History]:
        """Returns the heads in equal parts, in order."""
        split = []
        for i, kept_K in enumerate(self.kept_K.chunk(parts)):
            figures = {name: value.chunk(parts, dim=1)[i] for name, value in self.figures.items()}
            split.append(History(self.epochs, figures, kept_K))
        return split


class Watch(pl.Callback):
    """Records figures of all heads before the first step and at the end of each epoch. A fit's
    checkpoint holds them.

    The loss and the gradient are those of an epoch's last step, because a step computes them
    anyway; they are of one step before the epoch's end. Before the first step, they are those of
    the first.

    Args:
        measure: returns further figures of heads, each of shape (K,). Training does not see them.
        report: called with the figures of an epoch and its number, as soon as they are known.
    """

    take_snapshot: Callable[[], Snapshot]
    """Set by the fit."""
    kept_K: Tensor
    """Set once the heads are finished, as in `History`."""

    def __init__(
        self,
        measure: Callable[[Heads], dict[str, Tensor]],
        report: Callable[[dict[str, Tensor], int], None] | None = None,
    ) -> None:
        self.measure = measure
        self.report = report
        self.figures: dict[int, dict[str, Tensor]] = {}
        """By epoch."""

    @property
    def history(self) -> History:
        """All that was recorded."""
        epochs = sorted(self.figures)
        names = self.figures[epochs[0]] if epochs else {}
        figures = {}
        for name in names:
            figures[name] = torch.stack([self.figures[epoch][name] for epoch in epochs])
        return History(tuple(epochs), figures, self.kept_K)

    def repeat_for_seeds(self, grid: tuple[int, int, int]) -> None:
        """Gives what was recorded of the heads of one seed to those of all: shape (G, S, M)."""
        n_groups, _, n_strengths = grid
        for values in self.figures.values():
            for name, value_K in values.items():
                value_G1M = value_K.view(n_groups, 1, n_strengths)
                values[name] = value_G1M.expand(grid).flatten()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.figures:
            self._record(trainer.current_epoch)
        # A fit that resumes starts a new log, so the epochs before are reported again.
        for epoch in sorted(self.figures):
            self._report(epoch)

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if trainer.current_epoch == 0 and batch_idx == 0:
            self.figures[0] |= get_losses(self.take_snapshot())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._record(trainer.current_epoch + 1)
        self._report(trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        return {"figures": self.figures}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.figures = dict(state_dict["figures"])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _record(self, epoch: int) -> None:
        snapshot = self.take_snapshot()
        self.figures[epoch] = get_losses(snapshot) | self.measure(snapshot.heads)

    def _report(self, epoch: int) -> None:
        if self.report:
            self.report(self.figures[epoch], epoch)


def take_snapshot(task: Task, population: Watched) -> Snapshot:
    """Returns all heads as they are now."""
    weights = population.objective.finish(population.head)
    unknown_GSM = torch.full(task.grid, torch.nan)
    heads = task.build_heads(weights, unknown_GSM)
    loss_K = population.loss_GSM.cpu().flatten().float()
    norm_K = population.norm_GSM.cpu().flatten().float()
    return Snapshot(heads, loss_K, norm_K)


def get_losses(snapshot: Snapshot) -> dict[str, Tensor]:
    """Returns the figures that training itself computes."""
    return {"l_base": snapshot.l_base_K, "gradient_norm": snapshot.gradient_norm_K}


def build_history_table(heads: Heads, history: History, predictor_seed: int) -> pd.DataFrame:
    """Returns training.parquet: the training of each head of one predictor, one row a head and
    epoch; no rows for heads that were solved.

    epoch: passes over the training episodes that were done, 0 before any step; of heads that
    L-BFGS trains, tens of its steps. l_base: nats an
    episode of easy training episodes against H, with the whole charge. gradient_norm: of that, in
    nats an episode per unit of the trained parameters. l_int: nats an episode against X on
    episodes as they come. l_int_disputed, l_human_disputed: nats an episode against X, and against
    H, on disputed episodes. kept: whether the finished head has this epoch's weights (before edges
    are pruned).
    """
    import pandas as pd

    rows = []
    for k, (levels, seed, strength) in enumerate(heads.table):
        head = {
            "predictor_seed": predictor_seed,
            "level": levels[0] if len(levels) == 1 else None,
            "levels": " ".join(map(str, levels)),
            "seed": seed,
            "strength": strength,
        }
        for e, epoch in enumerate(history.epochs):
            figures = {name: float(value_EK[e, k]) for name, value_EK in history.figures.items()}
            kept = {"kept": epoch == int(history.kept_K[k])}
            rows.append(head | {"epoch": epoch} | figures | kept)
    types = HEAD_COLUMNS | dict.fromkeys(FIGURES, "float64") | {"kept": "bool"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)
