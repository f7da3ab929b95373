"""Trains K heads at once: one Lightning fit over levels × seeds × strengths, each head as it would
be alone.

G: groups of levels, S: seeds, M: strengths; N: episodes, B: episodes of a batch, L: levels, D:
width, R: levels a head is given, T: exits.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compute.lightning import pl
from compute.trainer import Trainer
from console.errors import UserError
from core_model.predictor import Ablation
from priors.downstream import observation
from priors.none import NoPrior
from priors.prior import Aid, Prior, Training
from reporters.reporter import ClosedForm, Reading, Reporter, is_weight, nll
from reporters.stack import Weights, _parameters, _spread, _tensors, grouped, over_heads
from training import convex
from training.examples import Examples, Observed
from training.heads import Heads, shaped, standardiser
from training.noise import uniform
from training.optimizer import EachItsRate, clipped
from training.parts import begun, needed
from training.prune import without_edges
from training.schedule import Schedule
from training.standardised import Standardised
from training.task import Task
from training.traced import Traced
from training.watch import Watch

PAIRS = 128
"""Pairs that a prior on pairs sees at each step."""
STATE_PACE = 5
"""How much faster a prior's own state learns than the head's weights."""
WORTH_TRACING = 100
"""Steps from which on a fit is traced: it takes as long as a hundred steps of small heads are
shorter by.
"""


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
    schedule: Schedule | convex.Convex,
    trainer: Trainer,
    checkpoint: Path,
    observed: Observed | None = None,
    pairs_2PLD: Tensor | None = None,
    ablation: Ablation | None = None,
    watch: Watch | None = None,
) -> Heads:
    """Returns a finished head for every group of levels, seed and strength.

    Args:
        make: makes a reporter for so many levels of such a width.
        held_out: easy episodes apart from the training ones: they stop a head and choose its best
            weights.
        levels: the levels that the activations hold.
        flops_L: the predictor's FLOPs an episode to reach each of them.
        flops_step: FLOPs an episode of one of its blocks.
        schedule: how they are trained, or that they are solved for.
        checkpoint: where an unfinished fit is kept.
        observed: for a prior that needs the observation: activations of any episodes, and what the
            predictor there predicts to be seen.
        pairs_2PLD: for a prior that needs pairs: activations of episodes with the same X; the human
            answers no to the first, yes to the second.
        ablation: for a prior that needs the predictor.
        watch: takes note of the heads at each epoch; they are the same heads without it.
    """
    mean_LD, std_LD = standardiser(examples.z_NLD)
    examples, held_out = (
        given._replace(z_NLD=(given.z_NLD - mean_LD) / std_LD) for given in (examples, held_out)
    )
    one = _initialised(make, seeds[0], levels, examples.z_NLD.shape[2])
    lack = "training: it is solved for" if isinstance(one, ClosedForm) else prior.lacks(one)
    if lack and not isinstance(prior, NoPrior):
        print(
            f"prior: {type(prior).__name__} finds nothing to charge {type(one).__name__} for, for"
            f" want of {lack}.",
            file=sys.stderr,
        )
    prior = NoPrior() if isinstance(one, ClosedForm) else prior
    aid = Aid(
        (
            None
            if observed is None
            else observation((observed.z_NLD - mean_LD) / std_LD, observed.opinion_N)
        ),
        None if pairs_2PLD is None else (pairs_2PLD - mean_LD) / std_LD,
        ablation.components if ablation else 0,
    )
    ablation = ablation and Standardised(ablation, mean_LD, std_LD)

    rates = (
        schedule.rates(len(strengths)) if isinstance(schedule, Schedule) else [0.0] * len(strengths)
    )
    alike = (
        isinstance(prior, NoPrior) and len(set(rates)) == 1
    )  # where nothing is charged, all strengths give the same head

    def population(seeds: Sequence[int], places: Sequence[int]) -> Population:
        reporters = [_initialised(make, seed, levels, examples.z_NLD.shape[2]) for seed in seeds]
        here = places[:1] if alike else places
        charged, learnt = [strengths[m] for m in here], [rates[m] for m in here]
        return Population(
            reporters,
            prior,
            examples,
            held_out,
            flops_L,
            flops_step,
            seeds,
            charged,
            learnt,
            schedule,
            aid,
            ablation,
        )

    task = Task(
        population, examples, mean_LD, std_LD, tuple(levels), tuple(strengths), schedule, trainer
    )
    n = begun(checkpoint)
    if n is None and isinstance(schedule, Schedule) and not isinstance(one, ClosedForm):
        n = needed(
            len(seeds), 1 if alike else len(strengths), task.bytes_each(seeds[0]), trainer.room
        )
    return (
        task.in_parts(n, seeds, checkpoint, watch)
        if n and n > 1
        else task.at_once(seeds, range(len(strengths)), checkpoint, watch)
    )


def _initialised(
    make: Callable[[int, int], Reporter], seed: int, levels: Sequence[int], width: int
) -> Reporter:
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(
            seed
        )  # torch.manual_seed asks every kind of device and takes half a millisecond
        return shaped(make, len(levels), width)


class _Head(NamedTuple):
    """One head in training, and its prior's own state."""

    weights: Weights
    state: Weights


class _Group(NamedTuple):
    """What a group of heads is given: the predictor's FLOPs to reach each level, the level's place
    among all, and what its prior asked for.
    """

    reach_R: Tensor
    place_1: Tensor
    aids: dict[str, Tensor]


class Population(pl.LightningModule):
    """K heads under one prior. Losses are summed, so no head's gradient knows of another; norms,
    stopping, best weights are each head's own.
    """

    observation_2LD: Tensor | None
    pairs_2PLD: Tensor | None
    strength_M: Tensor
    seed_S: Tensor
    reach_GR: Tensor
    best_GSM: Tensor
    best_nll_GSM: Tensor
    best_epoch_GSM: Tensor
    loss_GSM: Tensor
    """Nats an episode of the last batch, before its step, with the charge at full strength."""
    norm_GSM: Tensor
    """Norm of the gradient there, before it is clipped: of what is trained on, with the charge and
    the bonus as scheduled.
    """

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
        rates: Sequence[float],
        schedule: Schedule | convex.Convex,
        aid: Aid,
        ablation: Ablation | None,
    ) -> None:
        super().__init__()
        self.reporter, self.prior, self.flops_step = (
            copy.deepcopy(reporters[0]).requires_grad_(False),
            prior,
            flops_step,
        )
        self.rounds = isinstance(schedule, Schedule) and schedule.precision == "bfloat16"
        if isinstance(schedule, Schedule):
            self.schedule = schedule
        self.n_examples = len(examples.human_N)
        one_level = self.reporter.reads == "one_level"
        grid = (len(flops_L) if one_level else 1, len(seeds), len(strengths))
        self.n_heads = math.prod(grid)
        parameters = [dict(one.named_parameters()) for one in reporters]
        start = {
            name: _spread(torch.stack([one[name] for one in parameters]), grid)
            for name in parameters[0]
        }
        self.weights, dtype = _parameters(start), next(iter(start.values())).dtype
        self.state = _parameters(over_heads(lambda one: prior.state(one, aid))(start))
        self.held_out, self.components, self.ablation = held_out, aid.components, ablation
        self.register_buffer("observation_2LD", aid.observation_2LD)
        self.register_buffer("pairs_2PLD", aid.pairs_2PLD)
        with torch.no_grad():
            self.has_exits = (
                self.reporter(
                    held_out.z_NLD[:1, :1] if one_level else held_out.z_NLD[:1]
                ).halt_NT.shape[1]
                > 1
            )
        self.rates = tuple(rates)
        self.register_buffer("strength_M", torch.tensor(strengths, dtype=torch.float32))
        self.register_buffer("seed_S", torch.tensor(seeds))
        self.register_buffer(
            "reach_GR", flops_L.to(dtype)[:, None] if one_level else flops_L.to(dtype)[None]
        )
        self.register_buffer("best_GSM", torch.full(grid, torch.inf, dtype=dtype))
        self.register_buffer("best_nll_GSM", torch.full(grid, torch.nan, dtype=dtype))
        self.register_buffer("best_epoch_GSM", torch.zeros(grid, dtype=torch.long))
        self.best = _parameters(start).requires_grad_(False)
        self.loss_GSM, self.norm_GSM = torch.full(grid, torch.nan), torch.full(grid, torch.nan)
        self.callbacks: list[pl.Callback] = []
        self.automatic_optimization = False
        self.step: Callable[..., tuple[list[Tensor], Tensor, Tensor]] | None = None

    @property
    def finished(self) -> Weights:
        """The finished weights of every head: the best on held-out easy episodes."""
        return _tensors(self.best)

    @property
    def current(self) -> Weights:
        """The weights of every head as they would be, were it finished now."""
        return self._finished(_tensors(self.weights), _tensors(self.state))

    def configure_callbacks(self) -> list[pl.Callback]:
        return self.callbacks

    def training_step(self, batch: tuple[Tensor, ...]) -> None:
        """Takes a step by hand, for the gradients are there when the loss is."""
        step, steps = self.trainer.global_step, int(self.trainer.estimated_stepping_batches)
        if self.step is None:
            self.step = Traced(self._step) if steps - step >= WORTH_TRACING else self._step
        gradients, self.norm_GSM, self.loss_GSM = self.step(*self._given(batch, step, step / steps))
        for parameter, gradient in zip(self._trained(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizers().step()  # type: ignore[union-attr]
        self.lr_schedulers().step()  # type: ignore[union-attr, call-arg]

    def rehearse(self, examples: Examples, batch_size: int) -> None:
        """Does once what takes the most memory: a step, and a look at held-out episodes with the
        gradients still there.
        """
        batch = tuple(tensor[:batch_size] for tensor in examples if tensor is not None)
        gradients = self._step(*self._given(batch, 0, 0.0))
        with torch.no_grad():
            weights, state = _tensors(self.weights), _tensors(self.state)
            self._held_out(weights, state, self._finished(weights, state))
        del gradients

    def _trained(self) -> list[nn.Parameter]:
        return [*self.weights.values(), *self.state.values()]

    def _given(self, batch: tuple[Tensor, ...], step: int, progress: float) -> tuple[Any, ...]:
        """Returns all that may change from step to step."""
        scheduled_2 = torch.tensor(
            [self.schedule.strength_share(progress), self.schedule.bonus(progress)],
            device=self.device,
        )
        head = _Head(
            *(
                {name: value.detach() for name, value in _tensors(part).items()}
                for part in (self.weights, self.state)
            )
        )
        return head, self._noise(step), scheduled_2, self._groups(self._pairs_now(step)), batch

    def _step(
        self,
        head: _Head,
        noise: Weights,
        scheduled_2: Tensor,
        group: _Group,
        batch: tuple[Tensor, ...],
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Returns each head's clipped gradient of what it pays, the norm of that before it was
        clipped, and what it pays at full strength.

        Args:
            scheduled_2: the share of its strength that the prior has at this step, and the weight
                of the halting entropy.
        """
        z_BLD, human_B, *inputs = batch
        own = 0 if human_B.dim() == 2 else None
        share, bonus = scheduled_2.unbind()
        trained = [value.requires_grad_() for part in head for value in part.values()]

        def loss(
            one: _Head,
            noise: Weights,
            strength: Tensor,
            group: _Group,
            z_BLD: Tensor,
            human_B: Tensor,
            *inputs: Tensor,
        ) -> Any:
            used = self.prior.transform(one.weights, one.state, noise)
            reading = self._read(used, z_BLD)
            halt_BT = reading.halt_NT
            nll = reading.errors_N(human_B).mean()
            charge = self.prior.charge(
                self._training(one, noise, used, z_BLD, reading, group, inputs)
            )
            charged, whole = nll + share * strength * charge, (nll + strength * charge).detach()
            return (
                charged + bonus * (halt_BT * halt_BT.clamp_min(1e-12).log()).sum(dim=1).mean()
                if self.has_exits
                else charged
            ), whole

        rest = 1 + len(inputs)
        axes = (
            (0, None, None, 0, 0, *[None] * rest),
            (0, 0, None, None, own, *[own] * rest),
            (0, None, 0, None, None, *[None] * rest),
        )
        with torch.enable_grad():
            paid_GSM, loss_GSM = over_heads(loss, *axes)(
                head, noise, self.strength_M, group, grouped(z_BLD, self.reporter), human_B, *inputs
            )
            gradients = torch.autograd.grad(paid_GSM.sum(), trained, materialize_grads=True)
        return *clipped(gradients, self.schedule.clip), loss_GSM

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        """Keeps each head's weights where they are the best so far on held-out episodes: their
        errors, plus the charge at full strength.
        """
        weights, state = _tensors(self.weights), _tensors(self.state)
        finished = self._finished(weights, state)
        nll_GSM, charge_GSM = self._held_out(weights, state, finished)
        total_GSM = nll_GSM + self.strength_M * charge_GSM
        better_GSM = (total_GSM < self.best_GSM) & self._going_GSM()
        self.best_GSM[better_GSM], self.best_nll_GSM[better_GSM] = (
            total_GSM[better_GSM],
            nll_GSM[better_GSM],
        )
        self.best_epoch_GSM[better_GSM] = self.current_epoch
        for name, value in _tensors(self.best).items():
            value[better_GSM] = finished[name][better_GSM]
        self.trainer.should_stop = not bool(self._going_GSM().any())

    def configure_optimizers(self) -> pl.utilities.types.OptimizerLRScheduler:
        rate = max(self.rates)
        groups: list[dict[str, Any]] = [
            {"params": list(self.weights.values())},
            {"params": list(self.state.values()), "lr": STATE_PACE * rate},
        ]
        make = (
            partial(EachItsRate, share_M=torch.tensor(self.rates, dtype=torch.float64) / rate)
            if min(self.rates) < rate
            else torch.optim.AdamW
        )
        optimizer = make(
            [group for group in groups if group["params"]], lr=rate, weight_decay=0.0, fused=True
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def prune(self, price: float, examples: Examples, room: float) -> None:
        """Takes edges away from the finished heads, at so many nats an edge and strength 1, in so
        many bytes.
        """
        z_GNRD = grouped(examples.z_NLD, self.reporter)
        pruned = without_edges(
            self.reporter, self.finished, z_GNRD, examples.human_N, price * self.strength_M, room
        )
        for name, value in _tensors(self.best).items():
            value.data.copy_(pruned[name])
        self.best_nll_GSM.copy_(
            self._held_out(self.finished, _tensors(self.state), self.finished)[0]
        )

    @property
    def n_edges(self) -> int:
        """How many edges a whole head has."""
        return sum(
            value.numel() for name, value in self.reporter.named_parameters() if is_weight(name)
        )

    @torch.no_grad()
    def solve(self, examples: Examples) -> None:
        """Solves every head of a closed-form reporter."""
        reporter = self.reporter
        assert isinstance(reporter, ClosedForm)
        solved = over_heads(reporter.solve, (0, None))(
            grouped(examples.z_NLD, reporter), examples.human_N
        )
        grid = self.best_GSM.shape
        for name, value in _tensors(self.best).items():
            value.copy_(solved[name][:, None, None].expand(*grid, *solved[name].shape[1:]))
        self.best_nll_GSM.copy_(self._held_out(self.finished, {}, self.finished)[0])

    def minimise(self, how: convex.Convex, examples: Examples) -> None:
        """Solves every head for the least error and charge; the seeds of a level and a strength
        have one optimum.

        Raises:
            UserError: there is none, or it cannot be known.
        """
        groups, z_GNRD = self._groups(), grouped(examples.z_NLD, self.reporter)
        left_GM = []
        for g, z_NRD in enumerate(z_GNRD):
            how.check(self.prior, self.reporter, z_NRD)
            group = _Group(
                groups.reach_R[g],
                groups.place_1[g],
                {name: value[g] for name, value in groups.aids.items()},
            )
            found, left_M = convex.minimised(
                how,
                self.reporter,
                self._charge_alone(group, z_NRD),
                self.strength_M,
                z_NRD,
                examples.human_N,
            )
            if not found:
                place = f" at level {g + 1} of {len(z_GNRD)}" if len(z_GNRD) > 1 else ""
                cure = (
                    "Use prior=gaussian with strengths above 0, levels without it, or"
                    " training=default"
                )
                raise UserError(
                    f"training: a head{place} can answer every training episode rightly, so without"
                    f" a charge no head is the best. {cure}."
                )
            for name, value in _tensors(self.best).items():
                value.data[g] = found[name][None].expand_as(value[g])
            left_GM.append(left_M)
        short = torch.stack(left_GM) > how.tolerance
        if short.any():
            worst = (
                f"the slope promises up to {torch.stack(left_GM).max():.1g} nats an episode more"
            )
            print(
                f"training: {int(short.sum())} of {short.numel()} optima were not reached in"
                f" {how.steps} steps: {worst}.",
                file=sys.stderr,
            )
        self.best_nll_GSM.copy_(self._held_out(self.finished, {}, self.finished)[0])

    def _charge_alone(self, group: _Group, z_NRD: Tensor) -> Callable[[Weights, Tensor], Tensor]:
        """Returns the charge of one head without state or noise, from its weights and its log-odds
        on the training episodes.
        """
        one_exit = self.reporter(z_NRD[:1])

        def charge(weights: Weights, log_odds_N: Tensor) -> Tensor:
            reading = Reading(
                log_odds_N[:, None], torch.ones_like(log_odds_N)[:, None], one_exit.levels_T
            )
            return self.prior.charge(
                self._training(_Head(weights, {}), {}, weights, z_NRD, reading, group, ())
            )

        return charge

    def _finished(self, weights: Weights, state: Weights) -> Weights:
        return over_heads(lambda one, state: self.reporter.harden(self.prior.finish(one, state)))(
            weights, state
        )  # type: ignore[no-any-return]

    def _read(self, weights: Weights, z_NLD: Tensor) -> Reading:
        with torch.autocast(self.device.type, torch.bfloat16, self.rounds):
            reading = functional_call(self.reporter, weights, (z_NLD,))
        return Reading(*(value.to(z_NLD.dtype) for value in reading))

    def _training(
        self,
        one: _Head,
        noise: Weights,
        used: Weights,
        z_NLD: Tensor,
        reading: Reading,
        group: _Group,
        inputs: Sequence[Tensor],
    ) -> Training:
        def ablated(n: int, gates_C: Tensor) -> Tensor:
            assert self.ablation
            z_NLD = self.ablation.read(inputs[0][:n], gates_C)
            return (
                z_NLD.index_select(1, group.place_1)
                if self.reporter.reads == "one_level"
                else z_NLD
            )

        aid = Aid(
            group.aids.get("observation_2RD"),
            group.aids.get("pairs_2PRD"),
            self.components,
            ablated if self.ablation else None,
        )
        reach_T = group.reach_R[reading.levels_T.long() - 1]
        return Training(
            self.reporter,
            *one,
            noise,
            used,
            z_NLD,
            reading,
            reach_T,
            self.flops_step,
            self.n_examples,
            aid,
        )

    def _pairs_now(self, step: int) -> slice:
        """Returns which pairs this step looks at: they take turns."""
        turns = 1 if self.pairs_2PLD is None else max(1, self.pairs_2PLD.shape[1] // PAIRS)
        turn = step % turns
        return slice(turn * PAIRS, (turn + 1) * PAIRS)

    def _groups(self, pairs: slice = slice(None)) -> _Group:
        """Returns what each group of heads is given, with the group's axis first."""
        one_level = self.reporter.reads == "one_level"
        places = torch.arange(len(self.reach_GR), device=self.device)[:, None]
        aids = {
            "observation_2RD": self.observation_2LD,
            "pairs_2PRD": None if self.pairs_2PLD is None else self.pairs_2PLD[:, pairs],
        }
        return _Group(
            self.reach_GR,
            places,
            {
                name: value.movedim(-2, 0).unsqueeze(-2) if one_level else value.unsqueeze(0)
                for name, value in aids.items()
                if value is not None
            },
        )

    def _held_out(
        self, weights: Weights, state: Weights, finished: Weights
    ) -> tuple[Tensor, Tensor]:
        """Returns nats an episode of error, and of charge at strength 1, of the finished heads on
        held-out episodes, each of shape (G, S, M).
        """
        human_N = self.held_out.human_N.to(self.device)
        z_GNRD = grouped(self.held_out.z_NLD.to(self.device), self.reporter)
        inputs = () if self.held_out.inputs_N is None else (self.held_out.inputs_N.to(self.device),)

        def costs(
            one: _Head, finished: Weights, group: _Group, z_NRD: Tensor
        ) -> tuple[Tensor, Tensor]:
            reading = self._read(finished, z_NRD)
            exits_T = torch.arange(reading.halt_NT.shape[1], device=human_N.device)
            stopped = reading._replace(
                halt_NT=(reading.exit_N[:, None] == exits_T).to(reading.halt_NT.dtype)
            )
            charge = self.prior.charge(
                self._training(one, {}, finished, z_NRD, stopped, group, inputs)
            )
            return nll(reading.log_odds_N, human_N).mean(), charge

        return over_heads(costs, (0, 0, 0, 0), (0, 0, None, None), (0, 0, None, None))(  # type: ignore[no-any-return]
            _Head(weights, state), finished, self._groups(), z_GNRD
        )

    def _noise(self, step: int) -> Weights:
        shapes = {name: tuple(value.shape[3:]) for name, value in _tensors(self.state).items()}
        return {
            name: uniform(self.seed_S, step, i, shape)
            for i, (name, shape) in enumerate(shapes.items())
        }

    def _going_GSM(self) -> Tensor:
        """Returns which heads are not done: charge and bonus have not settled, or they have
        improved since or lately.
        """
        settled = self.schedule.epochs * max(
            self.schedule.ramp, self.schedule.bonus_to if self.has_exits else 0.0
        )
        return (
            self.current_epoch - self.best_epoch_GSM.clamp_min(math.ceil(settled))
            <= self.schedule.patience
        )
