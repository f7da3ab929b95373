"""The two-part code: lengths that are known by hand, and Kraft's inequality on random labels."""

import math

import pytest
import torch

from bill.two_part_code import PRECISIONS, encode
from reporters.linear import Linear
from reporters.mean_difference import MeanDifference
from tests.bill.made import coins, normal

N = 400
NAME_OF_PRECISION = math.log2(len(PRECISIONS))


def code(*given) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the length of the code, and of its first part."""
    return encode(*given)[:2]


def test_a_head_of_zeros_costs_a_bit_a_label_and_the_names_of_a_precision_and_of_nothing():
    weights = {"weight_1D": torch.zeros(1, 8), "bias": torch.tensor(0.0)}
    total, model = code(Linear(1, 8), weights, normal(N, 1, 8), coins(N))
    # 0 of 9 parameters: one of ten counts, and one way to choose them.
    overhead = NAME_OF_PRECISION + math.log2(10)
    assert model.item() == pytest.approx(overhead, abs=1e-4)
    assert total.item() == pytest.approx(N + overhead, abs=1e-3)


def test_one_weight_that_is_always_right_costs_its_own_name_alone():
    human_N = coins(N)
    weights = {"weight_1D": torch.tensor([[0.0, 1.0, 0.0]]), "bias": torch.tensor(0.0)}
    z_NLD = normal(N, 1, 3)
    z_NLD[:, 0, 1] = 200 * human_N - 100
    total, model = code(Linear(1, 3), weights, z_NLD, human_N)
    # 1 of 4 parameters, which, its sign, and the number 1.
    named = NAME_OF_PRECISION + math.log2(5) + math.log2(4) + 1 + 1
    assert model.item() == pytest.approx(named, abs=1e-4)
    assert total.item() == pytest.approx(named, abs=1e-3)


def test_a_larger_multiple_costs_two_bits_more_for_every_doubling():
    human_N = coins(N)
    z_NLD = (200 * human_N - 100)[:, None, None]
    wrong = {}
    # Named at the coarsest precision, where it is 2^(power - 2) steps.
    for power in (3, 4, 5):
        weights = {"weight_1D": torch.tensor([[2.0**power]]), "bias": torch.tensor(0.0)}
        wrong[power] = code(Linear(1, 1), weights, z_NLD, human_N)[1].item()
    assert wrong[4] - wrong[3] == pytest.approx(2, abs=1e-4)
    assert wrong[5] - wrong[4] == pytest.approx(2, abs=1e-4)


def test_being_sure_and_wrong_costs_what_it_should():
    weights = {"weight_1D": torch.tensor([[1.0]]), "bias": torch.tensor(0.0)}
    total, model = code(Linear(1, 1), weights, torch.full((N, 1, 1), -1.0), torch.ones(N))
    # The coarsest precisions round the weight to 0, and that is cheaper.
    assert (total - model).item() == pytest.approx(N, abs=1e-3)


def test_random_labels_cost_a_bit_each_whatever_is_fitted_to_them():
    # Kraft: a code saves 10 bits or more on one in 1,024 sets of random labels at most, and here
    # are 60.
    head = MeanDifference(1, 16)
    totals = []
    for seed in range(60):
        z_NLD, human_N = normal(N, 1, 16, seed=seed), coins(N, seed)
        totals.append(code(head, head.solve(z_NLD, human_N), z_NLD, human_N)[0].item())
    assert min(totals) > N - 10
    assert max(totals) < N + NAME_OF_PRECISION + math.log2(18) + 1


def test_the_values_cost_what_the_names_do_not_and_the_head_is_rounded():
    human_N = coins(N)
    weights = {"weight_1D": torch.tensor([[0.0, 0.98, 0.01]]), "bias": torch.tensor(0.0)}
    z_NLD = normal(N, 1, 3)
    z_NLD[:, 0, 1] = 200 * human_N - 100
    shortest = encode(Linear(1, 3), weights, z_NLD, human_N)
    assert shortest.rounded["weight_1D"].tolist() == [[0.0, 1.0, 0.0]]
    assert shortest.values.item() == pytest.approx(NAME_OF_PRECISION + 1 + 1, abs=1e-4)
    assert (shortest.model - shortest.values).item() == pytest.approx(
        math.log2(5) + math.log2(4), abs=1e-4
    )
