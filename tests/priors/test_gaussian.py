"""The Gaussian prior: ½ Σ w² / s² by hand; and that rescaling games it, as it does not game the
simplicity prior.
"""

import pytest
import torch
from torch.nn import functional as F

from priors.gaussian import Gaussian
from priors.simplicity import Simplicity
from tests.priors.made import NO_AID, training
from tests.reporters.made import made


def nats(weights: dict[str, torch.Tensor], scale: float = 1.0, n_examples: int = 500) -> float:
    """Returns the nats of the whole head."""
    return Gaussian(scale).charge(training(weights, {}, n_examples=n_examples)).item() * n_examples


def test_it_charges_half_the_squared_norm_and_no_biases():
    weights = {
        "inner_w": torch.tensor([3.0, 4.0]),
        "outer_w": torch.tensor([1.0]),
        "bias": torch.tensor(100.0),
    }
    assert nats(weights) == pytest.approx((9 + 16 + 1) / 2)
    assert nats(weights, scale=2.0) == pytest.approx((9 + 16 + 1) / 8)


def test_it_is_the_density_of_the_weights_up_to_a_constant():
    one, other = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(0.0, 0.7)
    density = (normal.log_prob(one) - normal.log_prob(other)).sum().item()
    assert nats({"w": other}, 0.7) - nats({"w": one}, 0.7) == pytest.approx(density, rel=1e-5)


def test_rescaling_a_relu_networks_layers_games_it_and_not_the_bits_of_a_learned_scale():
    chance = torch.Generator().manual_seed(0)
    inner, outer, z = (
        torch.randn(32, 64, generator=chance),
        torch.randn(1, 32, generator=chance),
        torch.randn(64, 10, generator=chance),
    )
    torch.testing.assert_close(
        outer / 100 @ F.relu(100 * inner @ z), outer @ F.relu(inner @ z), rtol=1e-4, atol=1e-3
    )
    plain, scaled = (
        {"inner_w": inner, "outer_w": outer},
        {"inner_w": 100 * inner, "outer_w": outer / 100},
    )
    assert nats(scaled) > 1000 * nats(plain)
    bits = Simplicity(0.05)
    sigma = {name: value.abs().log() - 1 for name, value in plain.items()}
    moved = {
        "inner_w": sigma["inner_w"] + torch.tensor(100.0).log(),
        "outer_w": sigma["outer_w"] - torch.tensor(100.0).log(),
    }
    same = bits.charge(training(plain, sigma)).item()
    assert bits.charge(training(scaled, moved)).item() == pytest.approx(same, rel=1e-3)


def test_a_head_without_weights_is_charged_nothing_and_says_what_it_lacks():
    head = made("logic")
    weights = dict(head.named_parameters())
    assert Gaussian(1.0).state(weights, NO_AID) == {}
    assert nats(weights) == 0
    assert Gaussian(1.0).lacks(head) == "weights"
    assert Gaussian(1.0).lacks(made("linear")) is None
