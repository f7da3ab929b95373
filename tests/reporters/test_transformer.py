"""The transformer over levels: it finds a concept that is a product of two levels, which no linear
head can, and refuses a width that its heads do not divide.
"""

from functools import partial

import pytest
import torch
from torch.func import functional_call

from console.errors import UserError
from reporters.adam import minimise_with_adam
from reporters.layers import name_layers
from reporters.linear import Linear
from reporters.reporter import Reporter, count_units
from reporters.stack import Weights, describe_options
from reporters.transformer import LevelTransformer

LEVELS, WIDTH = 3, 4


def measure_accuracy(reporter: Reporter, steps: int) -> float:
    """Trains a head to say whether the first input has the same sign at two levels, and returns
    the share of right answers on other episodes.
    """
    rng = torch.Generator().manual_seed(0)
    z_NLD = torch.randn(1000, LEVELS, WIDTH, generator=rng)
    same_N = (z_NLD[:, 0, 0] * z_NLD[:, 2, 0] > 0).float()
    start = {name: value.detach() for name, value in reporter.named_parameters()}

    def compute_loss(weights: Weights, step: int) -> torch.Tensor:
        reading = functional_call(reporter, weights, (z_NLD[:700],))
        return reading.errors_N(same_N[:700]).mean()

    weights = minimise_with_adam(start, compute_loss, steps, 0.02)
    log_odds_N = functional_call(reporter, weights, (z_NLD[700:],)).log_odds_N
    return ((log_odds_N > 0) == (same_N[700:] > 0.5)).float().mean().item()


def test_it_finds_a_product_of_two_levels_that_no_linear_head_finds():
    torch.manual_seed(0)
    head = LevelTransformer(LEVELS, WIDTH, hidden=16, heads=2, blocks=1)
    assert measure_accuracy(name_layers(head, WIDTH, LEVELS), 200) > 0.85
    assert measure_accuracy(Linear(LEVELS, WIDTH), 200) < 0.6


def test_the_order_of_levels_matters_by_their_biases_alone():
    torch.manual_seed(0)
    head = LevelTransformer(LEVELS, WIDTH, hidden=8, heads=2, blocks=1).double().eval()
    z_NLD = torch.randn(5, LEVELS, WIDTH).double()
    torch.testing.assert_close(head(z_NLD.flip(1)).log_odds_N, head(z_NLD).log_odds_N)
    head.level_bias_LA.data.normal_()
    assert (head(z_NLD.flip(1)).log_odds_N - head(z_NLD).log_odds_N).abs().max() > 1e-3


def test_a_width_that_is_no_multiple_of_the_heads_is_refused():
    make = partial(LevelTransformer, LEVELS, WIDTH, blocks=1)
    make(hidden=8, heads=4)
    with pytest.raises(UserError, match=r"^reporter\.hidden: 10 is no multiple of .* Use 8\.$"):
        make(hidden=10, heads=4)


def test_hidden_units_as_many_as_the_width_are_not_taken_for_activations():
    """A head of which one input alone is read has one live input."""
    head = name_layers(LevelTransformer(LEVELS, 12, hidden=12, heads=2, blocks=1), 12, LEVELS)
    names = [name for name, _ in head.named_parameters()]
    assert [name for name in names if name.endswith("D")] == ["token.weight_HD"]
    units = count_units(head, LEVELS)
    whole, fewer = head.flops(units)[0], head.flops(units | {"D": 1})[0]
    assert whole - fewer == 2 * LEVELS * 12 * 11


def test_attention_pays_for_the_units_that_are_left():
    """Of queries and keys 8 units each are left, and of values 1."""
    head = name_layers(LevelTransformer(LEVELS, 4, hidden=8, heads=2, blocks=1), 4, LEVELS)
    attention = head.encoder.layers[0].self_attn
    rows, inner = attention.new_names["in_proj_weight"][-2:]
    outer, values = attention.out_proj.new_names["weight"][-2:]
    whole = attention.count_flops({rows: 24, inner: 8, outer: 8, values: 8})
    # Into queries, keys and values, and out; then scores and sums of each pair of levels.
    assert whole == 2 * LEVELS * (24 * 8 + 8 * 8) + 2 * LEVELS**2 * (8 + 8)
    left = attention.count_flops({rows: 17, inner: 8, outer: 8, values: 1})
    assert left == 2 * LEVELS * (17 * 8 + 8) + 2 * LEVELS**2 * (8 + 1)


def test_options_of_its_layers_tell_heads_apart():
    two, four = (LevelTransformer(LEVELS, 4, hidden=8, heads=n, blocks=1) for n in (2, 4))
    again = LevelTransformer(LEVELS, 4, hidden=8, heads=2, blocks=1)
    assert describe_options(two) == describe_options(again) != describe_options(four)
