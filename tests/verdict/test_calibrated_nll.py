"""The error after the best rescaling: known by hand, and the same whatever the scale before.

K: heads, N: episodes.
"""

import numpy as np
import pytest

from verdict.calibrated_nll import compute_calibrated_nll


def draw(n: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Returns log-odds, and answers that are drawn from them."""
    rng = np.random.default_rng(0)
    log_odds_N = 2 * rng.standard_normal(n)
    human_N = (rng.random(n) < 1 / (1 + np.exp(-log_odds_N))).astype(float)
    return log_odds_N, human_N


def test_log_odds_that_are_right_cost_what_they_cost_at_any_scale():
    log_odds_N, human_N = draw()
    nll = np.logaddexp(0, -log_odds_N * (2 * human_N - 1)).mean()
    scales_K1 = np.array([[1e-6], [0.1], [1.0], [30.0], [1e6]])
    found_K = compute_calibrated_nll(scales_K1 * log_odds_N, human_N)
    assert found_K == pytest.approx([nll] * 5, abs=1e-4)
    assert np.ptp(found_K) < 1e-12
    assert (found_K <= nll).all()


def entropy(p: float) -> float:
    return float(-p * np.log(p) - (1 - p) * np.log(1 - p))


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_certain_heads_pay_the_entropy_of_their_mistakes(size):
    human_N = np.ones(1000)
    log_odds_1N = np.full((1, 1000), size)
    log_odds_1N[0, :20] = -size
    assert compute_calibrated_nll(log_odds_1N, human_N) == pytest.approx([entropy(0.02)])


def test_heads_without_mistakes_pay_nothing():
    human_N = np.array([1.0, 0.0, 1.0])
    assert compute_calibrated_nll(np.array([[1e-3, -2.0, 1e3]]), human_N) < 1e-9


def test_heads_that_are_wrong_or_say_nothing_pay_ln_2():
    human_N = np.array([1.0, 0.0, 1.0, 0.0])
    wrong = -(2 * human_N - 1)
    found_K = compute_calibrated_nll(np.stack([wrong, 0 * wrong]), human_N)
    assert found_K == pytest.approx([np.log(2)] * 2)


def test_a_head_that_is_not_a_number_has_none_and_harms_no_other():
    log_odds_N, human_N = draw(1000)
    sick = log_odds_N.copy()
    sick[3] = np.nan
    endless = log_odds_N.copy()
    endless[3] = np.inf
    found_K = compute_calibrated_nll(np.stack([sick, endless, log_odds_N]), human_N)
    assert np.isnan(found_K[:2]).all()
    assert found_K[2] == compute_calibrated_nll(log_odds_N[None], human_N)[0]
