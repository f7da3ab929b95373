"""How often each kind of interval over few predictors covers the truth, which should be 95 times in
100, and how often priors that do the same are called different: the reasons for the rules in
report/intervals.py.   python -m benchmarks.intervals

Prints three tables. The first plants a mean of 0.3 in many sweeps of 32 heads per predictor, whose
predictors differ by a standard deviation of 0, 0.03 or 0.1. It shows how often the interval of each
rule covers the mean: heads as independent (Student; Clopper and Pearson for shares), a bootstrap of
predictors and of heads within them (percentiles), Student over the means of predictors, and the
rule.

The second plants shares that few predictors give and the others do not. It shows how often the
interval of a share covers it, and how wide the interval is. The third plants priors that do the
same, and shows how often at least one of all differences is called significant.

In the names of arrays, R: sweeps, P: pairs of priors, Q: predictors, H: heads of a predictor, N:
all heads of a sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from report.intervals import N_CLAIMS, SHARE, estimate_mean

TRUTH, HEADS, SWEEPS, RESAMPLES = 0.3, 32, 1_000, 300
PREDICTORS = (4, 8, 16)
Floats = NDArray[np.float64]
Limits = tuple[Floats, Floats]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
LAWS: dict[str, tuple[Draw, float]] = {
    "beta(.2, .8)": (lambda rng, shape: rng.beta(0.2, 0.8, shape), 0.2),
    "beta(.1, .9)": (lambda rng, shape: rng.beta(0.1, 0.9, shape), 0.1),
    "beta(.05, .95)": (lambda rng, shape: rng.beta(0.05, 0.95, shape), 0.05),
    "a quarter give all": (lambda rng, shape: (rng.random(shape) < 0.25).astype(float), 0.25),
    "half give all": (lambda rng, shape: (rng.random(shape) < 0.5).astype(float), 0.5),
    "alike": (lambda rng, shape: np.full(shape, 0.3), 0.3),
}
"""Laws of the share of translators among a predictor's heads, each with its mean."""
HEADINGS = (
    "kind",
    "predictors differ by",
    "predictors",
    "heads alone",
    "bootstrap",
    "Student over predictors",
    "the rule",
)


def main() -> None:
    """Prints the tables."""
    print_table(HEADINGS, tabulate_rules())
    predictors = [f"{n} predictors" for n in PREDICTORS]
    print("\nShares: how often the interval covers the truth, and its mean width.\n")
    print_table(["shares of predictors", *predictors], tabulate_shares())
    print("\nPriors that do the same: how often any difference is called significant.\n")
    print_table(["shares of predictors", "priors", *predictors], tabulate_differences())


def print_table(headings: Iterable[str], rows: Iterable[list[str]]) -> None:
    """Prints a Markdown table, row by row."""
    headings = list(headings)
    for row in (headings, ["---"] * len(headings)):
        print(f"| {' | '.join(row)} |")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def tabulate_rules() -> Iterator[list[str]]:
    """Yields the rows of the first table."""
    for is_share in (False, True):
        for between in (0.0, 0.03, 0.1):
            for predictors in (1, 2, 4, 8):
                coverage = measure_coverage(is_share, between, predictors)
                kind = "share" if is_share else "number"
                yield [kind, str(between), str(predictors), *coverage]


def tabulate_shares() -> Iterator[list[str]]:
    """Yields the rows of the second table."""
    for law in LAWS:
        cells = []
        for n_predictors in PREDICTORS:
            coverage, width = measure_share(law, n_predictors)
            cells.append(f"{coverage:.3f} (width {width:.2f})")
        yield [law, *cells]


def tabulate_differences() -> Iterator[list[str]]:
    """Yields the rows of the third table."""
    for n_priors in (2, 5):
        for law in LAWS:
            rates = [measure_false_claims(law, n, n_priors) for n in PREDICTORS]
            yield [law, str(n_priors), *(f"{rate:.3f}" for rate in rates)]
    rates = [measure_unlike_priors(n) for n in PREDICTORS]
    yield ["a quarter give all, against alike", "2", *(f"{rate:.3f}" for rate in rates)]


def plant_shares(
    law: str, shape: tuple[int, ...], rng: np.random.Generator, n_heads: int = HEADS
) -> NDArray[np.bool_]:
    """Returns which heads are translators.

    Args:
        shape: of the predictors; the heads of a predictor become the last axis.
    """
    share = LAWS[law][0](rng, shape)[..., None]
    return rng.random((*shape, n_heads)) < share


def measure_share(law: str, n_predictors: int, sweeps: int = SWEEPS) -> tuple[float, float]:
    """Returns how often the interval of a share covers the truth, and the interval's mean width."""
    hit_RQH = plant_shares(law, (sweeps, n_predictors), np.random.default_rng(0))
    predictor_N = name_predictors(n_predictors)
    means = [estimate_mean(hit_QH.ravel(), predictor_N, bounds=SHARE) for hit_QH in hit_RQH]
    low_R = np.array([mean.low for mean in means])
    high_R = np.array([mean.high for mean in means])
    truth = LAWS[law][1]
    covers_R = (low_R <= truth) & (truth <= high_R)
    return float(covers_R.mean()), float((high_R - low_R).mean())


def measure_false_claims(
    law: str, n_predictors: int, n_priors: int, sweeps: int = SWEEPS // 2
) -> float:
    """Returns in which share of sweeps at least one difference between priors is called
    significant, though all priors draw their predictors' shares from one law.

    Translators follow X on 0.95 of disputed episodes and other heads on 0.05, both give or take
    0.02, and both claims are made of each pair.
    """
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(n_priors, 1)
    n_wrong = 0
    for _ in range(sweeps):
        hit_PQH = plant_shares(law, (n_priors, n_predictors), rng)
        follows_PQH = np.where(hit_PQH, 0.95, 0.05) + rng.normal(0, 0.02, hit_PQH.shape)
        translators_PQH = hit_PQH.astype(np.int64)
        n_wrong += claims_any(
            translators_PQH[first] - translators_PQH[second],
            follows_PQH[first] - follows_PQH[second],
        )
    return n_wrong / sweeps


def measure_unlike_priors(n_predictors: int, sweeps: int = SWEEPS) -> float:
    """Returns how often a difference is called significant between a prior under which a quarter of
    predictors give all translators and one under which each gives a quarter.

    Their means are equal, but most samples of few predictors hold none that gives all.
    """
    rng = np.random.default_rng(0)
    n_wrong = 0
    for _ in range(sweeps):
        first_QH = plant_shares("a quarter give all", (n_predictors,), rng)
        second_QH = rng.random(first_QH.shape) < 0.25
        difference_PQH = (first_QH.astype(np.int64) - second_QH)[None]
        n_wrong += claims_any(difference_PQH, 0.9 * difference_PQH)
    return n_wrong / sweeps


def claims_any(translators_PQH: NDArray[np.int64], follows_PQH: Floats) -> bool:
    """Whether any of these differences is significant, all of them together."""
    n_pairs, n_predictors, n_heads = translators_PQH.shape
    predictor_N = name_predictors(n_predictors, n_heads)
    for values_PQH in (translators_PQH, follows_PQH):
        for value_QH in values_PQH:
            if estimate_mean(value_QH.ravel(), predictor_N, N_CLAIMS * n_pairs).decided:
                return True
    return False


def name_predictors(n_predictors: int, n_heads: int = HEADS) -> NDArray[np.object_]:
    """Returns the predictor of each head of a sweep."""
    return np.repeat(np.arange(n_predictors), n_heads).astype(object)


def measure_coverage(is_share: bool, between: float, predictors: int) -> list[str]:
    """Returns how often the interval of each rule covers the truth; a dash where it has none."""
    rng = np.random.default_rng(0)
    mean_RQ1 = rng.normal(TRUTH, between, (SWEEPS, predictors, 1)).clip(0, 1)
    shape = (SWEEPS, predictors, HEADS)
    value_RQH = rng.random(shape) < mean_RQ1 if is_share else mean_RQ1 + rng.normal(0, 0.15, shape)
    names = name_predictors(predictors)
    bounds = SHARE if is_share else (-np.inf, np.inf)
    means = [estimate_mean(value_QH.ravel(), names, bounds=bounds) for value_QH in value_RQH]
    rules = [
        compute_heads_limits(value_RQH, is_share),
        compute_bootstrap_limits(value_RQH.astype(float), rng),
        compute_student_limits(value_RQH.mean(axis=2)),
        (np.array([mean.low for mean in means]), np.array([mean.high for mean in means])),
    ]
    coverage = []
    for low_R, high_R in rules:
        share = np.mean((low_R <= TRUTH) & (high_R >= TRUTH))
        coverage.append("–" if np.isnan(low_R).all() else f"{share:.3f}")
    return coverage


def compute_heads_limits(value_RQH: NDArray[np.float64 | np.bool_], is_share: bool) -> Limits:
    """Returns the limits of the interval that treats heads as independent."""
    value_RN = value_RQH.reshape(len(value_RQH), -1)
    if not is_share:
        return compute_student_limits(value_RN.astype(float))
    n, hits_R = value_RN.shape[1], value_RN.sum(axis=1)
    low_R = stats.beta.ppf(0.025, hits_R, n - hits_R + 1)
    high_R = stats.beta.ppf(0.975, hits_R + 1, n - hits_R)
    return low_R, high_R


def compute_student_limits(value_RN: Floats) -> Limits:
    """Returns the limits of Student's interval of each row; NaN for rows of one value."""
    n, middle_R = value_RN.shape[1], value_RN.mean(axis=1)
    if n < 2:
        return np.full(len(middle_R), np.nan), np.full(len(middle_R), np.nan)
    half_R = stats.t.ppf(0.975, n - 1) * value_RN.std(axis=1, ddof=1) / np.sqrt(n)
    return middle_R - half_R, middle_R + half_R


def compute_bootstrap_limits(value_RQH: Floats, rng: np.random.Generator) -> Limits:
    """Returns the limits of the bootstrap of predictors and of heads within them."""
    sweeps, predictors, heads = value_RQH.shape
    means = np.empty((RESAMPLES, sweeps))
    for i in range(RESAMPLES):
        predictor_RQ = rng.integers(0, predictors, (sweeps, predictors))
        sample_RQH = value_RQH[np.arange(sweeps)[:, None], predictor_RQ]
        head_RQH = rng.integers(0, heads, sample_RQH.shape)
        means[i] = np.take_along_axis(sample_RQH, head_RQH, axis=2).mean(axis=(1, 2))
    low_R, high_R = np.quantile(means, [0.025, 0.975], axis=0)
    return low_R, high_R


if __name__ == "__main__":
    main()
