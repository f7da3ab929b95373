"""One mode or two, on heads that are planted in one mode or in two; and predictors that differ."""

import numpy as np
import pytest

from report.bimodality import compute_dips, find_differing_predictors, find_two_modes


def contaminate(rng, n):
    """Returns heads of which one in a hundred lies far away."""
    is_stray = rng.random(n) < 0.01
    return np.where(is_stray, rng.normal(0.1, 0.03, n), rng.normal(0.8, 0.03, n))


def draw_point_with_tail(rng, n):
    """Returns heads of which most have the same value, and the others have a thin tail."""
    return np.where(rng.random(n) < 0.8, 1.0, 1 - rng.exponential(0.2, n)).clip(0, 1)


ONE_MODE = {
    "normal": lambda rng, n: rng.normal(0.6, 0.08, n),
    "t with 3 degrees": lambda rng, n: 0.5 + 0.08 * rng.standard_t(3, n),
    "Laplace": lambda rng, n: rng.laplace(0.5, 0.1, n),
    "skewed": lambda rng, n: rng.beta(5, 1.2, n),
    "contaminated": contaminate,
    "a point with a thin tail": draw_point_with_tail,
    "a point in a flat distribution": lambda rng, n: np.where(
        rng.random(n) < 0.2, 1.0, rng.random(n)
    ),
    "flat": lambda rng, n: rng.random(n),
    "at the end": lambda rng, n: 1 - rng.exponential(0.1, n).clip(0, 1),
    "one value": lambda rng, n: np.full(n, 0.5),
}
SIZES = [(n_predictors, n_heads) for n_predictors in (4, 8, 16) for n_heads in (8, 32)]
SWEEPS = [pytest.param(20, id="few"), pytest.param(500, marks=pytest.mark.slow, id="many")]


def name_predictors(n_predictors: int, n_heads: int) -> np.ndarray:
    """Returns the predictor of each head."""
    return np.repeat(np.arange(n_predictors), n_heads).astype(object)


def plant_two_modes(rng, n: int, lower_share: float = 0.5) -> np.ndarray:
    """Returns heads near .36 and near .92."""
    is_lower = rng.random(n) < lower_share
    return np.where(is_lower, rng.normal(0.36, 0.05, n), rng.normal(0.92, 0.03, n))


@pytest.mark.parametrize("sweeps", SWEEPS)
@pytest.mark.parametrize(("n_predictors", "n_heads"), SIZES)
@pytest.mark.parametrize("kind", ONE_MODE)
def test_one_mode_is_called_two_in_one_sweep_of_a_hundred_at_most(
    kind, n_predictors, n_heads, sweeps
):
    rng, names = np.random.default_rng(0), name_predictors(n_predictors, n_heads)
    samples = [ONE_MODE[kind](rng, len(names)) for _ in range(sweeps)]
    n_wrong = sum(find_two_modes(sample, names) is not None for sample in samples)
    assert n_wrong <= max(0.01 * sweeps, 1)


@pytest.mark.parametrize("sweeps", SWEEPS)
@pytest.mark.parametrize(("n_predictors", "n_heads"), SIZES)
def test_predictors_that_differ_are_not_two_modes(n_predictors, n_heads, sweeps):
    rng, names = np.random.default_rng(0), name_predictors(n_predictors, n_heads)
    means = np.array([0.1, 0.35, 0.6, 0.9])[names.astype(int) % 4]
    samples = [rng.normal(means, 0.02) for _ in range(sweeps)]
    assert np.mean([find_two_modes(sample, names) is not None for sample in samples]) <= 0.01
    assert all(find_differing_predictors(sample, names) is not None for sample in samples)


@pytest.mark.parametrize("sweeps", SWEEPS)
@pytest.mark.parametrize(("n_predictors", "n_heads"), SIZES)
@pytest.mark.parametrize("kind", ["t with 3 degrees", "flat", "a point in a flat distribution"])
def test_predictors_that_are_alike_are_called_different_in_one_sweep_of_a_hundred_at_most(
    kind, n_predictors, n_heads, sweeps
):
    rng, names = np.random.default_rng(0), name_predictors(n_predictors, n_heads)
    samples = [ONE_MODE[kind](rng, len(names)) for _ in range(sweeps)]
    n_wrong = sum(find_differing_predictors(sample, names) is not None for sample in samples)
    assert n_wrong <= max(0.01 * sweeps, 1)


@pytest.mark.parametrize(
    ("n_predictors", "n_heads", "power"),
    [(4, 8, 0.5), (8, 8, 0.7), (16, 8, 0.9), (4, 32, 0.99), (8, 32, 0.99), (16, 32, 0.99)],
)
def test_two_modes_within_predictors_are_found(n_predictors, n_heads, power):
    rng, names = np.random.default_rng(0), name_predictors(n_predictors, n_heads)
    samples = [plant_two_modes(rng, len(names)) for _ in range(30)]
    found = [find_two_modes(sample, names) for sample in samples]
    assert np.mean([modes is not None for modes in found]) >= power
    for modes in filter(None, found):
        assert modes.lower == pytest.approx(0.36, abs=0.06)
        assert modes.upper == pytest.approx(0.92, abs=0.06)
        assert modes.lower_share == pytest.approx(0.5, abs=0.15)


def test_two_modes_are_found_though_predictors_differ():
    rng, names = np.random.default_rng(0), name_predictors(4, 32)
    shift = np.array([-0.2, -0.1, 0.0, 0.05])[names.astype(int)]
    modes = find_two_modes(plant_two_modes(rng, 128) + shift, names)
    assert modes.describe().endswith("(within every predictor)")


def test_a_few_stray_heads_are_no_mode():
    rng = np.random.default_rng(0)
    values = np.array([0.9] * 120 + [0.1] * 8) + rng.normal(0, 0.01, 128)
    assert find_two_modes(rng.permutation(values), name_predictors(4, 32)) is None


def test_the_description_says_within_how_many_predictors_both_modes_occur():
    values = np.concatenate([np.tile([0.02, 0.98], 32), np.full(64, 0.98)])
    values = values + np.random.default_rng(0).normal(0, 0.005, 128)
    half = find_two_modes(values, name_predictors(4, 32))
    assert (
        half.describe() == "two modes, 50% near 0.02 and 50% near 0.98 (within 2 of 4 predictors)"
    )
    one = find_two_modes(values[:64], np.full(64, "a", object))
    assert one.describe().endswith("(within one predictor)")
    apart = np.repeat([0.02, 0.98, 0.02, 0.98], 32)
    assert find_two_modes(apart, name_predictors(4, 32)) is None
    differing = find_differing_predictors(apart, name_predictors(4, 32))
    assert differing.describe() == "means of 4 predictors from 0.02 to 0.98"


def test_modes_that_lie_close_and_modes_of_few_heads_are_not_reported():
    assert find_two_modes(np.tile([0.50, 0.55], 64), name_predictors(4, 32)) is None
    assert find_two_modes(np.tile([0.0, 1.0], 14), name_predictors(4, 7)) is None


def test_one_predictor_does_not_differ_and_neither_do_predictors_that_lie_close():
    assert find_differing_predictors(np.arange(9) / 9, np.full(9, "a", object)) is None
    assert find_differing_predictors(np.repeat([0.5, 0.6], 32), name_predictors(2, 32)) is None


def test_the_dip_equals_values_known_by_hand():
    assert compute_dips(np.array([[0.0, 0.0, 1.0, 1.0]])) == [0.25]
    assert compute_dips(np.linspace(0, 1, 50)[None]) == pytest.approx(1 / 100)
    assert compute_dips(np.array([[0.0] * 3 + [1.0]])) == pytest.approx(0.125)
    assert compute_dips(np.full((2, 5), 0.3)).tolist() == [0, 0]


def test_a_mirrored_sample_has_the_same_dip():
    value_BN = np.random.default_rng(0).random((50, 12)).round(1)
    assert compute_dips(1 - value_BN) == pytest.approx(compute_dips(value_BN))
