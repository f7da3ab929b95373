"""The exam that heads sit: episodes apart from all training, their activations, and the same with parts of them exchanged or erased.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets
from torch import Tensor, cat

from core_model.activations import activations
from core_model.predictor import Predictor
from verdict.cases import Asked, Bench, Both, Cases, Erased, Pair, Swapped
from verdict.erasure import Erasers
from verdict.knowledge import Examined, Probed, examined
from verdict.subspaces import Subspaces, swapped
from worlds.parts import parts
from worlds.world import NoTwins, World

Questions = Asked[Callable[[], Tensor]]
"""What gives the activations z_NLD of each question; those that are changed are made only when they are asked for."""


@dataclass(frozen=True)
class Exam:
    """All that heads are judged with, whatever their reporter and prior."""

    episodes: Asked[Dataset]
    """The held-out easy ones, the disputed ones, and the twins."""
    read: Callable[[Dataset], Tensor]
    """From episodes to their activations z_NLD."""
    probed: Probed
    """The episodes on which the predictor was examined."""
    examined: Examined

    @cached_property
    def bench(self) -> Bench:
        """What is known of the episodes."""
        cases = self.episodes.map(Cases.of)
        twins = (both and Pair(*both) for both in (cases.concept_twins, cases.human_twins))
        return Bench(cases.easy, cases.disputed, *twins)

    @cached_property
    def questions(self) -> Questions:
        """The activations that heads are asked about; those of the episodes are read now or taken from the cache."""
        plain = self.episodes.map(self.read)
        pool_NLD = cat([plain.easy, plain.disputed])
        swaps = self.examined.subspaces and _swaps(self.bench, pool_NLD, self.examined.subspaces)
        bases_PLD = pool_NLD[self.bench.concept_exchange.base_P]
        erased = Erased(*(_erased(eraser, bases_PLD) for eraser in self.examined.erasers))
        return replace(plain.map(_given), swapped=swaps, erased=erased)

    def turns(self, disputed: int) -> Iterator[Exam]:
        """Yields the exam in parts of so many disputed episodes, and of the others a like share; each part is read when it is asked about."""
        count = max(1, len(self.episodes.disputed) // disputed)
        easy_NLD = self.read(self.episodes.easy)
        for turn in range(count):
            part = self._part(lambda n, turn=turn: range(n * turn // count, n * (turn + 1) // count))  # type: ignore[misc]
            rows = slice(len(easy_NLD) * turn // count, len(easy_NLD) * (turn + 1) // count)
            yield replace(part, read=partial(_read_but, self.read, part.episodes.easy, easy_NLD[rows]))

    def first(self, disputed: int) -> Exam:
        """Returns the exam with the first so many disputed episodes, and of the twins a like share; all easy ones."""
        share = disputed / len(self.episodes.disputed)
        short = self._part(lambda n: range(round(n * share)))
        return replace(short, episodes=replace(short.episodes, easy=self.episodes.easy))

    def _part(self, rows: Callable[[int], range]) -> Exam:
        return replace(self, episodes=self.episodes.map(lambda episodes: episodes.select(rows(len(episodes)))))


def exam(
    world: World, predictor: Predictor, levels: Sequence[int], easy: tuple[Dataset, Dataset], disputed: int, twins: int, seed: int, cache: Path
) -> Exam:
    """Returns the exam of a predictor, which is examined now unless its cache tells what was found.

    Args:
        levels: those that heads are given.
        easy: easy episodes that measure competence, and others on which the predictor itself is examined.
        disputed: how many disputed episodes judge; as many more as there are easy ones for the predictor's examination are drawn beside them.
        twins: pairs of either kind.
    """

    def read(episodes: Dataset) -> Tensor:
        return activations(predictor, episodes, world.reads, levels, cache)

    test, easy_probe = easy
    judging, disputed_probe = parts(world.episodes("disputed", disputed + len(easy_probe), seed), (disputed, len(easy_probe)))
    probe = concatenate_datasets([easy_probe, disputed_probe])
    probed = Probed(probe, np.arange(len(probe)) >= len(easy_probe), read(probe), tuple(levels))
    of_concept, of_human = twins_of(world, twins, seed) or (None, None)
    return Exam(Asked(test, judging, of_concept, of_human), read, probed, examined(predictor, probed, world.reads, cache))


def twins_of(world: World, n: int, seed: int) -> tuple[Both[Dataset], Both[Dataset]] | None:
    """Returns pairs that differ in X, and pairs that differ in H; None for a world without twins."""
    try:
        return Both(*world.twins("concept", n, seed)), Both(*world.twins("human", n, seed))
    except NoTwins:
        return None


def _swaps(bench: Bench, pool_NLD: Tensor, parts: Subspaces) -> Swapped[Callable[[], Tensor]]:
    of_concept, of_human = bench.concept_exchange, bench.human_exchange
    return Swapped(
        partial(swapped, pool_NLD, of_concept, parts.concept_LDD),
        partial(swapped, pool_NLD, of_human, parts.human_LDD),
        partial(swapped, pool_NLD, of_concept, parts.random_concept_LDD),
        partial(swapped, pool_NLD, of_human, parts.random_human_LDD),
    )


def _read_but(read: Callable[[Dataset], Tensor], known: Dataset, z_NLD: Tensor, episodes: Dataset) -> Tensor:
    """Returns activations, of which some were read before."""
    return z_NLD if episodes is known else read(episodes)


def _given(z_NLD: Tensor) -> Callable[[], Tensor]:
    return lambda: z_NLD


def _erased(eraser: Erasers, z_NLD: Tensor) -> Callable[[], Tensor]:
    return lambda: eraser(z_NLD)
