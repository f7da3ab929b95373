"""Heads that are solve for: as scikit-learn and Newton find them at any conditioning; refused by
name where there is no single optimum.
"""

import math
from functools import partial

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from console.errors import UserError
from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Prior
from reporters.attention import Attention
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.logic import Logic
from reporters.mean_difference import MeanDifference
from reporters.mlp import MLP
from reporters.reporter import nll
from tests.priors.made import PRIORS, build_prior
from tests.reporters.made import get_maker
from tests.training.made import planted, population
from training import convex
from training.convex import Convex, is_linear
from training.heads import Heads

HOW = Convex(tolerance=1e-10, steps=1000)
NOISY, HELD_OUT = (
    planted(n, inputs=3, width=16, levels=2, noise=3.0, seed=seed)
    for n, seed in ((1000, 0), (300, 1))
)
STRENGTHS = (0.25, 1.0, 4.0)


@pytest.fixture
def solve(trainer, tmp_path, monkeypatch):
    """Solves heads of noisy examples, if nothing else is given."""

    def run(
        make=Linear, prior: Prior = Gaussian(1.0), how: Convex = HOW, examples=NOISY, seeds=(0, 1)
    ) -> Heads:
        monkeypatch.setattr("tests.training.made.schedule", lambda: how)
        return population(
            trainer,
            tmp_path / "fit",
            make,
            prior,
            examples,
            HELD_OUT,
            seeds=seeds,
            strengths=STRENGTHS,
        )

    return run


def conditioned(condition: float, width: int = 24, n: int = 600) -> tuple[Tensor, Tensor]:
    """Returns features whose largest standard deviation is so many times the smallest, in
    directions of their own, and noisy answers.
    """
    rng = torch.Generator().manual_seed(3)
    normal_ND = torch.randn(n, width, generator=rng, dtype=torch.float64)
    turned_DD = torch.linalg.qr(torch.randn(width, width, generator=rng, dtype=torch.float64))[0]
    size_D = torch.logspace(0, -math.log10(condition), width, dtype=torch.float64)
    answers_N = (
        normal_ND[:, :4].sum(dim=1) + 2 * torch.randn(n, generator=rng, dtype=torch.float64) > 0
    ).double()
    return (
        torch.cat([normal_ND * size_D @ turned_DD.T, torch.ones(n, 1, dtype=torch.float64)], dim=1),
        answers_N,
    )


def newton(a_NW: Tensor, answers_N: Tensor, price: float) -> Tensor:
    """Returns the least loss, of plain damped Newton steps."""
    free_W = torch.cat([torch.ones(a_NW.shape[1] - 1), torch.zeros(1)]).double()
    theta_W = torch.zeros_like(free_W)
    for _ in range(100):
        p_N = torch.sigmoid(a_NW @ theta_W)
        gradient_W = a_NW.T @ (p_N - answers_N) / len(a_NW) + price * free_W * theta_W
        curvature_WW = (a_NW * (p_N * (1 - p_N))[:, None]).T @ a_NW / len(a_NW) + torch.diag(
            price * free_W
        )
        step_W = torch.linalg.lstsq(curvature_WW, gradient_W, driver="gelsd").solution
        theta_W = theta_W - step_W * min(
            1.0, 4 / float((a_NW @ step_W).abs().max().clamp_min(1e-300))
        )
    return nll(a_NW @ theta_W, answers_N).mean() + price * (free_W * theta_W.square()).sum() / 2


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e6])
def test_it_finds_the_least_loss_at_any_conditioning(condition):
    a_NW, answers_N = conditioned(condition)
    price_K = torch.logspace(-7, 0, 8, dtype=torch.float64)

    def losses(k: Tensor, theta_KW: Tensor, log_odds_KN: Tensor) -> Tensor:
        return (
            nll(log_odds_KN, answers_N).mean(dim=1)
            + price_K[k] * theta_KW[:, :-1].square().sum(dim=1) / 2
        )

    optimum = convex.solve(HOW, a_NW, losses, price_K)
    reached_K = losses(torch.arange(8), optimum.theta_KW, optimum.theta_KW @ a_NW.T)
    least_K = torch.stack([newton(a_NW, answers_N, float(price)) for price in price_K])
    assert (reached_K - least_K).abs().max() < 1e-6
    assert (optimum.gap_K <= HOW.tolerance).all()


def test_in_parts_it_finds_what_it_finds_at_once(monkeypatch, solve):
    whole = solve()
    monkeypatch.setattr(convex, "WHOLE", 1000)
    for name, value in solve().weights.items():
        torch.testing.assert_close(value, whole.weights[name], rtol=0, atol=1e-5)


def test_weight_decay_gives_the_heads_of_scikit_learn_whatever_the_seed(solve):
    heads = solve()
    z_NLD = ((NOISY.z_NLD - heads.mean_LD) / heads.std_LD).double()
    for level in range(2):
        for m, strength in enumerate(STRENGTHS):
            peer = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(
                z_NLD[:, level].numpy(), NOISY.human_N.numpy()
            )
            for seed in range(2):
                torch.testing.assert_close(
                    heads.weights["weight_1D"][level, seed, m],
                    torch.tensor(peer.coef_).float(),
                    rtol=0,
                    atol=1e-4,
                )
                assert heads.weights["bias"][level, seed, m] == pytest.approx(
                    peer.intercept_[0], abs=1e-4
                )


def test_without_a_charge_it_is_the_plain_logistic_regression(solve):
    heads = solve(prior=NoPrior())
    z_NLD = ((NOISY.z_NLD - heads.mean_LD) / heads.std_LD).double()
    peer = LogisticRegression(C=math.inf, tol=1e-10, max_iter=10_000).fit(
        z_NLD[:, 0].numpy(), NOISY.human_N.numpy()
    )
    torch.testing.assert_close(
        heads.weights["weight_1D"][0, 0, 0], torch.tensor(peer.coef_).float(), rtol=0, atol=1e-3
    )


def test_where_every_episode_can_be_answered_correctly_no_charge_gives_the_largest_margin(solve):
    easy = planted(200, inputs=3, width=16, levels=2, noise=0.0)
    sign_N = 2 * easy.human_N - 1

    def compute_margins(prior):
        heads = solve(prior=prior, examples=easy)
        log_odds_KN = heads.predict_log_odds(easy.z_NLD)
        norm_K = heads.weights["weight_1D"].flatten(0, 2).norm(dim=(1, 2))
        margin_K = (sign_N * log_odds_KN).amin(dim=1) / norm_K
        return margin_K.view(heads.weights["bias"].shape)[0, 0], heads

    margin_M, none = compute_margins(NoPrior())
    charged_M, _ = compute_margins(Gaussian(1.0))
    assert (margin_M > 0).all() and (margin_M[0] > charged_M).all()
    assert none.settling.total_K[0] == pytest.approx(0.001, rel=0.01)
    assert none.settling.settled_K[0]


def test_an_optimum_that_was_not_reached_is_said(solve, capfd):
    solve()
    assert "not reached" not in capfd.readouterr().err
    solve(how=Convex(tolerance=1e-10, steps=2))
    assert "training: 6 of 6 optima were not reached in 2 steps" in capfd.readouterr().err


@pytest.mark.parametrize(
    "make",
    [
        partial(MLP, hidden=4),
        Layered,
        partial(Attention, hidden=4, steps=2),
        get_maker("logic", most=4),
    ],
)
def test_a_head_that_is_not_linear_in_its_parameters_is_refused(make, solve):
    with pytest.raises(
        UserError,
        match=(
            r"training: the log-odds of \w+ are not linear in its parameters.* Use"
            r" training=default, or reporter=linear"
        ),
    ):
        solve(make=make, prior=NoPrior())


@pytest.mark.parametrize("prior", [name for name in PRIORS if name not in ("none", "gaussian")])
def test_a_charge_that_is_not_convex_is_refused(prior, solve):
    with pytest.raises(
        UserError,
        match=(
            r"training: the charge of \w+ is not convex.*"
            r" Use training=default, or prior=gaussian"
        ),
    ):
        solve(prior=build_prior(prior))


def test_linear_heads_are_distinguished_from_others():
    z_NRD = torch.randn(64, 1, 8, generator=torch.Generator().manual_seed(0))
    assert is_linear(Linear(1, 8), z_NRD) and is_linear(MeanDifference(1, 8), z_NRD)
    assert not is_linear(MLP(1, 8, hidden=2), z_NRD) and not is_linear(
        Logic(1, 8, 2, 1, 2, 1.0, 1.0, 1.0, 1.0, 1.0), z_NRD
    )


@pytest.mark.parametrize(("key", "value"), [("tolerance", 0.0), ("steps", 0)])
def test_a_bad_value_is_refused(key, value):
    with pytest.raises(UserError, match=f"training.{key}"):
        Convex(**({"tolerance": 1e-9, "steps": 10} | {key: value}))
