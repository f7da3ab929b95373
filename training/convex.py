"""Heads solved to their optimum: where log-odds are linear in a head's parameters and the charge is
convex, there is one optimum, whatever the seed.

G: groups of levels, S: seeds, M: strengths, K: heads; N: episodes, W: parameters of a head, R:
levels a head is given, D: width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from console.errors import UserError
from console.ranges import Count, Positive
from priors.prior import Prior
from reporters.reporter import Reading, Reporter, is_weight, nll
from reporters.stack import Weights
from training.expected import unflatten
from training.lbfgs import minimise
from training.margin import find_largest_margin
from training.objective import Group, Head, Objective
from training.task import Solution, Task

LINEAR = 1e-4
"""Largest share by which log-odds may miss being linear: rounding stays below it."""
WHOLE = 2**25
"""Most numbers of heads times episodes that are worked on at once."""

Charge = Callable[[Weights, Tensor], Tensor]
"""From the weights of a head and its log-odds on the training episodes to its charge at strength 1,
in nats an episode.
"""
Losses = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the numbers of K heads, their parameters (K, W) and their log-odds (K, N) to what each pays,
in nats an episode.
"""


@dataclass(frozen=True)
class Convex:
    """Instead of a schedule: every head is solved by L-BFGS (Liu and Nocedal 1989), in the
    eigenbasis of what all heads of a level read.

    There the errors' curvature is the same in every direction but for how sure a head is of each
    episode, whatever the conditioning of activations.

    Args:
        tolerance: nats an episode that another step could still bring at most, as far as the
            gradient predicts: half its square where curvature is 1.
        steps: after this many, a head that has not reached its optimum is left as it is, with a
            warning.
    """

    precision: ClassVar[str] = "float32"
    """Of the products in a finished head, as in `Schedule`."""

    tolerance: Positive
    steps: Count

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise UserError(
                f"training.tolerance: {self.tolerance} is too small. Use a number above 0, for"
                " example 1e-9."
            )
        if self.steps < 1:
            raise UserError(f"training.steps: {self.steps} is too small. Use 1 or more.")

    def check(self, prior: Prior, reporter: Reporter, z_NRD: Tensor) -> None:
        """Raises UserError where there may be no single optimum: the charge is not convex, or
        log-odds are not linear in the parameters.
        """
        cure = "Use training=default"
        if not prior.convex:
            raise UserError(
                f"training: the charge of {type(prior).__name__} is not convex, so heads have no"
                f" single optimum. {cure}, or prior=gaussian."
            )
        if not is_linear(reporter, z_NRD[:64]):
            raise UserError(
                f"training: the log-odds of {type(reporter).__name__} are not linear in its"
                f" parameters, so it has no single optimum. {cure}, or reporter=linear."
            )


class Optimum(NamedTuple):
    """The parameters of heads at their optimum, and what a further step could bring, in nats an
    episode.
    """

    theta_KW: Tensor
    gap_K: Tensor


# From a population to an optimum for each group and strength.


def solve_convex(method: Convex, task: Task) -> Solution:
    """Returns every head at the least of errors and charge; all seeds have the same optimum.
    `Convex.check` says whether there is one.
    """
    objective = task.objective
    groups = objective.build_groups()
    solved, paid, gaps, gains = [], [], [], []
    for g, z_NRD in enumerate(task.z_GNRD):
        aids = {name: value[g] for name, value in groups.aids.items()}
        group = Group(groups.reach_R[g], groups.place_1[g], aids)
        charge = bind_charge(objective, group, z_NRD)
        weights, paid_M, gap_M, is_margin_M = solve_group(
            method, objective.reporter, charge, task.strength_M, z_NRD, task.examples.human_N
        )
        solved.append(weights)
        paid.append(paid_M)
        gaps.append(gap_M)
        gains.append(torch.where(is_margin_M, paid_M, gap_M))
    warn_of_gaps(method, torch.stack(gaps))
    whole = {}
    for name in solved[0]:
        value_GM = torch.stack([weights[name] for weights in solved])
        own_axes = value_GM.shape[2:]
        whole[name] = value_GM[:, None].expand(*task.grid, *own_axes).contiguous()
    n_examples = len(task.examples.human_N)
    return Solution(
        whole,
        objective.compute_held_out_nll(whole),
        torch.zeros(task.grid, dtype=torch.long),
        (n_examples * torch.stack(paid))[:, None].expand(task.grid),
        (n_examples * torch.stack(gains))[:, None].expand(task.grid),
    )


def bind_charge(objective: Objective, group: Group, z_NRD: Tensor) -> Charge:
    """Returns the charge of a head without state and noise."""
    levels_1 = objective.reporter(z_NRD[:1]).levels_T

    def compute_charge(weights: Weights, log_odds_N: Tensor) -> Tensor:
        reading = Reading(log_odds_N[:, None], torch.ones_like(log_odds_N)[:, None], levels_1)
        head = Head(weights, {})
        training = objective.describe(head, {}, weights, z_NRD, reading, group, ())
        return objective.prior.charge(training)

    return compute_charge


def warn_of_gaps(method: Convex, gap_GM: Tensor) -> None:
    """Prints a line where an optimum was not reached."""
    missed = gap_GM > method.tolerance
    if missed.any():
        print(
            f"training: {int(missed.sum())} of {missed.numel()} optima were not reached in"
            f" {method.steps} steps: the loss could still fall by up to {gap_GM.max():.1g} nats an"
            " episode.",
            file=sys.stderr,
        )


def solve_group(
    method: Convex,
    reporter: Reporter,
    charge: Charge,
    strength_M: Tensor,
    z_NRD: Tensor,
    human_N: Tensor,
) -> tuple[Weights, Tensor, Tensor, Tensor]:
    """Returns the head of least errors and charge at each strength, with axis M; what each pays,
    and what a further step could bring, in nats an episode; and whether it is one of those below.

    A head without a charge that can answer every episode correctly has the largest margin instead:
    the limit of its training. It could be longer, and then pay nothing.
    """
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    a_NW = read_features(reporter, z_NRD)
    human_N, strength_M = human_N.double(), strength_M.double()

    def compute_loss(theta_W: Tensor, log_odds_N: Tensor, strength: Tensor) -> Tensor:
        errors = nll(log_odds_N, human_N).mean()
        return errors + strength * charge(unflatten(theta_W, sizes), log_odds_N)

    def compute_losses(m: Tensor, theta_KW: Tensor, log_odds_KN: Tensor) -> Tensor:
        return vmap(compute_loss)(theta_KW, log_odds_KN, strength_M[m])

    curvature_M = strength_M * compute_curvature(charge, sizes, a_NW)
    theta_MW = a_NW.new_zeros(len(strength_M), a_NW.shape[1])
    gap_M = a_NW.new_zeros(len(strength_M))
    is_unpriced_M = curvature_M == 0
    margin_W = None
    if is_unpriced_M.any():
        margin_W = find_largest_margin(a_NW, human_N, list_is_weight(sizes))
    rest = torch.arange(len(strength_M), device=a_NW.device)
    if margin_W is not None:
        theta_MW[is_unpriced_M] = margin_W
        rest = rest[~is_unpriced_M]
    if len(rest):

        def losses(k: Tensor, theta_KW: Tensor, log_odds_KN: Tensor) -> Tensor:
            return compute_losses(rest[k], theta_KW, log_odds_KN)

        theta_MW[rest], gap_M[rest] = solve(method, a_NW, losses, curvature_M[rest])
    paid_M = compute_losses(torch.arange(len(strength_M)), theta_MW, theta_MW @ a_NW.T)
    parts = unflatten(theta_MW, sizes)
    weights = {name: value.to(z_NRD) for name, value in parts.items()}
    return weights, paid_M, gap_M, is_unpriced_M & (margin_W is not None)


def list_is_weight(sizes: Mapping[str, torch.Size]) -> Tensor:
    """Returns whether each number of a head is one of a weight, shape (W,)."""
    parts = [torch.full((shape.numel(),), is_weight(name)) for name, shape in sizes.items()]
    return torch.cat(parts)


def is_linear(reporter: Reporter, z_NRD: Tensor) -> bool:
    """Whether a head has one exit and its log-odds are linear in its parameters, as random
    parameters show.
    """
    first, second = _draw_weights(reporter, 0), _draw_weights(reporter, 1)
    both = {name: 2 * value - 3 * second[name] for name, value in first.items()}
    with torch.no_grad():
        log_odds = [
            functional_call(reporter, weights, (z_NRD,)).log_odds_NT
            for weights in (first, second, both)
        ]
    if log_odds[0].shape[1] > 1:
        return False
    expected_N1 = 2 * log_odds[0] - 3 * log_odds[1]
    return bool((expected_N1 - log_odds[2]).abs().max() <= LINEAR * expected_N1.abs().max())


def _draw_weights(reporter: Reporter, seed: int) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in reporter.named_parameters():
        weights[name] = torch.randn(value.shape, generator=rng).to(value)
    return weights


@torch.no_grad()
def read_features(reporter: Reporter, z_NRD: Tensor) -> Tensor:
    """Returns a_NW, what each parameter is multiplied with in the log-odds of each episode: the
    log-odds of a head with 1 there and 0 elsewhere.
    """
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    n_parameters = sum(shape.numel() for shape in sizes.values())
    one_hot_WW = torch.eye(n_parameters, dtype=z_NRD.dtype, device=z_NRD.device)

    def read(weights: Weights) -> Tensor:
        return functional_call(reporter, weights, (z_NRD,)).log_odds_NT[:, 0]

    a_WN = vmap(read, chunk_size=64)(unflatten(one_hot_WW, sizes))
    return a_WN.T.double()


def compute_curvature(charge: Charge, sizes: dict[str, torch.Size], a_NW: Tensor) -> Tensor:
    """Returns the curvature of a charge along a random direction from 0: near its mean over
    parameters, and 0 where nothing is charged.
    """
    rng = torch.Generator().manual_seed(0)
    direction_W = torch.randint(2, (a_NW.shape[1],), generator=rng).to(a_NW) * 2 - 1

    def charge_along(length: Tensor) -> Tensor:
        theta_W = length * direction_W
        return charge(unflatten(theta_W, sizes), a_NW @ theta_W)

    return grad(grad(charge_along))(a_NW.new_zeros(())) / len(direction_W)


# L-BFGS for many heads at once.


def solve(method: Convex, a_NW: Tensor, losses: Losses, curvature_K: Tensor) -> Optimum:
    """Returns the optimum of every head that reads the same features.

    Args:
        curvature_K: that of each head's charge, averaged over directions.
    """
    value_W, vector_WW = torch.linalg.eigh(a_NW.T @ a_NW / len(a_NW))
    curvature_KW = value_W.clamp_min(0) / 4 + curvature_K[:, None]
    scale_KW = curvature_KW.clamp_min(1e-12 * value_W.max()).rsqrt()
    a_NW = a_NW @ vector_WW
    size = max(1, WHOLE // len(a_NW))
    parts = []
    for k in torch.arange(len(curvature_K), device=a_NW.device).split(size):
        scaled = _Scaled(a_NW, vector_WW, scale_KW[k], k, losses)
        start_KW = torch.zeros_like(scaled.scale_KW)
        phi_KW, gap_K = minimise(scaled.evaluate, start_KW, method.tolerance, method.steps)
        parts.append(Optimum(scaled.to_theta(phi_KW), gap_K))
    return Optimum(
        torch.cat([part.theta_KW for part in parts]), torch.cat([part.gap_K for part in parts])
    )


class _Scaled:
    """The losses of heads in coordinates phi in which no curvature of errors and charge is above
    about 1.
    """

    def __init__(
        self, a_NW: Tensor, vector_WW: Tensor, scale_KW: Tensor, head_K: Tensor, losses: Losses
    ) -> None:
        # In this basis nothing cancels, and rounded products take half the time.
        self.a_NW = a_NW.float()
        self.vector_WW = vector_WW
        self.scale_KW = scale_KW
        self.head_K = head_K
        self.losses = losses

    def evaluate(self, phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the losses of some heads and their gradients."""
        with torch.enable_grad():
            phi_KW = phi_KW.detach().requires_grad_()
            beta_KW = phi_KW * self.scale_KW[k]
            log_odds_KN = (beta_KW.float() @ self.a_NW.T).double()
            loss_K = self.losses(self.head_K[k], beta_KW @ self.vector_WW.T, log_odds_KN)
            (gradient_KW,) = torch.autograd.grad(loss_K.sum(), phi_KW)
        return loss_K.detach(), gradient_KW

    def to_theta(self, phi_KW: Tensor) -> Tensor:
        """Returns the parameters of all heads."""
        return (phi_KW * self.scale_KW) @ self.vector_WW.T
