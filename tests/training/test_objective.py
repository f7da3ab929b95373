"""The objective: what a head is charged for, and what its prior is given at each step."""

import math

import pytest
import torch

from priors.none import NoPrior
from priors.prior import Aid
from priors.speed import Speed
from reporters.layered import Layered
from reporters.linear import Linear
from tests.training.made import planted
from training.heads import make_reporter
from training.objective import PAIRS, Head, Objective

EXAMPLES = planted(32, inputs=2, width=8, levels=3)
REACH_L = torch.tensor([0.0, 1000.0, 5000.0])


def stack(make: type, n_levels: int, groups: int) -> dict[str, torch.Tensor]:
    """Returns one head for each group, with axes (G, 1, 1, ...)."""
    weights = {}
    for name, value in make(n_levels, 8).named_parameters():
        weights[name] = value.detach().expand(groups, 1, 1, *value.shape)
    return weights


def test_a_head_is_charged_for_the_level_it_reads_and_for_its_own_flops():
    open_gates = Speed(log_alpha=30.0)
    objective = Objective(Linear(1, 8), open_gates, EXAMPLES, 256, REACH_L, 1000.0, Aid())
    weights = stack(Linear, 1, groups=3)
    head = Head(weights, objective.create_state(weights))
    _, charge_GSM = objective.compute_held_out_costs(head, weights)
    expected_G = math.log(2) * torch.tensor([0.016, 1.016, 5.016])
    torch.testing.assert_close(charge_GSM.flatten(), expected_G)


def test_the_errors_alone_are_those_of_the_costs_to_the_last_bit():
    objective = Objective(Layered(3, 8), Speed(2.0), EXAMPLES, 256, REACH_L, 1000.0, Aid())
    weights = stack(Layered, 3, groups=1)
    head = Head(weights, objective.create_state(weights))
    nll_GSM, _ = objective.compute_held_out_costs(head, objective.finish(head))
    assert torch.equal(objective.compute_held_out_nll(objective.finish(head)), nll_GSM)


@pytest.mark.parametrize("make", [Linear, Layered])
def test_pairs_take_turns_and_every_group_gets_those_of_its_own_levels(make):
    n_pairs = 2 * PAIRS + 10
    pairs_2PLD = torch.arange(n_pairs)[None, :, None, None] + torch.zeros(2, 1, 3, 8)
    pairs_2PLD = pairs_2PLD + 1000 * torch.arange(3)[:, None]
    aid = Aid(pairs_2PLD=pairs_2PLD)
    reporter = make_reporter(make, n_levels=3, width=8)
    objective = Objective(reporter, NoPrior(), EXAMPLES, 256, REACH_L, 1000.0, aid)
    turns = [objective.build_groups(step).aids["pairs_2PLD"] for step in range(3)]
    whole = objective.build_groups().aids["pairs_2PLD"]
    assert torch.equal(turns[0], turns[2])
    assert torch.equal(torch.cat(turns[:2], dim=2), whole[:, :, : 2 * PAIRS])
    assert whole.shape == ((3, 2, n_pairs, 1, 8) if make is Linear else (1, 2, n_pairs, 3, 8))
    assert torch.equal(whole[-1, :, :, -1], pairs_2PLD[:, :, -1])


def test_a_predictor_that_is_ablated_is_read_at_the_level_of_the_group():
    class Scaled:
        components = 3

        def read(self, inputs_N: torch.Tensor, gates_C: torch.Tensor) -> torch.Tensor:
            return inputs_N[:, None, None] * gates_C[:, None].expand(3, 8)

    aid = Aid(components=3)
    objective = Objective(
        Linear(1, 8), NoPrior(), EXAMPLES, 256, REACH_L, 1000.0, aid, ablation=Scaled()
    )
    reading = Linear(1, 8)(EXAMPLES.z_NLD[:, :1])
    groups = objective.build_groups()
    group = groups._replace(reach_R=groups.reach_R[1], place_1=groups.place_1[1])
    inputs = (torch.arange(5.0),)
    training = objective.describe(Head({}, {}), {}, {}, EXAMPLES.z_NLD, reading, group, inputs)
    z_NRD = training.aid.ablated(2, torch.tensor([10.0, 20.0, 30.0]))
    assert z_NRD.shape == (2, 1, 8)
    assert z_NRD[:, 0, 0].tolist() == [0, 20]
    assert training.reach_T.tolist() == [1000]
