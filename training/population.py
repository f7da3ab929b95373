"""Trains K heads at once: one Lightning fit over levels × seeds × strengths, each head as it would be alone.

G: groups of levels, S: seeds, M: strengths; N: episodes, B: episodes of a batch, L: levels, D: width, R: levels a head is given, T: exits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from core_model.fitting import Fitting, Rows, loader
from priors.none import NoPrior
from priors.prior import Prior, Training
from refusal import Refusal
from reporters.reporter import ClosedForm, Reading, Reporter
from reporters.stack import Weights, grouped, over_heads, stacked
from training.heads import Heads, standardiser
from training.noise import uniform

STATE_PACE = 5
"""How much faster a prior's own state learns than the head's weights."""


@dataclass(frozen=True)
class Schedule:
    """How heads are trained; the same for every prior, so that priors are compared and not schedules.

    Args:
        epochs: passes over the training episodes.
        batch_size: episodes a step.
        learning_rate: AdamW's at the start, without weight decay; falls to 0 along a cosine.
        clip: largest norm of a head's gradient.
        ramp: share of the training over which the charge rises from 0 to its full strength.
        halting_bonus: nats of loss taken off for each nat of entropy of the halting distribution, until `bonus_from`; then falls to 0 at `bonus_to`.
        bonus_from: share of the training.
        bonus_to: share of the training.
        patience: epochs without improvement on held-out easy episodes after which a head is done, counted once charge and bonus have settled.
        order: own gives each seed its own order of the data, shared one order to all.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    clip: float
    ramp: float
    halting_bonus: float
    bonus_from: float
    bonus_to: float
    patience: int
    order: Literal["own", "shared"]

    def __post_init__(self) -> None:
        for key, least in {"epochs": 1, "batch_size": 1, "halting_bonus": 0, "ramp": 0, "bonus_from": 0, "patience": 0}.items():
            if getattr(self, key) < least:
                raise Refusal(f"training.{key}: {getattr(self, key)} is too small. Use {least} or more.")
        for key in ("learning_rate", "clip"):
            if getattr(self, key) <= 0:
                raise Refusal(f"training.{key}: {getattr(self, key)} is too small. Use a number above 0.")
        for key, most, name in (("ramp", 1.0, "1"), ("bonus_to", 1.0, "1"), ("bonus_from", self.bonus_to, "training.bonus_to")):
            if getattr(self, key) > most:
                raise Refusal(f"training.{key}: {getattr(self, key)} is a share of the training. Use {name} at most.")

    def strength_share(self, progress: float) -> float:
        """Returns which share of its strength a prior has at this share of the training."""
        return min(1.0, progress / self.ramp) if self.ramp else 1.0

    def bonus(self, progress: float) -> float:
        """Returns the weight of the halting entropy at this share of the training."""
        return self.halting_bonus * min(1.0, max(0.0, (self.bonus_to - progress) / max(self.bonus_to - self.bonus_from, 1e-9)))


class Examples(NamedTuple):
    """What heads learn from: activations and the human's answers (0 or 1, float)."""

    z_NLD: Tensor
    human_N: Tensor


def train(
    make: Callable[[int, int], Reporter],
    prior: Prior,
    examples: Examples,
    held_out: Examples,
    levels: Sequence[int],
    flops_L: Tensor,
    flops_step: float,
    seeds: Sequence[int],
    strengths: Sequence[float],
    schedule: Schedule,
    fitting: Fitting,
    checkpoint: Path,
) -> Heads:
    """Returns a finished head for every group of levels, seed and strength.

    Args:
        make: makes a reporter for so many levels of such a width.
        held_out: easy episodes apart from the training ones: they stop a head and choose its best weights.
        levels: the levels that the activations hold.
        flops_L: the predictor's FLOPs an episode to reach each of them.
        flops_step: FLOPs an episode of one of its blocks.
        checkpoint: where an unfinished fit is kept.
    """
    mean_LD, std_LD = standardiser(examples.z_NLD)
    examples, held_out = (Examples((z_NLD - mean_LD) / std_LD, human_N) for z_NLD, human_N in (examples, held_out))
    reporters = [_initialised(make, seed, levels, examples.z_NLD.shape[2]) for seed in seeds]
    solved = isinstance(reporters[0], ClosedForm)
    prior = NoPrior() if solved else prior
    trained = strengths[:1] if isinstance(prior, NoPrior) else strengths  # where nothing is charged, all strengths give the same head
    population = Population(reporters, prior, examples, held_out, flops_L, flops_step, seeds, trained, schedule)
    if solved:
        population.solve(examples)
    else:
        batches = loader(Rows(*examples), len(examples.human_N), schedule.batch_size, seeds if schedule.order == "own" else 0)
        fitting(population, batches, schedule.epochs, checkpoint, f"Training {population.n_heads} heads")
        population.cpu()
    grid = (*population.best_GSM.shape[:2], len(strengths))
    weights = {name: value.detach().expand(*grid, *value.shape[3:]) for name, value in population.finished.items()}
    nll_K = population.best_nll_GSM.expand(grid).flatten()
    return Heads(population.reporter, weights, mean_LD, std_LD, tuple(levels), tuple(seeds), tuple(strengths), nll_K)


def _initialised(make: Callable[[int, int], Reporter], seed: int, levels: Sequence[int], width: int) -> Reporter:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reporter = make(1, width)
        return reporter if reporter.reads == "one_level" else make(len(levels), width)


class Population(pl.LightningModule):
    """K heads under one prior. Losses are summed, so no head's gradient knows of another; norms, stopping, best weights are each head's own."""

    strength_M: Tensor
    seed_S: Tensor
    reach_GR: Tensor
    best_GSM: Tensor
    best_nll_GSM: Tensor
    best_epoch_GSM: Tensor

    def __init__(
        self,
        reporters: Sequence[Reporter],
        prior: Prior,
        examples: Examples,
        held_out: Examples,
        flops_L: Tensor,
        flops_step: float,
        seeds: Sequence[int],
        strengths: Sequence[float],
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.reporter, self.prior, self.schedule, self.flops_step = copy.deepcopy(reporters[0]).requires_grad_(False), prior, schedule, flops_step
        self.n_examples = len(examples.human_N)
        one_level = self.reporter.reads == "one_level"
        grid = (len(flops_L) if one_level else 1, len(seeds), len(strengths))
        self.n_heads = math.prod(grid)
        parameters = [dict(one.named_parameters()) for one in reporters]
        start = {name: _spread(torch.stack([one[name] for one in parameters]), grid) for name in parameters[0]}
        self.weights = _parameters(start)
        self.state = _parameters(over_heads(prior.state)(start))
        self.held_out = held_out
        with torch.no_grad():
            self.has_exits = self.reporter(held_out.z_NLD[:1, :1] if one_level else held_out.z_NLD[:1]).halt_NT.shape[1] > 1
        self.register_buffer("strength_M", torch.tensor(strengths, dtype=torch.float32))
        self.register_buffer("seed_S", torch.tensor(seeds))
        self.register_buffer("reach_GR", flops_L.float()[:, None] if one_level else flops_L.float()[None])
        self.register_buffer("best_GSM", torch.full(grid, torch.inf))
        self.register_buffer("best_nll_GSM", torch.full(grid, torch.nan))
        self.register_buffer("best_epoch_GSM", torch.zeros(grid, dtype=torch.long))
        self.best = _parameters(start).requires_grad_(False)

    @property
    def finished(self) -> Weights:
        """The finished weights of every head: the best on held-out easy episodes."""
        return _tensors(self.best)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        z_BLD, human_B = batch
        own = 0 if human_B.dim() == 2 else None
        progress = self.trainer.global_step / self.trainer.estimated_stepping_batches
        share, bonus = self.schedule.strength_share(progress), self.schedule.bonus(progress) * self.has_exits

        def loss(weights: Weights, state: Weights, noise: list[Weights], strength: Tensor, reach_R: Tensor, z_BLD: Tensor, human_B: Tensor) -> Tensor:
            reading = self._read(self.prior.transform(weights, state, noise), z_BLD)
            halt_BT = reading.halt_NT
            nll = (halt_BT * _nll(reading.log_odds_NT, human_B[:, None])).sum(dim=1).mean()
            charged = nll + share * strength * self.prior.charge(self._training(weights, state, reading, reach_R))
            return charged + bonus * (halt_BT * halt_BT.clamp_min(1e-12).log()).sum(dim=1).mean() if bonus else charged

        axes = ((0, 0, None, None, 0, 0, None), (0, 0, 0, None, None, own, own), (0, 0, None, 0, None, None, None))
        tensors = _tensors(self.weights), _tensors(self.state), self._noise(), self.strength_M, self.reach_GR
        return over_heads(loss, *axes)(*tensors, grouped(z_BLD, self.reporter), human_B).sum()

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Keeps each head's weights where they are the best so far on held-out episodes: their errors, plus the charge at full strength."""
        weights, state = _tensors(self.weights), _tensors(self.state)
        finished = over_heads(self.prior.finish)(weights, state)
        nll_GSM, charge_GSM = self._held_out(weights, state, finished)
        total_GSM = nll_GSM + self.strength_M * charge_GSM
        better_GSM = (total_GSM < self.best_GSM) & self._going_GSM()
        self.best_GSM[better_GSM], self.best_nll_GSM[better_GSM] = total_GSM[better_GSM], nll_GSM[better_GSM]
        self.best_epoch_GSM[better_GSM] = self.current_epoch
        for name, value in _tensors(self.best).items():
            value[better_GSM] = finished[name][better_GSM]
        self.trainer.should_stop = not bool(self._going_GSM().any())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        rate = self.schedule.learning_rate
        groups: list[dict[str, Any]] = [{"params": list(self.weights.values())}, {"params": list(self.state.values()), "lr": STATE_PACE * rate}]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, weight_decay=0.0, fused=True)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: object, gradient_clip_val: object = None, gradient_clip_algorithm: object = None) -> None:
        """Clips the norm of each head's gradient by itself."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        grid = self.best_GSM.shape
        norm_GSM = torch.stack([g.reshape(*grid, -1).square().sum(dim=3) for g in gradients]).sum(dim=0).sqrt()
        scale_GSM = (self.schedule.clip / norm_GSM.clamp_min(1e-12)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale_GSM.view(*grid, *[1] * (gradient.dim() - 3)))

    @torch.no_grad()
    def solve(self, examples: Examples) -> None:
        """Solves every head of a closed-form reporter."""
        reporter = self.reporter
        assert isinstance(reporter, ClosedForm)
        solved = over_heads(reporter.solve, (0, None))(grouped(examples.z_NLD, reporter), examples.human_N)
        grid = self.best_GSM.shape
        for name, value in _tensors(self.best).items():
            value.copy_(solved[name][:, None, None].expand(*grid, *solved[name].shape[1:]))
        self.best_nll_GSM.copy_(self._held_out(self.finished, {}, self.finished)[0])

    def _read(self, weights: Weights, z_NLD: Tensor) -> Reading:
        return functional_call(self.reporter, weights, (z_NLD,))

    def _training(self, weights: Weights, state: Weights, reading: Reading, reach_R: Tensor) -> Training:
        flops_T = reach_R[reading.levels_T.long() - 1] + reading.flops_T
        return Training(weights, state, reading, flops_T, self.flops_step, self.n_examples)

    def _held_out(self, weights: Weights, state: Weights, finished: Weights) -> tuple[Tensor, Tensor]:
        """Returns nats an episode of error, and of charge at strength 1, of the finished heads on held-out episodes, each of shape (G, S, M)."""
        human_N = self.held_out.human_N.to(self.device)
        reading = stacked(self.reporter, finished, grouped(self.held_out.z_NLD.to(self.device), self.reporter))

        def costs(weights: Weights, state: Weights, reading: Reading, reach_R: Tensor) -> tuple[Tensor, Tensor]:
            exits_T = torch.arange(reading.halt_NT.shape[1], device=human_N.device)
            stopped = reading._replace(halt_NT=(reading.exit_N[:, None] == exits_T).float())
            return _nll(reading.log_odds_N, human_N).mean(), self.prior.charge(self._training(weights, state, stopped, reach_R))

        return over_heads(costs, (0, 0, 0, 0), (0, 0, 0, None), (0, 0, 0, None))(weights, state, reading, self.reach_GR)  # type: ignore[return-value]

    def _noise(self) -> list[Weights]:
        shapes = {name: value.shape[3:] for name, value in _tensors(self.weights).items()}
        draws = [(draw, list(shapes.items())) for draw in range(self.prior.draws)]
        return [
            {name: uniform(self.seed_S, self.trainer.global_step, draw * len(shapes) + i, tuple(shape)) for i, (name, shape) in enumerate(items)}
            for draw, items in draws
        ]

    def _going_GSM(self) -> Tensor:
        """Returns which heads are not done: charge and bonus have not settled, or they have improved since or lately."""
        settled = self.schedule.epochs * max(self.schedule.ramp, self.schedule.bonus_to if self.has_exits else 0.0)
        return self.current_epoch - self.best_epoch_GSM.clamp_min(math.ceil(settled)) <= self.schedule.patience


def _nll(log_odds: Tensor, human: Tensor) -> Tensor:
    return F.softplus(log_odds) - human * log_odds


def _spread(value_S: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Returns one value a seed, copied to every level and strength: shape (G, S, M, ...)."""
    return value_S[None, :, None].expand(grid[0], -1, grid[2], *value_S.shape[1:]).detach().clone()


def _parameters(tensors: Weights) -> nn.ParameterDict:
    return nn.ParameterDict({name.replace(".", "/"): nn.Parameter(value.detach().clone()) for name, value in tensors.items()})


def _tensors(parameters: nn.ParameterDict) -> Weights:
    return {name.replace("/", "."): value for name, value in parameters.items()}
