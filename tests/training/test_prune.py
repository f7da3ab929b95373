"""Pruned heads: planted circuits come back edge for edge, an XOR in few edges, no edge is taken out
that is worth its price, and the sets of edges are those that a search through all sets finds.
"""

import itertools
import math
from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from bill.live_edges import count_edges, find_live_edges
from core_model.transformer import Transformer
from priors.circuit_size import CircuitSize
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import nll
from reporters.stack import Weights, map_over_heads
from tests.training.made import accuracy, planted, population
from training.edge_moves import MOVES, Move, take_out
from training.edge_search import search
from training.examples import Examples
from training.heads import Heads
from training.linear_fits import LinearFits
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
def test_an_xor_of_two_inputs_of_64_is_computed_by_three_to_seven_edges(seeds, trainer, tmp_path):
    """Three are the least: one unit of two edges in and one out, because GELU is not monotonic."""
    examples, held_out = xor(4096, seed=0), xor(1024, seed=1)
    make, data, long = partial(MLP, hidden=16), (examples, held_out), {"epochs": 60, "patience": 60}
    heads = circuit(trainer, tmp_path, make, *data, (2.0,), seeds, **long)
    edges_K = edges(heads, examples)
    assert (accuracy(heads, held_out) == 1).all()
    assert (edges_K >= 3).all()
    assert (edges_K <= 7).all()
    assert (edges_K == 3).any()


def heads_of(weight: list[float]) -> dict[str, Tensor]:
    return {"weight_1D": torch.tensor(weight).view(1, 1, 1, 1, -1), "bias": torch.zeros(1, 1, 1)}


def test_at_a_price_of_nothing_nothing_is_touched():
    examples = planted(256, inputs=2, width=4)
    weights = heads_of([3.0, 3.0, 0.1, 0.0])
    pruned, total_GSM = prune_edges(
        Linear(1, 4), weights, examples.z_NLD[None], examples.human_N, torch.zeros(1)
    )
    assert all(torch.equal(pruned[name], value) for name, value in weights.items())
    log_odds_N = examples.z_NLD[:, 0] @ torch.tensor([3.0, 3.0, 0.1, 0.0])
    torch.testing.assert_close(total_GSM.sum(), nll(log_odds_N, examples.human_N).sum())


def test_an_edge_leaves_only_if_it_saves_less_than_its_price():
    examples = planted(1000, inputs=2, width=4, noise=1.0)
    weights = heads_of([1.5, 1.5, 0.1, -0.1])

    def live(price: float) -> list[int]:
        pruned, _ = prune_edges(
            Linear(1, 4), weights, examples.z_NLD[None], examples.human_N, torch.tensor([price])
        )
        return pruned["weight_1D"].flatten().nonzero().flatten().tolist()

    assert live(10.0) == [0, 1]
    assert live(1e4) == []


def best_subset(z_ND: Tensor, human_N: Tensor, price: float, most: int) -> tuple[float, set[int]]:
    """Returns the least of errors and price over all sets of up to `most` edges, and the set."""
    fits = LinearFits(Linear(1, z_ND.shape[1]), z_ND[:, None], human_N, math.inf)
    best = math.inf, set[int]()
    for n in range(most + 1):
        sets = list(itertools.combinations(range(z_ND.shape[1]), n))
        keep_QW = torch.zeros(len(sets), len(fits.edge_W), dtype=torch.bool)
        for q, edges in enumerate(sets):
            keep_QW[q, list(edges)] = True
        keep_QW[:, -1] = True  # the bias
        errors_Q = fits.refit(torch.zeros(keep_QW.shape), keep_QW).errors_Q
        q = int(errors_Q.argmin())
        best = min(best, (errors_Q[q].item() + n * price, set(sets[q])))
    return best


def misleading(n: int = 500, width: int = 12) -> tuple[Tensor, Tensor]:
    """Returns activations and answers: the first two dimensions say the answer together, and the
    third says more than either of them alone.
    """
    rng = torch.Generator().manual_seed(0)
    z_ND = torch.randn(n, width, generator=rng)
    sum_N = z_ND[:, 0] + z_ND[:, 1]
    z_ND[:, 2] = sum_N / 2**0.5 + 0.6 * torch.randn(n, generator=rng)
    human_N = (sum_N + 0.3 * torch.randn(n, generator=rng) > 0).float()
    return z_ND, human_N


def search_from(
    weight: list[float], z_ND: Tensor, human_N: Tensor, price: float, moves: Sequence[Move] = MOVES
) -> tuple[set[int], float]:
    """Returns the edges of a pruned head, and its sum of errors and price."""
    pruned, total_GSM = prune_edges(
        Linear(1, len(weight)),
        heads_of(weight),
        z_ND[None, :, None],
        human_N,
        torch.tensor([price]),
        moves=moves,
    )
    return set(pruned["weight_1D"].flatten().nonzero().flatten().tolist()), total_GSM.item()


def test_of_two_readings_of_one_edge_the_better_is_found_from_the_other():
    """Both alone say nearly all; the start has the worse one."""
    rng = torch.Generator().manual_seed(0)
    z_ND = torch.randn(400, 12, generator=rng)
    human_N = (z_ND[:, 0] + 0.2 * torch.randn(400, generator=rng) > 0).float()
    z_ND[:, 1] = z_ND[:, 0] + 0.1 * torch.randn(400, generator=rng)
    total, edges = best_subset(z_ND, human_N, 30.0, most=2)
    assert edges == {0}
    found, found_total = search_from([0.0, 3.0] + 10 * [0.0], z_ND, human_N, 30.0)
    assert found == edges
    assert abs(found_total - total) < 0.01
    fits = LinearFits(Linear(1, 12), z_ND[:, None], human_N, math.inf)
    start_1W = torch.tensor([[0.0, 3.0] + 11 * [0.0]])
    without_swaps = search(fits, start_1W, torch.tensor([30.0]), (take_out,))
    assert without_swaps.theta_KW[0, :-1].nonzero().flatten().tolist() == [1]


def test_an_edge_that_misleads_is_swapped_out_and_removal_alone_keeps_it():
    z_ND, human_N = misleading()
    total, edges = best_subset(z_ND, human_N, 10.0, most=3)
    assert edges == {0, 1}
    assert best_subset(z_ND, human_N, 10.0, most=1)[1] == {2}
    for start in ([0.0, 0.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 2.0]):
        found, found_total = search_from(start + 9 * [0.0], z_ND, human_N, 10.0)
        assert found == edges
        assert abs(found_total - total) < 0.01
    only_removal, removal_total = search_from(
        [2.0, 0.0, 2.0] + 9 * [0.0], z_ND, human_N, 10.0, (take_out,)
    )
    assert 2 in only_removal
    assert removal_total > total + 1


@pytest.fixture(scope="module")
def easy(vault, trainer, cache) -> Examples:
    """Easy episodes of the vault as a small predictor reads them, standardised at each level."""
    recipe = Transformer(
        blocks=4,
        width=32,
        heads=2,
        mlp_ratio=4,
        episodes=20_000,
        epochs=2,
        batch_size=64,
        learning_rate=0.003,
        seed=0,
    )
    episodes = vault.episodes("easy", 2048, seed=0)
    human_N = torch.tensor(episodes["human"][:]).float()
    z_NLD = recipe.predictor(vault, cache, trainer).read(episodes, [2, 3, 4])
    return Examples((z_NLD - z_NLD.mean(dim=0)) / z_NLD.std(dim=0), human_N)


@pytest.mark.slow
def test_on_the_vault_heads_are_no_worse_than_the_best_of_all_sets_of_two_edges(easy):
    z_ND = easy.z_NLD[:, 2]
    price = math.log(32) + math.log(2048) / 2
    total, _ = best_subset(z_ND, easy.human_N, price, most=2)
    rng = torch.Generator().manual_seed(0)
    weights = {
        "weight_1D": torch.randn(1, 16, 1, 1, 32, generator=rng),
        "bias": torch.zeros(1, 16, 1),
    }
    _, total_GSM = prune_edges(
        Linear(1, 32), weights, z_ND[None, :, None], easy.human_N, torch.tensor([price])
    )
    assert (total_GSM < total + 0.01).float().mean() >= 0.95


@pytest.mark.slow
def test_on_the_vault_layered_heads_are_the_best_of_all_where_two_edges_cannot_pay(easy):
    """A head of one edge whose errors cost less than an edge is better than any of two edges, and
    no single edge is better than the one that reads an answer and never stops early.
    """
    z_NLD, human_N, _ = easy
    errors, _ = best_subset(z_NLD.flatten(1), human_N, 0.0, most=1)
    price = 1.1 * errors
    total, best = best_subset(z_NLD.flatten(1), human_N, price, most=1)
    assert len(best) == 1 and total == pytest.approx(2.1 * errors)
    rng = torch.Generator().manual_seed(0)
    weights = {
        "weight_L2D": torch.randn(1, 2, 1, 3, 2, 32, generator=rng),
        "bias_2L": torch.zeros(1, 2, 1, 2, 3),
    }
    pruned, total_GSM = prune_edges(
        Layered(3, 32), weights, z_NLD[None], human_N, torch.tensor([price])
    )
    torch.testing.assert_close(total_GSM.flatten(), torch.tensor([total] * 2), rtol=0, atol=0.01)
    assert pruned["weight_L2D"].count_nonzero() == 2


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
        human_N = examples.human_N.double()
        return prune_edges(Linear(1, 4), weights, z_GNRD, human_N, price_M, room)[0]

    company = prune(weights, z_GNRD, [2.0, 8.0])
    last = {name: value[1:, 1:, 1:] for name, value in weights.items()}
    alone = prune(last, z_GNRD[1:], [8.0])
    for name, value in alone.items():
        torch.testing.assert_close(value[0, 0, 0], company[name][1, 1, 1], rtol=0, atol=1e-6)
    for room in (1.0, 2e5):  # enough for one head at a time, and for some
        in_parts = prune(weights, z_GNRD, [2.0, 8.0], room)
        for name, value in company.items():
            torch.testing.assert_close(in_parts[name], value, rtol=0, atol=1e-6)


class Trapped(Layered):
    """A layered head of which it is not known how it never stops early, so that searches begin from
    the heads themselves alone.
    """

    def read_to_the_end(self, weights: Weights) -> None:
        return None


def test_heads_with_exits_swap_edges_alone_as_they_do_in_company():
    """The last head starts with the worse of two readings; removal alone keeps it."""
    examples = planted(128, inputs=1, width=4, levels=2, noise=0.3)
    z_GNRD, human_N = examples.z_NLD.double()[None], examples.human_N.double()
    rng = torch.Generator().manual_seed(0)
    noise_N = torch.randn(128, generator=rng)
    z_GNRD[0, :, 0, 1] = z_GNRD[0, :, 0, 0] + 0.5 * noise_N
    weight_L2D = torch.randn(1, 2, 1, 2, 2, 4, generator=rng).double()
    weight_L2D[0, 1] = 0
    weight_L2D[0, 1, 0, 0, 0, 1] = 3
    weights = {"weight_L2D": weight_L2D, "bias_2L": torch.zeros(1, 2, 1, 2, 2).double()}
    last = {name: value[:, 1:] for name, value in weights.items()}

    def prune(weights: Weights, moves: Sequence[Move] = MOVES) -> tuple[Weights, Tensor]:
        price_M = torch.tensor([10.0]).double()
        return prune_edges(Trapped(2, 4), weights, z_GNRD, human_N, price_M, moves=moves)

    company, total_GSM = prune(weights)
    alone, alone_GSM = prune(last)
    torch.testing.assert_close(alone_GSM, total_GSM[:, 1:], rtol=0, atol=1e-4)
    for name, value in alone.items():
        torch.testing.assert_close(value[0, 0], company[name][0, 1], rtol=0, atol=1e-4)
    assert alone["weight_L2D"].nonzero()[:, 3:].tolist() == [[0, 0, 0]]
    removal, removal_GSM = prune(last, (take_out,))
    assert removal["weight_L2D"].nonzero()[:, 3:].tolist() == [[0, 0, 1]]
    assert removal_GSM.item() > alone_GSM.item() + 1


@pytest.mark.parametrize(("reporter", "edges"), [(Layered(2, 5), 1), (Trapped(2, 5), 4)])
def test_a_head_that_stops_early_finds_the_cheaper_reading_of_a_later_level(reporter, edges):
    """The answer is the sum of four coordinates of level 0, and one coordinate of level 1. The head
    stops at level 0, where it never sees the other.
    """
    rng = torch.Generator().manual_seed(0)
    z_NLD = torch.randn(300, 2, 5, generator=rng).double()
    sum_N = z_NLD[:, 0, :4].sum(dim=1)
    z_NLD[:, 1, 2] = sum_N
    human_N = (sum_N > 0).double()
    weight_L2D = torch.zeros(1, 1, 1, 2, 2, 5).double()
    weight_L2D[..., 0, 0, :4] = 3
    bias_2L = torch.tensor([[0.0, 0.0], [20.0, 0.0]]).double().view(1, 1, 1, 2, 2)
    weights = {"weight_L2D": weight_L2D, "bias_2L": bias_2L}
    pruned, total_GSM = prune_edges(
        reporter, weights, z_NLD[None], human_N, torch.tensor([2.0]).double()
    )
    assert pruned["weight_L2D"].count_nonzero() == edges
    assert total_GSM.item() == pytest.approx(2.0 * edges, abs=0.05)
    stack = {name: value[0, 0, 0] for name, value in pruned.items()}
    reading = torch.func.functional_call(reporter, stack, (z_NLD,))
    errors = reading.errors_N(human_N).sum().item()
    assert errors + 2.0 * edges == pytest.approx(total_GSM.item(), abs=1e-3)
