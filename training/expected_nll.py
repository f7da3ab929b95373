"""The expected error of an answer whose log-odds are Gaussian, exact to a millionth of a nat."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

WEIGHTS = (0.0521128, 0.32024404, 0.42741575, 0.18324001, 0.0169874)
SCALES = (0.90493897, 1.2717955, 1.78483611, 2.51078737, 3.53646409)
"""The logistic distribution function as a mixture of five normal ones (Monahan and Stefanski 1989),
fitted here to softplus and its slope: neither is off by more than 1e-6 anywhere.
"""


def compute_expected_nll(mean: Tensor, variance: Tensor, human: Tensor) -> Tensor:
    """Returns the error against answers of 0 or 1, in nats, expected over log-odds ~ N(mean,
    variance). The mean and the variance have one shape.

    Quadrature would be exact only for small variances: with 12 nodes it is off by .08 nats for a
    standard deviation of 10.

    >>> compute_expected_nll(torch.zeros(1), torch.tensor([1e4]), torch.ones(1)).item()
    39.900787353515625
    """
    sign = 1 - 2 * human
    return _ExpectedSoftplus.apply(sign * mean, variance)[0]  # type: ignore[no-any-return]


class _ExpectedSoftplus(torch.autograd.Function):
    """E softplus(a) for a ~ N(mean, variance). Its slope by the mean is the expected slope, and by
    the variance half the expected curvature (Price 1958).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        slope, curvature, rest = (torch.zeros_like(mean) for _ in range(3))
        for weight, scale in zip(WEIGHTS, SCALES, strict=True):
            inverse = (variance + scale**2).rsqrt_()
            ratio = mean * inverse
            slope.add_(torch.erf(ratio * math.sqrt(0.5)), alpha=weight / 2)
            density = (ratio * ratio).mul_(-0.5).exp_().mul_(inverse)
            curvature.add_(density, alpha=weight / math.sqrt(2 * math.pi))
            rest.add_(density, alpha=weight * scale**2 / math.sqrt(2 * math.pi))
        slope.add_(0.5)
        value = rest.add_(mean * slope).add_(variance * curvature)
        return value, slope, curvature

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, slope, curvature = output
        ctx.mark_non_differentiable(slope, curvature)
        ctx.save_for_backward(slope, curvature)

    @staticmethod
    def backward(ctx: Any, of_value: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        slope, curvature = ctx.saved_tensors
        return of_value * slope, of_value * curvature / 2
