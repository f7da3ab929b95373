"""The circuit-size prior: its gates compared with random ones, its price by hand, and planted
circuits that training finds.
"""

import math

import pytest
import torch

from priors.circuit_size import CircuitSize
from priors.none import NoPrior
from reporters.linear import Linear
from tests.priors.made import NO_AID, build_training
from tests.training.made import planted, population

PRIOR = CircuitSize(log_alpha=2.0, prune=False)
INPUTS, WIDTH = 6, 64


def compute_open_share(log_alpha: float) -> float:
    """Returns the probability of an open gate that follows from the charge: the charge of 100 equal
    gates over 100 times the price of one.
    """
    n, edges = 500, 100
    weights, state = {"w": torch.ones(edges)}, {"w": torch.full((edges,), log_alpha)}
    charge = PRIOR.charge(build_training(weights, state, n_examples=n)).item()
    return charge * n / (math.log(edges) + math.log(n) / 2) / edges


@pytest.mark.parametrize("log_alpha", [-4.0, -2.0, 0.0, 2.0, 4.0])
def test_the_probability_of_an_open_gate_is_the_share_of_open_random_gates(log_alpha):
    n = 200_000
    noise = torch.rand(n, generator=torch.Generator().manual_seed(0)).clamp(1e-7, 1 - 1e-7)
    state = {"w": torch.full((n,), log_alpha)}
    gates = PRIOR.transform({"w": torch.ones(n)}, state, {"w": noise})["w"]
    assert gates.min() >= 0
    assert gates.max() <= 1
    tolerance = 5 * 0.5 / math.sqrt(n)
    open_share = (gates > 0).float().mean().item()
    assert open_share == pytest.approx(compute_open_share(log_alpha), abs=tolerance)


@pytest.mark.parametrize(("log_alpha", "open_edges"), [(30.0, 4), (-30.0, 0)])
def test_an_open_edge_of_four_costs_four_bits_over_sixteen_episodes(log_alpha, open_edges):
    # ln E + ½ ln N = ln 4 + ½ ln 16 = 4 ln 2 nats an edge; a bias is free.
    weights = {"w": torch.ones(4), "bias": torch.ones(3)}
    assert PRIOR.state(weights, NO_AID).keys() == {"w"}
    training = build_training(weights, {"w": torch.full((4,), log_alpha)}, n_examples=16)
    by_hand = open_edges * 4 * math.log(2) / 16
    assert PRIOR.charge(training).item() == pytest.approx(by_hand, rel=1e-6, abs=1e-9)


def test_edges_of_all_tensors_are_named_in_one_list():
    weights = {"inner_w": torch.ones(6), "outer_w": torch.ones(2)}
    state = {"inner_w": torch.full((6,), -30.0), "outer_w": torch.full((2,), 30.0)}
    charge = PRIOR.charge(build_training(weights, state, n_examples=100)).item()
    assert charge == pytest.approx(2 * (math.log(8) + math.log(100) / 2) / 100)


def test_finishing_shuts_closed_gates_and_keeps_open_ones_and_biases():
    weights = {"w": torch.tensor([1.5, -2.5, 3.5]), "bias": torch.tensor(0.3)}
    finished = PRIOR.finish(weights, {"w": torch.tensor([-9.0, 9.0, 0.0])})
    assert finished["w"].tolist() == [0.0, -2.5, 1.75]  # a gate at log-alpha 0 is half open
    assert finished["bias"] == weights["bias"]


def test_training_finds_a_planted_circuit_and_keeps_every_edge_without_a_price(trainer, tmp_path):
    examples = planted(2000, INPUTS, WIDTH, noise=1.0, seed=0)
    held_out = planted(1000, INPUTS, WIDTH, noise=1.0, seed=1)
    values = {"seeds": range(6), "batch_size": 100}

    def find_edges(prior, strengths: tuple[float, ...]) -> torch.Tensor:
        checkpoint = tmp_path / "fit"
        heads = population(
            trainer, checkpoint, Linear, prior, examples, held_out, strengths=strengths, **values
        )
        return heads.weights["weight_1D"][0, :, :, 0] != 0

    live_SMD = find_edges(PRIOR, (0.0, 2.0, 4.0))
    assert live_SMD[:, 1:, :INPUTS].all()
    free_S, double_S, fourfold_S = live_SMD.sum(dim=2).T
    assert (double_S <= 2 * INPUTS).all()
    assert (fourfold_S == INPUTS).sum() >= 5
    assert (free_S > 0.9 * WIDTH).all()
    assert find_edges(NoPrior(), (1.0,)).all()
