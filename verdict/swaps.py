"""Swaps of the parts of a predictor's activations in which it stores X, and H: what they do to its
own predictions, and how complete and how selective they are.

N: episodes, L: levels, D: width, R: rank, P: pairs of an exchange.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from core_model.predictor import Opinions, Predictor
from verdict.evidence.subspaces import Subspaces, draw_basis, fit_basis, projection, swap_parts
from verdict.ground_truth import Bools, Exchange, Variable, draw_exchange
from verdict.probe_data import ProbeData
from verdict.statistics import Interval, compute_exact_interval
from verdict.validation_probes import Reliability, fit_validation_probe, measure_reliability

RANKS = (1, 2, 4, 8)
"""Ranks that a subspace may have, up to a quarter of the width: swapping nearly all of an
activation would move anything. The smallest rank within TOLERANCE of the best is chosen.
"""
TOLERANCE = 0.02
CONFIDENCE = 0.95
"""Of the interval of each figure."""
RELIABILITY = (
    "concept_completeness",
    "concept_selectivity",
    "human_completeness",
    "human_selectivity",
)
"""The fields of `Swap` on how complete and how selective swaps are."""
FAR = 0.99
"""Quantile of the distances of activations from their mean; an activation farther than that is
off the data.
"""


@dataclass(frozen=True)
class Swap:
    """What swapping the part of X, or of H, at one level between episodes does to the predictor's
    own predictions: shares of swaps. For a predictor that is not asked for H, the shares of changed
    predictions of H are NaN, and its part of H is fitted on the human's answers; of one that is not
    asked for X, those of X are, and its part of X is fitted on the truth.
    """

    level: int
    concept_rank: int
    human_rank: int
    concept_pairs: int
    """Number of swaps of X's part."""
    human_pairs: int
    concept_flips_concept: float
    concept_flips_human: float
    human_flips_concept: float
    human_flips_human: float
    random_flips: float
    """The largest of the four where the parts are random subspaces of the same ranks."""
    full_flips_concept: float
    """Where the whole activation is exchanged: the most that can be reached at this level."""
    full_flips_human: float
    off_data: float
    """Share of swapped activations that lie farther from the mean (Mahalanobis 1936) than 99% of
    the others; the larger of both swaps.
    """
    concept_completeness: float
    """Of swaps of X's part, as in `Reliability`."""
    concept_selectivity: float
    human_completeness: float
    human_selectivity: float

    @property
    def separates(self) -> Interval:
        """1 where each part always flips its own prediction and never the other's, and random parts
        flip none; the worst of the five counts. Shares that are NaN are left out.
        """
        shares = [
            (self.concept_flips_concept, self.concept_pairs),
            (self.human_flips_human, self.human_pairs),
            (1 - self.concept_flips_human, self.concept_pairs),
            (1 - self.human_flips_concept, self.human_pairs),
            (1 - self.random_flips, min(self.concept_pairs, self.human_pairs)),
        ]
        return find_worst([(share, n) for share, n in shares if not math.isnan(share)])


def find_worst(shares: Sequence[tuple[float, int]]) -> Interval:
    """Returns the smallest of several shares, each with its number of episodes, with an interval as
    in `estimate_worst_share`, at CONFIDENCE.
    """
    value_S = np.array([value for value, _ in shares])
    n_S = np.array([max(n, 1) for _, n in shares], dtype=float)
    share = compute_exact_interval(value_S, n_S, CONFIDENCE)
    wider = compute_exact_interval(value_S, n_S, 1 - (1 - CONFIDENCE) / len(shares))
    return Interval(float(value_S.min()), float(share.low.min()), float(wider.high.min()))


def find_subspaces(
    predictor: Predictor, probe: ProbeData, opinions: Opinions, third_N: NDArray[np.intp]
) -> tuple[list[Swap], Subspaces]:
    """Returns a swap for each level, and the subspaces: fitted on one third of the episodes, chosen
    on the next and measured on the last. Those that the predictor knows are measured alone.
    """
    swaps, projections = [], []
    for i in range(len(probe.levels)):
        fit = _build_trial(predictor, probe, i, opinions, third_N == 0)
        choose = _build_trial(predictor, probe, i, opinions, third_N == 1)
        measure = _build_trial(predictor, probe, i, opinions, third_N == 2)
        swap, projections_of_level = _examine_level(fit, choose, measure, seed=i)
        swaps.append(swap)
        projections.append(projections_of_level)
    return swaps, Subspaces(*(torch.stack(onto) for onto in zip(*projections, strict=True)))


class OwnPredictions(NamedTuple):
    """The predictor's own predictions, yes or no; for a predictor that is not asked for H, the
    human's answers stand for those of H, and for one that is not asked for X, the truth.
    """

    concept_N: Tensor
    human_N: Tensor


@dataclass(frozen=True)
class SwapTrial:
    """Swaps at one level between episodes on which the predictor's own predictions differ."""

    predictor: Predictor
    episodes: Dataset
    level: int
    z_ND: Tensor
    own: OwnPredictions

    def measure_flips(self, exchange: Exchange, onto_DD: Tensor) -> tuple[float, float]:
        """Returns the shares of swaps that change its prediction of X, and of H; 0 where there is
        no pair, NaN for a prediction that it does not make.
        """
        predictor = self.predictor
        flips = torch.zeros(2, dtype=torch.float64)
        if len(exchange.base_P):
            episodes = self.episodes.select(exchange.base_P)
            after = predictor.opinions(episodes, self.level, self.swap(exchange, onto_DD))
            flips = torch.stack(
                [
                    self._count_changes(after.concept_N, self.own.concept_N, exchange),
                    self._count_changes(after.human_N, self.own.human_N, exchange),
                ]
            )
        concept, human = flips.tolist()
        return (
            concept if predictor.predicts_concept else math.nan,
            human if predictor.predicts_human else math.nan,
        )

    def _count_changes(self, after_P: Tensor, own_N: Tensor, exchange: Exchange) -> Tensor:
        return ((after_P > 0) != own_N[exchange.base_P]).double().mean()

    def swap(self, exchange: Exchange, onto_DD: Tensor) -> Tensor:
        """Returns the activations of the bases after the swap."""
        return swap_parts(self.z_ND[:, None], exchange, onto_DD[None])[:, 0]

    @cached_property
    def concept_exchange(self) -> Exchange:
        """Pairs that differ in its prediction of X alone."""
        concept_N, human_N = self.own.concept_N.numpy(), self.own.human_N.numpy()
        return draw_exchange(concept_N, human_N, np.random.default_rng(0))

    def get_exchange(self, variable: Variable) -> Exchange:
        """Returns the pairs that differ in one variable alone."""
        return self.concept_exchange if variable == "concept" else self.human_exchange

    @cached_property
    def human_exchange(self) -> Exchange:
        """Pairs that differ in its prediction of H alone."""
        concept_N, human_N = self.own.concept_N.numpy(), self.own.human_N.numpy()
        return draw_exchange(human_N, concept_N, np.random.default_rng(1))


def _build_trial(
    predictor: Predictor, probe: ProbeData, i: int, opinions: Opinions, rows_N: Bools
) -> SwapTrial:
    """Returns the trial at the i-th level on some of the episodes."""
    rows = np.flatnonzero(rows_N)
    own = OwnPredictions(opinions.concept_N[rows] > 0, opinions.human_N[rows] > 0)
    if not predictor.predicts_concept:
        own = own._replace(concept_N=torch.from_numpy(probe.cases.concept_N[rows]))
    if not predictor.predicts_human:
        own = own._replace(human_N=torch.from_numpy(probe.cases.human_N[rows]))
    episodes = probe.episodes.select(rows)
    return SwapTrial(predictor, episodes, probe.levels[i], probe.z_NLD[rows, i], own)


def _examine_level(
    fit: SwapTrial, choose: SwapTrial, measure: SwapTrial, seed: int
) -> tuple[Swap, tuple[Tensor, ...]]:
    """Returns how well the parts at one level move the predictor's own predictions, and the
    projections on them, in the order of `Subspaces`.
    """
    width = fit.z_ND.shape[1]
    known = fit.predictor.known_subspaces(fit.level)
    concept_DR, human_DR = known or _fit_bases(fit, choose)
    rng = torch.Generator().manual_seed(seed)
    random_concept_DR = draw_basis(width, concept_DR.shape[1], rng)
    random_human_DR = draw_basis(width, human_DR.shape[1], rng)
    bases = (concept_DR, human_DR, random_concept_DR, random_human_DR)
    onto_concept, onto_human, onto_random_concept, onto_random_human = map(projection, bases)

    of_concept, of_human = measure.concept_exchange, measure.human_exchange
    concept_flips = measure.measure_flips(of_concept, onto_concept)
    human_flips = measure.measure_flips(of_human, onto_human)
    random_concept_flips = measure.measure_flips(of_concept, onto_random_concept)
    random_human_flips = measure.measure_flips(of_human, onto_random_human)
    concept_off_data = measure_off_data(fit, measure, measure.swap(of_concept, onto_concept))
    human_off_data = measure_off_data(fit, measure, measure.swap(of_human, onto_human))
    concept, human = _measure_reliability(fit, choose, measure, onto_concept, onto_human)
    swap = Swap(
        level=fit.level,
        concept_rank=concept_DR.shape[1],
        human_rank=human_DR.shape[1],
        concept_pairs=len(of_concept.base_P),
        human_pairs=len(of_human.base_P),
        concept_flips_concept=concept_flips[0],
        concept_flips_human=concept_flips[1],
        human_flips_concept=human_flips[0],
        human_flips_human=human_flips[1],
        random_flips=float(np.nanmax([*random_concept_flips, *random_human_flips])),
        full_flips_concept=measure.measure_flips(of_concept, torch.eye(width))[0],
        full_flips_human=measure.measure_flips(of_human, torch.eye(width))[1],
        off_data=max(concept_off_data, human_off_data),
        concept_completeness=concept.completeness,
        concept_selectivity=concept.selectivity,
        human_completeness=human.completeness,
        human_selectivity=human.selectivity,
    )
    return swap, (onto_concept, onto_human, onto_random_concept, onto_random_human)


def _fit_bases(fit: SwapTrial, choose: SwapTrial) -> tuple[Tensor, Tensor]:
    """Returns bases of the subspaces of X and of H that are fitted on some of the episodes, of
    ranks that are chosen on others.
    """
    concept_N, human_N = fit.own
    ranks = [rank for rank in RANKS if rank <= max(1, fit.z_ND.shape[1] // 4)]
    concept_bases = [fit_basis(fit.z_ND, concept_N, human_N, rank) for rank in ranks]
    human_bases = [fit_basis(fit.z_ND, human_N, concept_N, rank) for rank in ranks]
    concept_DR = _choose_basis(choose, "concept", concept_bases)
    return concept_DR, _choose_basis(choose, "human", human_bases)


def _measure_reliability(
    fit: SwapTrial,
    choose: SwapTrial,
    measure: SwapTrial,
    onto_concept_DD: Tensor,
    onto_human_DD: Tensor,
) -> tuple[Reliability, Reliability]:
    """Returns how complete and selective swaps of X's part are, and of H's part."""
    z_ND = torch.cat([fit.z_ND, choose.z_ND])
    own = zip(fit.own, choose.own, strict=True)
    probes = [fit_validation_probe(z_ND, torch.cat(values)) for values in own]
    found = []
    for i, onto_DD in enumerate((onto_concept_DD, onto_human_DD)):
        exchange = (measure.concept_exchange, measure.human_exchange)[i]
        before_PD = measure.z_ND[exchange.base_P]
        after_PD = measure.swap(exchange, onto_DD)
        source_P = measure.own[i][exchange.source_P]
        found.append(measure_reliability(probes[i], probes[1 - i], before_PD, after_PD, source_P))
    return found[0], found[1]


def _choose_basis(trial: SwapTrial, variable: Variable, bases: Sequence[Tensor]) -> Tensor:
    """Returns the basis whose part flips the prediction of its own variable and not the other."""
    scores = []
    for basis_DR in bases:
        flips = trial.measure_flips(trial.get_exchange(variable), projection(basis_DR))
        own, other = flips if variable == "concept" else reversed(flips)
        scores.append(float(np.nanmin([own, 1 - other])))
    return _choose_smallest(bases, scores)


def _choose_smallest(bases: Sequence[Tensor], scores: Sequence[float]) -> Tensor:
    """Returns the first basis, in order of rank, that is within TOLERANCE of the best."""
    enough = max(scores) - TOLERANCE
    return next(basis_DR for basis_DR, score in zip(bases, scores, strict=True) if score >= enough)


def measure_off_data(fit: SwapTrial, plain: SwapTrial, swapped_ND: Tensor) -> float:
    """Returns the share of swapped activations that lie farther from the mean than 99% of the plain
    ones.

    Args:
        fit: the episodes whose mean and covariance define the distance.
        plain: the episodes that are compared.
    """
    if not len(swapped_ND):
        return 0.0
    z_ND = fit.z_ND.double()
    mean_D, covariance_DD = z_ND.mean(dim=0), torch.cov(z_ND.T)
    ridge = 1e-3 * covariance_DD.diagonal().mean() + 1e-12
    identity_DD = torch.eye(len(mean_D), dtype=torch.float64)
    root_DD = torch.linalg.cholesky(covariance_DD + ridge * identity_DD)

    def measure_distance(z_ND: Tensor) -> Tensor:
        offset_DN = (z_ND.double() - mean_D).T
        return torch.linalg.solve_triangular(root_DD, offset_DN, upper=False).norm(dim=0)

    far = measure_distance(plain.z_ND).quantile(FAR)
    return float((measure_distance(swapped_ND) > far).double().mean())
