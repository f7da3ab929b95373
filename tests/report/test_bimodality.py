"""One mode or two, on heads that are planted in one mode or in two."""

import numpy as np
import pytest

from report.bimodality import compute_dip, find_two_modes

ONE_MODE = {
    "normal": lambda rng, n: rng.normal(0.6, 0.05, n),
    "flat": lambda rng, n: rng.uniform(0, 1, n),
    "at the end": lambda rng, n: np.minimum(1 - rng.exponential(0.1, n).clip(0, 1), 1),
    "with a long tail": lambda rng, n: (0.3 + rng.exponential(0.08, n)).clip(0, 1),
    "one value": lambda rng, n: np.full(n, 0.5),
}


def name_predictors(n_predictors: int, n: int) -> np.ndarray:
    """Returns the predictor of each of n heads."""
    return (np.arange(n) % n_predictors).astype(str).astype(object)


@pytest.mark.parametrize("kind", ONE_MODE)
@pytest.mark.parametrize("n", [16, 128])
def test_one_mode_is_not_reported_as_two(kind, n):
    rng = np.random.default_rng(n)
    samples = [ONE_MODE[kind](rng, n) for _ in range(150)]
    reported = [find_two_modes(sample, name_predictors(4, n)) is not None for sample in samples]
    assert sum(reported) <= 1


@pytest.mark.parametrize(("n", "share"), [(24, 0.5), (128, 0.5), (128, 0.2), (128, 0.05)])
def test_translators_and_imitators_are_two_modes(n, share):
    rng = np.random.default_rng(0)
    n_lower = round(n * share)
    lower, upper = rng.normal(0.03, 0.01, n_lower), rng.normal(0.97, 0.01, n - n_lower)
    modes = find_two_modes(np.concatenate([lower, upper]), name_predictors(4, n))
    assert modes.lower_share == pytest.approx(share, abs=0.01)
    assert modes.lower == pytest.approx(0.03, abs=0.02)
    assert modes.upper == pytest.approx(0.97, abs=0.02)


def test_two_stray_heads_are_no_mode():
    rng = np.random.default_rng(0)
    values = np.array([0.9] * 62 + [0.1] * 2) + rng.normal(0, 0.01, 64)
    assert find_two_modes(values, name_predictors(4, 64)) is None


def test_the_description_says_under_how_many_predictors_both_modes_occur():
    values = np.tile([0.02, 0.98], 32)
    mixed = find_two_modes(values, np.repeat(["a", "b"], 32).astype(object))
    assert "both under every predictor" in mixed.describe()
    apart = find_two_modes(values, name_predictors(2, 64))
    assert "both under 0 of 2 predictors" in apart.describe()


def test_modes_that_lie_close_and_modes_of_few_heads_are_not_reported():
    assert find_two_modes(np.tile([0.50, 0.55], 64), name_predictors(4, 128)) is None
    assert find_two_modes(np.tile([0.0, 1.0], 4), name_predictors(4, 8)) is None


def test_the_dip_equals_values_known_by_hand():
    assert compute_dip(np.array([0.0, 0.0, 1.0, 1.0])) == 0.25
    assert compute_dip(np.linspace(0, 1, 50)) == pytest.approx(1 / 100)
    assert compute_dip(np.array([0.0] * 3 + [1.0])) == pytest.approx(0.125)
