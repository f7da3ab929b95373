"""One heap or two, on heads that were planted in one or in two."""

import numpy as np
import pytest

from report.bimodality import dip, heaps

ONE_HEAP = {
    "normal": lambda chance, n: chance.normal(0.6, 0.05, n),
    "flat": lambda chance, n: chance.uniform(0, 1, n),
    "at the end": lambda chance, n: np.minimum(1 - chance.exponential(0.1, n).clip(0, 1), 1),
    "with a long tail": lambda chance, n: (0.3 + chance.exponential(0.08, n)).clip(0, 1),
    "one value": lambda chance, n: np.full(n, 0.5),
}


def of(predictors: int, n: int) -> np.ndarray:
    return (np.arange(n) % predictors).astype(str).astype(object)


@pytest.mark.parametrize("kind", ONE_HEAP)
@pytest.mark.parametrize("n", [16, 128])
def test_one_heap_is_not_taken_for_two(kind, n):
    chance = np.random.default_rng(n)
    assert sum(heaps(ONE_HEAP[kind](chance, n), of(4, n)) is not None for _ in range(150)) <= 1


@pytest.mark.parametrize(("n", "share"), [(24, 0.5), (128, 0.5), (128, 0.2), (128, 0.05)])
def test_translators_and_imitators_are_two_heaps(n, share):
    chance = np.random.default_rng(0)
    value = np.concatenate(
        [
            chance.normal(0.03, 0.01, round(n * share)),
            chance.normal(0.97, 0.01, n - round(n * share)),
        ]
    )
    found = heaps(value, of(4, n))
    assert found.lower_share == pytest.approx(share, abs=0.01)
    assert (found.lower, found.upper) == (
        pytest.approx(0.03, abs=0.02),
        pytest.approx(0.97, abs=0.02),
    )


def test_two_stray_heads_are_no_heap():
    chance = np.random.default_rng(0)
    assert heaps(np.array([0.9] * 62 + [0.1] * 2) + chance.normal(0, 0.01, 64), of(4, 64)) is None


def test_it_says_whether_the_heaps_are_the_predictors():
    value = np.tile([0.02, 0.98], 32)
    assert (
        "both under every predictor"
        in heaps(value, np.repeat(["a", "b"], 32).astype(object)).words()
    )
    assert "both under 0 of 2 predictors" in heaps(value, of(2, 64)).words()


def test_two_heaps_that_lie_close_and_few_heads_are_worth_no_word():
    assert heaps(np.tile([0.50, 0.55], 64), of(4, 128)) is None
    assert heaps(np.tile([0.0, 1.0], 4), of(4, 8)) is None


def test_the_dip_is_that_of_cases_known_by_hand():
    assert dip(np.array([0.0, 0.0, 1.0, 1.0])) == 0.25
    assert dip(np.linspace(0, 1, 50)) == pytest.approx(1 / 100)
    assert dip(np.array([0.0] * 3 + [1.0])) == pytest.approx(0.125)
