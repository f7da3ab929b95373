"""Coordinates of L-BFGS: they can be undone, gradients follow the chain rule, and in them
activations vary alike in all directions.

K: heads, W: numbers of a head, L: levels, D: width.
"""

from functools import partial

import pytest
import torch
from torch import Tensor

from priors.simplicity import Simplicity
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from training.coordinates import Coordinates

WIDTH = 5
ROWS = {
    "linear": (partial(Linear, 1, WIDTH), 1),
    "mlp": (partial(MLP, 1, WIDTH, hidden=3), 3),
    "layered": (partial(Layered, 2, WIDTH), 4),
}


def draw_uneven(n_levels: int, n: int = 300) -> Tensor:
    """Returns activations that vary most in some directions, others at each level."""
    rng = torch.Generator().manual_seed(0)
    turned_LDD = torch.linalg.qr(torch.randn(n_levels, WIDTH, WIDTH, generator=rng).double())[0]
    size_D = torch.linspace(1, 0.2, WIDTH).double()
    normal_NLD = torch.randn(n, n_levels, WIDTH, generator=rng).double()
    return torch.einsum("nld,lde->nle", normal_NLD * size_D, turned_LDD)


def get_sizes(reporter: Reporter) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in reporter.named_parameters()}


def count_numbers(reporter: Reporter) -> int:
    return sum(value.numel() for value in reporter.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_all_weights_on_activations_are_found_and_nothing_else(name):
    make, n_rows = ROWS[name]
    reporter = make()
    z_NRD = draw_uneven(2 if name == "layered" else 1)
    column_BD = Coordinates(get_sizes(reporter), z_NRD, priced=False).column_BD
    assert column_BD.shape == (n_rows, WIDTH)
    is_on_activations_W = torch.cat(
        [
            torch.full((value.numel(),), name.endswith("D"))
            for name, value in reporter.named_parameters()
        ]
    )
    assert set(column_BD.flatten().tolist()) == set(is_on_activations_W.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("priced", [True, False])
@pytest.mark.parametrize("name", ROWS)
def test_coordinates_can_be_undone_and_gradients_follow_the_chain_rule(name, priced):
    reporter = ROWS[name][0]()
    z_NRD = draw_uneven(2 if name == "layered" else 1)
    coordinates = Coordinates(get_sizes(reporter), z_NRD, priced)
    rng = torch.Generator().manual_seed(1)
    phi_KW = torch.randn(3, count_numbers(reporter), generator=rng).double().requires_grad_()
    theta_KW = coordinates.to_theta(phi_KW)
    assert not torch.allclose(theta_KW, phi_KW)
    torch.testing.assert_close(coordinates.to_phi(theta_KW), phi_KW)
    weight_KW = torch.randn(theta_KW.shape, generator=rng).double()
    theta_gradient_KW = weight_KW * theta_KW.cos()
    (expected_KW,) = torch.autograd.grad((weight_KW * theta_KW.sin()).sum(), phi_KW)
    torch.testing.assert_close(coordinates.to_phi_gradient(theta_gradient_KW), expected_KW)


def test_in_these_coordinates_activations_vary_alike_in_all_directions():
    """But for the least variance, a ten-thousandth of the largest, which is added to each."""
    z_NRD = draw_uneven(1)
    sizes = {"weight_1D": torch.Size([1, WIDTH])}
    to_theta_DD = Coordinates(sizes, z_NRD, priced=False).to_theta_BDD[0]
    seen_ND = z_NRD[:, 0] @ to_theta_DD
    gram_DD = seen_ND.T @ seen_ND / len(seen_ND)
    torch.testing.assert_close(gram_DD, torch.eye(WIDTH).double(), rtol=0, atol=4e-3)
    plain_DD = z_NRD[:, 0].T @ z_NRD[:, 0] / len(z_NRD)
    assert torch.linalg.cond(plain_DD) > 10


def test_a_direction_that_never_varies_stays_finite_and_shrinks():
    z_NRD = draw_uneven(1)
    z_NRD[:, 0, 0] = 0
    sizes = {"weight_1D": torch.Size([1, WIDTH])}
    size_D = Coordinates(sizes, z_NRD, priced=True).to_theta_BDD[0].norm(dim=0)
    assert size_D.isfinite().all()
    assert size_D.max() <= 10 / z_NRD.std() * 2


def test_each_level_has_coordinates_of_its_own():
    z_NRD = draw_uneven(2)
    reporter = Layered(2, WIDTH)
    theta_1W = torch.randn(1, count_numbers(reporter)).double()
    both = Coordinates(get_sizes(reporter), z_NRD, priced=False)
    sizes = {"weight_2D": torch.Size([2, WIDTH])}
    for level in range(2):
        own = Coordinates(sizes, z_NRD[:, [level]], priced=False)
        own_W = slice(level * 2 * WIDTH, (level + 1) * 2 * WIDTH)
        expected_1W = own.to_phi(theta_1W[:, own_W])
        torch.testing.assert_close(both.to_phi(theta_1W)[:, own_W], expected_1W)


def test_weights_on_several_levels_without_an_axis_for_them_are_left_alone():
    sizes = {"inner_HD": torch.Size([3, WIDTH]), "bias_H": torch.Size([3])}
    phi_1W = torch.ones(1, 3 * WIDTH + 3).double()
    assert torch.equal(Coordinates(sizes, draw_uneven(2), False).to_theta(phi_1W), phi_1W)
    assert not torch.equal(Coordinates(sizes, draw_uneven(1), False).to_theta(phi_1W), phi_1W)


def test_a_priors_own_state_is_left_alone():
    reporter = Linear(1, WIDTH)
    sizes = get_sizes(reporter)
    state = Simplicity(0.05).state(dict(reporter.named_parameters()), None)
    n_state = sum(value.numel() for value in state.values())
    phi_1W = torch.randn(1, count_numbers(reporter) + n_state).double()
    theta_1W = Coordinates(sizes, draw_uneven(1), False).to_theta(phi_1W)
    assert torch.equal(theta_1W[:, -n_state:], phi_1W[:, -n_state:])
