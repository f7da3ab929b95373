"""The simplicity prior: its bits by hand, what leaves them alone, and what a rule and random labels
cost.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call
from torch.nn import functional as F

from priors.simplicity import Simplicity
from reporters.linear import Linear
from reporters.stack import Weights
from tests.priors.made import NO_AID, noise_for, training
from training.noise import uniform

PRIOR = Simplicity(sigma=0.05)


def bits(weights: Weights, sigma: Weights, n_examples: int = 500) -> float:
    """Returns the bits of the whole head."""
    charge = PRIOR.charge(
        training(
            weights, {name: value.log() for name, value in sigma.items()}, n_examples=n_examples
        )
    )
    return charge.item() * n_examples / math.log(2)


def test_a_head_that_says_nothing_costs_the_six_bits_of_its_scale():
    assert bits({"w": torch.zeros(7)}, {"w": torch.ones(7)}) == pytest.approx(6)


def test_two_parameters_known_to_half_their_scale_cost_a_bit_each():
    # s² = mean(mu² + sigma²) = 3 + 1 = 4, so each costs log2(s / sigma) = 1 bit.
    assert bits(
        {"w": torch.tensor([1.0, -1.0]) * math.sqrt(3)}, {"w": torch.ones(2)}
    ) == pytest.approx(2 + 6)


def test_every_tensor_names_a_scale_of_its_own_biases_too():
    known = {"w": torch.tensor([math.sqrt(3)]), "bias": torch.tensor(math.sqrt(15))}
    assert bits(known, {"w": torch.ones(1), "bias": torch.tensor(1.0)}) == pytest.approx(
        1 + 2 + 2 * 6
    )


def test_the_whole_heads_bits_are_shared_by_the_training_episodes():
    weights, state = {"w": torch.zeros(7)}, {"w": torch.zeros(7)}
    assert PRIOR.charge(training(weights, state, n_examples=100)).item() == pytest.approx(
        6 * math.log(2) / 100
    )


def test_the_bits_are_the_divergence_at_the_scale_that_makes_it_least():
    mu, sigma = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.full((50,), 0.3)

    def divergence(s: Tensor) -> float:
        return kl_divergence(Normal(mu, sigma), Normal(torch.zeros(50), s)).sum().item() / math.log(
            2
        )

    best = (mu.square() + sigma.square()).mean().sqrt()
    assert bits({"w": mu}, {"w": sigma}) - 6 == pytest.approx(divergence(best), rel=1e-5)
    assert divergence(best) < min(divergence(best * 1.1), divergence(best / 1.1))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 100.0])
def test_rescaling_a_tensor_and_its_sigma_changes_no_charge(scale):
    chance = torch.Generator().manual_seed(0)
    mu, sigma, other = (
        torch.randn(40, generator=chance),
        torch.rand(40, generator=chance) + 0.1,
        torch.randn(9, generator=chance),
    )
    plain = bits({"w": mu, "v": other}, {"w": sigma, "v": other.abs()})
    assert bits(
        {"w": mu * scale, "v": other}, {"w": sigma * scale, "v": other.abs()}
    ) == pytest.approx(plain, rel=1e-5)
    assert bits({"w": mu * scale, "v": other}, {"w": sigma, "v": other.abs()}) != pytest.approx(
        plain, rel=1e-2
    )


def test_drawn_weights_have_the_mean_and_spread_they_say():
    mu, n = 0.7, 100_000
    weights = {"w": torch.full((n,), mu)}
    state = PRIOR.state(weights, NO_AID)
    drawn = PRIOR.transform(weights, state, {"w": uniform(torch.tensor([0]), 0, 0, (n,))[0]})["w"]
    assert drawn.mean().item() == pytest.approx(mu, abs=5 * 0.05 / math.sqrt(n))
    assert drawn.std().item() == pytest.approx(0.05, rel=0.015)
    assert ((drawn - mu).abs() < 0.05).float().mean().item() == pytest.approx(0.6827, abs=0.01)


def test_every_uniform_number_becomes_its_quantile_of_the_normal_distribution():
    """To single precision, and as far out as there are numbers: the least is 2^-24, 5.4 standard
    deviations below.
    """
    numbers = (
        torch.tensor([0.5, 1, 3, 1000, 2**21 + 0.5, 2**22 - 0.5, 2**22 + 0.5, 2**23 - 0.5])
        * 2.0**-23
    )
    drawn = (
        PRIOR.transform(
            {"w": torch.zeros(8)}, PRIOR.state({"w": torch.zeros(8)}, NO_AID), {"w": numbers}
        )["w"]
        / 0.05
    )
    torch.testing.assert_close(
        drawn.double(), torch.special.ndtri(numbers.double()), rtol=1e-5, atol=1e-6
    )


def test_a_finished_head_has_the_means():
    weights = {"w": torch.tensor([0.3, -2.0, 0.0]), "bias": torch.tensor(0.5)}
    finished = PRIOR.finish(weights, PRIOR.state(weights, NO_AID))
    assert all(torch.equal(finished[name], value) for name, value in weights.items())


def variational_total(z_NLD: Tensor, human_N: Tensor, steps: int = 400) -> float:
    """Returns the bits of a linear head and of the labels given it, once both have been made short."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = Linear(1, z_NLD.shape[2])
    weights = {name: value.detach().requires_grad_() for name, value in head.named_parameters()}
    state = {
        name: value.requires_grad_()
        for name, value in PRIOR.state(
            {name: value.detach() for name, value in weights.items()}, NO_AID
        ).items()
    }
    optimizer = torch.optim.Adam(
        [{"params": list(weights.values())}, {"params": list(state.values()), "lr": 0.1}], lr=0.02
    )
    anneal, totals = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), []
    for step in range(steps + 50):
        reading = functional_call(
            head, PRIOR.transform(weights, state, noise_for(PRIOR, weights, seed=step)), (z_NLD,)
        )
        errors = (F.softplus(reading.log_odds_N) - human_N * reading.log_odds_N).mean()
        charge = PRIOR.charge(training(weights, state, reading, len(human_N)))
        if step < steps:
            optimizer.zero_grad()
            (errors + min(1.0, step / steps / 0.4) * charge).backward()
            optimizer.step()
            anneal.step()
        else:
            totals.append((errors + charge).item() * len(human_N) / math.log(2))
    return sum(totals) / len(totals)


def test_a_linear_concept_is_told_in_few_bits_and_random_labels_in_one_each():
    n, chance = 2000, torch.Generator().manual_seed(0)
    signs_N2 = torch.randint(2, (n, 2), generator=chance) * 2.0 - 1
    directions_D2 = torch.linalg.qr(torch.randn(64, 2, generator=chance))[0]
    z_ND = torch.randn(n, 64, generator=chance) + 2 * signs_N2 @ directions_D2.T
    z_NLD = ((z_ND - z_ND.mean(dim=0)) / z_ND.std(dim=0))[:, None]
    concept, exclusive_or, random = (
        (signs_N2[:, 0] > 0),
        signs_N2.prod(dim=1) > 0,
        torch.randint(2, (n,), generator=chance),
    )
    assert 200 < variational_total(z_NLD, concept.float()) < 400
    assert variational_total(z_NLD, exclusive_or.float()) == pytest.approx(2013, abs=20)
    assert variational_total(z_NLD, random.float()) == pytest.approx(2014, abs=20)
