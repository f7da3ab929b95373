"""The Gaussian prior: ½ Σ w² / s² by hand; and rescaling games it, while it does not game the
simplicity prior.
"""

import pytest
import torch
from torch.nn import functional as F

from priors.gaussian import Gaussian
from priors.simplicity import Simplicity
from reporters.stack import Weights
from tests.priors.made import NO_AID, build_training
from tests.reporters.made import build_reporter


def compute_nats(weights: Weights, scale: float = 1.0, n_examples: int = 500) -> float:
    """Returns the nats of the whole head."""
    training = build_training(weights, {}, n_examples=n_examples)
    return Gaussian(scale).charge(training).item() * n_examples


def test_it_charges_half_the_squared_norm_and_no_biases():
    weights = {
        "inner_w": torch.tensor([3.0, 4.0]),
        "outer_w": torch.tensor([1.0]),
        "bias": torch.tensor(100.0),
    }
    assert compute_nats(weights) == pytest.approx((9 + 16 + 1) / 2)
    assert compute_nats(weights, scale=2.0) == pytest.approx((9 + 16 + 1) / 8)


def test_it_is_the_negative_log_density_of_the_weights_up_to_a_constant():
    first, second = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(0.0, 0.7)
    log_density = (normal.log_prob(first) - normal.log_prob(second)).sum().item()
    nats = compute_nats({"w": second}, 0.7) - compute_nats({"w": first}, 0.7)
    assert nats == pytest.approx(log_density, rel=1e-5)


def test_rescaling_the_layers_of_a_relu_network_games_it_and_not_a_code_with_a_learned_scale():
    rng = torch.Generator().manual_seed(0)
    inner, outer = torch.randn(32, 64, generator=rng), torch.randn(1, 32, generator=rng)
    z = torch.randn(64, 10, generator=rng)
    expected, actual = outer @ F.relu(inner @ z), outer / 100 @ F.relu(100 * inner @ z)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)

    plain = {"inner_w": inner, "outer_w": outer}
    scaled = {"inner_w": 100 * inner, "outer_w": outer / 100}
    assert compute_nats(scaled) > 1000 * compute_nats(plain)

    shift = torch.tensor(100.0).log()
    plain_sigma = {name: value.abs().log() - 1 for name, value in plain.items()}
    scaled_sigma = {
        "inner_w": plain_sigma["inner_w"] + shift,
        "outer_w": plain_sigma["outer_w"] - shift,
    }
    simplicity = Simplicity(0.05)
    plain_charge = simplicity.charge(build_training(plain, plain_sigma)).item()
    scaled_charge = simplicity.charge(build_training(scaled, scaled_sigma)).item()
    assert scaled_charge == pytest.approx(plain_charge, rel=1e-3)


def test_it_does_not_apply_to_a_head_without_weights():
    head = build_reporter("logic")
    weights = dict(head.named_parameters())
    assert Gaussian(1.0).state(weights, NO_AID) == {}
    assert compute_nats(weights) == 0
    assert Gaussian(1.0).lacks(head) == "weights"
    assert Gaussian(1.0).lacks(build_reporter("linear")) is None
