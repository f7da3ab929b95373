"""The layered head: it halts at the median, uses no level after the one where it stops, and starts
with even halting.
"""

import math

import pytest
import torch

from reporters.layered import Layered
from reporters.reporter import count_units

LEVELS, WIDTH = 4, 64


@pytest.fixture
def z_NLD():
    return torch.randn(50, LEVELS, WIDTH, generator=torch.Generator().manual_seed(0))


def build_with_halting(probabilities: list[float]) -> Layered:
    """Returns a head that stops with these probabilities whatever it reads, and whose log-odds at
    its exits are 1, 2, 3, ... nats.
    """
    n_exits = len(probabilities)
    head = Layered(n_exits, WIDTH)
    stop = []
    for i, probability in enumerate(probabilities[:-1]):
        later = sum(probabilities[i + 1 :])
        stop.append(math.log(probability / later))
    with torch.no_grad():
        head.weight_L2D.zero_()
        head.bias_2L.copy_(torch.tensor([[1.0 + i for i in range(n_exits)], [*stop, 0.0]]))
    return head


def build_random(levels: int, seed: int) -> Layered:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Layered(levels, WIDTH)


@pytest.mark.parametrize(
    ("probabilities", "exit"),
    [
        ([0.2, 0.2, 0.3, 0.3], 2),
        ([0.6, 0.2, 0.1, 0.1], 0),
        ([0.2, 0.4, 0.2, 0.2], 1),
        ([0.2, 0.2, 0.05, 0.55], 3),
        ([0.5, 0.2, 0.2, 0.1], 0),
    ],
)
def test_it_stops_at_the_median_of_its_halting_distribution(probabilities, exit, z_NLD):
    reading = build_with_halting(probabilities)(z_NLD)
    torch.testing.assert_close(reading.halt_NT, torch.tensor(probabilities).expand(50, -1))
    assert (reading.exit_N == exit).all()
    assert (reading.log_odds_N == 1 + exit).all()


def test_a_head_that_always_stops_at_once_reads_one_level(z_NLD):
    head = build_random(LEVELS, seed=0)
    with torch.no_grad():
        head.bias_2L[1, 0] = 20.0
    changed_NLD = z_NLD.clone()
    changed_NLD[:, 1:] = 100.0
    reading = head(z_NLD)
    assert (reading.exit_N == 0).all()
    assert (reading.levels_T[reading.exit_N] == 1).all()
    assert torch.equal(head(changed_NLD).log_odds_N, reading.log_odds_N)


def test_a_head_that_never_stops_early_reads_the_last_level(z_NLD):
    head = build_random(LEVELS, seed=0)
    with torch.no_grad():
        head.bias_2L[1] = -20.0
    changed_NLD = z_NLD.clone()
    changed_NLD[:, -1] += 1.0
    reading = head(z_NLD)
    assert (reading.levels_T[reading.exit_N] == LEVELS).all()
    assert not torch.isclose(head(changed_NLD).log_odds_N, reading.log_odds_N).any()


@pytest.mark.parametrize("levels", [1, 2, 5, 9])
def test_it_starts_with_the_same_probability_of_stopping_at_each_level(levels):
    z_NLD = torch.randn(100, levels, WIDTH, generator=torch.Generator().manual_seed(0))
    halt_T = torch.zeros(levels)
    for seed in range(50):
        halt_T += build_random(levels, seed)(z_NLD).halt_NT.mean(dim=0) / 50
    torch.testing.assert_close(halt_T, torch.full((levels,), 1 / levels), rtol=0.1, atol=0)


def test_each_exit_costs_as_much_as_a_whole_head_of_that_many_levels():
    head = build_random(LEVELS, seed=0)
    whole = [head.flops(count_units(head, levels))[-1] for levels in range(1, LEVELS + 1)]
    assert head.flops(count_units(head, LEVELS)) == whole
