"""Heads of this project beside those of scikit-learn and eleuther-elk: fitted on the same
activations, scored on the same held-out episodes.

N: episodes, D: width.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from benchmarks.rival_packages import ELK, Package
from reporters.ccs import CCS
from reporters.contrast import Contrast
from reporters.crc import CRC
from reporters.fitted_linear import FittedLinear
from reporters.lda import LDA
from reporters.logistic import Logistic
from reporters.mean_difference import MeanDifference
from reporters.reporter import Lesson
from reporters.standardiser import compute_standardiser
from training.examples import Examples

C = 1.0
"""Of `reporter=logistic`, and of all that are to be the same."""
RESTARTS, STEPS, RATE = 10, 500, 0.02
"""Of `reporter=ccs`."""
SEEDS = 3
"""Of heads that depend on a seed; the median is compared."""
ROUNDS = 3
"""How often other heads are fitted, in turns, for their time."""
EQUAL = 0.005
"""Largest difference of AUROC between two implementations of one method."""

Score = Callable[[Tensor], Tensor]
"""From activations z_ND to scores that rise with yes."""
Fit = Callable[[Lesson, int], Score]
"""From a lesson and a seed to a score."""


class Pair(NamedTuple):
    """A head of this project, and that of another package."""

    ours: str
    theirs: str
    fit_ours: Fit
    fit_theirs: Fit
    differs: str = ""
    """How the methods differ by design; empty where they are the same."""
    package: Package | None = None
    """Which is needed, beside scikit-learn."""
    has_seed: bool = False

    @property
    def is_available(self) -> bool:
        """Whether the other package is installed."""
        return self.package is None or self.package.is_installed


class Comparison(NamedTuple):
    """How both heads of a pair did."""

    ours: float
    """AUROC on held-out episodes; the median over seeds."""
    theirs: float
    correlation: float
    """Of the scores of both heads on these episodes, at the first seed."""
    times: float
    """Time of the other head's fit, as a multiple of ours."""

    @property
    def is_equal(self) -> bool:
        """Whether both have the same AUROC."""
        return abs(self.ours - self.theirs) <= EQUAL


def compare(pair: Pair, lesson: Lesson, held_out: Examples) -> Comparison:
    """Returns how both heads of a pair do on held-out episodes; they are fitted in turns."""
    aurocs: tuple[list[float], list[float]] = ([], [])
    seconds: tuple[list[float], list[float]] = ([], [])
    first_scores = []
    z_ND, human_N = held_out.z_NLD.flatten(1), held_out.human_N.numpy()
    for round_number in range(SEEDS if pair.has_seed else ROUNDS):
        for i, fit in enumerate((pair.fit_ours, pair.fit_theirs)):
            start = time.perf_counter()
            score = fit(lesson, round_number if pair.has_seed else 0)
            seconds[i].append(time.perf_counter() - start)
            score_N = score(z_ND).detach()
            aurocs[i].append(float(roc_auc_score(human_N, score_N.numpy())))
            if round_number == 0:
                first_scores.append(score_N.double())
    return Comparison(
        statistics.median(aurocs[0]),
        statistics.median(aurocs[1]),
        float(torch.corrcoef(torch.stack(first_scores))[0, 1]),
        statistics.median(seconds[1]) / statistics.median(seconds[0]),
    )


def list_pairs() -> list[Pair]:
    """Returns all pairs of heads."""
    logistic = fit_reporter(Logistic, C=C)
    contrast = fit_reporter(Contrast, C=C)
    crc = fit_reporter(CRC)
    ccs = fit_reporter(CCS, restarts=RESTARTS, steps=STEPS, learning_rate=RATE)
    return [
        Pair("logistic", "scikit-learn LogisticRegression", logistic, fit_scikit_logistic),
        Pair("logistic", "elk Classifier", logistic, fit_elk_logistic, package=ELK),
        Pair(
            "lda",
            "scikit-learn LinearDiscriminantAnalysis",
            fit_reporter(LDA, shrinkage="ledoit_wolf"),
            fit_scikit_lda,
        ),
        Pair(
            "mean_difference",
            "scikit-learn NearestCentroid",
            fit_reporter(MeanDifference),
            fit_scikit_centroids,
        ),
        Pair(
            "contrast",
            "scikit-learn LogisticRegression on differences",
            contrast,
            fit_scikit_contrast,
        ),
        Pair(
            "contrast",
            "elk Classifier on both halves",
            contrast,
            fit_elk_supervised,
            "theirs is given statements and negations one by one, not their differences",
            ELK,
        ),
        Pair("crc", "elk EigenFitter on normalised halves", crc, fit_elk_crc, package=ELK),
        Pair(
            "crc",
            "elk EigenFitter (VINC)",
            crc,
            fit_elk_vinc,
            "theirs asks for consistency alone, and erases the halves instead of scaling them",
            ELK,
        ),
        Pair(
            "ccs",
            "elk CcsReporter with Adam on normalised halves",
            ccs,
            fit_elk_ccs_like_ours,
            package=ELK,
            has_seed=True,
        ),
        Pair(
            "ccs",
            "elk CcsReporter",
            ccs,
            fit_elk_ccs,
            "theirs erases the halves instead of scaling them, starts at smaller weights and takes"
            " L-BFGS with weight decay",
            ELK,
            has_seed=True,
        ),
    ]


# Heads of this project.


def fit_reporter(kind: type[FittedLinear], **values: float | int | str) -> Fit:
    """Returns the fit of a reporter with these values of its YAML."""

    def fit(lesson: Lesson, seed: int) -> Score:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            reporter = kind(1, lesson.z_NLD.shape[-1], **values)  # type: ignore[arg-type]
        weights = reporter.fit(lesson)
        return lambda z_ND: z_ND @ weights["weight_1D"][0] + weights["bias"]

    return fit


# Heads of scikit-learn.


def fit_scikit_logistic(lesson: Lesson, seed: int) -> Score:
    """Fits `LogisticRegression` with the same C."""
    model = LogisticRegression(C=C, tol=1e-6, max_iter=10_000)
    model.fit(lesson.z_NLD.flatten(1).numpy(), lesson.human_N.numpy())
    return lambda z_ND: torch.from_numpy(model.decision_function(z_ND.numpy()))


def fit_scikit_lda(lesson: Lesson, seed: int) -> Score:
    """Fits `LinearDiscriminantAnalysis` with the shrinkage of Ledoit and Wolf."""
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    model.fit(lesson.z_NLD.flatten(1).numpy(), lesson.human_N.numpy())
    return lambda z_ND: torch.from_numpy(model.decision_function(z_ND.numpy()))


def fit_scikit_centroids(lesson: Lesson, seed: int) -> Score:
    """Fits `NearestCentroid`, and scores by how much nearer one centroid is."""
    model = NearestCentroid().fit(lesson.z_NLD.flatten(1).numpy(), lesson.human_N.numpy())
    no_D, yes_D = torch.from_numpy(model.centroids_).float()
    return lambda z_ND: (z_ND - no_D).square().sum(dim=1) - (z_ND - yes_D).square().sum(dim=1)


def fit_scikit_contrast(lesson: Lesson, seed: int) -> Score:
    """Fits `LogisticRegression` without an intercept on centred differences of pairs."""
    assert lesson.negated_NLD is not None
    difference_ND = (lesson.z_NLD - lesson.negated_NLD).flatten(1)
    difference_ND = difference_ND - difference_ND.mean(dim=0)
    model = LogisticRegression(C=C, tol=1e-6, max_iter=10_000, fit_intercept=False)
    model.fit(difference_ND.numpy(), lesson.human_N.numpy())
    weight_D = torch.from_numpy(model.coef_[0]).float()
    return lambda z_ND: z_ND @ weight_D


# Heads of eleuther-elk. It stacks negations and statements along a second-last axis.


def fit_elk_logistic(lesson: Lesson, seed: int) -> Score:
    """Fits `Classifier` with the same penalty: theirs is of the mean error, and not halved."""
    return _fit_elk_classifier(lesson.z_NLD.flatten(1), lesson.human_N)


def fit_elk_supervised(lesson: Lesson, seed: int) -> Score:
    """Fits `Classifier` on statements and negations, as `train_supervised` does; the answer to a
    negation is the other one.
    """
    assert lesson.negated_NLD is not None
    z_ND = torch.cat([lesson.negated_NLD, lesson.z_NLD]).flatten(1)
    return _fit_elk_classifier(z_ND, torch.cat([1 - lesson.human_N, lesson.human_N]))


def _fit_elk_classifier(z_ND: Tensor, human_N: Tensor) -> Score:
    from elk.training import Classifier

    model = Classifier(z_ND.shape[1])
    model.fit(z_ND, human_N, l2_penalty=1 / (2 * C * len(human_N)))
    return model


def fit_elk_crc(lesson: Lesson, seed: int) -> Score:
    """Fits `EigenFitter` on halves that are normalised as ours are, with weights that make it the
    first principal component of the differences.
    """
    mean_D, std_D, normalised = normalise_halves(lesson)
    score = _fit_elk_eigen(normalised, var_weight=0.5)
    return lambda z_ND: score((z_ND - mean_D) / std_D)


def fit_elk_vinc(lesson: Lesson, seed: int) -> Score:
    """Fits `EigenFitter` as it comes."""
    return _fit_elk_eigen(lesson, var_weight=0.0)


def _fit_elk_eigen(lesson: Lesson, var_weight: float) -> Score:
    from elk.training import EigenFitter, EigenFitterConfig

    config = EigenFitterConfig(var_weight=var_weight, neg_cov_weight=0.5)
    reporter = EigenFitter(config, lesson.z_NLD.shape[-1]).fit(_stack_halves(lesson))
    reporter.platt_scale(lesson.human_N, lesson.z_NLD.flatten(1))
    return reporter


def fit_elk_ccs(lesson: Lesson, seed: int) -> Score:
    """Fits `CcsReporter` as it comes."""
    return _fit_elk_ccs(lesson, seed)


def fit_elk_ccs_like_ours(lesson: Lesson, seed: int) -> Score:
    """Fits `CcsReporter` on halves that are normalised as ours are, from as large weights, by as
    many steps of Adam without weight decay.
    """
    mean_D, std_D, normalised = normalise_halves(lesson)
    score = _fit_elk_ccs(
        normalised,
        seed,
        init="spherical",
        optimizer="adam",
        lr=RATE,
        num_epochs=STEPS,
        num_tries=RESTARTS,
        weight_decay=0.0,
    )
    return lambda z_ND: score((z_ND - mean_D) / std_D)


def _fit_elk_ccs(lesson: Lesson, seed: int, **changed: float | int | str) -> Score:
    from elk.training import CcsConfig, CcsReporter

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reporter = CcsReporter(CcsConfig(**changed), lesson.z_NLD.shape[-1])  # type: ignore[arg-type]
        reporter.fit(_stack_halves(lesson))
    reporter.platt_scale(lesson.human_N, lesson.z_NLD.flatten(1))
    return reporter


def _stack_halves(lesson: Lesson) -> Tensor:
    """Returns pairs as elk takes them: episodes, one template, negation and statement, width."""
    assert lesson.negated_NLD is not None
    return torch.stack([lesson.negated_NLD, lesson.z_NLD], dim=2)


def normalise_halves(lesson: Lesson) -> tuple[Tensor, Tensor, Lesson]:
    """Returns mean and standard deviation of the statements, and the lesson with each half
    normalised by itself.
    """
    assert lesson.negated_NLD is not None
    (mean_LD, std_LD), negated = map(compute_standardiser, (lesson.z_NLD, lesson.negated_NLD))
    normalised = lesson._replace(
        z_NLD=(lesson.z_NLD - mean_LD) / std_LD,
        negated_NLD=(lesson.negated_NLD - negated[0]) / negated[1],
    )
    return mean_LD[0], std_LD[0], normalised
