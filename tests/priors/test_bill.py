"""The bill: codes whose length is known, circuits whose edges can be counted by eye, FLOPs by hand."""

import math

import pytest
import torch
from torch import Tensor

from priors.bill import PRECISIONS, live_edges, measure, two_part_bits
from priors.none import NoPrior
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mean_difference import MeanDifference
from reporters.mlp import MLP
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.training.made import planted, population
from training.population import Examples

N = 400
NAME_OF_PRECISION = math.log2(len(PRECISIONS))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coins(n: int, seed: int = 0) -> Tensor:
    return torch.randint(2, (n,), generator=torch.Generator().manual_seed(seed)).float()


def values(reporter: Reporter) -> Weights:
    return {name: value.detach().clone() for name, value in reporter.named_parameters()}


def edges(reporter: Reporter, weights: Weights, z_NLD: Tensor) -> int:
    return int(live_edges(reporter, weights, z_NLD, normal(len(z_NLD), seed=9)))


# The code.


def test_a_head_of_zeros_costs_a_bit_a_label_and_the_names_of_a_precision_and_of_nothing():
    weights = {"weight_1D": torch.zeros(1, 8), "bias": torch.tensor(0.0)}
    total, model = two_part_bits(Linear(1, 8), weights, normal(N, 1, 8), coins(N))
    overhead = NAME_OF_PRECISION + math.log2(10)  # 0 of 9 parameters: one of ten counts, and one way to choose them
    assert model.item() == pytest.approx(overhead, abs=1e-4)
    assert total.item() == pytest.approx(N + overhead, abs=1e-3)


def test_one_weight_that_is_always_right_costs_its_own_name_alone():
    human_N = coins(N)
    weights = {"weight_1D": torch.tensor([[0.0, 1.0, 0.0]]), "bias": torch.tensor(0.0)}
    z_NLD = normal(N, 1, 3)
    z_NLD[:, 0, 1] = 200 * human_N - 100
    total, model = two_part_bits(Linear(1, 3), weights, z_NLD, human_N)
    named = NAME_OF_PRECISION + math.log2(5) + math.log2(4) + 1 + 1  # 1 of 4 parameters, which, its sign, and the number 1
    assert model.item() == pytest.approx(named, abs=1e-4)
    assert total.item() == pytest.approx(named, abs=1e-3)


def test_a_larger_multiple_costs_two_bits_more_for_every_doubling():
    human_N = coins(N)
    z_NLD = (200 * human_N - 100)[:, None, None]
    wrong = {}
    for power in (3, 4, 5):  # named at the coarsest precision, where it is 2^(power - 2) steps
        weights = {"weight_1D": torch.tensor([[2.0**power]]), "bias": torch.tensor(0.0)}
        wrong[power] = two_part_bits(Linear(1, 1), weights, z_NLD, human_N)[1].item()
    assert wrong[4] - wrong[3] == pytest.approx(2, abs=1e-4)
    assert wrong[5] - wrong[4] == pytest.approx(2, abs=1e-4)


def test_being_sure_and_wrong_costs_what_it_should():
    human_N, weights = torch.ones(N), {"weight_1D": torch.tensor([[1.0]]), "bias": torch.tensor(0.0)}
    total, model = two_part_bits(Linear(1, 1), weights, torch.full((N, 1, 1), -1.0), human_N)
    assert (total - model).item() == pytest.approx(N, abs=1e-3)  # the coarsest precisions round the weight to 0, and that is cheaper


def test_random_labels_cost_a_bit_each_whatever_is_fitted_to_them():
    # Kraft: a code saves 10 bits or more on one in 1,024 sets of random labels at most, and here are 60.
    head = MeanDifference(1, 16)
    totals = []
    for seed in range(60):
        z_NLD, human_N = normal(N, 1, 16, seed=seed), coins(N, seed)
        totals.append(two_part_bits(head, head.solve(z_NLD, human_N), z_NLD, human_N)[0].item())
    assert min(totals) > N - 10
    assert max(totals) < N + NAME_OF_PRECISION + math.log2(18) + 1


@pytest.mark.parametrize("make", [Linear, lambda n_levels, width: MLP(n_levels, width, hidden=8)], ids=["linear", "mlp"])
def test_trained_heads_pay_for_random_labels_in_full_and_save_on_a_concept(make, fitting, tmp_path):
    concept = planted(2000, inputs=2, width=16)
    random = concept._replace(human_N=coins(2000, seed=5))

    def bits_K(examples: Examples) -> Tensor:
        heads = population(fitting, tmp_path / "fit", make, NoPrior(), examples, examples, seeds=range(3), batch_size=200)
        z_NLD, said = (examples.z_NLD - heads.mean_LD) / heads.std_LD, heads.read(examples.z_NLD)
        return measure(heads.reporter, heads.weights, z_NLD, examples.human_N, said.level_KN, said.flops_KN, (0.0,)).bits_K

    random_K, concept_K = bits_K(random), bits_K(concept)
    assert (random_K > 2000 - 10).all()
    assert (random_K < 2000 + 20).all()
    assert (concept_K < 2000 / 2).all()


# The circuit.


def test_a_linear_head_has_as_many_edges_as_weights_that_are_not_zero():
    weights = {"weight_1D": torch.zeros(1, 12), "bias": torch.tensor(1.0)}
    weights["weight_1D"][0, [0, 3, 4, 7, 11]] = torch.tensor([1.0, -2.0, 0.001, 5.0, -1e-6])
    assert edges(Linear(1, 12), weights, normal(N, 1, 12)) == 5


def test_an_edge_from_an_input_that_never_varies_from_zero_is_dead():
    z_NLD = normal(N, 1, 4)
    z_NLD[:, :, 2] = 0
    assert edges(Linear(1, 4), {"weight_1D": torch.ones(1, 4), "bias": torch.tensor(0.0)}, z_NLD) == 3


def hand_built() -> Weights:
    """Unit 0 is whole, with two edges in and one out; unit 1 is fed nothing; unit 2 is not listened to."""
    return {
        "inner_HD": torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
        "inner_bias": torch.zeros(3),
        "outer_1H": torch.tensor([[1.0, 1.0, 0.0]]),
        "outer_bias": torch.tensor(0.5),
    }


def test_only_edges_on_a_live_path_count():
    assert edges(MLP(1, 3, hidden=3), hand_built(), normal(N, 1, 3)) == 2 + 1


def test_edges_come_alive_with_what_they_need():
    heard, fed = hand_built(), hand_built()
    heard["outer_1H"][0, 2] = 0.1
    fed["inner_bias"][1] = 1.0
    assert edges(MLP(1, 3, hidden=3), heard, normal(N, 1, 3)) == 3 + 3 + 1
    assert edges(MLP(1, 3, hidden=3), fed, normal(N, 1, 3)) == 3 + 1  # a unit that says its bias is heard


def layered(levels: int, stops: list[float]) -> tuple[Layered, Weights]:
    head = Layered(levels, 8)
    weights = {"weight_L2D": normal(levels, 2, 8, seed=1), "bias": torch.zeros(2, levels)}
    weights["bias"][1, : levels - 1] = torch.tensor(stops)
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
    assert edges(head, weights, normal(n, 3, 8)) == 3 * 8 + 2 * 8  # the last level always stops: what would halt there is dead


def test_a_head_that_cannot_stop_early_has_no_edges_that_halt():
    head, weights = layered(2, [-3.0])
    weights["weight_L2D"][:, 1] = 0
    assert edges(head, weights, normal(N, 2, 8)) == 2 * 8


# The compute.


def test_flops_are_the_predictors_up_to_the_deepest_level_read_and_the_heads_own():
    z_NLD = normal(4, 2, 3)
    weights = {name: value[None, None, None].repeat(2, 1, 2, *[1] * value.dim()) for name, value in values(Linear(1, 3)).items()}
    level_KN = torch.tensor([[0, 0, 0, 0], [0, 0, 2, 2], [2, 2, 2, 2], [1, 1, 1, 0]])
    own_KN = torch.tensor([[6.0] * 4, [6.0, 6.0, 10.0, 10.0], [6.0] * 4, [8.0, 8.0, 8.0, 0.0]])
    bill = measure(Linear(1, 3), weights, z_NLD, coins(4), level_KN, own_KN, (0.0, 100.0, 1000.0))
    assert bill.flops_K.tolist() == [6.0, 508.0, 1006.0, 81.0]
    assert bill.level_K.tolist() == [0.0, 1.0, 2.0, 0.75]


def test_a_stacks_bills_are_those_of_each_head_in_order():
    z_NLD, human_N = normal(50, 2, 3), coins(50)
    one = {"weight_1D": normal(2, 3, 2, 1, 3), "bias": torch.zeros(2, 3, 2)}
    for place in range(12):
        one["weight_1D"].view(12, 3)[place, place % 4 :] = 0
    nothing = torch.zeros(12, 50, dtype=torch.long)
    bill = measure(Linear(1, 3), one, z_NLD, human_N, nothing, nothing, (0.0,))
    assert bill.edges_K.tolist() == [place % 4 for place in range(12)]
    for place in range(12):
        alone = {"weight_1D": one["weight_1D"].view(12, 1, 3)[place], "bias": torch.tensor(0.0)}
        total, model = two_part_bits(Linear(1, 3), alone, z_NLD[:, [place // 6]], human_N)
        assert bill.bits_K[place].item() == pytest.approx(total.item(), abs=1e-3)
        assert bill.model_bits_K[place].item() == pytest.approx(model.item(), abs=1e-3)
