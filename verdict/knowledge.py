"""What the predictor itself knows of X, whether it uses it, and where it stores it.

N: episodes, L: levels, D: width, R: rank, P: pairs of an exchange.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from console.errors import UserError
from core_model.hashing import hash_content
from core_model.predictor import Opinions, Predictor
from storage.cache import load_or_make
from verdict.evidence.erasers import Eraser, Erasers
from verdict.evidence.subspaces import Subspaces, draw_basis, fit_basis, projection, swap_parts
from verdict.ground_truth import Bools, Cases, Exchange, draw_exchange, number_cells
from verdict.ranking import estimate_auroc
from verdict.statistics import (
    Interval,
    compute_exact_interval,
    compute_shares,
    estimate_worst_share,
    take_interval,
)
from worlds.world import World

EXAMINER_VERSION = 5
"""Raise it when the same predictor and episodes would give another report."""
RANKS = (1, 2, 4, 8)
"""Ranks that a subspace may have, up to a quarter of the width: swapping nearly all of an
activation would move anything. The smallest rank within TOLERANCE of the best is chosen.
"""
TOLERANCE = 0.02
CONFIDENCE = 0.95
"""Of the interval of each figure."""
INTERVALS = ("ceiling", "worst_family_ceiling", "opinion_concept", "opinion_human")
"""The fields of `Knowledge` that are intervals."""
FAR = 0.99
"""Quantile of the distances of activations from their mean; an activation farther than that is
off the data.
"""


@dataclass(frozen=True)
class Swap:
    """What swapping the part of X, or of H, at one level between episodes does to the predictor's
    own predictions: shares of swaps.
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

    @property
    def separates(self) -> Interval:
        """1 where each part always flips its own prediction and never the other's, and random parts
        flip none; the worst of the five counts.
        """
        return find_worst(
            [
                (self.concept_flips_concept, self.concept_pairs),
                (self.human_flips_human, self.human_pairs),
                (1 - self.concept_flips_human, self.concept_pairs),
                (1 - self.human_flips_concept, self.human_pairs),
                (1 - self.random_flips, min(self.concept_pairs, self.human_pairs)),
            ]
        )


def find_worst(shares: Sequence[tuple[float, int]]) -> Interval:
    """Returns the smallest of several shares, each with its number of episodes, with an interval as
    in `estimate_worst_share`, at CONFIDENCE.
    """
    value_S = np.array([value for value, _ in shares])
    n_S = np.array([max(n, 1) for _, n in shares], dtype=float)
    share = compute_exact_interval(value_S, n_S, CONFIDENCE)
    wider = compute_exact_interval(value_S, n_S, 1 - (1 - CONFIDENCE) / len(shares))
    return Interval(float(value_S.min()), float(share.low.min()), float(wider.high.min()))


@dataclass(frozen=True)
class Knowledge:
    """What the predictor knows of X, and whether it uses it."""

    ceilings: tuple[tuple[int, float], ...]
    """Level, and share of held-out episodes on which a probe for X is right there, in the cell of
    X × H × amiss where it is worst.
    """
    ceiling_level: int
    """The level whose probe is best on episodes apart from those."""
    ceiling: Interval
    """The share at that level."""
    worst_family: str
    """The family on which that level's probe is worst."""
    worst_family_ceiling: Interval
    opinion_concept: Interval
    """AUROC for X of the predictor's own X-dependent prediction, on disputed episodes."""
    opinion_human: Interval
    """AUROC for H of its own H-dependent prediction, on disputed episodes."""
    swaps: tuple[Swap, ...]
    """A swap for each level; empty for a predictor that cannot run on from an activation."""

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Knowledge:
        """Returns what `asdict` turned into plain values."""
        ceilings = tuple((level, share) for level, share in facts["ceilings"])
        swaps = tuple(Swap(**swap) for swap in facts["swaps"])
        intervals = {name: Interval(*facts[name]) for name in INTERVALS}
        return cls(**{**facts, **intervals, "ceilings": ceilings, "swaps": swaps})

    def find_certified_level(self, uses: float, deepest: int) -> int | None:
        """Returns the shallowest level below the deepest at which X's part moves the predictor's
        own prediction of X alone; None where there is none.

        Args:
            uses: least share of swaps that move the predictions as they should.
            deepest: the deepest level that is read.
        """
        for swap in self.swaps:
            if swap.separates.low >= uses and swap.level < deepest:
                return swap.level
        return None


class PredictorReport(NamedTuple):
    """What was found of a predictor, and what changes its activations at each level read."""

    knowledge: Knowledge
    subspaces: Subspaces | None
    """None where it cannot run on from an activation, so that none can be certified."""
    erasers: Erasers

    def to_tensors(self) -> dict[str, Tensor]:
        """Returns the tensors by name."""
        tensors = self.subspaces._asdict() if self.subspaces else {}
        for name, eraser in self.erasers._asdict().items():
            tensors |= {f"{name}.{field}": value for field, value in eraser._asdict().items()}
        return tensors

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> PredictorReport:
        """Returns the report that these tensors and the facts of its knowledge came from."""
        knowledge = Knowledge.from_facts(facts)
        subspaces = None
        if knowledge.swaps:
            subspaces = Subspaces(*(tensors[name] for name in Subspaces._fields))
        erasers = []
        for name in Erasers._fields:
            erasers.append(Eraser(*(tensors[f"{name}.{field}"] for field in Eraser._fields)))
        return cls(knowledge, subspaces, Erasers(*erasers))


@dataclass(frozen=True)
class ProbeData:
    """Easy episodes, disputed ones, and those amiss, as many of each, on which the predictor itself
    is examined; apart from all that heads are trained or judged on.
    """

    episodes: Dataset
    n_easy: int
    """Number of easy episodes, which come first; the answer on one may be noisy."""
    z_NLD: Tensor
    levels: tuple[int, ...]

    @cached_property
    def cases(self) -> Cases:
        """Their ground truth; H is X on easy episodes."""
        cases = Cases.of(self.episodes)
        is_easy_N = np.arange(len(cases)) < self.n_easy
        return replace(cases, human_N=np.where(is_easy_N, cases.concept_N, cases.human_N))


def load_or_examine(
    predictor: Predictor, probe: ProbeData, world: World, cache: Path
) -> PredictorReport:
    """Returns the report of `examine_predictor`, cached under a key of all that it depends on."""
    columns = [*world.reads, "concept", "human", "tampered", "family", "cluster"]
    if "prompt" in probe.episodes.column_names:
        columns.insert(len(world.reads), "prompt")
    content = hash_content(probe.episodes, columns)
    shows = f"{world.concept_shows_in} {world.human_shows_in}"
    key = f"{EXAMINER_VERSION} {predictor.identity} {probe.levels} {content} {probe.n_easy} {shows}"
    path = cache / "knowledge" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        report = examine_predictor(predictor, probe)
        return report.to_tensors(), asdict(report.knowledge)

    return PredictorReport.load(*load_or_make(path, make))


def examine_predictor(predictor: Predictor, probe: ProbeData) -> PredictorReport:
    """Returns what the predictor knows and uses. Probes and subspaces are fitted on a third of the
    clusters, chosen on another, and measured on the last.

    Every cell of X × H × amiss is among the probe data. On disputed episodes alone X is "not H",
    and on easy and disputed ones it is "H, turned round where something is amiss": a probe for
    either would there pass for a probe for X.

    Raises:
        UserError: too few episodes.
    """
    cases = probe.cases
    cells = number_cells(cases)
    third_N = np.unique(cases.cluster_N, return_inverse=True)[1] % 3
    for third in range(3):
        if len(np.unique(cells.cell_N[third_N == third])) < len(cells.names):
            raise UserError(
                "data.probe: too few episodes to fit, choose and measure a probe with every cell of"
                " X × H × amiss in each third. Use more."
            )
    opinions = predictor.opinions(probe.episodes)
    right_LN = _fit_probes(probe.z_NLD, cases.concept_N, third_N == 0) == cases.concept_N
    chosen_N, measured_N = third_N == 1, third_N == 2
    share_LC = compute_shares(right_LN[:, chosen_N], cells.cell_N[chosen_N])
    best = int(share_LC.mean(axis=1).argmax())
    measured_LN, cluster_N = right_LN[:, measured_N], cases.cluster_N[measured_N]
    worst, _ = estimate_worst_share(measured_LN, cells.cell_N[measured_N], cluster_N, CONFIDENCE)
    families, family_N = np.unique(cases.family_N[measured_N], return_inverse=True)
    of_family, worst_L = estimate_worst_share(measured_LN, family_N, cluster_N, CONFIDENCE)
    disputed_N = measured_N & (cases.concept_N != cases.human_N)
    swaps: list[Swap] = []
    subspaces = None
    if predictor.can_write:
        swaps, subspaces = _find_subspaces(predictor, probe, opinions, third_N)
    knowledge = Knowledge(
        ceilings=tuple(zip(probe.levels, worst.value.tolist(), strict=True)),
        ceiling_level=probe.levels[best],
        ceiling=take_interval(worst, best),
        worst_family=str(families[worst_L[best]]),
        worst_family_ceiling=take_interval(of_family, best),
        opinion_concept=_compute_auroc(opinions.concept_N, cases.concept_N, disputed_N),
        opinion_human=_compute_auroc(opinions.human_N, cases.human_N, disputed_N),
        swaps=tuple(swaps),
    )
    # Without the episodes that are amiss and agree, X tells nothing of H.
    is_easy_N = np.arange(len(cases)) < probe.n_easy
    balanced_N = torch.from_numpy(is_easy_N | (cases.concept_N != cases.human_N))
    concept_N, human_N = torch.from_numpy(cases.concept_N), torch.from_numpy(cases.human_N)
    erasers = Erasers.fit(probe.z_NLD[balanced_N], concept_N[balanced_N], human_N[balanced_N])
    return PredictorReport(knowledge, subspaces, erasers)


def count_rarer(truth_N: Bools) -> int:
    """Returns how often the rarer of both values occurs."""
    return int(min(truth_N.sum(), (~truth_N).sum()))


def _fit_probes(z_NLD: Tensor, concept_N: Bools, fit_N: Bools) -> NDArray[Any]:
    """Returns the predictions, shape (L, N), of a logistic probe at each level; it is fitted with X
    on some of the episodes.
    """
    from sklearn.linear_model import LogisticRegression

    predicted = []
    for i in range(z_NLD.shape[1]):
        z_ND = z_NLD[:, i].numpy()
        mean_D, std_D = z_ND[fit_N].mean(axis=0), z_ND[fit_N].std(axis=0) + 1e-6
        z_ND = (z_ND - mean_D) / std_D
        probe = LogisticRegression(C=0.1, max_iter=1_000).fit(z_ND[fit_N], concept_N[fit_N])
        predicted.append(probe.predict(z_ND))
    return np.stack(predicted)


def _compute_auroc(score_N: Tensor, truth_N: Bools, rows_N: Bools) -> Interval:
    score_1N = score_N.double().numpy()[None, rows_N]
    auroc = estimate_auroc(score_1N, truth_N[rows_N], np.arange(rows_N.sum()), CONFIDENCE)
    return take_interval(auroc, 0)


def _find_subspaces(
    predictor: Predictor, probe: ProbeData, opinions: Opinions, third_N: NDArray[np.intp]
) -> tuple[list[Swap], Subspaces]:
    """Returns a swap for each level, and the subspaces."""
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
    """The predictor's own predictions, yes or no."""

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
        no pair.
        """
        if not len(exchange.base_P):
            return 0.0, 0.0
        episodes = self.episodes.select(exchange.base_P)
        after = self.predictor.opinions(episodes, self.level, self.swap(exchange, onto_DD))
        concept_P = (after.concept_N > 0) != self.own.concept_N[exchange.base_P]
        human_P = (after.human_N > 0) != self.own.human_N[exchange.base_P]
        return float(concept_P.double().mean()), float(human_P.double().mean())

    def swap(self, exchange: Exchange, onto_DD: Tensor) -> Tensor:
        """Returns the activations of the bases after the swap."""
        return swap_parts(self.z_ND[:, None], exchange, onto_DD[None])[:, 0]

    @property
    def concept_exchange(self) -> Exchange:
        """Pairs that differ in its prediction of X alone."""
        concept_N, human_N = self.own.concept_N.numpy(), self.own.human_N.numpy()
        return draw_exchange(concept_N, human_N, np.random.default_rng(0))

    @property
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
    episodes = probe.episodes.select(rows)
    return SwapTrial(predictor, episodes, probe.levels[i], probe.z_NLD[rows, i], own)


def _examine_level(
    fit: SwapTrial, choose: SwapTrial, measure: SwapTrial, seed: int
) -> tuple[Swap, tuple[Tensor, ...]]:
    """Returns how well the parts at one level move the predictor's own predictions, and the
    projections on them, in the order of `Subspaces`.
    """
    width = fit.z_ND.shape[1]
    concept_N, human_N = fit.own
    ranks = [rank for rank in RANKS if rank <= max(1, width // 4)]
    concept_bases = [fit_basis(fit.z_ND, concept_N, human_N, rank) for rank in ranks]
    human_bases = [fit_basis(fit.z_ND, human_N, concept_N, rank) for rank in ranks]
    concept_DR = _choose_concept_basis(choose, concept_bases)
    human_DR = _choose_human_basis(choose, human_bases)
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
    concept_off_data = _measure_off_data(fit, measure, measure.swap(of_concept, onto_concept))
    human_off_data = _measure_off_data(fit, measure, measure.swap(of_human, onto_human))
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
        random_flips=max(*random_concept_flips, *random_human_flips),
        full_flips_concept=measure.measure_flips(of_concept, torch.eye(width))[0],
        full_flips_human=measure.measure_flips(of_human, torch.eye(width))[1],
        off_data=max(concept_off_data, human_off_data),
    )
    return swap, (onto_concept, onto_human, onto_random_concept, onto_random_human)


def _choose_concept_basis(trial: SwapTrial, bases: Sequence[Tensor]) -> Tensor:
    """Returns the basis whose part flips the prediction of X and not that of H."""
    scores = []
    for basis_DR in bases:
        concept, human = trial.measure_flips(trial.concept_exchange, projection(basis_DR))
        scores.append(min(concept, 1 - human))
    return _choose_smallest(bases, scores)


def _choose_human_basis(trial: SwapTrial, bases: Sequence[Tensor]) -> Tensor:
    """Returns the basis whose part flips the prediction of H and not that of X."""
    scores = []
    for basis_DR in bases:
        concept, human = trial.measure_flips(trial.human_exchange, projection(basis_DR))
        scores.append(min(human, 1 - concept))
    return _choose_smallest(bases, scores)


def _choose_smallest(bases: Sequence[Tensor], scores: Sequence[float]) -> Tensor:
    """Returns the first basis, in order of rank, that is within TOLERANCE of the best."""
    enough = max(scores) - TOLERANCE
    return next(basis_DR for basis_DR, score in zip(bases, scores, strict=True) if score >= enough)


def _measure_off_data(fit: SwapTrial, plain: SwapTrial, swapped_ND: Tensor) -> float:
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
