"""L-BFGS for many heads: it finds planted minima, each head as if it were alone, and goes on from
where a checkpoint left it.

K: heads, W: coordinates of a head.
"""

import pytest
import torch
from torch import Tensor

from training.lbfgs import Evaluate, LBFGSState, minimise

CURVATURES = (1.0, 1e2, 1e4)
WIDTH = 6


def plant_quadratics() -> tuple[Evaluate, Tensor]:
    """Returns one quadratic a head, in turned axes, and their minima. The largest curvature is 1,
    the smallest so many times less.
    """
    rng = torch.Generator().manual_seed(0)
    matrices = []
    for curvature in CURVATURES:
        turned_WW = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=rng).double())[0]
        value_W = torch.logspace(0, 1, WIDTH, base=1 / curvature).double()
        matrices.append(turned_WW * value_W @ turned_WW.T)
    matrix_KWW = torch.stack(matrices)
    least_KW = torch.randn(len(CURVATURES), WIDTH, generator=rng).double()

    def evaluate(phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        away_KW = phi_KW - least_KW[k]
        gradient_KW = (matrix_KWW[k] * away_KW[:, None]).sum(dim=2)
        return (away_KW * gradient_KW).sum(dim=1) / 2, gradient_KW

    return evaluate, least_KW


def evaluate_rosenbrock(phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a banana's losses: the minimum is 0, at (1, 1)."""
    x_K, y_K = phi_KW.unbind(dim=1)
    bent_K = y_K - x_K.square()
    loss_K = (1 - x_K).square() + 100 * bent_K.square()
    slope_K = -2 * (1 - x_K) - 400 * x_K * bent_K
    return loss_K, torch.stack([slope_K, 200 * bent_K], dim=1)


def test_it_finds_the_minimum_of_quadratics_of_any_curvature():
    evaluate, least_KW = plant_quadratics()
    phi_KW, gap_K = minimise(evaluate, torch.zeros_like(least_KW), 1e-14, steps=500)
    assert (gap_K <= 1e-14).all()
    torch.testing.assert_close(phi_KW, least_KW, rtol=0, atol=1e-4)


def test_after_few_steps_it_says_how_much_is_missing():
    evaluate, least_KW = plant_quadratics()
    phi_KW, gap_K = minimise(evaluate, torch.zeros_like(least_KW), 1e-14, steps=3)
    loss_K, _ = evaluate(phi_KW, torch.arange(len(CURVATURES)))
    assert (gap_K >= loss_K).all()
    assert (loss_K[1:] > 1e-6).all()


def test_a_head_alone_is_the_same_head_in_company():
    evaluate, least_KW = plant_quadratics()
    company_KW, _ = minimise(evaluate, torch.zeros_like(least_KW), 1e-10, steps=500)
    for head in range(len(CURVATURES)):

        def evaluate_one(phi_KW: Tensor, k: Tensor, head: int = head) -> tuple[Tensor, Tensor]:
            return evaluate(phi_KW, k + head)

        alone_1W, _ = minimise(evaluate_one, torch.zeros_like(least_KW[:1]), 1e-10, steps=500)
        torch.testing.assert_close(alone_1W[0], company_KW[head], rtol=0, atol=1e-10)


def test_it_follows_a_bent_valley():
    start_KW = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [3.0, -2.0]]).double()
    phi_KW, _ = minimise(evaluate_rosenbrock, start_KW, 1e-14, steps=500)
    torch.testing.assert_close(phi_KW, torch.ones_like(phi_KW), rtol=0, atol=1e-5)


def test_a_head_that_has_arrived_is_left_alone():
    """The first starts at its minimum."""
    calls = torch.zeros(2, dtype=torch.long)

    def evaluate(phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        calls[k] += 1
        return evaluate_rosenbrock(phi_KW, k)

    start_KW = torch.tensor([[1.0, 1.0], [-1.2, 1.0]]).double()
    phi_KW, _ = minimise(evaluate, start_KW, 1e-14, steps=500)
    assert torch.equal(phi_KW[0], start_KW[0])
    assert calls[0] <= 12
    assert calls[1] > 20


def test_a_head_that_is_not_a_number_harms_no_other():
    calls = [0, 0]

    def evaluate(phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        for i in k.tolist():
            calls[i] += 1
        return evaluate_rosenbrock(phi_KW, k)

    start_KW = torch.tensor([[torch.nan, 1.0], [-1.2, 1.0]]).double()
    phi_KW, gap_K = minimise(evaluate, start_KW, 1e-14, steps=200)
    torch.testing.assert_close(phi_KW[1], torch.ones(2).double(), rtol=0, atol=1e-5)
    assert not gap_K[0] <= 1e-14
    assert calls[0] <= 201, "one evaluation a step: no shorter step would help"


def begin(evaluate: Evaluate, start_KW: Tensor, steps: int) -> LBFGSState:
    state = LBFGSState(start_KW)
    k = torch.arange(len(start_KW))
    state.forget(evaluate, k)
    for _ in range(steps):
        state.step(evaluate, k)
    return state


def test_a_head_that_forgets_begins_anew_where_it_is():
    """Its loss is another one from then on; a head that goes on is not changed by that."""
    start_KW = torch.tensor([[-1.2, 1.0], [0.0, 0.5]]).double()
    state = begin(evaluate_rosenbrock, start_KW, steps=5)
    before_KW, loss_K = state.phi_KW.clone(), state.loss_K.clone()

    def evaluate_other(phi_KW: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        loss_K, gradient_KW = evaluate_rosenbrock(phi_KW, k)
        return torch.where(k == 0, 3 * loss_K, loss_K), gradient_KW * (1 + 2 * (k == 0))[:, None]

    state.forget(evaluate_other, torch.tensor([0]))
    assert torch.equal(state.phi_KW, before_KW)
    torch.testing.assert_close(state.loss_K, loss_K * torch.tensor([3.0, 1.0]))
    anew = begin(evaluate_other, before_KW, steps=20)
    going_on = begin(evaluate_rosenbrock, start_KW, steps=25)
    for _ in range(20):
        state.step(evaluate_other, torch.arange(2))
    torch.testing.assert_close(state.phi_KW[0], anew.phi_KW[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(state.phi_KW[1], going_on.phi_KW[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 7, 25])
def test_a_state_that_was_saved_goes_on_bit_for_bit(steps):
    evaluate, least_KW = plant_quadratics()
    whole = begin(evaluate, torch.zeros_like(least_KW), steps)
    resumed = LBFGSState(torch.ones_like(least_KW))
    saved = {name: value.clone() for name, value in whole.state_dict().items()}
    resumed.load_state_dict(saved)
    for state in (whole, resumed):
        for _ in range(10):
            state.step(evaluate, torch.arange(len(CURVATURES)))
    assert torch.equal(whole.phi_KW, resumed.phi_KW)
    assert torch.equal(whole.gap_K, resumed.gap_K)
