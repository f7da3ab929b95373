"""Prune and refit: planted circuits come back edge for edge, an XOR in seven edges or fewer, and
no edge is taken out that is worth its price.
"""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from bill.live_edges import count_edges, find_live_edges
from priors.circuit_size import CircuitSize
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.stack import Weights, map_over_heads
from tests.training.made import accuracy, planted, population
from training.examples import Examples
from training.heads import Heads
from training.prune import prune_edges

WIDTH = 64


def circuit(
    trainer,
    folder,
    make,
    examples: Examples,
    held_out: Examples,
    strengths: tuple[float, ...],
    seeds: int,
    **changed,
) -> Heads:
    prior = CircuitSize(log_alpha=2.0, prune=True)
    return population(
        trainer,
        folder / "fit",
        make,
        prior,
        examples,
        held_out,
        seeds=range(seeds),
        strengths=strengths,
        **changed,
    )


FAST = [(64, 3, 0), (64, 12, 2)]
SLOW = [(64, 6, 1)] + [(w, n, seed) for w in (256, 576) for seed, n in enumerate((3, 6, 12))]
CIRCUITS = FAST + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]


@pytest.mark.parametrize(("width", "inputs", "seed"), CIRCUITS)
def test_planted_circuits_come_back_edge_for_edge_at_strengths_two_and_four(
    width, inputs, seed, trainer, tmp_path
):
    examples = planted(2000, inputs, width, noise=1.0, seed=10 * seed)
    held_out = planted(1000, inputs, width, noise=1.0, seed=10 * seed + 1)
    strengths = (2.0, 4.0)
    heads = circuit(
        trainer, tmp_path, Linear, examples, held_out, strengths, seeds=1, batch_size=200
    )
    live_MD = heads.weights["weight_1D"][0, 0, :, 0] != 0
    assert live_MD.nonzero()[:, 1].tolist() == 2 * list(range(inputs))


def xor(n: int, seed: int) -> Examples:
    z_NLD = torch.randint(2, (n, 1, WIDTH), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    return Examples(z_NLD, (z_NLD[:, 0, 0] * z_NLD[:, 0, 1] > 0).float())


def edges(heads: Heads, examples: Examples) -> Tensor:
    z_NLD = (examples.z_NLD - heads.mean_LD) / heads.std_LD
    sign_N = torch.randn(len(examples.human_N), generator=torch.Generator().manual_seed(0))

    def count_live(head: Weights) -> Tensor:
        return count_edges(find_live_edges(heads.reporter, head, z_NLD, sign_N))

    return map_over_heads(count_live)(heads.weights).flatten()


@pytest.mark.parametrize("seeds", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_an_xor_of_two_inputs_of_64_is_computed_by_seven_edges(seeds, trainer, tmp_path):
    """Six are the least: two units of two edges in and one out."""
    examples, held_out = xor(4096, seed=0), xor(1024, seed=1)
    make, data, long = partial(MLP, hidden=16), (examples, held_out), {"epochs": 60, "patience": 60}
    heads = circuit(trainer, tmp_path, make, *data, (2.0,), seeds, **long)
    edges_K = edges(heads, examples)
    assert (accuracy(heads, held_out) == 1).all()
    assert (edges_K >= 6).all()
    assert (edges_K <= 7).sum() >= seeds - 1


def heads_of(weight: list[float]) -> dict[str, Tensor]:
    return {"weight_1D": torch.tensor(weight).view(1, 1, 1, 1, -1), "bias": torch.zeros(1, 1, 1)}


def test_at_a_price_of_nothing_nothing_is_touched():
    examples = planted(256, inputs=2, width=4)
    weights = heads_of([3.0, 3.0, 0.1, 0.0])
    pruned = prune_edges(
        Linear(1, 4), weights, examples.z_NLD[None], examples.human_N, torch.zeros(1)
    )
    assert all(torch.equal(pruned[name], value) for name, value in weights.items())


def test_an_edge_leaves_only_if_it_saves_less_than_its_price():
    examples = planted(1000, inputs=2, width=4, noise=1.0)
    weights = heads_of([1.5, 1.5, 0.1, -0.1])

    def live(price: float) -> list[int]:
        pruned = prune_edges(
            Linear(1, 4), weights, examples.z_NLD[None], examples.human_N, torch.tensor([price])
        )
        return pruned["weight_1D"].flatten().nonzero().flatten().tolist()

    assert live(10.0) == [0, 1]
    assert live(1e4) == []


def test_a_head_is_pruned_alone_as_it_is_in_company():
    examples = planted(256, inputs=2, width=4, levels=2, noise=1.0)
    z_GNRD = examples.z_NLD.double().movedim(1, 0)[:, :, None]
    rng = torch.Generator().manual_seed(0)
    weights = {
        "weight_1D": torch.randn(2, 2, 2, 1, 4, generator=rng).double(),
        "bias": torch.zeros(2, 2, 2).double(),
    }

    def prune(
        weights: Weights, z_GNRD: Tensor, prices: list[float], room: float = math.inf
    ) -> Weights:
        price_M = torch.tensor(prices).double()
        return prune_edges(Linear(1, 4), weights, z_GNRD, examples.human_N.double(), price_M, room)

    company = prune(weights, z_GNRD, [2.0, 8.0])
    last = {name: value[1:, 1:, 1:] for name, value in weights.items()}
    alone = prune(last, z_GNRD[1:], [8.0])
    for name, value in alone.items():
        # Adam divides by numbers down to 1e-8.
        torch.testing.assert_close(value[0, 0, 0], company[name][1, 1, 1], rtol=0, atol=1e-6)
    for room in (1.0, 2e5):  # enough for one head at a time, and for some
        in_parts = prune(weights, z_GNRD, [2.0, 8.0], room)
        for name, value in company.items():
            torch.testing.assert_close(in_parts[name], value, rtol=0, atol=1e-6)
