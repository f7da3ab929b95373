"""The objective of heads without chance: what a head pays on all training episodes, expected over
its prior's noise.

K: heads of one group of levels, W: numbers of a head, its weights before its prior's state; N:
episodes, R: levels a head is given, D: width, T: exits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from priors.prior import Aid, Prior
from reporters.reporter import Reading, Reporter
from reporters.stack import Weights
from training.expected_nll import compute_expected_nll
from training.objective import Group, Head, Objective

DRAWS = 1
"""Draws of the noise for where a head stops, each with its mirror image; always the same ones, so
that nothing changes by chance. Twice as many give the same heads on the vault: they follow X alike
to .003.
"""
Sizes = dict[str, torch.Size]
"""The shapes of tensors by name."""
NOT_LINEAR = 1e-3
"""Largest share by which moments may be off: rounding stays below it."""


def find_obstacle(prior: Prior, reporter: Reporter, n_levels: int, width: int) -> str | None:
    """Returns why what such heads pay cannot be computed without chance, as a clause; None if it
    can.
    """
    name = type(reporter).__name__
    weights: Weights = dict(reporter.named_parameters())
    if type(reporter).harden is not Reporter.harden:
        return f"a finished {name} has hard choices, and the one that is trained soft ones"
    n_read = 1 if reporter.reads == "one_level" else n_levels
    rng = torch.Generator().manual_seed(0)
    z_NRD = torch.randn(16, n_read, width, generator=rng).to(next(iter(weights.values())))
    with torch.no_grad():
        has_exits = reporter(z_NRD).halt_NT.shape[1] > 1
    variance = prior.compute_variance(prior.state(weights, Aid(components=1, has_exits=has_exits)))
    if variance is None:
        return f"{type(prior).__name__} has gates that open and close by chance"
    if variance and prior.needs:
        return f"{type(prior).__name__} reads other activations with weights that vary by chance"
    if variance and not has_moments(reporter, z_NRD):
        return (
            f"under {type(prior).__name__} weights vary by chance, and the log-odds of {name} are"
            " not linear in them"
        )
    return None


def has_moments(reporter: Reporter, z_NRD: Tensor) -> bool:
    """Whether each weight enters the log-odds by a product with one number of an activation, or
    alone: then the log-odds of Gaussian weights are Gaussian, and their variance is what a head of
    the weights' variances reads in the squared activations.
    """
    rng = torch.Generator().manual_seed(0)
    sizes = {name: value.shape for name, value in reporter.named_parameters()}
    n_weights = sum(shape.numel() for shape in sizes.values())

    def read(theta_W: Tensor, z_NRD: Tensor) -> Tensor:
        return functional_call(reporter, unflatten(theta_W, sizes), (z_NRD,)).log_odds_NT

    zero_W = z_NRD.new_zeros(n_weights)
    direction_W = torch.randn(n_weights, generator=rng).to(z_NRD)
    variance_W = torch.rand(n_weights, generator=rng).to(z_NRD)
    slope_NTW = torch.func.jacfwd(read)(zero_W, z_NRD)
    is_linear = _agree(read(direction_W, z_NRD), slope_NTW @ direction_W)
    return is_linear and _agree(read(variance_W, z_NRD.square()), slope_NTW.square() @ variance_W)


def _agree(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= NOT_LINEAR * second.abs().max())


class Expected:
    """What heads of one group pay on all training episodes.

    Args:
        g: the group.
        z_NRD: standardised training episodes, as the group reads them.
        sizes: the shapes of a head's weights, and of its prior's state.
        noise: uniform draws shaped like the state, with an axis for draws.
        inputs: what the predictor read of the episodes, or nothing.
    """

    def __init__(
        self,
        objective: Objective,
        g: int,
        z_NRD: Tensor,
        human_N: Tensor,
        sizes: tuple[Sizes, Sizes],
        noise: Weights,
        inputs: Sequence[Tensor] = (),
    ) -> None:
        groups = objective.build_groups()
        aids = {name: value[g] for name, value in groups.aids.items()}
        self.group = Group(groups.reach_R[g], groups.place_1[g], aids)
        self.objective = objective
        self.z_NRD, self.human_N, self.inputs = z_NRD, human_N, inputs
        self.squared_NRD = z_NRD.square()
        self.sizes = sizes
        self.noise = noise

    def evaluate(
        self, theta_KW: Tensor, strength_K: Tensor, bonus_K: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns what heads pay, in nats an episode, and the gradients."""
        theta_KW = theta_KW.detach().requires_grad_()
        with torch.enable_grad():
            loss_K = vmap(self._pay)(theta_KW.to(self.z_NRD), strength_K, bonus_K)
            (gradient_KW,) = torch.autograd.grad(loss_K.sum(), theta_KW)
        return loss_K.detach(), gradient_KW

    def _pay(self, theta_W: Tensor, strength: Tensor, bonus: Tensor) -> Tensor:
        objective = self.objective
        n_weights = sum(shape.numel() for shape in self.sizes[0].values())
        weights = unflatten(theta_W[:n_weights], self.sizes[0])
        state = unflatten(theta_W[n_weights:], self.sizes[1])
        reading = objective.read(weights, self.z_NRD)
        variance = objective.prior.compute_variance(state)
        if variance:
            reading, errors_N = self._read_moments(weights, state, variance, reading)
        else:
            errors_N = reading.errors_N(self.human_N)
        head = Head(weights, state)
        charge = objective.prior.charge(
            objective.describe(head, {}, weights, self.z_NRD, reading, self.group, self.inputs)
        )
        paid = errors_N.mean(dtype=torch.float64) + strength * charge
        if objective.has_exits:
            halt_NT = reading.halt_NT
            entropy = -(halt_NT * halt_NT.clamp_min(1e-12).log()).sum(dim=1).mean()
            paid = paid - bonus * entropy
        return paid

    def _read_moments(
        self, weights: Weights, state: Weights, variance: Weights, mean: Reading
    ) -> tuple[Reading, Tensor]:
        objective = self.objective
        spread = {
            name: variance.get(name, torch.zeros_like(value)) for name, value in weights.items()
        }
        variance_NT = objective.read(spread, self.squared_NRD).log_odds_NT
        halt_NT = mean.halt_NT
        if objective.has_exits:
            halts = []
            for draw in range(2 * DRAWS):
                drawn = {name: value[draw] for name, value in self.noise.items()}
                noisy = objective.prior.transform(weights, state, drawn)
                halts.append(objective.read(noisy, self.z_NRD).halt_NT)
            halt_NT = torch.stack(halts).mean(dim=0)
        reading = mean._replace(halt_NT=halt_NT)
        nll_NT = compute_expected_nll(
            mean.log_odds_NT, variance_NT, self.human_N[:, None].expand_as(variance_NT)
        )
        return reading, reading.mean_N(nll_NT)


def unflatten(theta_W: Tensor, sizes: Sizes) -> Weights:
    """Returns the numbers of one head as tensors by name."""
    parts = theta_W.split([shape.numel() for shape in sizes.values()], dim=-1)
    weights = {}
    for (name, shape), part in zip(sizes.items(), parts, strict=True):
        weights[name] = part.reshape((*theta_W.shape[:-1], *shape))
    return weights
