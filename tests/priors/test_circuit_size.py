"""The circuit-size prior: its gates against drawn ones, its price by hand, and planted circuits
found again.
"""

import math

import pytest
import torch

from priors.circuit_size import CircuitSize
from priors.none import NoPrior
from reporters.linear import Linear
from tests.priors.made import NO_AID, training
from tests.training.made import planted, population

PRIOR = CircuitSize(log_alpha=2.0, prune=False)
INPUTS, WIDTH = 6, 64


def share_open(log_alpha: float) -> float:
    """Returns the probability that the charge gives a gate to be open: that of 100 alike over 100
    times the price of one.
    """
    n, edges = 500, 100
    charge = PRIOR.charge(
        training({"w": torch.ones(edges)}, {"w": torch.full((edges,), log_alpha)}, n_examples=n)
    ).item()
    return charge * n / (math.log(edges) + math.log(n) / 2) / edges


@pytest.mark.parametrize("log_alpha", [-4.0, -2.0, 0.0, 2.0, 4.0])
def test_the_chance_that_a_gate_is_open_is_that_of_drawn_gates(log_alpha):
    n = 200_000
    noise = torch.rand(n, generator=torch.Generator().manual_seed(0)).clamp(1e-7, 1 - 1e-7)
    gates = PRIOR.transform({"w": torch.ones(n)}, {"w": torch.full((n,), log_alpha)}, {"w": noise})[
        "w"
    ]
    assert gates.min() >= 0 and gates.max() <= 1
    assert (gates > 0).float().mean().item() == pytest.approx(
        share_open(log_alpha), abs=5 * 0.5 / math.sqrt(n)
    )


def test_four_open_edges_cost_four_bits_each_over_sixteen_episodes():
    # ln E + ½ ln N = ln 4 + ½ ln 16 = 4 ln 2 nats an edge; a bias is free.
    weights = {"w": torch.ones(4), "bias": torch.ones(3)}
    assert PRIOR.state(weights, NO_AID).keys() == {"w"}
    assert PRIOR.charge(
        training(weights, {"w": torch.full((4,), 30.0)}, n_examples=16)
    ).item() == pytest.approx(4 * 4 * math.log(2) / 16)
    assert PRIOR.charge(
        training(weights, {"w": torch.full((4,), -30.0)}, n_examples=16)
    ).item() == pytest.approx(0, abs=1e-9)


def test_edges_of_all_tensors_are_named_in_one_list():
    weights = {"inner_w": torch.ones(6), "outer_w": torch.ones(2)}
    state = {"inner_w": torch.full((6,), -30.0), "outer_w": torch.full((2,), 30.0)}
    assert PRIOR.charge(training(weights, state, n_examples=100)).item() == pytest.approx(
        2 * (math.log(8) + math.log(100) / 2) / 100
    )


def test_finishing_shuts_closed_gates_and_leaves_open_ones_and_biases_alone():
    weights = {"w": torch.tensor([1.5, -2.5, 3.5]), "bias": torch.tensor(0.3)}
    finished = PRIOR.finish(weights, {"w": torch.tensor([-9.0, 9.0, 0.0])})
    assert finished["w"].tolist() == [0.0, -2.5, 1.75]  # a gate at log-alpha 0 is half open
    assert finished["bias"] == weights["bias"]


def test_a_planted_circuit_is_found_again_and_without_a_price_every_edge_stays(trainer, tmp_path):
    examples, held_out = (
        planted(n, INPUTS, WIDTH, noise=1.0, seed=seed) for n, seed in ((2000, 0), (1000, 1))
    )

    def edges(prior, strengths: tuple[float, ...]) -> torch.Tensor:
        heads = population(
            trainer,
            tmp_path / "fit",
            Linear,
            prior,
            examples,
            held_out,
            seeds=range(6),
            strengths=strengths,
            batch_size=100,
        )
        return heads.weights["weight_1D"][0, :, :, 0] != 0

    live_SMD = edges(PRIOR, (0.0, 2.0, 4.0))
    assert live_SMD[:, 1:, :INPUTS].all()
    free_S, double_S, fourfold_S = live_SMD.sum(dim=2).T
    assert (double_S <= 2 * INPUTS).all()
    assert (fourfold_S == INPUTS).sum() >= 5
    assert (free_S > 0.9 * WIDTH).all()
    assert edges(NoPrior(), (1.0,)).all()
