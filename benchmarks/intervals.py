"""How often each kind of interval over few predictors covers the truth, which should be 95 times in
100: the reason for the rule in report/intervals.py.   python -m benchmarks.intervals

Plants a mean of 0.3 in many sweeps of 32 heads per predictor. The predictors differ by a standard
deviation of 0, 0.03 or 0.1. Prints how often the interval of each rule covers the mean: heads as
independent (Student; Clopper and Pearson for shares), a bootstrap of predictors and of heads within
them (percentiles), Student over the means of predictors, and the wider of the first and the third,
which is the rule.

In the names of arrays, R: sweeps, Q: predictors, H: heads of a predictor, N: all heads of a sweep.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from report.intervals import estimate_mean

TRUTH, HEADS, SWEEPS, RESAMPLES = 0.3, 32, 1_000, 300
Limits = tuple[NDArray[np.float64], NDArray[np.float64]]
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
    """Prints the table."""
    print_row(HEADINGS)
    print_row(["---"] * len(HEADINGS))
    for is_share in (False, True):
        for between in (0.0, 0.03, 0.1):
            for predictors in (1, 2, 4, 8):
                coverage = measure_coverage(is_share, between, predictors)
                kind = "share" if is_share else "number"
                print_row([kind, str(between), str(predictors), *coverage])


def print_row(cells: list[str] | tuple[str, ...]) -> None:
    """Prints a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |")


def measure_coverage(is_share: bool, between: float, predictors: int) -> list[str]:
    """Returns how often the interval of each rule covers the truth; a dash where it has none."""
    rng = np.random.default_rng(0)
    mean_RQ1 = rng.normal(TRUTH, between, (SWEEPS, predictors, 1)).clip(0, 1)
    shape = (SWEEPS, predictors, HEADS)
    value_RQH = rng.random(shape) < mean_RQ1 if is_share else mean_RQ1 + rng.normal(0, 0.15, shape)
    names = np.repeat(np.arange(predictors), HEADS).astype(object)
    means = [estimate_mean(value_QH.ravel(), names) for value_QH in value_RQH]
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


def compute_student_limits(value_RN: NDArray[np.float64]) -> Limits:
    """Returns the limits of Student's interval of each row; NaN for rows of one value."""
    n, middle_R = value_RN.shape[1], value_RN.mean(axis=1)
    if n < 2:
        return np.full(len(middle_R), np.nan), np.full(len(middle_R), np.nan)
    half_R = stats.t.ppf(0.975, n - 1) * value_RN.std(axis=1, ddof=1) / np.sqrt(n)
    return middle_R - half_R, middle_R + half_R


def compute_bootstrap_limits(value_RQH: NDArray[np.float64], rng: np.random.Generator) -> Limits:
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
