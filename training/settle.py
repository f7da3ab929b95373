"""Heads moved by L-BFGS on all training episodes until they have settled.

G: groups of levels, S: seeds, M: strengths, K: all heads; W: numbers of a head, its weights before
its prior's state; N: episodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from compute.lightning import pl
from compute.trainer import Trainer
from reporters.stack import Weights, split_rows
from training.coordinates import Coordinates
from training.expected import DRAWS, Expected, Sizes, unflatten
from training.lbfgs import LBFGSState
from training.noise import uniform
from training.objective import Group, Head, Objective
from training.optimizers.lbfgs import LBFGS
from training.schedule import Schedule
from training.task import Solution, Task
from training.watch import Watch, take_snapshot

STEPS_AN_EPOCH = 10
"""Steps that are recorded and saved as one epoch."""
AT_ONCE = 32
"""Heads that are evaluated at once: their log-odds stay in a processor's cache."""
ON_THE_WAY = 1.0
"""Nats of the whole training set: as near to the optimum as a head comes while it is paid for
halting evenly.
"""
FALL = (1.0, 1 / 3, 1 / 10, 0.0)
"""Shares of the halting bonus that are paid one after the other. Without them, heads end in
different optima.
"""


def settle(
    task: Task,
    schedule: Schedule,
    optimizer: LBFGS,
    trainer: Trainer,
    checkpoint: Path,
    watch: Watch | None,
    start: Head | None = None,
) -> Solution:
    """Returns the heads of a task where they have settled.

    Args:
        checkpoint: where the unfinished fit is kept.
        start: all heads at the start; those of the seeds by default.
    """
    population = SettlingPopulation(
        task, optimizer.tolerance, schedule.halting_bonus, [watch] if watch else [], start
    )
    if watch:
        watch.take_snapshot = lambda: take_snapshot(task, population)
    epochs = math.ceil(optimizer.steps / STEPS_AN_EPOCH)
    what = f"Settling {population.n_heads} heads"
    trainer(population, make_epochs(), epochs, checkpoint, what)
    population.cpu()
    return population.build_solution(task)


class SettlingPopulation(pl.LightningModule):
    """K heads on the grid G × S × M, each moved by itself until it has settled.

    A head that can stop early is first paid a bonus for stopping evenly, as in PonderNet, which
    then falls to 0; each head goes on as soon as it has settled under a bonus.

    Args:
        tolerance: nats of the whole training set that a head that has settled could still gain.
        halting_bonus: at the start, nats for each nat of entropy.
        callbacks: of the fit.
    """

    z_GNRD: Tensor
    human_N: Tensor
    sizes: tuple[Sizes, Sizes]
    strength_K: Tensor
    stage_K: Tensor
    """Place in `bonuses`; as many as there are for heads that have settled."""
    epoch_K: Tensor
    """Epochs until each head had settled."""
    moved_K: Tensor
    """Whether each head was moved in this epoch."""
    norm_K: Tensor
    """Norm of the gradient before the last step, in nats an episode."""
    before_K: Tensor
    """Nats an episode before the last step."""

    def __init__(
        self,
        task: Task,
        tolerance: float,
        halting_bonus: float,
        callbacks: Sequence[pl.Callback] = (),
        start: Head | None = None,
    ) -> None:
        super().__init__()
        objective = task.objective
        weights = task.draw_start()
        start = start or Head(weights, objective.create_state(weights))
        self.grid = task.grid
        self.objective = objective
        self.callbacks = callbacks
        self.tolerance = tolerance
        has_path = objective.has_exits and halting_bonus > 0
        self.bonuses = [share * halting_bonus for share in FALL] if has_path else [0.0]
        self.sizes = (list_sizes(start.weights), list_sizes(start.state))
        z_GNRD = task.z_GNRD
        priced = charges_weights(objective, start)
        self.coordinates = nn.ModuleList(
            Coordinates(self.sizes[0], z_NRD, priced) for z_NRD in z_GNRD
        )
        theta_KW = flatten_heads(start).double()
        n_heads = len(theta_KW)
        self.lbfgs = LBFGSState(self._map_groups(Coordinates.to_phi, theta_KW))
        buffers = {
            "strength_K": task.strength_M.repeat(n_heads // len(task.strengths)),
            "stage_K": torch.zeros(n_heads, dtype=torch.long),
            "epoch_K": torch.zeros(n_heads, dtype=torch.long),
            "moved_K": torch.zeros(n_heads, dtype=torch.bool),
            "norm_K": torch.full((n_heads,), torch.nan, dtype=torch.float64),
            "before_K": torch.full((n_heads,), torch.nan, dtype=torch.float64),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)
        for name, value in {"z_GNRD": z_GNRD, "human_N": task.examples.human_N}.items():
            self.register_buffer(name, value, persistent=False)
        self.inputs = task.examples.tensors[2:]
        self.automatic_optimization = False
        self.expected: list[Expected] = []

    @property
    def n_heads(self) -> int:
        """How many heads there are."""
        return len(self.stage_K)

    @property
    def head(self) -> Head:
        """The stack of all heads, with axes (G, S, M, ...)."""
        weights_sizes, state_sizes = self.sizes
        n_weights = sum(shape.numel() for shape in weights_sizes.values())
        theta_KW = self._map_groups(Coordinates.to_theta, self.lbfgs.phi_KW)
        theta = theta_KW.to(self.z_GNRD.dtype).view(*self.grid, -1)
        return Head(
            unflatten(theta[..., :n_weights], weights_sizes),
            unflatten(theta[..., n_weights:], state_sizes),
        )

    @property
    def loss_GSM(self) -> Tensor:
        """Nats an episode before the last step."""
        return self.before_K.view(self.grid)

    @property
    def norm_GSM(self) -> Tensor:
        """Norm of the gradient there, in nats an episode."""
        return self.norm_K.view(self.grid)

    @property
    def has_settled_K(self) -> Tensor:
        """Whether each head has settled."""
        return self.stage_K == len(self.bonuses)

    @property
    def is_moving_K(self) -> Tensor:
        """Whether each head has not settled, and may: one that is not a number never does."""
        return ~self.has_settled_K & ~self.lbfgs.loss_K.isnan()

    def configure_callbacks(self) -> Sequence[pl.Callback]:
        return self.callbacks

    def configure_optimizers(self) -> None:
        """There is none of torch's."""

    def on_fit_start(self) -> None:
        """Prepares the evaluation on the device of the fit."""
        self.expected = [self._expect(g) for g in range(len(self.z_GNRD))]
        is_new_K = self.lbfgs.loss_K.isinf()
        if is_new_K.any():
            self.lbfgs.forget(self.evaluate, is_new_K.nonzero().flatten())

    def training_step(self, batch: tuple[Tensor, ...]) -> None:
        """Moves the heads that have not settled a step."""
        self.advance()

    @torch.no_grad()
    def advance(self) -> None:
        """Moves the heads that have not settled a step."""
        k = self.is_moving_K.nonzero().flatten()
        if not len(k):
            return
        self.moved_K[k] = True
        self.before_K[k] = self.lbfgs.loss_K[k]
        self.norm_K[k] = self.lbfgs.gradient_KW[k].norm(dim=1)
        self.lbfgs.step(self.evaluate, k)
        is_last_K = self.stage_K[k] == len(self.bonuses) - 1
        tolerance_K = torch.where(is_last_K, self.tolerance, ON_THE_WAY) / len(self.human_N)
        arrived = k[self.lbfgs.gap_K[k] <= tolerance_K]
        self.stage_K[arrived] += 1
        onwards = arrived[self.stage_K[arrived] < len(self.bonuses)]
        if len(onwards):
            self.lbfgs.forget(self.evaluate, onwards)

    def on_train_epoch_end(self) -> None:
        """Stops the fit when no head moves any more."""
        self.epoch_K[self.moved_K] = self.current_epoch + 1
        self.moved_K.fill_(False)
        self.trainer.should_stop = not self.is_moving_K.any()

    def evaluate(self, phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what heads k pay at these numbers, in nats an episode, and the gradients."""
        bonuses_T = torch.tensor([*self.bonuses, 0.0], device=phi_KW.device)
        loss_K, gradient_KW = torch.empty_like(phi_KW[:, 0]), torch.empty_like(phi_KW)
        heads_a_group = self.n_heads // len(self.z_GNRD)
        for g, expected in enumerate(self.expected):
            coordinates = cast(Coordinates, self.coordinates[g])
            rows = (k // heads_a_group == g).nonzero().flatten()
            for some in split_rows(rows, AT_ONCE):
                own = k[some]
                loss_K[some], by_theta_KW = expected.evaluate(
                    coordinates.to_theta(phi_KW[some]),
                    self.strength_K[own],
                    bonuses_T[self.stage_K[own]],
                )
                gradient_KW[some] = coordinates.to_phi_gradient(by_theta_KW)
        return loss_K, gradient_KW

    @torch.no_grad()
    def build_solution(self, task: Task) -> Solution:
        """Returns the heads as they are. What a head that has not settled could gain is not known,
        nor what it pays while there is a bonus.
        """
        weights = self.objective.finish(self.head)
        nll_GSM = self.objective.compute_held_out_nll(weights)
        n_examples = len(self.human_N)
        has_bonus_K = self.stage_K < len(self.bonuses) - 1
        total_K = self.lbfgs.loss_K.masked_fill(has_bonus_K, torch.nan)
        gain_K = self.lbfgs.gap_K.masked_fill(~self.has_settled_K, torch.nan)
        return Solution(
            weights,
            nll_GSM,
            self.epoch_K.view(self.grid),
            (total_K * n_examples).view(self.grid),
            (gain_K * n_examples).view(self.grid),
        )

    def _map_groups(
        self, change: Callable[[Coordinates, Tensor], Tensor], value_KW: Tensor
    ) -> Tensor:
        """Returns heads in other coordinates, each in those of its group."""
        parts = value_KW.chunk(len(self.coordinates))
        mapped = [
            change(cast(Coordinates, c), part)
            for c, part in zip(self.coordinates, parts, strict=True)
        ]
        return torch.cat(mapped)

    def _expect(self, g: int) -> Expected:
        noise = {}
        seed_1 = torch.zeros(1, dtype=torch.long, device=self.device)
        for stream, (name, shape) in enumerate(self.sizes[1].items()):
            half = torch.cat([uniform(seed_1, draw, stream, shape) for draw in range(DRAWS)])
            noise[name] = torch.cat([half, 1 - half])
        inputs = [value.to(self.device) for value in self.inputs]
        return Expected(self.objective, g, self.z_GNRD[g], self.human_N, self.sizes, noise, inputs)


def charges_weights(objective: Objective, start: Head) -> bool:
    """Whether the prior charges weights for themselves, and not only for what is read with them."""
    weights = {name: value[0, 0, 0] for name, value in start.weights.items()}
    state = {name: value[0, 0, 0] for name, value in start.state.items()}
    doubled = {name: 2 * value + 1 for name, value in weights.items()}
    groups, z_NRD = objective.build_groups(), objective.z_GNRD[0, :2]
    group = Group(groups.reach_R[0], groups.place_1[0], {n: v[0] for n, v in groups.aids.items()})
    reading = objective.read(weights, z_NRD)
    charges = []
    for some in (weights, doubled):
        described = objective.describe(Head(some, state), {}, some, z_NRD, reading, group, ())
        charges.append(objective.prior.charge(described))
    return bool(charges[0] != charges[1])


def list_sizes(weights: Weights) -> Sizes:
    """Returns the shapes of one head's tensors."""
    return {name: value.shape[3:] for name, value in weights.items()}


def flatten_heads(head: Head) -> Tensor:
    """Returns the numbers of stacked heads as rows, weights before state, shape (K, W)."""
    parts = [value.reshape(value.shape[:3].numel(), -1) for part in head for value in part.values()]
    return torch.cat(parts, dim=1)


def make_epochs() -> DataLoader[tuple[Tensor, ...]]:
    """Returns what a fit of `Settling` loops over."""
    return DataLoader(range(STEPS_AN_EPOCH), batch_size=1)  # type: ignore[arg-type]
