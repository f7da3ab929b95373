"""The variance that a prior gives weights, for every YAML of configs/prior: that of many draws, or
None where noise does more than to add to them; and a check that other variances are detected.
"""

import pytest
import torch
from torch.func import vmap

from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Aid, Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from priors.sum import Sum
from reporters.stack import Weights
from tests.priors.made import COMPONENTS, PRIORS, build_prior
from tests.reporters.made import build_reporter

AID = Aid(components=COMPONENTS)
DRAWS = 20_000
GATES = {"circuit_size", "explanation_length", "speed", "simplicity_and_speed"}
"""Under these, weights of heads without exits have gates."""


def draw_state(prior: Prior, weights: Weights) -> Weights:
    """Returns a state of uneven values, the same for the same prior."""
    rng = torch.Generator().manual_seed(1)
    state = prior.state(weights, AID)
    return {
        name: value + torch.randn(value.shape, generator=rng).to(value)
        for name, value in state.items()
    }


def check_variance(prior: Prior) -> None:
    """Checks mean and variance of a head's weights over many draws of the noise."""
    rng = torch.Generator().manual_seed(0)
    weights = dict(build_reporter("linear").named_parameters())
    state = draw_state(prior, weights)
    variance = prior.compute_variance(state)
    if variance is None:
        return
    noise = {
        name: torch.rand(DRAWS, *value.shape, generator=rng).double()
        for name, value in state.items()
    }

    def transform(noise: Weights) -> Weights:
        return prior.transform(weights, state, noise)

    drawn = vmap(transform)(noise) if noise else {n: v[None] for n, v in weights.items()}
    for name, value in weights.items():
        own = variance.get(name, torch.zeros_like(value))
        assert own.shape == value.shape
        ratio = (drawn[name] - value).square().mean(dim=0) / own.clamp_min(1e-12)
        assert ((ratio - (own > 0).double()).abs() < 0.06).all()
        shift = (drawn[name].mean(dim=0) - value).abs()
        assert (shift <= 5 * (own / DRAWS).sqrt() + 1e-12).all()


@pytest.mark.parametrize("name", PRIORS)
def test_it_is_the_variance_of_many_draws(name):
    check_variance(build_prior(name))


@pytest.mark.parametrize("name", PRIORS)
def test_it_is_none_under_gates_alone(name):
    prior = build_prior(name)
    weights = dict(build_reporter("linear").named_parameters())
    variance = prior.compute_variance(prior.state(weights, AID))
    assert (variance is None) == (name in GATES)


class Broken(Simplicity):
    """A prior with another noise than it says, or one that moves the mean."""

    def __init__(self, flaw: str) -> None:
        super().__init__(0.05)
        self.flaw = flaw

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        noisy = super().transform(weights, state, noise)
        for name, value in weights.items():
            noise_alone = noisy[name] - value
            if self.flaw == "scaled":
                noisy[name] = value + 1.1 * noise_alone
            if self.flaw == "shifted":
                noisy[name] = noisy[name] + 0.01
            if self.flaw == "silent":
                noisy[name] = value
        return noisy


@pytest.mark.parametrize("flaw", ["scaled", "shifted", "silent"])
def test_another_noise_is_detected(flaw):
    check_variance(Broken("none"))
    with pytest.raises(AssertionError):
        check_variance(Broken(flaw))


# Sums.


def test_of_a_sum_with_one_noisy_part_it_is_that_of_the_part():
    parts = {"bits": Simplicity(0.05), "nothing": NoPrior(), "size": Gaussian(1.0)}
    check_variance(Sum(parts, dict.fromkeys(parts, 1.0)))
    silent = Sum({"size": Gaussian(1.0)}, {"size": 1.0})
    assert silent.compute_variance({}) == {}


def test_noises_of_two_parts_add_up():
    parts = {"first": Simplicity(0.05), "second": Simplicity(0.1)}
    check_variance(Sum(parts, dict.fromkeys(parts, 1.0)))


def test_one_part_with_gates_leaves_a_sum_without_a_variance():
    parts = {"bits": Simplicity(0.05), "flops": Speed(2.0)}
    weights = dict(build_reporter("linear").named_parameters())
    prior = Sum(parts, dict.fromkeys(parts, 1.0))
    assert prior.compute_variance(prior.state(weights, AID)) is None
    prior = Sum(parts | {"flops": Speed(2.0, "never")}, dict.fromkeys(parts, 1.0))
    assert prior.compute_variance(prior.state(weights, AID)).keys() == weights.keys()
