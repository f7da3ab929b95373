"""Heads solved for to their optimum: where log-odds are linear in a head's parameters and the
charge is convex, there is one, whatever the seed.

G: groups of levels, K: heads, N: episodes, P: parameters of a head, R: levels a head is given, D:
width, H: steps that are remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from console.errors import UserError
from priors.prior import Prior
from reporters.reporter import Reporter, nll
from reporters.stack import Weights

HISTORY, HALVINGS, DECREASE = 8, 30, 1e-4
"""Steps that L-BFGS remembers; how often a step is halved at most; and which share of the decrease
that its slope promises it must bring.
"""
ROUNDING = 1e-8
"""Nats an episode that a loss may seem to rise by because products are rounded."""
LINEAR = 1e-4
"""Largest share by which log-odds may miss being linear: rounding stays below it."""
WHOLE = 2**25
"""Most numbers of heads times episodes that are worked on at once."""


@dataclass(frozen=True)
class Convex:
    """Instead of a schedule: every head is solved for, by L-BFGS (Liu and Nocedal 1989) in the
    eigenbasis of what all heads of a level read.

    There the errors' curvature is the same in every direction but for how sure a head is of each
    episode, whatever the conditioning of activations.

    Args:
        tolerance: nats an episode that another step could still bring at most, as far as the slope
            tells: half its square where curvature is 1.
        steps: after so many a head that is not there is left as it is, and that is said.
    """

    tolerance: float
    steps: int

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise UserError(
                f"training.tolerance: {self.tolerance} is too small. Use a number above 0, for"
                " example 1e-9."
            )
        if self.steps < 1:
            raise UserError(f"training.steps: {self.steps} is too small. Use 1 or more.")

    def check(self, prior: Prior, reporter: Reporter, z_NRD: Tensor) -> None:
        """Raises UserError where there may be no single optimum: a charge that is not convex, or
        log-odds that are not linear in the parameters.
        """
        cure = "Use training=default"
        if not prior.convex:
            raise UserError(
                f"training: {type(prior).__name__} is no convex charge, so its heads cannot be"
                f" solved for. {cure}, or prior=gaussian."
            )
        if not is_linear(reporter, z_NRD[:64]):
            name = type(reporter).__name__
            raise UserError(
                f"training: the log-odds of {name} are not linear in its parameters, so it cannot"
                f" be solved for. {cure}, or reporter=linear."
            )


class Solved(NamedTuple):
    """The parameters that were found, one row a head, and what a further step could bring, in nats
    an episode.
    """

    theta_KP: Tensor
    left_K: Tensor


def is_linear(reporter: Reporter, z_NRD: Tensor) -> bool:
    """Whether a head has one exit, and its log-odds are linear in its parameters, as far as random
    ones tell.
    """
    one, other = (_drawn(reporter, seed) for seed in (0, 1))
    both = {name: 2 * value - 3 * other[name] for name, value in one.items()}
    with torch.no_grad():
        said = [functional_call(reporter, weights, (z_NRD,)) for weights in (one, other, both)]
    if said[0].log_odds_NT.shape[1] > 1:
        return False
    linear_N = 2 * said[0].log_odds_NT - 3 * said[1].log_odds_NT
    return bool((linear_N - said[2].log_odds_NT).abs().max() <= LINEAR * linear_N.abs().max())


def _drawn(reporter: Reporter, seed: int) -> Weights:
    chance = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(value.shape, generator=chance).to(value)
        for name, value in reporter.named_parameters()
    }


@torch.no_grad()
def features(reporter: Reporter, z_NRD: Tensor) -> Tensor:
    """Returns a_NP, what each parameter is multiplied with in the log-odds of each episode: what a
    head says that has 1 there and 0 elsewhere.
    """
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    ones_PP = torch.eye(
        sum(shape.numel() for shape in sizes.values()), dtype=z_NRD.dtype, device=z_NRD.device
    )
    said = vmap(
        lambda one: functional_call(reporter, one, (z_NRD,)).log_odds_NT[:, 0], chunk_size=64
    )
    return said(unflat(ones_PP, sizes)).T.double()  # type: ignore[no-any-return]


def unflat(theta_KP: Tensor, sizes: dict[str, torch.Size]) -> Weights:
    """Returns rows of parameters as tensors by name."""
    parts = theta_KP.split([shape.numel() for shape in sizes.values()], dim=-1)
    return {
        name: part.reshape((*theta_KP.shape[:-1], *shape))
        for (name, shape), part in zip(sizes.items(), parts, strict=True)
    }


def minimised(
    how: Convex,
    reporter: Reporter,
    charge: Callable[[Weights, Tensor], Tensor],
    strength_M: Tensor,
    z_NRD: Tensor,
    human_N: Tensor,
) -> tuple[Weights, Tensor]:
    """Returns the head of least error and charge at each strength, and what a further step could
    bring each in nats an episode; no weights where one has no optimum, because nothing holds a head
    back that answers every episode rightly.

    Args:
        charge: of one head at strength 1, from its weights and its log-odds.
    """
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    a_NP, human_N, strength_M = features(reporter, z_NRD), human_N.double(), strength_M.double()

    def loss(theta_P: Tensor, log_odds_N: Tensor, strength: Tensor) -> Tensor:
        return nll(log_odds_N, human_N).mean() + strength * charge(
            unflat(theta_P, sizes), log_odds_N
        )

    def losses(k: Tensor, theta_KP: Tensor, log_odds_KN: Tensor) -> Tensor:
        return vmap(loss)(theta_KP, log_odds_KN, strength_M[k])  # type: ignore[no-any-return]

    theta_KP, left_K = solve(how, a_NP, losses, strength_M * bend(charge, sizes, a_NP))
    rightly_K = ((theta_KP @ a_NP.T) * (2 * human_N - 1) > 0).all(dim=1)
    if (rightly_K & (strength_M * bend(charge, sizes, a_NP) == 0)).any():
        return {}, left_K
    return {name: value.to(z_NRD) for name, value in unflat(theta_KP, sizes).items()}, left_K


def bend(
    charge: Callable[[Weights, Tensor], Tensor], sizes: dict[str, torch.Size], a_NP: Tensor
) -> Tensor:
    """Returns the curvature of a charge along a random direction from 0: near its mean over
    parameters, and 0 where nothing is charged.
    """
    way_P = (
        torch.randint(2, (a_NP.shape[1],), generator=torch.Generator().manual_seed(0)).to(a_NP) * 2
        - 1
    )

    def along(length: Tensor) -> Tensor:
        theta_P = length * way_P
        return charge(unflat(theta_P, sizes), a_NP @ theta_P)

    return grad(grad(along))(a_NP.new_zeros(())) / len(way_P)  # type: ignore[no-any-return]


def solve(
    how: Convex,
    a_NP: Tensor,
    losses: Callable[[Tensor, Tensor, Tensor], Tensor],
    curvature_K: Tensor,
) -> Solved:
    """Returns the optimum of every head that reads the same features.

    Args:
        losses: of the heads with these numbers: nats an episode, from their rows of parameters and
            their log-odds, shape (K', P) and (K', N).
        curvature_K: that of each head's charge, in the middle of all directions.
    """
    value_P, vector_PP = torch.linalg.eigh(a_NP.T @ a_NP / len(a_NP))
    scale_KP = (
        (value_P.clamp_min(0) / 4 + curvature_K[:, None]).clamp_min(1e-12 * value_P.max()).rsqrt()
    )
    size = max(1, WHOLE // len(a_NP))
    a_NP = a_NP @ vector_PP
    parts = [
        _descended(how, a_NP, vector_PP, scale_KP[k], k, losses)
        for k in torch.arange(len(curvature_K), device=a_NP.device).split(size)
    ]
    return Solved(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _descended(
    how: Convex,
    a_NP: Tensor,
    vector_PP: Tensor,
    scale_KP: Tensor,
    head_K: Tensor,
    losses: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Solved:
    """Returns heads after L-BFGS in coordinates in which no curvature of errors and charge is above
    about 1; those that are there leave the batch.
    """

    def at(phi_KP: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            phi_KP = phi_KP.detach().requires_grad_()
            beta_KP = phi_KP * scale_KP[k]
            loss_K = losses(
                head_K[k], beta_KP @ vector_PP.T, (beta_KP.float() @ short_NP.T).double()
            )
            (slope_KP,) = torch.autograd.grad(loss_K.sum(), phi_KP)
        return loss_K.detach(), slope_KP

    short_NP = (
        a_NP.float()
    )  # in this basis nothing cancels, and rounded products take half the time
    found_KP, left_K = torch.zeros_like(scale_KP), torch.full_like(scale_KP[:, 0], torch.inf)
    k, phi_KP = torch.arange(len(scale_KP), device=a_NP.device), torch.zeros_like(scale_KP)
    steps: list[_Step] = []
    loss_K, slope_KP = at(phi_KP, k)
    for _ in range(how.steps):
        found_KP[k], left_K[k] = phi_KP, slope_KP.square().sum(dim=1) / 2
        going = left_K[k] > how.tolerance
        if not going.all():
            k, phi_KP, loss_K, slope_KP = k[going], phi_KP[going], loss_K[going], slope_KP[going]
            steps = [_Step(*(value[going] for value in one)) for one in steps]
        if not len(k):
            break
        next_KP, next_loss_K, next_slope_KP = _further(
            at, k, phi_KP, loss_K, slope_KP, -_newton(slope_KP, steps)
        )
        steps = [*steps[1 - HISTORY :], _step(next_KP - phi_KP, next_slope_KP - slope_KP)]
        phi_KP, loss_K, slope_KP = next_KP, next_loss_K, next_slope_KP
    return Solved((found_KP * scale_KP) @ vector_PP.T, left_K)


class _Step(NamedTuple):
    """One step of L-BFGS: where it moved, how the slope turned, and 1 over their product, or 0
    where it is none above 0.
    """

    move_KP: Tensor
    turn_KP: Tensor
    inverse_K1: Tensor


def _step(move_KP: Tensor, turn_KP: Tensor) -> _Step:
    met_K1 = (move_KP * turn_KP).sum(dim=1, keepdim=True)
    return _Step(move_KP, turn_KP, torch.where(met_K1 > 0, 1 / met_K1, torch.zeros_like(met_K1)))


def _further(
    at: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    k: Tensor,
    phi_KP: Tensor,
    loss_K: Tensor,
    slope_KP: Tensor,
    way_KP: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns every head a step further, halved until it brings what it must, with its loss and
    slope there.
    """
    promised_K, length_K1 = (slope_KP * way_KP).sum(dim=1), torch.ones_like(way_KP[:, :1])
    for _ in range(HALVINGS):
        next_KP = phi_KP + length_K1 * way_KP
        next_loss_K, next_slope_KP = at(next_KP, k)
        short_K = ~(next_loss_K <= loss_K + DECREASE * length_K1[:, 0] * promised_K + ROUNDING)
        if not short_K.any():
            break
        length_K1 = torch.where(short_K[:, None], length_K1 / 2, length_K1)
    return next_KP, next_loss_K, next_slope_KP


def _newton(slope_KP: Tensor, steps: Sequence[_Step]) -> Tensor:
    """Returns the slopes times the inverse curvature that the last steps tell: the two loops of
    Nocedal (1980).
    """
    way_KP, shares = slope_KP, []
    for move_KP, turn_KP, inverse_K1 in reversed(steps):
        shares.append(inverse_K1 * (move_KP * way_KP).sum(dim=1, keepdim=True))
        way_KP = way_KP - shares[-1] * turn_KP
    if steps:
        _, turn_KP, inverse_K1 = steps[-1]
        size_K1 = inverse_K1 * turn_KP.square().sum(dim=1, keepdim=True)
        way_KP = way_KP / torch.where(size_K1 > 0, size_K1, torch.ones_like(size_K1))
    for (move_KP, turn_KP, inverse_K1), share_K1 in zip(steps, reversed(shares), strict=True):
        way_KP = way_KP + move_KP * (
            share_K1 - inverse_K1 * (turn_KP * way_KP).sum(dim=1, keepdim=True)
        )
    return way_KP
