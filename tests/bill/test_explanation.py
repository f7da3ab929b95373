"""The explanation of planted circuits: what matters is kept, what does not is dropped, and the bits
are those of the formula by hand.

K: heads, N: episodes, L: levels, D: width, C: components.
"""

import math

import pytest
import torch
from torch import Tensor

from bill.explanation import (
    CircuitLosses,
    Circuits,
    Explanation,
    choose_shortest,
    divergence,
)
from bill.finished import AblatablePredictor
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.bill.made import Toy, describe

EPISODES, COMPONENTS, TRAINED_ON = 64, 6, 4096


def toy(*heard: int) -> Toy:
    """Returns a predictor whose component c writes to dimension c, by default at one level."""
    return Toy(heard or (COMPONENTS,), torch.eye(COMPONENTS))


def inputs(n: int = EPISODES, seed: int = 0) -> Tensor:
    return torch.randn(n, COMPONENTS, generator=torch.Generator().manual_seed(seed))


def linear(*rows: list[float], groups: int = 1) -> Weights:
    """Returns a stack of linear heads with these weights: one group of levels after another, and
    within it one seed after another.
    """
    weight_KD = torch.tensor(rows)
    return {
        "weight_1D": weight_KD.view(groups, -1, 1, 1, COMPONENTS),
        "bias": torch.zeros(groups, len(rows) // groups, 1),
    }


def search(
    weights: Weights,
    predictor: Toy,
    reporter: Reporter | None = None,
    bits: float = 10.0,
    n: int = TRAINED_ON,
) -> Circuits:
    """Returns the circuits of heads that are not rounded and whose values cost these bits."""
    live = next(iter(weights.values())) != 0
    edges_K = live.flatten(3).sum(dim=3).flatten()
    z_NLD = predictor.read(inputs(), torch.ones(COMPONENTS))
    losses = CircuitLosses(
        reporter or Linear(1, COMPONENTS), weights, weights, predictor, inputs(), z_NLD
    )
    elements = COMPONENTS + live[0, 0, 0].numel()
    values_K = torch.full((len(edges_K),), bits)
    return choose_shortest(losses.compute_nested(), edges_K, values_K, elements, n)


def named(k: int, of: int = 2 * COMPONENTS) -> float:
    return math.log2(of + 1) + k * math.log2(of)


@pytest.mark.parametrize("at", range(COMPONENTS))
def test_a_head_that_reads_one_component_keeps_it_alone(at):
    circuits = search(linear([5.0 * (place == at) for place in range(COMPONENTS)]), toy())
    assert circuits.components_K.tolist() == [1]
    assert circuits.kl_K.item() == pytest.approx(0, abs=1e-12)
    assert circuits.bits_K.item() == pytest.approx(named(1 + 1) + 10, abs=1e-4)


def test_a_head_that_reads_three_keeps_three_and_one_that_reads_all_keeps_all():
    circuits = search(linear([0, 5.0, 0, -4.0, 3.0, 0], [5.0, -3.0, 4.0, 2.0, -2.0, 3.0]), toy())
    assert circuits.components_K.tolist() == [3, 6]
    assert circuits.bits_K.tolist() == pytest.approx([named(6) + 10, named(12) + 10], abs=1e-4)


def test_a_constant_head_keeps_nothing():
    weights = linear([0.0] * 6)
    weights["bias"] += 3
    circuits = search(weights, toy())
    assert circuits.components_K.tolist() == [0] and circuits.kl_K.tolist() == [0]
    assert circuits.bits_K.item() == pytest.approx(math.log2(13) + 10, abs=1e-6)


def test_a_component_that_says_less_than_its_name_costs_is_left_as_error():
    """Dropping the faint one costs N times its divergence; with few episodes to explain that is
    less than a name, with many it is more.
    """
    weights = linear([5.0, 0.1, 0, 0, 0, 0])
    kl = divergence(
        5 * inputs()[:, 0][None] + 0.1 * inputs()[:, 1][None], 5 * inputs()[:, 0][None]
    ).item()
    few, many = (search(weights, toy(), n=n) for n in (100, 1_000_000))
    assert few.components_K.tolist() == [1] and many.components_K.tolist() == [2]
    assert few.kl_K.item() == pytest.approx(kl, rel=1e-4) and kl > 1e-5
    assert few.bits_K.item() == pytest.approx(named(2 + 1) + 10 + 100 * kl / math.log(2), abs=1e-4)
    assert many.bits_K.item() == pytest.approx(named(2 + 2) + 10, abs=1e-3)


def test_what_a_head_says_wrong_costs_no_more_than_what_it_says_right():
    """The explanation is of what a head says, whatever the human's answers: a head and its opposite
    are explained alike.
    """
    circuits = search(linear([5.0, -3.0, 0, 0, 0, 0], [-5.0, 3.0, 0, 0, 0, 0]), toy())
    assert circuits.bits_K[0] == pytest.approx(circuits.bits_K[1].item())


def test_each_group_of_heads_is_explained_at_its_own_level_and_deeper_components_are_dropped():
    """At level 0 nothing is heard, at level 1 two components, at level 2 all: one reader of
    everything, at each.
    """
    circuits = search(linear(*[[5.0, 4.0, 3.0, -3.0, 4.0, 5.0]] * 3, groups=3), toy(0, 2, 6))
    assert circuits.kl_K.tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert circuits.components_K.tolist() == [0, 2, 6]
    assert circuits.bits_K.tolist() == pytest.approx(
        [named(6 + k) + 10 for k in (0, 2, 6)], abs=1e-4
    )


def test_a_head_that_uses_all_its_edges_keeps_no_component_that_does_nothing():
    """Every edge of the head is live, and three components say nothing: to name everything must not
    be cheaper than to name what matters.
    """
    circuits = search(linear([5.0, 4.0, 3.0, -3.0, 4.0, 5.0]), toy(3))
    assert circuits.components_K.tolist() == [3]
    assert circuits.bits_K.item() == pytest.approx(named(6 + 3) + 10, abs=1e-4)


def test_a_head_of_all_levels_is_explained_at_all_of_them():
    weights = {
        "weight_L2D": torch.zeros(1, 1, 1, 2, 2, COMPONENTS),
        "bias_2L": torch.zeros(1, 1, 1, 2, 2),
    }
    # It stops at the last level, and reports there what it read at both.
    weights["bias_2L"][..., 1, :] = -9
    weights["weight_L2D"][0, 0, 0, 0, 0, 1], weights["weight_L2D"][0, 0, 0, 1, 0, 4] = 5.0, 5.0
    circuits = search(weights, toy(2, 6), Layered(2, COMPONENTS))
    assert circuits.components_K.tolist() == [2]
    assert circuits.bits_K.item() == pytest.approx(named(2 + 2, of=6 + 24) + 10, abs=1e-3)


def test_a_head_is_explained_alone_as_in_company_and_again_alike():
    rows = torch.randn(5, COMPONENTS, generator=torch.Generator().manual_seed(1)).mul(2).tolist()
    together, again = (search(linear(*rows), toy()) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(together, again, strict=True))
    for k, row in enumerate(rows):
        alone = search(linear(row), toy())
        assert alone.components_K.item() == together.components_K[k]
        assert alone.bits_K.item() == pytest.approx(together.bits_K[k].item(), abs=1e-3)


def test_only_the_first_episodes_are_used():
    """A component that turns the report round on the last episode alone is kept only where that
    episode is among those used.
    """
    inputs_N = inputs()
    inputs_N[:-1, 1] = 0
    inputs_N[-1, 1] = -9.0 * inputs_N[-1, 0].sign()
    z_NLD = toy().read(inputs_N, torch.ones(COMPONENTS))
    heads = describe(
        Linear(1, COMPONENTS),
        linear([20.0, 5.0, 0, 0, 0, 0]),
        z_NLD,
        (z_NLD[:, 0, :2].sum(dim=1) > 0).float(),
        build_ablation=lambda: AblatablePredictor(toy(), inputs_N),
    )
    kept = []
    for episodes in (EPISODES, EPISODES - 1):
        items = Explanation(episodes).measure(heads)
        kept.append(items["explanation_components"].value_K.item())
    assert kept == [2, 1]


def test_the_measure_names_the_rounded_edges_and_states_their_values():
    """A weight that rounds to 0 costs no name and no value; the other costs what the two-part code
    states it in.
    """
    weights = linear([5.0, 1e-6, 0, 0, 0, 0])
    z_NLD = toy().read(inputs(), torch.ones(COMPONENTS))
    heads = describe(
        Linear(1, COMPONENTS),
        weights,
        z_NLD,
        (z_NLD[:, 0, 0] > 0).float(),
        build_ablation=lambda: AblatablePredictor(toy(), inputs()),
    )
    items = Explanation(EPISODES).measure(heads)
    assert (heads.code.rounded["weight_1D"] != 0).sum() == 1
    error = divergence(
        5 * inputs()[:, 0][None],
        heads.code.rounded["weight_1D"].flatten()[0] * inputs()[:, 0][None],
    )
    bits = named(1 + 1) + heads.code.values.item() + EPISODES * error.item() / math.log(2)
    assert items["explanation_bits"].value_K.item() == pytest.approx(bits, abs=1e-3)
    assert items["explanation_components"].value_K.tolist() == [1]


def test_circuits_that_heads_share_are_run_once():
    predictor = toy()
    search(linear(*[[5.0, 0, 0, 0, 0, 0]] * 40), predictor)
    assert predictor.runs == 1 + COMPONENTS + COMPONENTS + 1


@pytest.mark.parametrize(
    ("said", "explained_as"), [(2.0, -1.0), (0.0, 0.5), (40.0, 40.0), (-60.0, 3.0)]
)
def test_the_divergence_is_that_of_two_coins(said, explained_as):
    p, q = (1 / (1 + math.exp(-value)) for value in (said, explained_as))
    other_p, other_q = (1 / (1 + math.exp(value)) for value in (said, explained_as))
    by_hand = p * math.log(p / q) + other_p * math.log(other_p / other_q)
    assert divergence(
        torch.tensor([[said]]), torch.tensor([[explained_as]])
    ).item() == pytest.approx(by_hand, abs=1e-9)
