"""The simplicity prior: its bits by hand, what does not change them, and the cost of a rule and of
random labels.
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
from tests.priors.made import NO_AID, build_training, draw_noise
from training.noise import uniform

PRIOR = Simplicity(sigma=0.05)


def compute_bits(weights: Weights, sigma: Weights, n_examples: int = 500) -> float:
    """Returns the bits of the whole head."""
    state = {name: value.log() for name, value in sigma.items()}
    charge = PRIOR.charge(build_training(weights, state, n_examples=n_examples))
    return charge.item() * n_examples / math.log(2)


def test_a_head_of_zeros_costs_the_six_bits_of_its_scale():
    assert compute_bits({"w": torch.zeros(7)}, {"w": torch.ones(7)}) == pytest.approx(6)


def test_two_parameters_known_to_half_their_scale_cost_one_bit_each():
    # s² = mean(mu² + sigma²) = 3 + 1 = 4, so each costs log2(s / sigma) = 1 bit.
    weights = {"w": torch.tensor([1.0, -1.0]) * math.sqrt(3)}
    assert compute_bits(weights, {"w": torch.ones(2)}) == pytest.approx(2 + 6)


def test_every_tensor_names_its_own_scale_and_so_do_biases():
    weights = {"w": torch.tensor([math.sqrt(3)]), "bias": torch.tensor(math.sqrt(15))}
    sigma = {"w": torch.ones(1), "bias": torch.tensor(1.0)}
    assert compute_bits(weights, sigma) == pytest.approx(1 + 2 + 2 * 6)


def test_the_bits_of_the_head_are_divided_by_the_training_episodes():
    weights, state = {"w": torch.zeros(7)}, {"w": torch.zeros(7)}
    charge = PRIOR.charge(build_training(weights, state, n_examples=100)).item()
    assert charge == pytest.approx(6 * math.log(2) / 100)


def test_the_bits_are_the_divergence_at_the_scale_that_minimises_it():
    mu = torch.randn(50, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((50,), 0.3)

    def compute_divergence(s: Tensor) -> float:
        nats = kl_divergence(Normal(mu, sigma), Normal(torch.zeros(50), s)).sum()
        return nats.item() / math.log(2)

    best = (mu.square() + sigma.square()).mean().sqrt()
    least = compute_divergence(best)
    assert compute_bits({"w": mu}, {"w": sigma}) - 6 == pytest.approx(least, rel=1e-5)
    assert least < compute_divergence(best * 1.1)
    assert least < compute_divergence(best / 1.1)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 100.0])
def test_rescaling_a_tensor_and_its_sigma_does_not_change_the_charge(scale):
    rng = torch.Generator().manual_seed(0)
    mu = torch.randn(40, generator=rng)
    sigma = torch.rand(40, generator=rng) + 0.1
    other = torch.randn(9, generator=rng)

    def compute(mu: Tensor, sigma: Tensor) -> float:
        return compute_bits({"w": mu, "v": other}, {"w": sigma, "v": other.abs()})

    plain = compute(mu, sigma)
    assert compute(mu * scale, sigma * scale) == pytest.approx(plain, rel=1e-5)
    assert compute(mu * scale, sigma) != pytest.approx(plain, rel=1e-2)


def test_random_weights_have_the_mean_and_the_standard_deviation_of_the_posterior():
    mu, n = 0.7, 100_000
    weights = {"w": torch.full((n,), mu)}
    state = PRIOR.state(weights, NO_AID)
    noise = {"w": uniform(torch.tensor([0]), 0, 0, (n,))[0]}
    sample = PRIOR.transform(weights, state, noise)["w"]
    assert sample.mean().item() == pytest.approx(mu, abs=5 * 0.05 / math.sqrt(n))
    assert sample.std().item() == pytest.approx(0.05, rel=0.015)
    within_one_sigma = ((sample - mu).abs() < 0.05).float().mean().item()
    assert within_one_sigma == pytest.approx(0.6827, abs=0.01)


def test_every_uniform_number_becomes_its_quantile_of_the_normal_distribution():
    """To single precision, for all possible numbers: the least is 2^-24, 5.4 standard deviations
    below the mean.
    """
    counts = [0.5, 1, 3, 1000, 2**21 + 0.5, 2**22 - 0.5, 2**22 + 0.5, 2**23 - 0.5]
    uniform_numbers = torch.tensor(counts) * 2.0**-23
    weights = {"w": torch.zeros(8)}
    state = PRIOR.state(weights, NO_AID)
    normal = PRIOR.transform(weights, state, {"w": uniform_numbers})["w"] / 0.05
    expected = torch.special.ndtri(uniform_numbers.double())
    torch.testing.assert_close(normal.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_finished_head_has_the_means():
    weights = {"w": torch.tensor([0.3, -2.0, 0.0]), "bias": torch.tensor(0.5)}
    finished = PRIOR.finish(weights, PRIOR.state(weights, NO_AID))
    assert all(torch.equal(finished[name], value) for name, value in weights.items())


def minimise_total_bits(z_NLD: Tensor, human_N: Tensor, steps: int = 400) -> float:
    """Returns the bits of a linear head plus the bits of the labels given the head, after
    training on their sum.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = Linear(1, z_NLD.shape[2])
    weights = {name: value.detach().requires_grad_() for name, value in head.named_parameters()}
    start = {name: value.detach() for name, value in weights.items()}
    state = {name: value.requires_grad_() for name, value in PRIOR.state(start, NO_AID).items()}
    groups = [{"params": list(weights.values())}, {"params": list(state.values()), "lr": 0.1}]
    optimizer = torch.optim.Adam(groups, lr=0.02)
    anneal = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    totals = []
    for step in range(steps + 50):
        noise = draw_noise(PRIOR, weights, seed=step)
        reading = functional_call(head, PRIOR.transform(weights, state, noise), (z_NLD,))
        error = (F.softplus(reading.log_odds_N) - human_N * reading.log_odds_N).mean()
        charge = PRIOR.charge(build_training(weights, state, reading, len(human_N)))
        if step < steps:
            optimizer.zero_grad()
            (error + min(1.0, step / steps / 0.4) * charge).backward()
            optimizer.step()
            anneal.step()
        else:
            totals.append((error + charge).item() * len(human_N) / math.log(2))
    return sum(totals) / len(totals)


def test_a_linear_concept_takes_few_bits_and_random_labels_take_one_bit_each():
    n, rng = 2000, torch.Generator().manual_seed(0)
    signs_N2 = torch.randint(2, (n, 2), generator=rng) * 2.0 - 1
    directions_D2 = torch.linalg.qr(torch.randn(64, 2, generator=rng))[0]
    z_ND = torch.randn(n, 64, generator=rng) + 2 * signs_N2 @ directions_D2.T
    z_NLD = ((z_ND - z_ND.mean(dim=0)) / z_ND.std(dim=0))[:, None]
    concept_N = signs_N2[:, 0] > 0
    exclusive_or_N = signs_N2.prod(dim=1) > 0
    random_N = torch.randint(2, (n,), generator=rng)
    assert 200 < minimise_total_bits(z_NLD, concept_N.float()) < 400
    assert minimise_total_bits(z_NLD, exclusive_or_N.float()) == pytest.approx(2013, abs=20)
    assert minimise_total_bits(z_NLD, random_N.float()) == pytest.approx(2014, abs=20)
