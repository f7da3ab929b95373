"""FLOPs: by hand, as a reporter says them, and as torch counts them; and a head that is made
smaller has so many and answers the same.

N: episodes, L: levels, D: width, A: units of a query, H: hidden units.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from configs.build import maker
from reporters.flops import counted
from reporters.reporter import Reporter, axes, is_weight, units
from tests.reporters.made import choice

BY_HAND = {
    # 2 · 5
    "linear": (1, 5, {}, [10]),
    "mean_difference": (1, 5, {}, [10]),
    # 2 · 4 · 5 + 2 · 4
    "mlp": (1, 5, {"hidden": 4}, [48]),
    # two rows of 5 at each level
    "layered": (3, 5, {}, [20, 40, 60]),
    # projected once 2 · 3 · 5 · 4 = 120; at each step 32 + 48 + 64 + 64 + 16 = 224
    "attention": (3, 5, {"hidden": 4, "steps": 2}, [344, 568]),
    # inputs 2 · 4 · 5, both operands of three gates among 4 places 48 and of three among 7 84, the
    # output among 10 20
    "logic": (1, 5, {"thresholds": 4, "layers": 2, "nodes": 3}, [192]),
}
"""Levels, width, what else a reporter is given, and its FLOPs an episode until each exit."""


def small(name: str) -> Reporter:
    """Returns a reporter of the size that BY_HAND is about, its parameters drawn at random in
    float64.
    """
    n_levels, width, changed, _ = BY_HAND[name]
    chance = torch.Generator().manual_seed(0)
    reporter = maker(choice("reporter", name) | changed, "reporter", "n_levels", "width")(
        n_levels=n_levels, width=width
    ).double()
    for parameter in reporter.parameters():
        parameter.data.normal_(generator=chance)
    return reporter.requires_grad_(False)


def given(name: str, n: int) -> Tensor:
    """Returns z_NLD for such a reporter."""
    return torch.randn(
        n, *BY_HAND[name][:2], generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


@pytest.mark.parametrize("name", BY_HAND)
def test_a_reporter_says_the_flops_that_a_hand_counts(name):
    assert small(name).flops(units(small(name), BY_HAND[name][0])) == BY_HAND[name][3]


@pytest.mark.parametrize("name", BY_HAND)
def test_torch_counts_those_of_the_last_exit(name):
    assert counted(small(name), given(name, n=1)) == BY_HAND[name][3][-1]
    assert counted(small(name), given(name, n=7)) == 7 * BY_HAND[name][3][-1]


@pytest.mark.parametrize("name", BY_HAND)
def test_so_many_units_may_be_numbers_of_several_heads(name):
    sizes = units(small(name), BY_HAND[name][0])
    doubled = {
        letter: torch.tensor([float(size), 2.0 * size])
        for letter, size in sizes.items()
        if letter != "L"
    } | {"L": sizes["L"]}
    for flops, one in zip(small(name).flops(doubled), BY_HAND[name][3], strict=True):
        assert flops[0] == one
        assert flops[1] >= 2 * one


class Smaller(nn.Module):
    """A head without the units that a gate of 0 has closed: sliced weights, on the inputs that are
    left.
    """

    def __init__(self, reporter: Reporter, live: dict[str, list[int]]) -> None:
        super().__init__()
        self.reporter, self.live = reporter, live
        self.weights = {
            name: self._sliced(name, value) for name, value in reporter.named_parameters()
        }

    def _sliced(self, name: str, value: Tensor) -> Tensor:
        for i, letter in enumerate(axes(name)):
            value = (
                value.index_select(i, torch.tensor(self.live[letter]))
                if letter in self.live
                else value
            )
        return value

    def forward(self, z_NLD: Tensor) -> object:
        return functional_call(self.reporter, self.weights, (z_NLD[:, :, self.live["D"]],))


def gated(reporter: Reporter, live: dict[str, list[int]]) -> Reporter:
    """Sets every weight of a closed unit to 0, as a finished head under a speed prior has them."""
    for name, value in reporter.named_parameters():
        for i, letter in enumerate(axes(name) if is_weight(name) else ""):
            if letter in live:
                closed = [unit for unit in range(value.shape[i]) if unit not in live[letter]]
                value.data.index_fill_(i, torch.tensor(closed), 0.0)
    return reporter


LIVE = {
    "linear": ({"D": [0, 3]}, [4]),
    "mlp": ({"D": [0, 3], "H": [1, 2, 3]}, [18]),
    "layered": ({"D": [0, 3]}, [8, 16, 24]),
    # once 2 · 3 · 2 · 2 = 24; at each step 8 + 24 + 24 + 36 + 12 = 104
    "attention": ({"D": [0, 3], "A": [1, 2], "H": [0, 2, 3]}, [128, 232]),
}
"""Which units are left of the small head, and its FLOPs by hand."""


@pytest.mark.parametrize("name", LIVE)
def test_a_head_made_smaller_spends_what_its_units_say_and_answers_the_same(name):
    live, by_hand = LIVE[name]
    whole = gated(small(name), live)
    smaller, z_NLD = Smaller(whole, live), given(name, n=7)
    sizes = units(whole, BY_HAND[name][0]) | {letter: len(left) for letter, left in live.items()}
    assert whole.flops(sizes) == by_hand
    assert counted(smaller, z_NLD) == 7 * by_hand[-1]
    torch.testing.assert_close(smaller(z_NLD)[:2], whole(z_NLD)[:2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LIVE)
def test_a_head_that_loses_a_live_unit_answers_something_else(name):
    live, _ = LIVE[name]
    whole, z_NLD = gated(small(name), live), given(name, n=7)
    lost = Smaller(whole, live | {"D": [0]})
    assert not torch.allclose(lost(z_NLD).log_odds_NT, whole(z_NLD).log_odds_NT)


@pytest.fixture
def layer_of_a_transformer():
    return nn.TransformerEncoderLayer(
        16, nhead=2, dim_feedforward=224, batch_first=True
    ).eval(), torch.randn(4, 10, 16)


def test_a_transformer_layer_is_counted_in_full(layer_of_a_transformer):
    # queries, keys, values and output 2 · 40 · 16 · 64; feed-forward 2 · 2 · 40 · 16 · 224; q · k
    # and attention · v 2 · 2 · 4 · 10 · 10 · 16
    assert 81_920 + 573_440 + 25_600 == 680_960
    assert counted(*layer_of_a_transformer) == 680_960


def test_torchs_counter_alone_gets_it_wrong(layer_of_a_transformer):
    layer, z = layer_of_a_transformer
    with torch.no_grad(), FlopCounterMode(display=False) as fast_path:
        layer(z)
    with FlopCounterMode(display=False) as no_attention:  # gradients take it off the fast path
        layer(z)
    assert fast_path.get_total_flops() == 0
    assert no_attention.get_total_flops() == 680_960 - 25_600


def test_counting_changes_no_setting(layer_of_a_transformer):
    layer, z = layer_of_a_transformer
    before = torch.backends.mha.get_fastpath_enabled()
    counted(layer.train(), z)
    assert layer.training and torch.backends.mha.get_fastpath_enabled() is before

    def fails(_: Tensor) -> None:
        raise ValueError

    layer.forward = fails
    with pytest.raises(ValueError):  # noqa: PT011
        counted(layer, z)
    assert layer.training and torch.backends.mha.get_fastpath_enabled() is before
