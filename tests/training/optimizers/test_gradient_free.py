"""Optimizers without gradients: they refuse heads that are too large, and each does what its name
says on one number.
"""

import math

import pytest
import torch
from torch import Tensor

from configs.build import build_parts
from console.errors import UserError
from priors.none import NoPrior
from reporters.linear import Linear
from tests.configs.test_build import read_config
from tests.training.made import optimizer
from training.optimizers.annealing import Jumps
from training.optimizers.evolution import Candidates, compute_utilities
from training.optimizers.gradient_free import GradientFree
from training.solve import check_optimizer

SEED_S = torch.arange(200)


@pytest.mark.parametrize("name", ["annealing", "evolution"])
def test_heads_of_too_many_numbers_are_refused_and_smaller_ones_are_not(name):
    optimizer(name).check(NoPrior(), Linear(1, 64))
    message = (
        rf"optimizer: {name} finds at most \d+ numbers at random, and a head of Linear has 10001"
    )
    with pytest.raises(UserError, match=message):
        optimizer(name).check(NoPrior(), Linear(1, 10_000))


@pytest.mark.parametrize(
    ("choice", "is_refused"),
    [("training=default", True), ("training=convex", False)],
)
def test_only_an_optimizer_that_is_used_refuses_a_head(choice, is_refused):
    parts = build_parts(read_config("optimizer=evolution", choice))
    if is_refused:
        with pytest.raises(UserError, match="optimizer: evolution"):
            check_optimizer(parts, Linear(1, 10_000), 1, 10_000)
    else:
        check_optimizer(parts, Linear(1, 10_000), 1, 10_000)


# One number of each of 200 heads, which pay what is said.


def start(value: float) -> Tensor:
    return torch.nn.Parameter(torch.full((1, len(SEED_S), 1), value, dtype=torch.float64))


def group(parameter: Tensor, remaining: float = 1.0) -> list[dict]:
    return [{"params": [parameter], "lr": 0.5 * remaining, "initial_lr": 0.5}]


def jump(temperature: float, remaining: float, slope: float, loss: float = 1.0) -> Tensor:
    """Returns how far each head has jumped from 1, where it pays the slope times its number."""
    parameter = start(1.0)
    jumps = Jumps(group(parameter, remaining), SEED_S, None, temperature)
    jumps.step(lambda: (slope * parameter.detach(), torch.full(parameter.shape, loss).double()))
    return (parameter.detach() - 1).flatten()


def test_without_temperature_only_jumps_downhill_are_taken():
    jumped_S = jump(0.0, 1.0, slope=1.0)
    assert (jumped_S <= 0).all()
    assert (jumped_S < 0).double().mean() == pytest.approx(0.5, abs=0.1)


def test_uphill_jumps_are_taken_with_the_chance_of_metropolis():
    # A jump of half a standard normal number uphill at temperature .5 is taken with exp(-|z|), and
    # half of the jumps are downhill: 1/2 + E exp(-|z|) / 2 = 1/2 + e^(1/2) Φ(-1).
    expected = 0.5 + math.exp(0.5) * 0.5 * math.erfc(1 / math.sqrt(2))
    taken_S = jump(0.5, 1.0, slope=1.0) != 0
    assert taken_S.double().mean() == pytest.approx(expected, abs=0.08)


def test_jumps_become_shorter_and_fewer_with_time():
    early_S, late_S = jump(0.5, 1.0, slope=1.0), jump(0.5, 0.1, slope=1.0)
    assert late_S.abs().max() < 0.2 * early_S.abs().max()
    assert (late_S != 0).sum() < (early_S != 0).sum()


def test_jumps_are_longer_where_the_loss_is_high():
    low_S, high_S = (jump(0.0, 1.0, slope=0.0, loss=loss) for loss in (0.1, 1.0))
    assert (high_S != 0).all()
    torch.testing.assert_close(low_S * 10, high_S)


def evolve(loss, n_steps: int, value: float) -> tuple[Tensor, Tensor]:
    """Returns the numbers of heads, and the spread of their candidates."""
    parameter = start(value)
    candidates = Candidates(group(parameter), SEED_S, None, 8)
    for _ in range(n_steps):
        candidates.step(lambda: (loss(parameter.detach()), loss(parameter.detach())))
    return parameter.detach().flatten(), candidates.state[parameter]["spread"].flatten()


def test_candidates_spread_on_a_slope_and_gather_in_a_valley():
    numbers_S, spread_S = evolve(torch.exp, 20, value=0.0)
    assert (numbers_S < -2).all() and (spread_S > 0.5).all()
    numbers_S, spread_S = evolve(torch.square, 20, value=1.0)
    assert (numbers_S.abs() < 0.05).all() and (spread_S < 0.05).all()


def test_the_better_half_of_the_candidates_pulls():
    utility_C = compute_utilities(16)
    assert (utility_C[:-1] >= utility_C[1:]).all()
    torch.testing.assert_close(utility_C.sum(), torch.tensor(0.0), rtol=0, atol=1e-6)
    assert (utility_C[8:] == -1 / 16).all()


def test_random_numbers_are_normal_and_differ_by_step_seed_and_draw():
    parameter = torch.nn.Parameter(torch.zeros(1, 200, 1, 50))
    source = GradientFree(group(parameter), SEED_S, None)
    first = source.draw_normal(0)[0]
    assert first.mean().abs() < 0.03 and (first.std() - 1).abs() < 0.03
    second = source.draw_normal(1)[0]
    source.end_step()
    third = source.draw_normal(0)[0]
    for one, other in ((first, second), (first, third), (first[:-1], first[1:])):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs() < 0.05
