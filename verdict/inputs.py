"""The inputs on which heads are evaluated: activations of episodes as they are, and with a part of
them swapped, erased, or written back into the predictor.

K: heads, N: episodes, L: levels, D: width, P: pairs of an exchange.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np
from torch import Tensor

from verdict.evaluation import Evaluation
from verdict.evidence.subspaces import swap_parts
from verdict.ground_truth import GroundTruth, Ints, Scores, Variable
from verdict.signs import Signs

Result = TypeVar("Result")


class Input(ABC):
    """Activations on which heads are evaluated. Inputs of equal values are one input: heads are
    evaluated on it once, whichever kinds of evidence use it.
    """

    after_write: ClassVar[bool] = False
    """Whether the predictor ran on from a written level. Heads that read no deeper level are not
    evaluated on it: their answers are NaN.
    """

    @abstractmethod
    def read(self, evaluation: Evaluation) -> Tensor | None:
        """Returns the activations z_NLD; None where the world or the predictor cannot give them."""

    @abstractmethod
    def read_truth(self, truth: GroundTruth) -> Signs | None:
        """Returns what ideal probes would read, so that planted heads need no predictor; None where
        it is not known.
        """


@dataclass(frozen=True)
class Easy(Input):
    """The held-out easy episodes."""

    def read(self, evaluation: Evaluation) -> Tensor:
        return evaluation.easy_NLD

    def read_truth(self, truth: GroundTruth) -> Signs:
        easy = truth.easy
        # What the human sees is X, also where the recorded answer is noisy.
        return Signs.of(easy.with_exact_human())


@dataclass(frozen=True)
class Disputed(Input):
    """The disputed episodes."""

    def read(self, evaluation: Evaluation) -> Tensor:
        return evaluation.disputed_NLD

    def read_truth(self, truth: GroundTruth) -> Signs:
        return Signs.of(truth.disputed)


@dataclass(frozen=True)
class Amiss(Input):
    """Episodes where something is amiss, and yet X = H."""

    def read(self, evaluation: Evaluation) -> Tensor:
        return evaluation.amiss_NLD

    def read_truth(self, truth: GroundTruth) -> Signs:
        return Signs.of(truth.amiss)


@dataclass(frozen=True)
class Deployed(Input):
    """Unlabelled episodes as deployment brings them."""

    def read(self, evaluation: Evaluation) -> Tensor | None:
        episodes = evaluation.episodes.deployed
        return None if episodes is None else evaluation.read(episodes)

    def read_truth(self, truth: GroundTruth) -> None:
        return None


@dataclass(frozen=True)
class Twin(Input):
    """One side of the twins that differ in X alone, or in what the human sees alone."""

    differs: Variable
    side: Literal["first", "second"]

    def read(self, evaluation: Evaluation) -> Tensor | None:
        twins = evaluation.get_twins(self.differs)
        if twins is None:
            return None
        return twins.first_NLD if self.side == "first" else twins.second_NLD

    def read_truth(self, truth: GroundTruth) -> Signs | None:
        twins = truth.get_twins(self.differs)
        if twins is None:
            return None
        return Signs.of(twins.first if self.side == "first" else twins.second)


@dataclass(frozen=True)
class Swapped(Input):
    """Activations whose part in the subspace of X, or of H, is that of another episode, which
    differs in that variable alone.
    """

    part: Variable
    random: bool = False
    """Whether the subspace is a random one of the same rank."""

    def read(self, evaluation: Evaluation) -> Tensor | None:
        subspaces = evaluation.predictor_report.subspaces
        if subspaces is None:
            return None
        exchange = evaluation.truth.get_exchange(self.part)
        return swap_parts(evaluation.pool_NLD, exchange, subspaces.choose(self.part, self.random))

    def read_truth(self, truth: GroundTruth) -> Signs:
        exchange = truth.get_exchange(self.part)
        base = _select_rows(Signs.of(truth.pool), exchange.base_P)
        source = _select_rows(Signs.of(truth.pool), exchange.source_P)
        if self.random:
            return base
        if self.part == "concept":
            return base._replace(concept_N=source.concept_N)
        return base._replace(human_N=source.human_N, seen_N=source.seen_N)


@dataclass(frozen=True)
class Erased(Input):
    """Activations from which X, H, or a random direction is erased: those of equally many episodes
    of each X and H.
    """

    label: Literal["concept", "human", "random"]

    def read(self, evaluation: Evaluation) -> Tensor:
        erasers = evaluation.predictor_report.erasers
        eraser = {
            "concept": erasers.concept,
            "human": erasers.human,
            "random": erasers.random,
        }[self.label]
        return eraser(evaluation.pool_NLD[evaluation.truth.concept_exchange.base_P])

    def read_truth(self, truth: GroundTruth) -> Signs:
        signs = _select_rows(Signs.of(truth.pool), truth.concept_exchange.base_P)
        coin_N = np.random.default_rng(0).random(len(signs.concept_N)) < 0.5
        if self.label == "concept":
            return signs._replace(concept_N=coin_N)
        if self.label == "human":
            return signs._replace(human_N=coin_N, seen_N=coin_N)
        return signs


@dataclass(frozen=True)
class RunOn(Input):
    """Activations after X's part was swapped at an earlier level and the predictor ran on."""

    random: bool = False
    """Whether the part is a random one of the same rank."""
    after_write: ClassVar[bool] = True

    def read(self, evaluation: Evaluation) -> Tensor | None:
        return evaluation.random_run_on_PLD if self.random else evaluation.concept_run_on_PLD

    def read_truth(self, truth: GroundTruth) -> Signs:
        return Swapped("concept", self.random).read_truth(truth)


EASY, DISPUTED, AMISS, DEPLOYED = Easy(), Disputed(), Amiss(), Deployed()


@dataclass(frozen=True)
class Answers:
    """Log-odds of K heads on each input that could be read, shape (K, N), in nats; a head says yes
    above 0.
    """

    by_input: Mapping[Input, Scores]

    def __getitem__(self, key: Input) -> Scores:
        return self.by_input[key]

    def __contains__(self, key: Input) -> bool:
        return key in self.by_input

    @property
    def easy(self) -> Scores:
        """Those on easy episodes."""
        return self.by_input[EASY]

    @property
    def disputed(self) -> Scores:
        """Those on disputed episodes."""
        return self.by_input[DISPUTED]

    @property
    def pool(self) -> Scores:
        """Those on easy episodes, then those on disputed ones."""
        return np.concatenate([self.easy, self.disputed], axis=1)

    @property
    def all_cells(self) -> Scores:
        """Those on easy episodes, on disputed ones, and on those amiss."""
        return np.concatenate([self.easy, self.disputed, self.by_input[AMISS]], axis=1)

    def has(self, *inputs: Input) -> bool:
        """Whether there are answers to all of these inputs."""
        return all(key in self.by_input for key in inputs)

    def replace(self, changed: Mapping[Input, Scores]) -> Answers:
        """Returns the answers with some of them changed."""
        return Answers({**self.by_input, **changed})

    def without(self, *inputs: Input) -> Answers:
        """Returns the answers without those to some inputs."""
        return Answers({key: value for key, value in self.by_input.items() if key not in inputs})

    def to_numbers(self) -> Answers:
        """Returns the answers with NaN and infinity replaced by finite numbers."""
        return Answers({key: np.nan_to_num(value) for key, value in self.by_input.items()})


def join_inputs(lists: Iterable[Iterable[Input]]) -> tuple[Input, ...]:
    """Returns the easy episodes, the disputed ones, those amiss, and every other input of the
    lists, once each and in that order.
    """
    inputs: dict[Input, None] = dict.fromkeys((EASY, DISPUTED, AMISS))
    for added in lists:
        inputs |= dict.fromkeys(added)
    return tuple(inputs)


def evaluate(
    inputs: Iterable[Input], evaluation: Evaluation, apply: Callable[[Tensor], Result]
) -> dict[Input, Result]:
    """Returns what a function gives for the activations of each input that can be read.

    Args:
        apply: a function of activations z_NLD, such as the answers of heads.
    """
    results = {}
    for key in inputs:
        z_NLD = key.read(evaluation)
        if z_NLD is not None:
            results[key] = apply(z_NLD)
    return results


def read_truth(inputs: Iterable[Input], truth: GroundTruth) -> dict[Input, Signs]:
    """Returns what ideal probes would read from each input of which it is known."""
    signs = {key: key.read_truth(truth) for key in inputs}
    return {key: value for key, value in signs.items() if value is not None}


def _select_rows(signs: Signs, rows_P: Ints) -> Signs:
    return Signs(*(sign_N[rows_P] for sign_N in signs))
