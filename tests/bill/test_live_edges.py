"""Circuits whose live edges and units can be counted by eye."""

import pytest
import torch
from torch import Tensor

from bill.live_edges import count_edges, count_live_units, find_live_edges
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.bill.made import normal

N = 400


def live(reporter: Reporter, weights: Weights, z_NLD: Tensor) -> Weights:
    return find_live_edges(reporter, weights, z_NLD, normal(len(z_NLD), seed=9))


def edges(reporter: Reporter, weights: Weights, z_NLD: Tensor) -> int:
    return int(count_edges(live(reporter, weights, z_NLD)))


def test_a_linear_head_has_as_many_edges_as_weights_that_are_not_zero():
    weights = {"weight_1D": torch.zeros(1, 12), "bias": torch.tensor(1.0)}
    weights["weight_1D"][0, [0, 3, 4, 7, 11]] = torch.tensor([1.0, -2.0, 0.001, 5.0, -1e-6])
    assert edges(Linear(1, 12), weights, normal(N, 1, 12)) == 5


def test_an_edge_from_an_input_that_never_varies_from_zero_is_dead():
    z_NLD = normal(N, 1, 4)
    z_NLD[:, :, 2] = 0
    weights = {"weight_1D": torch.ones(1, 4), "bias": torch.tensor(0.0)}
    assert edges(Linear(1, 4), weights, z_NLD) == 3


def hand_built() -> Weights:
    """Unit 0 has two edges in and one out; unit 1 has no edges in; unit 2 has none out."""
    return {
        "inner_HD": torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
        "inner_bias_H": torch.zeros(3),
        "outer_1H": torch.tensor([[1.0, 1.0, 0.0]]),
        "outer_bias": torch.tensor(0.5),
    }


def test_only_edges_on_a_live_path_count():
    assert edges(MLP(1, 3, hidden=3), hand_built(), normal(N, 1, 3)) == 2 + 1


def test_edges_come_alive_with_what_they_need():
    heard, fed = hand_built(), hand_built()
    heard["outer_1H"][0, 2] = 0.1
    fed["inner_bias_H"][1] = 1.0
    assert edges(MLP(1, 3, hidden=3), heard, normal(N, 1, 3)) == 3 + 3 + 1
    # A unit that reports its bias is heard.
    assert edges(MLP(1, 3, hidden=3), fed, normal(N, 1, 3)) == 3 + 1


def layered(levels: int, stops: list[float]) -> tuple[Layered, Weights]:
    head = Layered(levels, 8)
    weights = {"weight_L2D": normal(levels, 2, 8, seed=1), "bias_2L": torch.zeros(2, levels)}
    weights["bias_2L"][1, : levels - 1] = torch.tensor(stops)
    return head, weights


def test_levels_that_are_never_reached_have_no_live_edges():
    head, weights = layered(4, [20.0, 0.0, 0.0])
    z_NLD = normal(N, 4, 8)
    assert edges(head, weights, z_NLD) == 2 * 8
    weights["weight_L2D"][1:] = 0
    assert edges(head, weights, z_NLD) == 2 * 8


@pytest.mark.parametrize("n", [1, 3, 10, 300])
@pytest.mark.parametrize("stop", [-3.0, -12.0])
def test_a_head_that_reads_to_the_end_uses_all_it_reads_and_all_that_lets_it_go_on(n, stop):
    head, weights = layered(3, [stop, stop])
    # Every head stops at the last level: the edges that halt there are dead.
    assert edges(head, weights, normal(n, 3, 8)) == 3 * 8 + 2 * 8


def test_a_head_that_cannot_stop_early_has_no_edges_that_halt():
    head, weights = layered(2, [-3.0])
    weights["weight_L2D"][:, 1] = 0
    assert edges(head, weights, normal(N, 2, 8)) == 2 * 8


def test_units_are_live_where_an_edge_is():
    units = count_live_units(live(MLP(1, 3, hidden=3), hand_built(), normal(N, 1, 3)))
    # The second input goes to the unit whose output nothing reads.
    assert {letter: int(size) for letter, size in units.items()} == {"H": 1, "D": 2}


def test_a_level_is_no_unit():
    head, weights = layered(3, [-3.0, -3.0])
    weights["weight_L2D"][:, :, 5:] = 0
    units = count_live_units(live(head, weights, normal(N, 3, 8)))
    assert {letter: int(size) for letter, size in units.items()} == {"D": 5}
