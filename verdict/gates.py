"""Gates: can the question be decided at all? One that fails makes the case undecided, and says which.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from core_model.predictor import Opinions, Predictor, content_hash
from core_model.store import kept
from refusal import Refusal
from verdict.cases import Cases
from verdict.statistics import auroc, share

EXAMINER_VERSION = 2
"""Raise it when the same predictor and episodes would be examined differently."""


@dataclass(frozen=True)
class Gate:
    """One condition: what was measured, what is asked for, and what to do where it is not met."""

    name: str
    value: float
    bound: float
    cure: str

    @property
    def passed(self) -> bool:
        return bool(self.value >= self.bound)

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} (asked: {self.bound:g}). {self.cure}"


@dataclass(frozen=True)
class Swap:
    """What moving activations at one level along the predictor's own direction of X, or of H, does to its own predictions: shares of episodes."""

    level: int
    concept_flips_concept: float
    concept_flips_human: float
    human_flips_concept: float
    human_flips_human: float

    @property
    def separates(self) -> float:
        """1 where each direction flips its own prediction always and the other's never; the worst of the four decides."""
        return min(self.concept_flips_concept, self.human_flips_human, 1 - self.concept_flips_human, 1 - self.human_flips_concept)


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
    """A swap for each level, the deepest last, which decides; empty for a predictor that cannot run on from an activation."""


@dataclass(frozen=True)
class Probed:
    """Easy and disputed episodes, as many of each, on which the predictor itself is examined; apart from all that heads train on or are judged on."""

    episodes: Dataset
    disputed_N: NDArray[np.bool_]
    """Which are disputed. X ≠ H does not tell: noise may have flipped an answer on an easy one."""
    z_NLD: Tensor
    levels: tuple[int, ...]


def examined(predictor: Predictor, probed: Probed, columns: Sequence[str], cache: Path) -> Knowledge:
    """Returns what `examine` finds, kept under a key of all that it depends on."""
    content = content_hash(probed.episodes, (*columns, "concept", "human", "family", "cluster"))
    key = f"{EXAMINER_VERSION} {predictor.identity} {probed.levels} {content}"
    path = cache / "knowledge" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    _, facts = kept(path, lambda: ({}, asdict(examine(predictor, probed))))
    swaps = tuple(Swap(**swap) for swap in facts["swaps"])
    return Knowledge(**facts | {"ceilings": tuple((level, share) for level, share in facts["ceilings"]), "swaps": swaps})


def examine(predictor: Predictor, probed: Probed) -> Knowledge:
    """Returns what the predictor knows and uses. Probes and directions are fitted on a third of the clusters, chosen on a third, measured on a third.

    Easy episodes are among them because on disputed ones alone X is "not H": there a probe for H, turned round, would pass for a probe for X.
    """
    cases = Cases.of(probed.episodes)
    third_N = np.unique(cases.cluster_N, return_inverse=True)[1] % 3
    measured_N = (third_N == 2) & probed.disputed_N
    if min(_both(cases.concept_N[third_N == 0]), _both(cases.concept_N[third_N == 1]), _both(cases.concept_N[measured_N])) == 0:
        raise Refusal("data.probe: too few episodes to fit, choose and measure a probe, with both values of X in each part. Raise it.")
    opinions = predictor.opinions(probed.episodes)
    right_LN = np.stack([_probe(probed.z_NLD[:, i].numpy(), cases.concept_N, third_N == 0) == cases.concept_N for i in range(len(probed.levels))])
    best = int(right_LN[:, third_N == 1].mean(axis=1).argmax())
    families = {name: right_LN[best, measured_N & (cases.family_N == name)].mean() for name in np.unique(cases.family_N[measured_N])}
    worst = min(families, key=lambda name: families[name])
    return Knowledge(
        tuple((level, float(right_LN[i, measured_N].mean())) for i, level in enumerate(probed.levels)),
        probed.levels[best],
        str(worst),
        float(families[worst]),
        _ranks(opinions.concept_N, cases.concept_N, measured_N),
        _ranks(opinions.human_N, cases.human_N, measured_N),
        tuple(_swap(predictor, probed, i, opinions, third_N < 2, measured_N) for i in range(len(probed.levels))) if predictor.can_write else (),
    )


def predictor_gates(knowledge: Knowledge, disputed: Cases, knows: float, uses: float, enough: int) -> tuple[Gate, ...]:
    """Returns the gates that do not depend on the head."""
    ceiling = dict(knowledge.ceilings)[knowledge.ceiling_level]
    swap = knowledge.swaps[-1].separates if knowledge.swaps else 0.0
    can_write = "" if knowledge.swaps else " This predictor cannot run on from a changed activation, so a causal test is lacking."
    return (
        Gate("knows", ceiling, knows, "The predictor does not know X well enough: train it for longer, or read it at more levels."),
        Gate(
            "knows (worst family)",
            knowledge.worst_family_ceiling,
            knows,
            f"On {knowledge.worst_family} the predictor does not know X: train it on more of it.",
        ),
        Gate("uses", knowledge.opinion_concept, knows, "The predictor's own predictions do not follow X: what it knows of X it may not use."),
        Gate("uses (swap)", swap, uses, "Moving its concept does not move its own prediction of X alone." + can_write),
        Gate("enough", _both(disputed.concept_N), enough, "Too few disputed episodes with either value of X: raise data.disputed."),
    )


def competent(log_odds_KN: NDArray[np.float64], easy: Cases, bound: float) -> list[Gate]:
    """Returns a gate for each head: its share right on held-out easy episodes, whose truth is X; 0 where it says what is no number."""
    right = share((log_odds_KN > 0) == easy.concept_N, easy.cluster_N, 0.95).value
    right = np.where(np.isfinite(log_odds_KN).all(axis=1), right, 0.0)
    return [Gate("competent", float(value), bound, "The head errs on easy episodes: train it for longer, or charge it less.") for value in right]


def _probe(z_ND: NDArray[np.float32], concept_N: NDArray[np.bool_], fit_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns what a logistic probe says of every episode, fitted with X on some of them."""
    from sklearn.linear_model import LogisticRegression

    mean_D, std_D = z_ND[fit_N].mean(axis=0), z_ND[fit_N].std(axis=0) + 1e-6
    z_ND = (z_ND - mean_D) / std_D
    return LogisticRegression(C=0.1, max_iter=1_000).fit(z_ND[fit_N], concept_N[fit_N]).predict(z_ND)


def _both(truth_N: NDArray[np.bool_]) -> int:
    """Returns how often the rarer of both values occurs."""
    return int(min(truth_N.sum(), (~truth_N).sum()))


def _ranks(score_N: Tensor, truth_N: NDArray[np.bool_], which_N: NDArray[np.bool_]) -> float:
    return float(auroc(score_N.double().numpy()[None, which_N], truth_N[which_N], np.arange(which_N.sum()), 0.95).value[0])


def _swap(predictor: Predictor, probed: Probed, i: int, opinions: Opinions, fit_N: NDArray[np.bool_], judged_N: NDArray[np.bool_]) -> Swap:
    """Moves activations along the difference of means of X given H, and of H given X, X and H being what the predictor itself says."""
    z_ND, fit = probed.z_NLD[:, i], torch.from_numpy(fit_N)
    says = Opinions(opinions.concept_N > 0, opinions.human_N > 0)
    judged = probed.episodes.select(np.flatnonzero(judged_N))
    flips = []
    for own_N, other_N in ((says.concept_N, says.human_N), (says.human_N, says.concept_N)):
        direction_D = torch.stack([_mean(z_ND, fit & own_N & side) - _mean(z_ND, fit & ~own_N & side) for side in (other_N, ~other_N)]).mean(dim=0)
        moved_ND = z_ND[judged_N] + torch.where(own_N[judged_N], -1.0, 1.0)[:, None] * direction_D
        after = predictor.opinions(judged, probed.levels[i], moved_ND)
        flips += [float(((new > 0) != old[judged_N]).float().mean()) for new, old in zip(after, says, strict=True)]
    return Swap(probed.levels[i], *flips)


def _mean(z_ND: Tensor, which_N: Tensor) -> Tensor:
    return z_ND[which_N].mean(dim=0) if which_N.any() else torch.zeros_like(z_ND[0])
