"""FLOPs of reporters: counted by hand, as a reporter states them, and as torch counts them; and a
head without its closed units has the FLOPs of its remaining units and gives the same answers.

N: episodes, L: levels, D: width, A: units of a query, H: hidden units.
"""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from configs.build import bind
from reporters.layers import name_layers
from reporters.reporter import Reading, Reporter, count_units, is_weight, parse_axes
from tests.reporters.made import count_flops, load_choice


class Case(NamedTuple):
    """A small reporter, and its FLOPs an episode until each exit."""

    n_levels: int
    values: dict[str, Any]
    flops: list[int]


WIDTH = 5
BY_HAND = {
    # 2 · 5
    "linear": Case(1, {}, [10]),
    "mean_difference": Case(1, {}, [10]),
    "logistic": Case(1, {}, [10]),
    "lda": Case(1, {}, [10]),
    # tokens 3 · 2 · 5 · 4 = 120; queries, keys and values 3 · 2 · 4 · 12 = 288, scores and sums
    # 2 · 2 · 3 · 3 · 4 = 144, output 3 · 2 · 4 · 4 = 96, hidden 2 · 3 · 2 · 4 · 8 = 384; answer 8
    "transformer": Case(3, {"hidden": 4, "heads": 2, "blocks": 1}, [1040]),
    # 2 · 4 · 5 + 2 · 4
    "mlp": Case(1, {"hidden": 4}, [48]),
    # two rows of 5 at each level
    "layered": Case(3, {}, [20, 40, 60]),
    # tokens 2 · 3 · 5 · 4 = 120; at each step 32 + 48 + 64 + 64 + 16 = 224
    "attention": Case(3, {"hidden": 4, "steps": 2}, [344, 568]),
    # inputs 2 · 4 · 5 = 40, both operands of three gates among 4 places 48 and of three among 7
    # places 84, the output among 10 places 20
    "logic": Case(1, {"thresholds": 4, "layers": 2, "nodes": 3}, [192]),
}


def build_small(name: str) -> Reporter:
    """Returns the reporter of BY_HAND, with random parameters in float64."""
    case = BY_HAND[name]
    rng = torch.Generator().manual_seed(0)
    make = bind(load_choice("reporter", name) | case.values, "reporter", "n_levels", "width")
    reporter = make(n_levels=case.n_levels, width=WIDTH)
    reporter = name_layers(reporter, WIDTH, case.n_levels).double()
    for parameter in reporter.parameters():
        parameter.data.normal_(generator=rng)
    return reporter.requires_grad_(False)


def draw_activations(name: str, n: int) -> Tensor:
    """Returns z_NLD for the reporter of BY_HAND."""
    rng = torch.Generator().manual_seed(1)
    return torch.randn(n, BY_HAND[name].n_levels, WIDTH, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_reporter_states_the_flops_counted_by_hand(name):
    reporter = build_small(name)
    assert reporter.flops(count_units(reporter, BY_HAND[name].n_levels)) == BY_HAND[name].flops


@pytest.mark.parametrize("name", BY_HAND)
def test_torch_counts_the_same_flops_for_the_last_exit(name):
    by_hand = BY_HAND[name].flops[-1]
    assert count_flops(build_small(name), draw_activations(name, n=1)) == by_hand
    assert count_flops(build_small(name), draw_activations(name, n=7)) == 7 * by_hand


@pytest.mark.parametrize("name", BY_HAND)
def test_the_numbers_of_units_may_be_tensors_over_several_heads(name):
    reporter = build_small(name)
    sizes = count_units(reporter, BY_HAND[name].n_levels)
    doubled: dict[str, Any] = {}
    for letter, size in sizes.items():
        doubled[letter] = size if letter == "L" else torch.tensor([float(size), 2.0 * size])
    for flops, by_hand in zip(reporter.flops(doubled), BY_HAND[name].flops, strict=True):
        assert flops[0] == by_hand
        assert flops[1] >= 2 * by_hand


class Smaller(nn.Module):
    """A head without its closed units: its weights and its inputs are sliced to the live units."""

    def __init__(self, reporter: Reporter, live: dict[str, list[int]]) -> None:
        super().__init__()
        self.reporter = reporter
        self.live = live
        self.weights = {
            name: self._slice(name, value) for name, value in reporter.named_parameters()
        }

    def _slice(self, name: str, value: Tensor) -> Tensor:
        for i, letter in enumerate(parse_axes(name)):
            if letter in self.live:
                value = value.index_select(i, torch.tensor(self.live[letter]))
        return value

    def forward(self, z_NLD: Tensor) -> Reading:
        return functional_call(self.reporter, self.weights, (z_NLD[:, :, self.live["D"]],))


def close_units(reporter: Reporter, live: dict[str, list[int]]) -> Reporter:
    """Sets every weight of a closed unit to 0, as in a finished head under a speed prior."""
    for name, value in reporter.named_parameters():
        for i, letter in enumerate(parse_axes(name) if is_weight(name) else ""):
            if letter in live:
                closed = [unit for unit in range(value.shape[i]) if unit not in live[letter]]
                value.data.index_fill_(i, torch.tensor(closed), 0.0)
    return reporter


LIVE = {
    "linear": ({"D": [0, 3]}, [4]),
    "mlp": ({"D": [0, 3], "H": [1, 2, 3]}, [18]),
    "layered": ({"D": [0, 3]}, [8, 16, 24]),
    # tokens 2 · 3 · 2 · 2 = 24; at each step 8 + 24 + 24 + 36 + 12 = 104
    "attention": ({"D": [0, 3], "A": [1, 2], "H": [0, 2, 3]}, [128, 232]),
}
"""The live units of the small head, and its FLOPs by hand."""


@pytest.mark.parametrize("name", LIVE)
def test_a_head_without_closed_units_spends_less_and_gives_the_same_answers(name):
    live, by_hand = LIVE[name]
    whole = close_units(build_small(name), live)
    smaller, z_NLD = Smaller(whole, live), draw_activations(name, n=7)
    sizes = count_units(whole, BY_HAND[name].n_levels)
    sizes |= {letter: len(indices) for letter, indices in live.items()}
    assert whole.flops(sizes) == by_hand
    assert count_flops(smaller, z_NLD) == 7 * by_hand[-1]
    torch.testing.assert_close(smaller(z_NLD)[:2], whole(z_NLD)[:2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LIVE)
def test_a_head_without_a_live_unit_gives_other_answers(name):
    live, _ = LIVE[name]
    whole, z_NLD = close_units(build_small(name), live), draw_activations(name, n=7)
    smaller = Smaller(whole, live | {"D": [0]})
    assert not torch.allclose(smaller(z_NLD).log_odds_NT, whole(z_NLD).log_odds_NT)
