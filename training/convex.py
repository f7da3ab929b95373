"""Heads solved to their optimum: where log-odds are linear in a head's parameters and the charge is
convex, there is one optimum, whatever the seed.

G: groups of levels, S: seeds, M: strengths, K: heads; N: episodes, W: parameters of a head, R:
levels a head is given, D: width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from console.errors import UserError
from console.ranges import Count, Positive
from priors.prior import Prior
from reporters.reporter import Reading, Reporter, nll
from reporters.stack import Weights, group_levels
from training.objective import Group, Head, Objective
from training.task import Solution, Task

REMEMBERED = 8
"""Steps that L-BFGS remembers."""
HALVINGS = 30
"""How often a step is halved at most."""
DECREASE = 1e-4
"""The share of the decrease that the gradient predicts which a step must bring."""
ROUNDING = 1e-8
"""Nats an episode that a loss may seem to rise by because products are rounded."""
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

    Raises:
        UserError: there is no single optimum.
    """
    objective = task.objective
    groups = objective.build_groups()
    z_GNRD = group_levels(task.examples.z_NLD, objective.reporter)
    solved, gaps = [], []
    for g, z_NRD in enumerate(z_GNRD):
        method.check(objective.prior, objective.reporter, z_NRD)
        aids = {name: value[g] for name, value in groups.aids.items()}
        group = Group(groups.reach_R[g], groups.place_1[g], aids)
        charge = bind_charge(objective, group, z_NRD)
        weights, gap_M, has_optimum = minimise(
            method, objective.reporter, charge, task.strength_M, z_NRD, task.examples.human_N
        )
        if not has_optimum:
            where = f" at level {g + 1} of {len(z_GNRD)}" if len(z_GNRD) > 1 else ""
            raise UserError(
                f"training: a head{where} can answer every training episode correctly, so without a"
                " charge it has no optimum. Use prior=gaussian with strengths above 0, levels"
                " without it, or training=default."
            )
        solved.append(weights)
        gaps.append(gap_M)
    warn_of_gaps(method, torch.stack(gaps))
    whole = {}
    for name in solved[0]:
        value_GM = torch.stack([weights[name] for weights in solved])
        own_axes = value_GM.shape[2:]
        whole[name] = value_GM[:, None].expand(*task.grid, *own_axes).contiguous()
    nll_GSM = objective.compute_held_out_nll(whole)
    return Solution(whole, nll_GSM, torch.zeros(task.grid, dtype=torch.long))


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


def minimise(
    method: Convex,
    reporter: Reporter,
    charge: Charge,
    strength_M: Tensor,
    z_NRD: Tensor,
    human_N: Tensor,
) -> tuple[Weights, Tensor, bool]:
    """Returns the head of least errors and charge at each strength, with axis M; the gap of each;
    and whether all have an optimum. A head without a charge has none where it can answer every
    episode correctly.
    """
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    a_NW = read_features(reporter, z_NRD)
    human_N, strength_M = human_N.double(), strength_M.double()

    def compute_loss(theta_W: Tensor, log_odds_N: Tensor, strength: Tensor) -> Tensor:
        errors = nll(log_odds_N, human_N).mean()
        return errors + strength * charge(unflatten(theta_W, sizes), log_odds_N)

    def compute_losses(k: Tensor, theta_KW: Tensor, log_odds_KN: Tensor) -> Tensor:
        return vmap(compute_loss)(theta_KW, log_odds_KN, strength_M[k])

    curvature_M = strength_M * compute_curvature(charge, sizes, a_NW)
    theta_MW, gap_M = solve(method, a_NW, compute_losses, curvature_M)
    all_correct_M = ((theta_MW @ a_NW.T) * (2 * human_N - 1) > 0).all(dim=1)
    has_optimum = not (all_correct_M & (curvature_M == 0)).any()
    parts = unflatten(theta_MW, sizes)
    return {name: value.to(z_NRD) for name, value in parts.items()}, gap_M, has_optimum


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


def unflatten(theta_KW: Tensor, sizes: dict[str, torch.Size]) -> Weights:
    """Returns rows of parameters as tensors by name."""
    parts = theta_KW.split([shape.numel() for shape in sizes.values()], dim=-1)
    heads = theta_KW.shape[:-1]
    weights = {}
    for (name, shape), part in zip(sizes.items(), parts, strict=True):
        weights[name] = part.reshape((*heads, *shape))
    return weights


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
        parts.append(_descend(method, _Scaled(a_NW, vector_WW, scale_KW[k], k, losses)))
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


class _Step(NamedTuple):
    """One step of L-BFGS: the move, the change of the gradient, and 1 over their product; 0 where
    the product is not positive.
    """

    move_KW: Tensor
    change_KW: Tensor
    inverse_K1: Tensor


def _descend(method: Convex, scaled: _Scaled) -> Optimum:
    """Returns heads after L-BFGS; those that have reached their optimum leave the batch."""
    best_KW = torch.zeros_like(scaled.scale_KW)
    gap_K = torch.full_like(best_KW[:, 0], torch.inf)
    k = torch.arange(len(best_KW), device=best_KW.device)
    phi_KW = torch.zeros_like(best_KW)
    steps: list[_Step] = []
    loss_K, gradient_KW = scaled.evaluate(phi_KW, k)
    for _ in range(method.steps):
        best_KW[k] = phi_KW
        gap_K[k] = gradient_KW.square().sum(dim=1) / 2
        active_K = gap_K[k] > method.tolerance
        if not active_K.all():
            k, phi_KW = k[active_K], phi_KW[active_K]
            loss_K, gradient_KW = loss_K[active_K], gradient_KW[active_K]
            steps = [_Step(*(value[active_K] for value in step)) for step in steps]
        if not len(k):
            break
        direction_KW = -_multiply_inverse_curvature(gradient_KW, steps)
        next_KW, next_loss_K, next_gradient_KW = _search_line(
            scaled, k, phi_KW, loss_K, gradient_KW, direction_KW
        )
        step = _describe_step(next_KW - phi_KW, next_gradient_KW - gradient_KW)
        steps = [*steps[1 - REMEMBERED :], step]
        phi_KW, loss_K, gradient_KW = next_KW, next_loss_K, next_gradient_KW
    return Optimum(scaled.to_theta(best_KW), gap_K)


def _describe_step(move_KW: Tensor, change_KW: Tensor) -> _Step:
    product_K1 = (move_KW * change_KW).sum(dim=1, keepdim=True)
    inverse_K1 = torch.where(product_K1 > 0, 1 / product_K1, torch.zeros_like(product_K1))
    return _Step(move_KW, change_KW, inverse_K1)


def _search_line(
    scaled: _Scaled,
    k: Tensor,
    phi_KW: Tensor,
    loss_K: Tensor,
    gradient_KW: Tensor,
    direction_KW: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns every head a step further, with its loss and gradient there; a step is halved until
    it decreases the loss enough.
    """
    predicted_K = (gradient_KW * direction_KW).sum(dim=1)
    length_K1 = torch.ones_like(direction_KW[:, :1])
    for _ in range(HALVINGS):
        next_KW = phi_KW + length_K1 * direction_KW
        next_loss_K, next_gradient_KW = scaled.evaluate(next_KW, k)
        most_K = loss_K + DECREASE * length_K1[:, 0] * predicted_K + ROUNDING
        too_high_K = ~(next_loss_K <= most_K)
        if not too_high_K.any():
            break
        length_K1 = torch.where(too_high_K[:, None], length_K1 / 2, length_K1)
    return next_KW, next_loss_K, next_gradient_KW


def _multiply_inverse_curvature(gradient_KW: Tensor, steps: Sequence[_Step]) -> Tensor:
    """Returns the gradients times the inverse curvature that the last steps imply: the two loops of
    Nocedal (1980).
    """
    product_KW = gradient_KW
    shares = []
    for step in reversed(steps):
        share_K1 = step.inverse_K1 * (step.move_KW * product_KW).sum(dim=1, keepdim=True)
        product_KW = product_KW - share_K1 * step.change_KW
        shares.append(share_K1)
    if steps:
        last = steps[-1]
        size_K1 = last.inverse_K1 * last.change_KW.square().sum(dim=1, keepdim=True)
        product_KW = product_KW / torch.where(size_K1 > 0, size_K1, torch.ones_like(size_K1))
    for step, share_K1 in zip(steps, reversed(shares), strict=True):
        back_K1 = step.inverse_K1 * (step.change_KW * product_KW).sum(dim=1, keepdim=True)
        product_KW = product_KW + step.move_KW * (share_K1 - back_K1)
    return product_KW
