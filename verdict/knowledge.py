"""What the predictor itself knows of X, whether it uses it, and where it keeps it.

N: episodes, L: levels, D: width, R: rank.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from console.errors import UserError
from core_model.hashing import content_hash
from core_model.predictor import Opinions, Predictor
from storage.cache import kept
from verdict.cases import Bools, Cases, Erased, Exchange, exchange
from verdict.evidence.erasure import Erasers, erasers
from verdict.evidence.subspaces import Subspaces, basis, projection, random_basis, swapped
from verdict.statistics import auroc
from worlds.world import World

EXAMINER_VERSION = 4
"""Raise it when the same predictor and episodes would be examined differently."""
RANKS = (1, 2, 4, 8)
"""Ranks that a subspace may have, if it has no more than a quarter of the width: exchanging nearly
all would move anything. The smallest within WORSE of the best is taken.
"""
WORSE = 0.02
FAR = 0.99
"""Quantile of the distances of activations from their mean; farther than that, an activation is
called off the data.
"""


@dataclass(frozen=True)
class Swap:
    """What exchanging the part of X, or of H, at one level between episodes does to the predictor's
    own predictions: shares of swaps.
    """

    level: int
    concept_rank: int
    human_rank: int
    concept_flips_concept: float
    concept_flips_human: float
    human_flips_concept: float
    human_flips_human: float
    random_flips: float
    """The most of the four where the parts are random subspaces of the same ranks."""
    full_flips_concept: float
    """Where all of the activation is exchanged: the most that can be reached at this level."""
    full_flips_human: float
    off_data: float
    """Share of swapped activations that lie farther from the mean (Mahalanobis 1936) than 99% of
    those that are not; the larger of both swaps.
    """

    @property
    def separates(self) -> float:
        """1 where each part flips its own prediction always and the other's never, and random parts
        flip none; the worst of the five decides.
        """
        own = min(self.concept_flips_concept, self.human_flips_human)
        return min(
            own, 1 - self.concept_flips_human, 1 - self.human_flips_concept, 1 - self.random_flips
        )


@dataclass(frozen=True)
class Knowledge:
    """What the predictor knows of X, and whether it uses it."""

    ceilings: tuple[tuple[int, float], ...]
    """Level, and share of held-out disputed episodes on which a probe for X is right there."""
    ceiling_level: int
    """The level whose probe is best on episodes apart from those."""
    worst_family: str
    """The family on which that level's probe is worst."""
    worst_family_ceiling: float
    opinion_concept: float
    """AUROC for X of the predictor's own X-dependent prediction, on disputed episodes."""
    opinion_human: float
    """AUROC for H of its own H-dependent prediction, on disputed episodes."""
    swaps: tuple[Swap, ...]
    """A swap for each level; empty for a predictor that cannot run on from an activation."""


class Examined(NamedTuple):
    """What was found of a predictor, and what changes its activations at each level read."""

    knowledge: Knowledge
    subspaces: Subspaces | None
    """None where it cannot run on from an activation, so that none can be certified."""
    erasers: Erased[Erasers]


@dataclass(frozen=True)
class Probed:
    """Easy and disputed episodes, as many of each, on which the predictor itself is examined; apart
    from all that heads train on or are judged on.
    """

    episodes: Dataset
    disputed_N: NDArray[np.bool_]
    """Which are disputed. X ≠ H does not tell: noise may have flipped an answer on an easy one."""
    z_NLD: Tensor
    levels: tuple[int, ...]


def examined(predictor: Predictor, probed: Probed, world: World, cache: Path) -> Examined:
    """Returns what `examine` finds, kept under a key of all that it depends on."""
    columns = (
        *world.reads,
        *({"prompt"} & set(probed.episodes.column_names)),
        "concept",
        "human",
        "family",
        "cluster",
    )
    which = hashlib.sha256(np.packbits(probed.disputed_N).tobytes()).hexdigest()
    shows = f"{world.concept_shows_in} {world.human_shows_in}"
    key = f"{EXAMINER_VERSION} {predictor.identity} {probed.levels} {content_hash(probed.episodes, columns)} {which} {shows}"
    path = cache / "knowledge" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"

    def make() -> tuple[dict[str, Tensor], dict[str, object]]:
        found = examine(predictor, probed)
        erased = {
            f"{name}.{field}": value
            for name, one in found.erasers._asdict().items()
            for field, value in one._asdict().items()
        }
        return (found.subspaces._asdict() if found.subspaces else {}) | erased, asdict(
            found.knowledge
        )

    tensors, facts = kept(path, make)
    swaps = tuple(Swap(**swap) for swap in facts["swaps"])
    knowledge = Knowledge(
        **facts
        | {"ceilings": tuple((level, share) for level, share in facts["ceilings"]), "swaps": swaps}
    )
    subspaces = Subspaces(*(tensors[name] for name in Subspaces._fields)) if swaps else None
    erased = (
        Erasers(*(tensors[f"{name}.{field}"] for field in Erasers._fields))
        for name in Erased._fields
    )
    return Examined(knowledge, subspaces, Erased(*erased))


def examine(predictor: Predictor, probed: Probed) -> Examined:
    """Returns what the predictor knows and uses. Probes and subspaces are fitted on a third of the
    clusters, chosen on a third, measured on a third.

    Easy episodes are among them because on disputed ones alone X is "not H": there a probe for H,
    turned round, would pass for a probe for X.
    """
    cases = Cases.of(probed.episodes)
    third_N = np.unique(cases.cluster_N, return_inverse=True)[1] % 3
    measured_N = (third_N == 2) & probed.disputed_N
    if (
        min(
            both(cases.concept_N[third_N == 0]),
            both(cases.concept_N[third_N == 1]),
            both(cases.concept_N[measured_N]),
        )
        == 0
    ):
        raise UserError(
            "data.probe: too few episodes to fit, choose and measure a probe, with both values of X"
            " in each part. Raise it."
        )
    opinions = predictor.opinions(probed.episodes)
    right_LN = np.stack(
        [
            _probe(probed.z_NLD[:, i].numpy(), cases.concept_N, third_N == 0) == cases.concept_N
            for i in range(len(probed.levels))
        ]
    )
    best = int(right_LN[:, third_N == 1].mean(axis=1).argmax())
    families = {
        name: right_LN[best, measured_N & (cases.family_N == name)].mean()
        for name in np.unique(cases.family_N[measured_N])
    }
    worst = min(families, key=lambda name: families[name])
    parts = (
        [_parts(predictor, probed, i, opinions, third_N) for i in range(len(probed.levels))]
        if predictor.can_write
        else []
    )
    knowledge = Knowledge(
        tuple(
            (level, float(right_LN[i, measured_N].mean())) for i, level in enumerate(probed.levels)
        ),
        probed.levels[best],
        str(worst),
        float(families[worst]),
        _ranks(opinions.concept_N, cases.concept_N, measured_N),
        _ranks(opinions.human_N, cases.human_N, measured_N),
        tuple(swap for swap, _ in parts),
    )
    subspaces = (
        Subspaces(*map(torch.stack, zip(*(found for _, found in parts), strict=True)))
        if parts
        else None
    )
    return Examined(
        knowledge,
        subspaces,
        erasers(probed.z_NLD, torch.from_numpy(cases.concept_N), torch.from_numpy(cases.human_N)),
    )


def both(truth_N: Bools) -> int:
    """Returns how often the rarer of both values occurs."""
    return int(min(truth_N.sum(), (~truth_N).sum()))


def _probe(z_ND: NDArray[np.float32], concept_N: Bools, fit_N: Bools) -> Bools:
    """Returns what a logistic probe says of every episode, fitted with X on some of them."""
    from sklearn.linear_model import LogisticRegression

    mean_D, std_D = z_ND[fit_N].mean(axis=0), z_ND[fit_N].std(axis=0) + 1e-6
    z_ND = (z_ND - mean_D) / std_D
    return (
        LogisticRegression(C=0.1, max_iter=1_000).fit(z_ND[fit_N], concept_N[fit_N]).predict(z_ND)
    )


def _ranks(score_N: Tensor, truth_N: Bools, which_N: Bools) -> float:
    return float(
        auroc(
            score_N.double().numpy()[None, which_N],
            truth_N[which_N],
            np.arange(which_N.sum()),
            0.95,
        ).value[0]
    )


class Own(NamedTuple):
    """The predictor's own predictions, yes or no."""

    concept_N: Tensor
    human_N: Tensor


@dataclass(frozen=True)
class Trial:
    """Exchanges at one level between some episodes on which the predictor itself says different
    things.
    """

    predictor: Predictor
    episodes: Dataset
    level: int
    z_ND: Tensor
    own: Own

    def flips(self, pairs: Exchange, onto_DD: Tensor) -> tuple[float, float]:
        """Returns in which share of swaps its prediction of X, and of H, is another than before; 0
        where there is no pair.
        """
        if not len(pairs.base_P):
            return 0.0, 0.0
        after = self.predictor.opinions(
            self.episodes.select(pairs.base_P), self.level, self.moved(pairs, onto_DD)
        )
        before = (own_N[pairs.base_P] for own_N in self.own)
        concept, human = (
            float(((new > 0) != old).double().mean())
            for new, old in zip(after, before, strict=True)
        )
        return concept, human

    def moved(self, pairs: Exchange, onto_DD: Tensor) -> Tensor:
        """Returns the activations of the bases after the swap."""
        return swapped(self.z_ND[:, None], pairs, onto_DD[None])[:, 0]

    @property
    def exchanges(self) -> tuple[Exchange, Exchange]:
        """Pairs that differ in what it says of X, and of H, alone."""
        concept_N, human_N = (own_N.numpy() for own_N in self.own)
        return exchange(concept_N, human_N, np.random.default_rng(0)), exchange(
            human_N, concept_N, np.random.default_rng(1)
        )


def _parts(
    predictor: Predictor, probed: Probed, i: int, opinions: Opinions, third_N: NDArray[np.intp]
) -> tuple[Swap, tuple[Tensor, ...]]:
    """Returns how well the parts at one level move the predictor's own predictions, and the parts:
    fitted, chosen and measured on a third each.
    """
    own = Own(opinions.concept_N > 0, opinions.human_N > 0)
    z_ND, width = probed.z_NLD[:, i], probed.z_NLD.shape[2]

    def trial(third: int) -> Trial:
        rows = np.flatnonzero(third_N == third)
        return Trial(
            predictor,
            probed.episodes.select(rows),
            probed.levels[i],
            z_ND[rows],
            Own(*(own_N[rows] for own_N in own)),
        )

    fit, choose, measure = (trial(third) for third in range(3))
    ranks = [rank for rank in RANKS if rank <= max(1, width // 4)]
    concepts, humans = (
        [basis(fit.z_ND, *who, rank) for rank in ranks] for who in (fit.own, fit.own[::-1])
    )
    concept = _best(
        concepts,
        [
            (own, 1 - other)
            for own, other in (
                choose.flips(choose.exchanges[0], projection(one)) for one in concepts
            )
        ],
    )
    human = _best(
        humans,
        [
            (own, 1 - other)
            for other, own in (choose.flips(choose.exchanges[1], projection(one)) for one in humans)
        ],
    )
    chance = torch.Generator().manual_seed(i)
    randoms = [random_basis(width, one.shape[1], chance) for one in (concept, human)]
    found = tuple(map(projection, (concept, human, *randoms)))
    of_concept, of_human = measure.exchanges
    swap = Swap(
        probed.levels[i],
        concept.shape[1],
        human.shape[1],
        *measure.flips(of_concept, found[0]),
        *measure.flips(of_human, found[1]),
        max(*measure.flips(of_concept, found[2]), *measure.flips(of_human, found[3])),
        measure.flips(of_concept, torch.eye(width))[0],
        measure.flips(of_human, torch.eye(width))[1],
        max(
            _off_data(fit.z_ND, measure.z_ND, measure.moved(pairs, onto))
            for pairs, onto in zip((of_concept, of_human), found[:2], strict=True)
        ),
    )
    return swap, found


def _best(bases: list[Tensor], scores: list[tuple[float, float]]) -> Tensor:
    """Returns the basis of the smallest rank that is about as good as the best: its worse score
    counts.
    """
    worst = [min(score) for score in scores]
    return next(one for one, score in zip(bases, worst, strict=True) if score >= max(worst) - WORSE)


def _off_data(fit_ND: Tensor, plain_ND: Tensor, moved_ND: Tensor) -> float:
    """Returns the share of moved activations that lie farther from the mean than 99% of the plain
    ones.
    """
    if not len(moved_ND):
        return 0.0
    mean_D, covariance_DD = fit_ND.double().mean(dim=0), torch.cov(fit_ND.double().T)
    ridge = (1e-3 * covariance_DD.diagonal().mean() + 1e-12) * torch.eye(
        len(mean_D), dtype=torch.float64
    )
    root_DD = torch.linalg.cholesky(covariance_DD + ridge)

    def far(z_ND: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(root_DD, (z_ND.double() - mean_D).T, upper=False).norm(
            dim=0
        )

    return float((far(moved_ND) > far(plain_ND).quantile(FAR)).double().mean())
