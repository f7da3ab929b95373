"""The layered head: it halts at the median, reads no further than where it stops, and begins
even-handed.
"""

import math

import pytest
import torch

from reporters.layered import Layered
from reporters.reporter import units

LEVELS, WIDTH = 4, 64


@pytest.fixture
def z_NLD():
    return torch.randn(50, LEVELS, WIDTH, generator=torch.Generator().manual_seed(0))


def with_halting(probabilities: list[float]) -> Layered:
    """Returns a head that stops with these probabilities whatever it reads, and says 1, 2, 3, ...
    nats at its exits.
    """
    head = Layered(len(probabilities), WIDTH)
    left = [sum(probabilities[i:]) for i in range(len(probabilities))]
    stop = [math.log(p / (rest - p)) for p, rest in zip(probabilities[:-1], left, strict=False)]
    with torch.no_grad():
        head.weight_L2D.zero_()
        head.bias_2L.copy_(
            torch.tensor([[1.0 + i for i in range(len(probabilities))], [*stop, 0.0]])
        )
    return head


def seeded(levels: int, seed: int) -> Layered:
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
    reading = with_halting(probabilities)(z_NLD)
    torch.testing.assert_close(reading.halt_NT, torch.tensor(probabilities).expand(50, -1))
    assert (reading.exit_N == exit).all()
    assert (reading.log_odds_N == 1 + exit).all()


def test_told_to_stop_at_once_it_reads_one_level_only(z_NLD):
    head, deeper_NLD = seeded(LEVELS, 0), z_NLD.clone()
    with torch.no_grad():
        head.bias_2L[1, 0] = 20.0
    deeper_NLD[:, 1:] = 100.0
    reading = head(z_NLD)
    assert (reading.exit_N == 0).all() and (reading.levels_T[reading.exit_N] == 1).all()
    assert torch.equal(head(deeper_NLD).log_odds_N, reading.log_odds_N)


def test_told_never_to_stop_it_reads_to_the_last_level(z_NLD):
    head, deeper_NLD = seeded(LEVELS, 0), z_NLD.clone()
    with torch.no_grad():
        head.bias_2L[1] = -20.0
    deeper_NLD[:, -1] += 1.0
    reading = head(z_NLD)
    assert (reading.levels_T[reading.exit_N] == LEVELS).all()
    assert not torch.isclose(head(deeper_NLD).log_odds_N, reading.log_odds_N).any()


@pytest.mark.parametrize("levels", [1, 2, 5, 9])
def test_it_begins_with_an_even_chance_to_stop_at_each_level(levels):
    z_NLD = torch.randn(100, levels, WIDTH, generator=torch.Generator().manual_seed(0))
    halt_T = torch.stack(
        [seeded(levels, seed)(z_NLD).halt_NT.mean(dim=0) for seed in range(50)]
    ).mean(dim=0)
    torch.testing.assert_close(halt_T, torch.full((levels,), 1 / levels), rtol=0.1, atol=0)


def test_each_exit_costs_what_a_head_of_so_many_levels_costs_in_full():
    head = seeded(LEVELS, 0)
    assert head.flops(units(head, LEVELS)) == [
        head.flops(units(head, levels))[-1] for levels in range(1, LEVELS + 1)
    ]
