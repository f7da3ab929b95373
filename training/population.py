"""K heads trained as one Lightning module, each as it would be trained alone.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from compute.lightning import pl
from reporters.stack import Weights, to_parameters, to_tensors
from training.best_weights import BestWeights
from training.noise import draw_noise
from training.objective import Head, Objective, StepInputs
from training.optimizer import AdamWPerStrength, clip_gradients
from training.schedule import Schedule
from training.traced import Traced

STATE_RATE = 5
"""Learning rate of a prior's own state, as a multiple of that of the weights."""
WORTH_TRACING = 100
"""Steps from which on a fit is traced. Tracing takes as long as it saves in a hundred steps of
small heads.
"""


class Population(pl.LightningModule):
    """K heads on the grid G × S × M under one objective. The norm of a gradient, stopping and the
    best weights are each head's own.

    Args:
        start: the weights before training, with axes (G, S, M, ...).
        callbacks: of the fit.
    """

    seed_S: Tensor
    strength_M: Tensor
    loss_GSM: Tensor
    """Nats an episode of the last batch, before its step, with the charge at full strength."""
    norm_GSM: Tensor
    """Norm of the gradient there before it is clipped, with charge and bonus as scheduled."""

    def __init__(
        self,
        objective: Objective,
        start: Weights,
        seeds: Sequence[int],
        strengths: Sequence[float],
        schedule: Schedule,
        callbacks: Sequence[pl.Callback] = (),
    ) -> None:
        super().__init__()
        self.objective = objective
        self.schedule = schedule
        self.callbacks = callbacks
        self.weights = to_parameters(start)
        self.state = to_parameters(objective.create_state(start))
        settled = schedule.count_settling_epochs(objective.has_exits)
        self.best = BestWeights(start, settled, schedule.patience)
        self.register_buffer("seed_S", torch.tensor(seeds))
        self.register_buffer("strength_M", torch.tensor(strengths, dtype=torch.float32))
        grid = self.best.nll_GSM.shape
        self.loss_GSM = torch.full(grid, torch.nan)
        self.norm_GSM = torch.full(grid, torch.nan)
        self.compute: Callable[..., tuple[list[Tensor], Tensor, Tensor]] | None = None
        self.automatic_optimization = False

    @property
    def n_heads(self) -> int:
        """How many heads there are."""
        return self.best.nll_GSM.numel()

    @property
    def head(self) -> Head:
        """The stack of all heads in training."""
        return Head(to_tensors(self.weights), to_tensors(self.state))

    def configure_callbacks(self) -> Sequence[pl.Callback]:
        return self.callbacks

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        rates = self.schedule.list_rates(len(self.strength_M))
        highest = max(rates)
        groups: list[dict[str, Any]] = [{"params": list(self.weights.values())}]
        if self.state:
            groups.append({"params": list(self.state.values()), "lr": STATE_RATE * highest})
        options: dict[str, Any] = {"lr": highest, "weight_decay": 0.0, "fused": True}
        if min(rates) == highest:
            optimizer = torch.optim.AdamW(groups, **options)
        else:
            share_M = torch.tensor(rates, dtype=torch.float64) / highest
            optimizer = AdamWPerStrength(groups, share_M, **options)
        n_steps = int(self.trainer.estimated_stepping_batches)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}

    def training_step(self, batch: tuple[Tensor, ...]) -> None:
        """Takes one step. Optimisation is manual, because the gradients come with the loss."""
        step = self.trainer.global_step
        n_steps = int(self.trainer.estimated_stepping_batches)
        if self.compute is None:
            worth_tracing = n_steps - step >= WORTH_TRACING
            self.compute = (
                Traced(self.compute_gradients) if worth_tracing else self.compute_gradients
            )
        inputs = self.draw_inputs(batch, step, step / n_steps)
        gradients, self.norm_GSM, self.loss_GSM = self.compute(self.detach_head(), inputs)
        parameters = [*self.weights.values(), *self.state.values()]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizers().step()  # type: ignore[union-attr]
        self.lr_schedulers().step()  # type: ignore[union-attr, call-arg]

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Updates the best weights; stops the fit when all heads are done."""
        finished, nll_GSM, charge_GSM = self.evaluate()
        self.best.update(finished, nll_GSM, self.strength_M * charge_GSM, self.current_epoch)
        self.trainer.should_stop = bool(self.best.is_done(self.current_epoch).all())

    def evaluate(self) -> tuple[Weights, Tensor, Tensor]:
        """Returns the weights of the heads as if they were finished now, and their errors and their
        charge at strength 1 on held-out episodes, in nats an episode.
        """
        head = self.head
        finished = self.objective.finish(head)
        return finished, *self.objective.compute_held_out_costs(head, finished)

    def draw_inputs(self, batch: tuple[Tensor, ...], step: int, progress: float) -> StepInputs:
        """Returns all that a step depends on beside the heads.

        Args:
            progress: the share of the training that is over.
        """
        scheduled = [self.schedule.strength_share(progress), self.schedule.bonus(progress)]
        return StepInputs(
            draw_noise(to_tensors(self.state), self.seed_S, step),
            torch.tensor(scheduled, device=self.device),
            self.objective.build_groups(step),
            batch,
        )

    def detach_head(self) -> Head:
        """Returns the stack of all heads, apart from the parameters' own gradients."""
        weights, state = self.head
        return Head(
            {name: value.detach() for name, value in weights.items()},
            {name: value.detach() for name, value in state.items()},
        )

    def compute_gradients(
        self, head: Head, inputs: StepInputs
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Returns the clipped gradients, their norms before they were clipped, and the losses."""
        gradients, loss_GSM = self.objective.compute_gradients(head, self.strength_M, inputs)
        clipped, norm_GSM = clip_gradients(gradients, self.schedule.clip)
        return clipped, norm_GSM, loss_GSM
