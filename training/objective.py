"""The objective of training: what a head pays on a batch, what a finished head costs on held-out
episodes, and how a head in training is finished.

G: groups of levels, S: seeds, M: strengths; N: episodes, B: episodes of a batch, L: levels, D:
width, R: levels a head is given, T: exits, P: pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from core_model.predictor import Ablation
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reading, Reporter, nll
from reporters.stack import Weights, group_levels, map_over_heads
from training.examples import Examples

PAIRS = 128
"""Pairs that a prior on pairs sees at each step."""


class Head(NamedTuple):
    """A head in training, or a stack of heads."""

    weights: Weights
    state: Weights
    """The prior's own trainable state."""


class Group(NamedTuple):
    """What the heads of one group of levels are given."""

    reach_R: Tensor
    """The predictor's FLOPs an episode to reach each level."""
    place_1: Tensor
    """The level's place among all levels; 0 where heads are given all levels."""
    aids: dict[str, Tensor]
    """What the prior needs, by the names of the fields of `Aid`."""


class StepInputs(NamedTuple):
    """All that changes from one training step to the next, but for the heads."""

    noise: Weights
    """Numbers uniform on (0, 1), shaped like the prior's state, of each seed."""
    scheduled_2: Tensor
    """The share of its strength that the prior has at this step, and the weight of the halting
    entropy.
    """
    group: Group
    batch: tuple[Tensor, ...]
    """The fields of `Examples` that are not None."""


class Objective(nn.Module):
    """What heads are trained on: their errors, a prior's charge and a bonus for halting evenly.

    One objective serves all heads of a population. It is a module so that its tensors move to the
    device of the population that trains; nothing in it is trained.

    Args:
        reporter: a head, of which the parameters' values are not used.
        held_out: standardised easy episodes that no head learns from.
        n_examples: episodes in the training set.
        flops_L: the predictor's FLOPs an episode to reach each level; of several predictors, one
            predictor after the other, as are the levels of all activations.
        flops_step: FLOPs an episode of one of the predictor's blocks.
        aid: what the prior needs, on standardised activations of all levels.
        ablation: the predictor, for a prior that needs it; it returns standardised activations.
        rounds: whether products in a head are rounded to bfloat16.
        predictors: number of predictors, each with heads of its own.
    """

    z_GNRD: Tensor
    human_N: Tensor
    inputs_N: Tensor | None
    reach_GR: Tensor
    observation_2LD: Tensor | None
    pairs_2PLD: Tensor | None

    def __init__(
        self,
        reporter: Reporter,
        prior: Prior,
        held_out: Examples,
        n_examples: int,
        flops_L: Tensor,
        flops_step: float,
        aid: Aid,
        ablation: Ablation | None = None,
        rounds: bool = False,
        predictors: int = 1,
    ) -> None:
        super().__init__()
        self.reporter = reporter.requires_grad_(False)
        self.prior = prior
        self.n_examples = n_examples
        self.flops_step = flops_step
        self.components = aid.components
        self.ablation = ablation
        self.rounds = rounds
        self.predictors = predictors
        self.one_level = reporter.reads == "one_level"
        dtype = next(reporter.parameters()).dtype
        reach_L = flops_L.to(dtype)
        constants = {
            "z_GNRD": self.group(held_out.z_NLD),
            "human_N": held_out.human_N,
            "inputs_N": held_out.inputs_N,
            "reach_GR": reach_L[:, None] if self.one_level else reach_L.view(predictors, -1),
            "observation_2LD": aid.observation_2LD,
            "pairs_2PLD": aid.pairs_2PLD,
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        with torch.no_grad():
            self.has_exits = reporter(self.z_GNRD[0, :1]).halt_NT.shape[1] > 1

    @property
    def aid(self) -> Aid:
        """What the prior's state may depend on."""
        return Aid(self.observation_2LD, self.pairs_2PLD, self.components, self.has_exits)

    def group(self, z_NLD: Tensor) -> Tensor:
        """Returns the activations that each group of heads is given, with axis G first."""
        return group_levels(z_NLD, self.reporter, self.predictors)

    def create_state(self, weights: Weights) -> Weights:
        """Returns the prior's state of heads with these initial weights."""
        aid = self.aid
        return map_over_heads(lambda head: self.prior.state(head, aid))(weights)

    def finish(self, head: Head) -> Weights:
        """Returns the weights that the heads would have if they were finished now."""

        def finish(weights: Weights, state: Weights) -> Weights:
            return self.reporter.harden(self.prior.finish(weights, state))

        return map_over_heads(finish)(head.weights, head.state)

    def compute_gradients(
        self, head: Head, strength_M: Tensor, step: StepInputs
    ) -> tuple[list[Tensor], Tensor]:
        """Returns the gradients of what the heads pay on a batch, weights before state, and what
        each pays where its charge has full strength, in nats an episode.
        """
        trained = [value.requires_grad_() for part in head for value in part.values()]
        with torch.enable_grad():
            paid_GSM, loss_GSM = self.compute_paid(head, strength_M, step)
            # Losses are summed, so no head's gradient depends on another head.
            gradients = torch.autograd.grad(paid_GSM.sum(), trained, materialize_grads=True)
        return list(gradients), loss_GSM

    def compute_paid(
        self, head: Head, strength_M: Tensor, step: StepInputs
    ) -> tuple[Tensor, Tensor]:
        """Returns what the heads pay on a batch, with charge and bonus as scheduled, and with the
        charge at full strength and no bonus; in nats an episode, shape (G, S, M).
        """
        z_BLD, human_B, *inputs = step.batch
        share, bonus = step.scheduled_2.unbind()
        # Of the axes G, S and M in turn, which arguments of `_pay` have the axis. With an order of
        # the data for each seed, the batch has the axis S.
        own = 0 if human_B.dim() == 2 else None
        n_rest = 1 + len(inputs)
        of_groups = (0, None, None, 0, 0, *[None] * n_rest)
        of_seeds = (0, 0, None, None, own, *[own] * n_rest)
        of_strengths = (0, None, 0, None, None, *[None] * n_rest)
        pay = map_over_heads(partial(self._pay, share, bonus), of_groups, of_seeds, of_strengths)
        z_GBRD = self.group(z_BLD)
        paid: tuple[Tensor, Tensor] = pay(
            head, step.noise, strength_M, step.group, z_GBRD, human_B, *inputs
        )
        return paid

    def compute_held_out_costs(self, head: Head, finished: Weights) -> tuple[Tensor, Tensor]:
        """Returns the errors of the finished heads on held-out episodes, and their charge at
        strength 1, in nats an episode, each of shape (G, S, M).
        """
        inputs = () if self.inputs_N is None else (self.inputs_N,)

        def compute(
            head: Head, finished: Weights, group: Group, z_NRD: Tensor
        ) -> tuple[Tensor, Tensor]:
            reading = self.read(finished, z_NRD)
            stopped = halt_at_exit(reading)
            charge = self.prior.charge(
                self.describe(head, {}, finished, z_NRD, stopped, group, inputs)
            )
            return nll(reading.log_odds_N, self.human_N).mean(), charge

        to_all = map_over_heads(compute, (0, 0, 0, 0), (0, 0, None, None), (0, 0, None, None))
        return to_all(head, finished, self.build_groups(), self.z_GNRD)

    @torch.no_grad()
    def compute_held_out_nll(self, finished: Weights) -> Tensor:
        """Returns the errors alone, of shape (G, S, M)."""

        def compute(finished: Weights, z_NRD: Tensor) -> Tensor:
            return nll(self.read(finished, z_NRD).log_odds_N, self.human_N).mean()

        return map_over_heads(compute, (0, 0), (0, None), (0, None))(finished, self.z_GNRD)

    def build_groups(self, step: int | None = None) -> Group:
        """Returns what the heads of each group are given, with the axis G first.

        Args:
            step: the training step, which sees some of the pairs; None for all pairs.
        """
        aids = {}
        if self.observation_2LD is not None:
            aids["observation_2LD"] = self.group(self.observation_2LD)
        if self.pairs_2PLD is not None:
            pairs_2PLD = self.pairs_2PLD
            if step is not None:
                turn = step % max(1, pairs_2PLD.shape[1] // PAIRS)
                pairs_2PLD = pairs_2PLD[:, turn * PAIRS : (turn + 1) * PAIRS]
            aids["pairs_2PLD"] = self.group(pairs_2PLD)
        places_G1 = torch.arange(len(self.reach_GR), device=self.reach_GR.device)[:, None]
        return Group(self.reach_GR, places_G1, aids)

    def describe(
        self,
        head: Head,
        noise: Weights,
        used: Weights,
        z_NRD: Tensor,
        reading: Reading,
        group: Group,
        inputs: Sequence[Tensor],
    ) -> Training:
        """Returns one head in training as the prior sees it.

        Args:
            used: its weights after the prior's transform.
            inputs: what the predictor read of these episodes, or nothing.
        """

        def read_ablated(n: int, gates_C: Tensor) -> Tensor:
            assert self.ablation
            z_NLD = self.ablation.read(inputs[0][:n], gates_C)
            return z_NLD.index_select(1, group.place_1) if self.one_level else z_NLD

        ablated = read_ablated if self.ablation else None
        aid = Aid(
            **group.aids,
            components=self.components,
            has_exits=self.has_exits,
            ablated=ablated,
        )
        reach_T = group.reach_R[reading.levels_T.long() - 1]
        return Training(
            self.reporter,
            head.weights,
            head.state,
            noise,
            used,
            z_NRD,
            reading,
            reach_T,
            self.flops_step,
            self.n_examples,
            aid,
        )

    def _pay(
        self,
        share: Tensor,
        bonus: Tensor,
        head: Head,
        noise: Weights,
        strength: Tensor,
        group: Group,
        z_BRD: Tensor,
        human_B: Tensor,
        *inputs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Returns what one head pays on a batch, in nats an episode: with charge and bonus as
        scheduled, and with the charge at full strength and no bonus.
        """
        used = self.prior.transform(head.weights, head.state, noise)
        reading = self.read(used, z_BRD)
        errors = reading.errors_N(human_B).mean()
        charge = self.prior.charge(self.describe(head, noise, used, z_BRD, reading, group, inputs))
        paid = errors + share * strength * charge
        loss = (errors + strength * charge).detach()
        if self.has_exits:
            halt_BT = reading.halt_NT
            paid = paid + bonus * (halt_BT * halt_BT.clamp_min(1e-12).log()).sum(dim=1).mean()
        return paid, loss

    def read(self, weights: Weights, z_NRD: Tensor) -> Reading:
        with torch.autocast(z_NRD.device.type, torch.bfloat16, self.rounds):
            reading = functional_call(self.reporter, weights, (z_NRD,))
        return Reading(*(value.to(z_NRD.dtype) for value in reading))


def halt_at_exit(reading: Reading) -> Reading:
    """Returns the reading of a finished head: it stops at one exit, with certainty."""
    exits_T = torch.arange(reading.halt_NT.shape[1], device=reading.halt_NT.device)
    halt_NT = (reading.exit_N[:, None] == exits_T).to(reading.halt_NT.dtype)
    return reading._replace(halt_NT=halt_NT)
