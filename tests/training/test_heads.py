"""Finished heads: read in parts as at once, every table in one order, a standardiser that survives
what never varies.
"""

import pytest
import torch
from torch import Tensor

import training.heads
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.reporter import Reporter
from reporters.stack import Weights
from reporters.standardiser import compute_standardiser
from training.heads import Heads

WIDTH, LEVELS, SEEDS, STRENGTHS = 3, (2, 5, 9), (10, 11), (0.5, 1.0, 2.0, 4.0)


def heads(reporter: Reporter, weights: Weights) -> Heads:
    """Returns a population whose activations have mean 1 and standard deviation 2."""
    mean_LD, std_LD = torch.ones(len(LEVELS), WIDTH), torch.full((len(LEVELS), WIDTH), 2.0)
    return Heads(reporter, weights, mean_LD, std_LD, LEVELS, SEEDS, STRENGTHS, torch.zeros(0))


def linear(seed: int = 0) -> Heads:
    chance, grid = torch.Generator().manual_seed(seed), (len(LEVELS), len(SEEDS), len(STRENGTHS))
    return heads(
        Linear(1, WIDTH),
        {
            "weight_1D": torch.randn(*grid, 1, WIDTH, generator=chance),
            "bias": torch.randn(*grid, generator=chance),
        },
    )


def layered(seed: int = 0) -> Heads:
    chance, grid = torch.Generator().manual_seed(seed), (1, len(SEEDS), len(STRENGTHS))
    weight = torch.randn(*grid, len(LEVELS), 2, WIDTH, generator=chance)
    return heads(
        Layered(len(LEVELS), WIDTH),
        {"weight_L2D": weight, "bias_2L": torch.randn(*grid, 2, len(LEVELS), generator=chance)},
    )


def activations(n: int = 50) -> Tensor:
    return torch.randn(n, len(LEVELS), WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("population", [linear(), layered()], ids=["linear", "layered"])
@pytest.mark.parametrize("chunk", [1, 7 * 24 * 9, 13 * 8 * 9])
def test_reading_in_parts_is_reading_at_once(population, chunk, monkeypatch):
    at_once = population.read(activations())
    monkeypatch.setattr(training.heads, "CHUNK", chunk)
    in_parts = population.read(activations())
    for whole, part in zip(at_once, in_parts, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-6)


def test_every_linear_head_predicts_what_its_row_of_the_table_would():
    population, z_NLD = linear(), activations()
    predictions = population.read(z_NLD)
    assert len(population.table) == len(predictions.log_odds_KN) == 3 * 2 * 4
    for k, (levels, seed, strength) in enumerate(population.table):
        place = LEVELS.index(levels[0]), SEEDS.index(seed), STRENGTHS.index(strength)
        weight_D, bias = (
            population.weights["weight_1D"][place][0],
            population.weights["bias"][place],
        )
        torch.testing.assert_close(
            predictions.log_odds_KN[k], (z_NLD[:, place[0]] - 1) / 2 @ weight_D + bias
        )
        assert (predictions.level_KN[k] == levels[0]).all()
        assert (predictions.exit_KN[k] == 0).all()


def test_every_layered_head_predicts_what_its_row_of_the_table_would():
    population, z_NLD = layered(), activations()
    predictions = population.read(z_NLD)
    assert population.groups == (LEVELS,)
    for k, (levels, seed, strength) in enumerate(population.table):
        place = 0, SEEDS.index(seed), STRENGTHS.index(strength)
        alone = torch.func.functional_call(
            population.reporter,
            {name: value[place] for name, value in population.weights.items()},
            ((z_NLD - 1) / 2,),
        )
        torch.testing.assert_close(predictions.log_odds_KN[k], alone.log_odds_N)
        assert predictions.level_KN[k].tolist() == [levels[exit] for exit in alone.exit_N.tolist()]
        assert torch.equal(predictions.exit_KN[k], alone.exit_N)
    assert predictions.level_KN.unique().tolist() == list(LEVELS)


def test_standardised_activations_have_mean_zero_and_deviation_one():
    z_NLD = activations(1000) * 3 + 7
    mean_LD, std_LD = compute_standardiser(z_NLD)
    standard = (z_NLD - mean_LD) / std_LD
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(3, WIDTH), rtol=0, atol=1e-5)
    torch.testing.assert_close(standard.std(dim=0), torch.ones(3, WIDTH))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1000.1, -3e4])
def test_a_dimension_that_never_varies_stays_at_zero_and_keeps_its_scale(constant):
    z_NLD = activations(4096)
    z_NLD[:, 1, 2] = constant
    mean_LD, std_LD = compute_standardiser(z_NLD)
    assert std_LD[1, 2] == 1
    assert ((z_NLD - mean_LD) / std_LD)[:, 1, 2].abs().max() <= 1e-6 * abs(constant)
    assert (std_LD.flatten()[torch.arange(9) != 5] != 1).all()


def test_levels_are_standardised_each_by_itself():
    z_NLD = activations()
    alone = torch.cat(
        [torch.stack(compute_standardiser(z_NLD[:, [level]])) for level in range(3)], dim=1
    )
    torch.testing.assert_close(torch.stack(compute_standardiser(z_NLD)), alone)
