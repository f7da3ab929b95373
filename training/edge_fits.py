"""What heads of one group are fitted to, and how they are refitted without the edges that are taken
out.

K: heads of one group, Q: candidates, W: parameters of a head in one row, P: those kept, N:
episodes, B: episodes of a batch, R: levels a head is given, D: width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from compute.memory import choose_part_size
from reporters.adam import minimise_with_adam
from reporters.reporter import Reporter, is_weight
from reporters.stack import Weights
from training.expected import unflatten
from training.lbfgs import minimise

NOTHING = 1e-3
"""Nats of the whole training set below which errors count as none. Heads that separate the episodes
have no best finite weights, so their refit stops here.
"""
CLOSE = 1e-3
"""Nats of the whole training set that a refit may miss."""
ROUNDING = 1e-4
"""Nats of the whole training set that errors may seem to rise by because products are rounded."""
REFIT_STEPS = 200
"""Most steps of a refit."""
ADAM_STEPS, BATCH, RATE = 60, 256, 0.1
"""Adam steps of a quick refit, episodes a step, learning rate at its start."""
PROBES = 8
"""Random signs from which the curvature of the errors is estimated."""
TINY = 1e-9
"""Curvature added everywhere, so that edges that do not matter are ranked by their size."""
PROBED = 8
"""Most heads whose edges are scored together."""
READ = 2**28
"""Most activations times candidates that are read together."""


class Refit(NamedTuple):
    """Heads after a refit."""

    theta_QW: Tensor
    errors_Q: Tensor
    """Nats of the whole training set, expected over exits."""


class Scores(NamedTuple):
    """What each parameter is worth to a head, as a quadratic model of its errors predicts, in nats
    of the whole training set.
    """

    loss_KW: Tensor
    """By how much errors rise if the parameter is taken out; infinite where it is out or free."""
    gain_KW: Tensor
    """By how much errors fall if the parameter is put in; minus infinity where it is in."""


class Fits(ABC):
    """What the heads of one group are fitted to."""

    convex: bool
    """Whether every set of edges has one optimum."""
    tried: int
    """How many sets with one edge more, or one swapped, are refitted."""
    swapped: int
    """How many edges are swapped for others: the least salient ones."""

    def __init__(self, reporter: Reporter, z_NRD: Tensor, human_N: Tensor) -> None:
        self.reporter = reporter
        self.z_NRD = z_NRD
        self.human_N = human_N
        self.sizes = {name: value.shape for name, value in reporter.named_parameters()}
        edges = [torch.full((n.numel(),), is_weight(name)) for name, n in self.sizes.items()]
        self.edge_W = torch.cat(edges).to(z_NRD.device)

    @abstractmethod
    def refit(self, start_QW: Tensor, keep_QW: Tensor, limit_Q: Tensor | None = None) -> Refit:
        """Returns heads of least errors that have no other edges than those that they keep.

        Args:
            limit_Q: a head whose errors will stay above this need not be refitted to the end.
        """

    @abstractmethod
    def score(self, theta_KW: Tensor, keep_KW: Tensor) -> Scores:
        """Returns what each edge is worth to each head."""

    def compute_errors_N(self, theta_W: Tensor, z_NRD: Tensor, human_N: Tensor) -> Tensor:
        """Returns the expected error of one head on each episode, in nats."""
        weights = unflatten(theta_W, self.sizes)
        return functional_call(self.reporter, weights, (z_NRD,)).errors_N(human_N)


class QuickFits(Fits):
    """Heads of any kind, refitted by a few steps of Adam: enough to thin out many edges."""

    convex = False
    tried = 12
    swapped = 2

    def __init__(
        self, reporter: Reporter, z_NRD: Tensor, human_N: Tensor, memory_budget: float
    ) -> None:
        super().__init__(reporter, z_NRD, human_N)
        one_1W = torch.ones_like(self.edge_W[None], dtype=z_NRD.dtype)

        def evaluate(k: int) -> object:
            return self._differentiate(one_1W.expand(k, -1))

        def probe(k: int) -> object:
            return self._probe(one_1W.expand(k, -1), k)

        most = max(1, READ // z_NRD.numel())
        self.read = choose_part_size(most, evaluate, memory_budget)
        self.probed = choose_part_size(PROBED, probe, memory_budget)

    def refit(self, start_QW: Tensor, keep_QW: Tensor, limit_Q: Tensor | None = None) -> Refit:
        parts = zip(start_QW.split(self.read), keep_QW.split(self.read), strict=True)
        refits = [self.refit_part(start_KW * keep_KW, keep_KW) for start_KW, keep_KW in parts]
        theta, errors = zip(*refits, strict=True)
        return Refit(torch.cat(theta), torch.cat(errors))

    def refit_part(self, start_KW: Tensor, keep_KW: Tensor) -> Refit:
        """Returns the refit of as many heads as are worked on at once."""
        rng = torch.Generator().manual_seed(0)
        n = len(self.human_N)

        def compute_losses(weights: Weights, step: int) -> Tensor:
            batch_B = torch.randint(n, (min(BATCH, n),), generator=rng).to(self.z_NRD.device)
            return self._compute_errors(weights["theta"], batch_B).mean(dim=1)

        masks = {"theta": keep_KW.to(start_KW)}
        fitted = minimise_with_adam({"theta": start_KW}, compute_losses, ADAM_STEPS, RATE, masks)
        with torch.no_grad():
            errors_K = self._compute_errors(fitted["theta"]).sum(dim=1)
        return Refit(fitted["theta"], errors_K)

    @torch.no_grad()
    def compute_errors(self, theta_KW: Tensor) -> Tensor:
        """Returns the errors of heads as they are, in nats of the whole training set."""
        parts = [self._compute_errors(part_KW).sum(dim=1) for part_KW in theta_KW.split(self.read)]
        return torch.cat(parts)

    def score(self, theta_KW: Tensor, keep_KW: Tensor) -> Scores:
        """Takes no curvature between edges into account: optimal brain damage (LeCun, Denker and
        Solla 1990).
        """
        gradient_KW, curvature_KW = self._probe(theta_KW, self.probed)
        loss_KW = theta_KW.square() * curvature_KW / 2
        gain_KW = gradient_KW.square() / curvature_KW / 2
        return Scores(
            torch.where(keep_KW & self.edge_W, loss_KW, torch.inf),
            torch.where(keep_KW, -torch.inf, gain_KW),
        )

    def _compute_errors(self, theta_KW: Tensor, batch_B: Tensor | None = None) -> Tensor:
        """Returns the errors of heads on all episodes or on some, in nats."""
        z_NRD, human_N = self.z_NRD, self.human_N
        if batch_B is not None:
            z_NRD, human_N = z_NRD[batch_B], human_N[batch_B]
        return vmap(self.compute_errors_N, (0, None, None))(theta_KW, z_NRD, human_N)

    def _differentiate(self, theta_KW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the errors of heads, in nats of the whole training set, and their gradients."""
        theta_KW = theta_KW.detach().requires_grad_()
        errors_K = self._compute_errors(theta_KW).sum(dim=1)
        (gradient_KW,) = torch.autograd.grad(errors_K.sum(), theta_KW)
        return errors_K.detach(), gradient_KW

    @torch.no_grad()
    def _probe(self, theta_KW: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Returns the gradient of the errors and their curvature: the empirical Fisher information,
        estimated with random signs of the episodes.

        Args:
            size: heads that are worked on at once.
        """
        rng = torch.Generator().manual_seed(0)
        n = len(self.human_N)
        sign_PN = (torch.randint(2, (PROBES, n), generator=rng) * 2.0 - 1).to(self.z_NRD)
        factor_PN = torch.cat([torch.ones_like(sign_PN[:1]), sign_PN])

        def probe(theta_W: Tensor, factor_N: Tensor) -> Tensor:
            return (factor_N * self.compute_errors_N(theta_W, self.z_NRD, self.human_N)).sum()

        def estimate(theta_W: Tensor) -> tuple[Tensor, Tensor]:
            gradient_PW = vmap(grad(probe), in_dims=(None, 0))(theta_W, factor_PN)
            return gradient_PW[0], gradient_PW[1:].square().mean(dim=0) + TINY

        return vmap(estimate, chunk_size=size)(theta_KW)


class ExactFits(QuickFits):
    """Heads of any kind, refitted by L-BFGS from where they are."""

    def refit_part(self, start_KW: Tensor, keep_KW: Tensor) -> Refit:
        n = len(self.human_N)
        index_KP, kept_KP = pack(keep_KW)

        def spread(phi_KP: Tensor, k: Tensor) -> Tensor:
            theta_KW = torch.zeros_like(start_KW[k])
            return theta_KW.scatter_(1, index_KP[k], phi_KP * kept_KP[k])

        def evaluate(phi_KP: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
            errors_K, gradient_KW = self._differentiate(spread(phi_KP, k))
            goes_on_K1 = (errors_K > NOTHING)[:, None]
            gradient_KP = gradient_KW.gather(1, index_KP[k]) * kept_KP[k] * goes_on_K1
            return errors_K / n, gradient_KP / n

        start_KP = start_KW.gather(1, index_KP)
        phi_KP, _ = minimise(evaluate, start_KP, CLOSE / n, REFIT_STEPS)
        theta_KW = spread(phi_KP, torch.arange(len(start_KW), device=start_KW.device))
        return Refit(theta_KW, self.compute_errors(theta_KW))


def pack(keep_QW: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the places of the parameters that each candidate keeps, shape (Q, P), and whether a
    place is kept: candidates that keep fewer than the others are filled up.

    >>> pack(torch.tensor([[True, False, True], [False, True, False]]))
    (tensor([[0, 2],
            [1, 0]]), tensor([[ True,  True],
            [ True, False]]))
    """
    most = int(keep_QW.sum(dim=1).max())
    index_QP = (~keep_QW).byte().argsort(dim=1, stable=True)[:, :most]
    return index_QP, keep_QW.gather(1, index_QP)
