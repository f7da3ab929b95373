"""What the predictor itself knows of X, and whether it uses it.

N: episodes, L: levels, C: cells, D: width.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from console.errors import UserError
from core_model.hashing import hash_content
from core_model.predictor import Predictor
from storage.cache import load_or_make
from verdict.evidence.erasers import Eraser, Erasers
from verdict.evidence.subspaces import Subspaces
from verdict.ground_truth import Bools, number_cells
from verdict.probe_data import ProbeData
from verdict.ranking import estimate_auroc
from verdict.statistics import Interval, compute_shares, estimate_worst_share, take_interval
from verdict.swaps import CONFIDENCE, Swap, find_subspaces
from worlds.world import World

EXAMINER_VERSION = 7
"""Raise it when the same predictor and episodes would give another report."""
INTERVALS = ("ceiling", "worst_family_ceiling", "opinion_concept", "opinion_human")
"""The fields of `Knowledge` that are intervals."""


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
    """AUROC for X of the predictor's own X-dependent prediction, on disputed episodes; NaN for a
    predictor that is not asked for X.
    """
    opinion_human: Interval
    """AUROC for H of its own H-dependent prediction, on disputed episodes; NaN for a predictor that
    is not asked for H.
    """
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
            is_certified = swap.separates.low >= uses and not math.isnan(swap.concept_flips_concept)
            if is_certified and swap.level < deepest:
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
    right_LN = _fit_probes(predictor, probe, third_N == 0) == cases.concept_N
    opinion_concept = opinion_human = Interval(math.nan, math.nan, math.nan)
    chosen_N, measured_N = third_N == 1, third_N == 2
    share_LC = compute_shares(right_LN[:, chosen_N], cells.cell_N[chosen_N])
    best = int(share_LC.mean(axis=1).argmax())
    measured_LN, cluster_N = right_LN[:, measured_N], cases.cluster_N[measured_N]
    worst, _ = estimate_worst_share(measured_LN, cells.cell_N[measured_N], cluster_N, CONFIDENCE)
    families, family_N = np.unique(cases.family_N[measured_N], return_inverse=True)
    of_family, worst_L = estimate_worst_share(measured_LN, family_N, cluster_N, CONFIDENCE)
    disputed_N = measured_N & (cases.concept_N != cases.human_N)
    if predictor.predicts_concept:
        opinion_concept = _compute_auroc(opinions.concept_N, cases.concept_N, disputed_N)
    if predictor.predicts_human:
        opinion_human = _compute_auroc(opinions.human_N, cases.human_N, disputed_N)
    swaps: list[Swap] = []
    subspaces = None
    if predictor.can_write:
        swaps, subspaces = find_subspaces(predictor, probe, opinions, third_N)
    knowledge = Knowledge(
        ceilings=tuple(zip(probe.levels, worst.value.tolist(), strict=True)),
        ceiling_level=probe.levels[best],
        ceiling=take_interval(worst, best),
        worst_family=str(families[worst_L[best]]),
        worst_family_ceiling=take_interval(of_family, best),
        opinion_concept=opinion_concept,
        opinion_human=opinion_human,
        swaps=tuple(swaps),
    )
    # Without the episodes that are amiss and agree, X tells nothing of H.
    is_easy_N = np.arange(len(cases)) < probe.n_easy
    balanced_N = torch.from_numpy(is_easy_N | (cases.concept_N != cases.human_N))
    concept_N, human_N = torch.from_numpy(cases.concept_N), torch.from_numpy(cases.human_N)
    erasers = Erasers.fit(probe.z_NLD[balanced_N], concept_N[balanced_N], human_N[balanced_N])
    return PredictorReport(knowledge, subspaces, erasers)


def build_empty_report(deepest: int, width: int) -> PredictorReport:
    """Returns the report of a predictor that was not examined: every figure is NaN."""
    unknown = Interval(math.nan, math.nan, math.nan)
    knowledge = Knowledge(
        ceilings=(),
        ceiling_level=deepest,
        ceiling=unknown,
        worst_family="",
        worst_family_ceiling=unknown,
        opinion_concept=unknown,
        opinion_human=unknown,
        swaps=(),
    )
    eraser = Eraser(*(torch.zeros(0, width) for _ in Eraser._fields))
    return PredictorReport(knowledge, None, Erasers(*(eraser for _ in Erasers._fields)))


def count_rarer(truth_N: Bools) -> int:
    """Returns how often the rarer of both values occurs."""
    return int(min(truth_N.sum(), (~truth_N).sum()))


def _fit_probes(predictor: Predictor, probe: ProbeData, fit_N: Bools) -> NDArray[Any]:
    """Returns the predictions, shape (L, N), of a logistic probe at each level; it is fitted with X
    on some of the episodes.
    """
    from sklearn.linear_model import LogisticRegression

    concept_N = probe.cases.concept_N
    predicted = []
    for level, z_ND in zip(probe.levels, probe.z_NLD.unbind(1), strict=True):
        inputs_ND = gather_inputs(predictor, level, z_ND).numpy()
        mean_D = inputs_ND[fit_N].mean(axis=0)
        std_D = inputs_ND[fit_N].std(axis=0) + 1e-6
        inputs_ND = (inputs_ND - mean_D) / std_D
        classifier = LogisticRegression(C=0.1, max_iter=1_000)
        classifier.fit(inputs_ND[fit_N], concept_N[fit_N])
        predicted.append(classifier.predict(inputs_ND))
    return np.stack(predicted)


def gather_inputs(predictor: Predictor, level: int, z_ND: Tensor) -> Tensor:
    """Returns what a probe for X reads at a level: the activations and, where X is known to be a
    product of several parts, that product.
    """
    product_N = predictor.read_known_product(level, z_ND)
    return z_ND if product_N is None else torch.cat([z_ND, product_N[:, None]], dim=1)


def _compute_auroc(score_N: Tensor, truth_N: Bools, rows_N: Bools) -> Interval:
    score_1N = score_N.double().numpy()[None, rows_N]
    auroc = estimate_auroc(score_1N, truth_N[rows_N], np.arange(rows_N.sum()), CONFIDENCE)
    return take_interval(auroc, 0)
