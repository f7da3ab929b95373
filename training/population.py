"""K heads trained as one Lightning module, each as it would be trained alone.

G: groups of levels, S: seeds, M: strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from compute.lightning import pl
from reporters.stack import Weights, to_parameters, to_tensors
from training.best_weights import BestWeights
from training.clipping import clip_gradients
from training.noise import draw_noise
from training.objective import Head, Objective, StepInputs
from training.optimizers.optimizer import Groups, StepOptimizer
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
        start: the heads before training, with axes (G, S, M, ...).
        optimizer: moves the heads, at the rates of the schedule.
        callbacks: of the fit.
    """

    seed_S: Tensor
    strength_M: Tensor
    loss_GSM: Tensor
    """Nats an episode of the last batch, before its step, with the charge at full strength."""
    norm_GSM: Tensor
    """Norm of the gradient there before it is clipped, with charge and bonus as scheduled; NaN
    where the optimizer uses no gradients.
    """

    def __init__(
        self,
        objective: Objective,
        start: Head,
        seeds: Sequence[int],
        strengths: Sequence[float],
        schedule: Schedule,
        optimizer: StepOptimizer,
        callbacks: Sequence[pl.Callback] = (),
    ) -> None:
        super().__init__()
        self.objective = objective
        self.schedule = schedule
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.weights = to_parameters(start.weights)
        self.state = to_parameters(start.state)
        self.best = create_best_weights(start.weights, schedule, objective.has_exits)
        self.register_buffer("seed_S", torch.tensor(seeds))
        self.register_buffer("strength_M", torch.tensor(strengths, dtype=torch.float32))
        grid = next(iter(start.weights.values())).shape[:3]
        self.loss_GSM = torch.full(grid, torch.nan)
        self.norm_GSM = torch.full(grid, torch.nan)
        self.compute: Callable[..., Any] | None = None
        self.automatic_optimization = False

    @property
    def n_heads(self) -> int:
        """How many heads there are."""
        return self.loss_GSM.numel()

    @property
    def head(self) -> Head:
        """The stack of all heads in training."""
        return Head(to_tensors(self.weights), to_tensors(self.state))

    def configure_callbacks(self) -> Sequence[pl.Callback]:
        return self.callbacks

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        rates = self.schedule.list_rates(len(self.strength_M), self.optimizer.learning_rate)
        highest = max(rates)
        groups: Groups = [{"params": list(self.weights.values()), "lr": highest}]
        if self.state:
            groups.append({"params": list(self.state.values()), "lr": STATE_RATE * highest})
        share_M = None
        if min(rates) < highest:
            share_M = torch.tensor(rates, dtype=torch.float64) / highest
        optimizer = self.optimizer.build(groups, self.seed_S, share_M)
        n_steps = int(self.trainer.estimated_stepping_batches)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}

    def training_step(self, batch: tuple[Tensor, ...]) -> None:
        """Takes one step. Optimisation is manual, because the gradients come with the loss."""
        step = self.trainer.global_step
        n_steps = int(self.trainer.estimated_stepping_batches)
        has_gradients = self.optimizer.uses_gradients
        if self.compute is None:
            compute = self.compute_gradients if has_gradients else self.compute_paid
            worth_tracing = n_steps - step >= WORTH_TRACING
            self.compute = Traced(compute) if worth_tracing else compute
        inputs = self.draw_inputs(batch, step, step / n_steps)
        closure = self.set_gradients if has_gradients else self.evaluate_losses
        self.loss_GSM = self.optimizers().step(partial(closure, inputs))  # type: ignore
        self.lr_schedulers().step()  # type: ignore[union-attr, call-arg]

    def set_gradients(self, inputs: StepInputs) -> Tensor:
        """Gives every parameter its gradient on a batch. Returns the losses."""
        assert self.compute
        gradients, self.norm_GSM, loss_GSM = self.compute(self.detach_head(), inputs)
        parameters = [*self.weights.values(), *self.state.values()]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss_GSM

    def evaluate_losses(self, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """Returns what the heads pay on a batch, and their losses."""
        assert self.compute
        paid: tuple[Tensor, Tensor] = self.compute(self.detach_head(), inputs)
        return paid

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Where the best weights are kept: updates them, and stops the fit when all heads are
        done.
        """
        if self.best is None:
            return
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

    def compute_paid(self, head: Head, inputs: StepInputs) -> tuple[Tensor, Tensor]:
        """Returns what the heads pay, and the losses, without gradients."""
        with torch.no_grad():
            return self.objective.compute_paid(head, self.strength_M, inputs)


def create_best_weights(start: Weights, schedule: Schedule, has_exits: bool) -> BestWeights | None:
    """Returns what keeps the best weights of heads; None where a schedule keeps the last."""
    if schedule.keep == "last":
        return None
    assert schedule.patience is not None
    return BestWeights(start, schedule.count_settling_epochs(has_exits), schedule.patience)
