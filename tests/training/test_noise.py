"""Noise from a counter: uniform, independent of every neighbour, and a head's own."""

import math

import pytest
import torch
from torch import Tensor

from training.noise import uniform

N = 2**18


def draw(seed: int = 0, step: int = 0, stream: int = 0, n: int = N) -> Tensor:
    return uniform(torch.tensor([seed]), step, stream, (n,))[0]


def correlation(first: Tensor, second: Tensor) -> float:
    return torch.corrcoef(torch.stack([first, second]))[0, 1].item()


@pytest.mark.parametrize(
    ("seed", "step", "stream"), [(0, 0, 0), (7, 100, 3), (123_456_789, 99_999, 11)]
)
def test_it_is_uniform(seed, step, stream):
    numbers = draw(seed, step, stream)
    assert numbers.dtype == torch.float32
    for power in (1, 2, 3, 4):  # E[u^p] = 1 / (p + 1)
        deviation = math.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
        assert numbers.double().pow(power).mean().item() == pytest.approx(
            1 / (power + 1), abs=4.5 * deviation / math.sqrt(N)
        )
    counts = torch.histc(numbers, bins=64, min=0, max=1)
    assert ((counts - N / 64).square() / (N / 64)).sum() < 63 + 5 * math.sqrt(2 * 63)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"step": 1},
        {"stream": 1},
        {"seed": 2**40},
        {"step": 1, "stream": -1},
        {"seed": 1, "step": -1},
    ],
)
def test_neighbours_in_seed_step_and_stream_are_independent(other):
    here = {"seed": 5, "step": 5, "stream": 5}
    there = {key: here[key] + other.get(key, 0) for key in here}
    first, second = draw(**here), draw(**there)
    assert abs(correlation(first, second)) < 5 / math.sqrt(N)
    assert abs(correlation((first - 0.5).square(), (second - 0.5).square())) < 5 / math.sqrt(N)
    assert (first == second).sum() < 10


@pytest.mark.parametrize("lag", [1, 2, 64, 4096])
def test_neighbouring_places_are_independent(lag):
    numbers = draw()
    assert abs(correlation(numbers[:-lag], numbers[lag:])) < 5 / math.sqrt(N)


def test_first_numbers_of_many_steps_are_uniform_too():
    firsts = torch.stack([draw(step=step, n=1)[0] for step in range(4096)])
    assert firsts.mean().item() == pytest.approx(0.5, abs=5 / math.sqrt(12 * 4096))
    assert abs(correlation(firsts[:-1], firsts[1:])) < 5 / math.sqrt(4096)


def test_a_heads_numbers_are_the_same_alone_and_in_company():
    company = uniform(torch.tensor([3, 0, 8]), 17, 2, (4, 5))
    assert company.shape == (3, 4, 5)
    assert torch.equal(company[2], uniform(torch.tensor([8]), 17, 2, (4, 5))[0])
    assert torch.equal(company[2], uniform(torch.tensor([8, 3]), 17, 2, (20,))[0].view(4, 5))
    assert torch.equal(
        uniform(torch.tensor([8]), 17, 2, (7,))[0], company[2].flatten()[:7]
    )  # nor does a tensor's size matter
    assert not torch.equal(company[0], company[1])


def test_a_number_for_no_shape_at_all():
    assert uniform(torch.tensor([3, 4]), 0, 0, ()).shape == (2,)


def test_global_chance_is_neither_used_nor_moved():
    state = torch.random.get_rng_state()
    first = draw(n=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(draw(n=5), first)


@pytest.mark.parametrize(("seed", "step", "place"), [(558, 100, 8), (764, 143, 32), (20, 101, 336)])
def test_it_never_reaches_zero_or_one(seed, step, place):
    # Where all upper bits are 1: such a number comes once in 17 million, and at exactly 1 a
    # Gaussian made of it is infinite.
    numbers = draw(seed, step, n=place + 1)
    assert numbers[place] > 0.9999
    assert numbers.min() > 0 and numbers.max() < 1
    assert torch.erfinv(2 * numbers - 1).isfinite().all() and torch.logit(numbers).isfinite().all()
