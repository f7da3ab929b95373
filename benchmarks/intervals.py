"""Which interval over few predictors holds the truth 95 times in 100: the reason for the rule in
report/intervals.py.   python -m benchmarks.intervals

Plants a mean of 0.3 over many sweeps of 32 heads a predictor, with predictors that differ by a
standard deviation of 0, 0.03 or 0.1, and prints how often each rule's interval holds it: heads as
if each stood alone (Student's; Clopper and Pearson's for shares), a bootstrap of predictors and of
heads within them (percentiles), Student's over the predictors' means, and the wider of the first
and the third, which is the rule.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from report.intervals import mean

TRUTH, HEADS, SWEEPS, RESAMPLES = 0.3, 32, 1_000, 300
Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


def main() -> None:
    """Prints the table."""
    print(
        "| what | predictors differ by | predictors | heads alone | bootstrap | Student over"
        " predictors | the rule |\n|" + " --- |" * 7
    )
    for is_share in (False, True):
        for between in (0.0, 0.03, 0.1):
            for predictors in (1, 2, 4, 8):
                print(
                    f"| {'share' if is_share else 'number'} | {between} | {predictors} | "
                    + " | ".join(_covered(is_share, between, predictors))
                    + " |"
                )


def _covered(is_share: bool, between: float, predictors: int) -> list[str]:
    chance = np.random.default_rng(0)
    own_RP1 = chance.normal(TRUTH, between, (SWEEPS, predictors, 1)).clip(0, 1)
    shape = (SWEEPS, predictors, HEADS)
    value_RPH = (
        (chance.random(shape) < own_RP1) if is_share else own_RP1 + chance.normal(0, 0.15, shape)
    )
    names = np.repeat(np.arange(predictors), HEADS).astype(object)
    rule = np.array([mean(value.ravel(), names)[1:3] for value in value_RPH]).T
    found = [
        _alone(value_RPH, is_share),
        _bootstrap(value_RPH.astype(float), chance),
        _student(value_RPH.mean(axis=2)),
        (rule[0], rule[1]),
    ]
    return [
        "–" if np.isnan(low).all() else f"{np.mean((low <= TRUTH) & (high >= TRUTH)):.3f}"
        for low, high in found
    ]


def _alone(value_RPH: NDArray[np.float64 | np.bool_], is_share: bool) -> Ends:
    flat_RN = value_RPH.reshape(len(value_RPH), -1)
    if not is_share:
        return _student(flat_RN.astype(float))
    n, hits_R = flat_RN.shape[1], flat_RN.sum(axis=1)
    return stats.beta.ppf(0.025, hits_R, n - hits_R + 1), stats.beta.ppf(
        0.975, hits_R + 1, n - hits_R
    )


def _student(value_RN: NDArray[np.float64]) -> Ends:
    n, middle_R = value_RN.shape[1], value_RN.mean(axis=1)
    if n < 2:
        return np.full(len(middle_R), np.nan), np.full(len(middle_R), np.nan)
    half_R = stats.t.ppf(0.975, n - 1) * value_RN.std(axis=1, ddof=1) / np.sqrt(n)
    return middle_R - half_R, middle_R + half_R


def _bootstrap(value_RPH: NDArray[np.float64], chance: np.random.Generator) -> Ends:
    sweeps, predictors, heads = value_RPH.shape
    means_BR = np.empty((RESAMPLES, sweeps))
    for b in range(RESAMPLES):
        picked_RPH = value_RPH[
            np.arange(sweeps)[:, None], chance.integers(0, predictors, (sweeps, predictors))
        ]
        means_BR[b] = np.take_along_axis(
            picked_RPH, chance.integers(0, heads, picked_RPH.shape), axis=2
        ).mean(axis=(1, 2))
    low_R, high_R = np.quantile(means_BR, [0.025, 0.975], axis=0)
    return low_R, high_R


if __name__ == "__main__":
    main()
