"""Finished heads as measures see them: a stack of weights, the training episodes, and where each
head stopped.

K = G · S · M heads. G: groups of levels, S: seeds, M: strengths; N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from core_model.predictor import Ablation
from core_model.reader import ActivationReader
from core_model.timing import ReadingCosts
from reporters.reporter import Reporter
from reporters.stack import Weights
from training.heads import Heads, Said
from training.material import Material
from training.standardised import Standardised


class Stopped(NamedTuple):
    """Where K heads stopped on N episodes of one kind: the deepest level of the predictor that was
    read, and the exit, from 0.
    """

    level_KN: Tensor
    exit_KN: Tensor


class Explained(NamedTuple):
    """What an explanation is searched with: a predictor that can be ablated, which gives
    standardised activations, and its inputs of the training episodes.
    """

    ablation: Ablation
    inputs_N: Tensor


@dataclass(frozen=True)
class FinishedHeads:
    """A stack of finished heads of one reporter.

    Args:
        weights: with leading axes (G, S, M).
        z_NLD: standardised activations of the training episodes.
        human_N: the human's answers on them, 0 or 1, float.
        stopped: where the heads stopped, on "train" episodes and on any others.
        flops_by_level: the predictor's FLOPs an episode to reach each of its levels.
        seconds_by_level: its seconds for 1,000 episodes, by the clock; None where not timed.
        explained: what an explanation is searched with; None where the predictor cannot be ablated.
    """

    reporter: Reporter
    weights: Weights
    z_NLD: Tensor
    human_N: Tensor
    stopped: Mapping[str, Stopped]
    flops_by_level: tuple[float, ...]
    seconds_by_level: tuple[float, ...] | None = None
    explained: Explained | None = None


def describe_finished(
    heads: Heads,
    said: Mapping[str, Said],
    material: Material,
    reader: ActivationReader,
    costs: ReadingCosts,
) -> FinishedHeads:
    """Returns what measures need to know of a run's heads.

    Args:
        said: what the heads report on the training, the easy and the disputed episodes.
    """
    explained = None
    if reader.predictor.can_ablate:
        ablation = reader.predictor.ablation(material.train, reader.levels, "mean")
        standardised = Standardised(ablation, heads.mean_LD, heads.std_LD)
        explained = Explained(standardised, ablation.inputs(material.train))
    return FinishedHeads(
        heads.reporter,
        heads.weights,
        (material.examples.z_NLD - heads.mean_LD) / heads.std_LD,
        material.examples.human_N,
        {kind: Stopped(one.level_KN, one.exit_KN) for kind, one in said.items()},
        costs.flops,
        costs.seconds,
        explained,
    )
