"""Swaps of parts of activations: the subspaces that this project fits, beside those that `fit_das`
of TransformerLens learns, on predictors of the ladder that both can run.

Needs TransformerLens. N: episodes, I: bits, D: width, P: pairs, R: rank.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint
from transformer_lens.tools.analysis.interchange import arbitrary_targets, fit_das, reinitialized

from compute.trainer import Trainer
from configs.build import build, read_default
from core_model.ladder_network import LadderNetwork
from core_model.ladder_predictor import LadderPredictor, read_bits
from core_model.predictor import Opinions
from storage.cache import find_cache_folder
from verdict.evidence.subspaces import fit_basis, projection
from verdict.ground_truth import Variable, draw_exchange
from verdict.probe_data import ProbeData
from verdict.swaps import OwnPredictions, SwapTrial, find_subspaces, measure_off_data

LEVELS = {"constructed": (0, 1), "ladder_mlp": (0, 2, 4)}
"""Levels at which the predictors are examined; the last of each is its last."""
EPISODES = 2400
"""A third is for fitting, a third for choosing a rank, and a third for measuring."""
SEED = 0

Bools = NDArray[np.bool_]


class Hooked(HookedRootModule):
    """A network of the ladder with a hook at each level."""

    def __init__(self, network: LadderNetwork) -> None:
        super().__init__()
        self.network = network
        self.level = torch.nn.ModuleList(HookPoint() for _ in range(len(network.blocks) + 1))
        self.setup()
        self.eval()

    def forward(self, bits_NI: Tensor) -> Tensor:
        """Returns a logit for each pair of X and H, shape (N, 4); the number of a pair is twice X
        plus H.
        """
        first, *others = self.level
        z_ND = first(self.network.embedding(bits_NI))
        for block, hook in zip(self.network.blocks, others, strict=True):
            z_ND = hook(block(z_ND))
        concept_N, human_N = self.network.compute_opinions(z_ND)
        concept_sign_4 = torch.tensor([-0.5, -0.5, 0.5, 0.5])
        human_sign_4 = torch.tensor([-0.5, 0.5, -0.5, 0.5])
        return concept_N[:, None] * concept_sign_4 + human_N[:, None] * human_sign_4


class Answers(NamedTuple):
    """What a subspace is to carry, for each episode: X, or a label in its place; and H."""

    concept_N: Bools
    human_N: Bools

    def choose(self, variable: Variable) -> tuple[Bools, Bools]:
        """Returns the answers of one variable, and of the other."""
        return (self.concept_N, self.human_N) if variable == "concept" else self[::-1]


@dataclass(frozen=True)
class Subject:
    """A predictor, and the episodes on which it is examined."""

    name: str
    predictor: LadderPredictor
    hooked: Hooked
    episodes: Dataset
    bits_NI: Tensor
    truth: Answers

    @property
    def measured_N(self) -> Bools:
        """Which episodes are held out."""
        return np.arange(len(self.truth.concept_N)) % 3 == 2


class Outcome(NamedTuple):
    """What swaps of a part do on held-out pairs that differ in its variable alone."""

    moves: float
    """Share after which the model's answer is the source's."""
    leaks: float
    """Share after which its answer for the other variable has changed."""
    off_data: float
    """Share of swapped activations that are farther from the mean than 99% of the others."""


class SwapRow(NamedTuple):
    """Swaps of X's part, or of H's, as both packages find it."""

    predictor: str
    level: int
    variable: Variable
    labels: str
    rank: int
    ours: Outcome
    theirs: Outcome
    angle: tuple[float, float] | None
    """Largest angle to the subspace that holds the variable by construction, in degrees."""
    times: float
    """Time of their fit, as a multiple of ours; NaN where it was not measured."""


def compare_swaps() -> Iterator[SwapRow]:
    """Yields a row for each predictor, level and kind of labels."""
    for name, levels in LEVELS.items():
        subject = make_subject(name)
        for level in levels:
            yield from compare_level(subject, level)
        untrained = reset(subject)
        for level in levels:
            yield compare_untrained(untrained, level)


def make_subject(name: str) -> Subject:
    """Returns a predictor of the ladder; one that is trained is trained here."""
    world = build(read_default("world/ladder.yaml"), "world")
    values = read_default(f"core_model/{name}.yaml")
    if name == "constructed":
        values = {**values, "concept_width": 3, "human_width": 2}
    recipe = build(values, "core_model")
    trainer = Trainer(accelerator="cpu", save_every=1e9, bar=False)
    predictor = recipe.predictor(world, find_cache_folder(), trainer)
    episodes = world.episodes("tampered", EPISODES, SEED)
    truth = Answers(np.array(episodes["concept"][:]), np.array(episodes["human"][:]))
    hooked = Hooked(predictor.network)
    return Subject(name, predictor, hooked, episodes, read_bits(episodes), truth)


def reset(subject: Subject) -> Subject:
    """Returns the same predictor with weights as before training."""
    hooked = reinitialized(subject.hooked, SEED)
    predictor = LadderPredictor(hooked.network, subject.predictor.world)
    return Subject(
        f"{subject.name}, reinitialised",
        predictor,
        hooked,
        subject.episodes,
        subject.bits_NI,
        subject.truth,
    )


def compare_level(subject: Subject, level: int) -> Iterator[SwapRow]:
    """Yields rows of a trained predictor: X, H, and arbitrary labels in place of X."""
    z_ND = subject.predictor.read(subject.episodes, [level])[:, 0]
    start = time.perf_counter()
    onto_DD = fit_ours(subject, level, z_ND, subject.predictor.opinions(subject.episodes))
    own_seconds = time.perf_counter() - start
    known = subject.predictor.known_subspaces(level)
    das_seconds, rows = [], []
    for i, variable in enumerate(("concept", "human")):
        rank = round(float(onto_DD[variable].trace()))
        start = time.perf_counter()
        basis_DR = fit_theirs(subject, level, variable, subject.truth, rank)
        das_seconds.append(time.perf_counter() - start)
        own_DR = torch.linalg.eigh(onto_DD[variable].double())[1][:, -rank:]
        angle = None
        if known and known[i].shape[1] == rank:
            angle = (measure_angle(own_DR, known[i]), measure_angle(basis_DR, known[i]))
        rows.append(
            SwapRow(
                subject.name,
                level,
                variable,
                "true",
                rank,
                measure(subject, level, z_ND, variable, subject.truth, onto_DD[variable]),
                measure(subject, level, z_ND, variable, subject.truth, projection(basis_DR)),
                angle,
                math.nan,
            )
        )
    for row in rows:
        yield row._replace(times=sum(das_seconds) / own_seconds)
    yield compare_arbitrary(subject, level, z_ND, rows[0].rank)


def compare_arbitrary(subject: Subject, level: int, z_ND: Tensor, rank: int) -> SwapRow:
    """Returns the row of labels that have nothing to do with what the predictor computes."""
    keys = [tuple(bits) for bits in subject.bits_NI.int().tolist()]
    label_N = arbitrary_targets(keys, 2, SEED).bool().numpy()
    answers = subject.truth._replace(concept_N=label_N)
    fitted = torch.from_numpy(~subject.measured_N)
    own_DR = fit_basis(z_ND[fitted], *(torch.from_numpy(a)[fitted] for a in answers), rank)
    their_DR = fit_theirs(subject, level, "concept", answers, rank)
    outcomes = [
        measure(subject, level, z_ND, "concept", answers, projection(basis_DR))
        for basis_DR in (own_DR, their_DR)
    ]
    return SwapRow(subject.name, level, "concept", "arbitrary", rank, *outcomes, None, math.nan)


def compare_untrained(subject: Subject, level: int) -> SwapRow:
    """Returns the row of a predictor that has learned nothing."""
    z_ND = subject.predictor.read(subject.episodes, [level])[:, 0]
    truth = Opinions(*(2.0 * torch.from_numpy(answer_N) - 1 for answer_N in subject.truth))
    onto_DD = fit_ours(subject, level, z_ND, truth)["concept"]
    rank = round(float(onto_DD.trace()))
    basis_DR = fit_theirs(subject, level, "concept", subject.truth, rank)
    outcomes = [
        measure(subject, level, z_ND, "concept", subject.truth, onto)
        for onto in (onto_DD, projection(basis_DR))
    ]
    return SwapRow(subject.name, level, "concept", "true", rank, *outcomes, None, math.nan)


def fit_ours(
    subject: Subject, level: int, z_ND: Tensor, opinions: Opinions
) -> dict[Variable, Tensor]:
    """Returns projections on the subspaces that this project fits, whether or not the predictor
    knows them; the rank is chosen, and what their swaps do is measured, too.
    """
    third_N = np.arange(len(z_ND)) % 3
    probe = ProbeData(subject.episodes, 0, z_ND[:, None], (level,))
    predictor = LadderPredictor(subject.predictor.network, subject.predictor.world)
    _, subspaces = find_subspaces(predictor, probe, opinions, third_N)
    return {"concept": subspaces.concept_LDD[0], "human": subspaces.human_LDD[0]}


def fit_theirs(
    subject: Subject, level: int, variable: Variable, answers: Answers, rank: int
) -> Tensor:
    """Returns the basis that `fit_das` learns, as it comes, from pairs that differ in anything and
    from pairs that differ in the variable alone; from the episodes that ours has for fitting and
    choosing.
    """
    rows = np.flatnonzero(~subject.measured_N)
    rng = np.random.default_rng(SEED)
    own_N, other_N = (answer_N[rows] for answer_N in answers.choose(variable))
    exchange = draw_exchange(own_N, other_N, rng)
    base_P = np.concatenate([rng.permutation(len(rows)), exchange.base_P])
    source_P = np.concatenate([rng.permutation(len(rows)), exchange.source_P])
    own_P, other_P = own_N[source_P].astype(int), other_N[base_P].astype(int)
    target_P = 2 * own_P + other_P if variable == "concept" else 2 * other_P + own_P
    result = fit_das(
        subject.hooked,
        f"level.{level}",
        subject.bits_NI[rows[base_P]],
        subject.bits_NI[rows[source_P]],
        torch.from_numpy(target_P),
        subject.hooked,
        rank=rank,
        seed=SEED,
    )
    return result.basis.double()


def measure(
    subject: Subject,
    level: int,
    z_ND: Tensor,
    variable: Variable,
    answers: Answers,
    onto_DD: Tensor,
) -> Outcome:
    """Returns what swaps of a part do on held-out pairs."""
    rows = np.flatnonzero(subject.measured_N)
    own_N, other_N = (answer_N[rows] for answer_N in answers.choose(variable))
    exchange = draw_exchange(own_N, other_N, np.random.default_rng(SEED))
    episodes, z_ND = subject.episodes.select(rows), z_ND[rows]
    unused = OwnPredictions(*map(torch.from_numpy, answers))
    trial = SwapTrial(subject.predictor, episodes, level, z_ND, unused)
    swapped_PD = trial.swap(exchange, onto_DD)
    after = subject.predictor.opinions(episodes.select(exchange.base_P), level, swapped_PD)
    before = subject.predictor.opinions(episodes.select(exchange.base_P))
    i = ("concept", "human").index(variable)
    moves_P = (after[i] > 0).numpy() == own_N[exchange.source_P]
    leaks_P = (after[1 - i] > 0) != (before[1 - i] > 0)
    return Outcome(
        float(moves_P.mean()),
        float(leaks_P.double().mean()),
        measure_off_data(trial, trial, swapped_PD),
    )


def measure_angle(first_DR: Tensor, second_DR: Tensor) -> float:
    """Returns the largest principal angle between two subspaces, in degrees."""
    cosine_R = torch.linalg.svdvals(first_DR.T.double() @ second_DR.double())
    return float(cosine_R.min().clamp(max=1).arccos().rad2deg())
