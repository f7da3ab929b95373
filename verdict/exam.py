"""The exam that heads sit: episodes apart from all training, their activations, and the same with parts of them exchanged or erased.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets
from torch import Tensor, cat

from core_model.activations import activations, opinions
from core_model.predictor import Predictor
from refusal import Refusal
from verdict.access import certified
from verdict.cases import Asked, Bench, Both, Cases, Deployed, Erased, Pair, Swapped, Written
from verdict.erasure import Erasers
from verdict.knowledge import Examined, Knowledge, Probed, examined
from verdict.subspaces import Subspaces, swapped
from worlds.parts import parts
from worlds.world import NoTwins, World

DEPLOYED = 2_000_003
"""Added to the seed of episodes as they come, so that they are not those that the predictor was trained on."""

Questions = Asked[Callable[[], Tensor]]
"""What gives the activations z_NLD of each question; those that are changed are made only when they are asked for."""


@dataclass(frozen=True)
class Exam:
    """All that heads are judged with, whatever their reporter and prior."""

    bench: Bench
    questions: Questions
    disputed: Dataset
    """The disputed episodes that judge."""
    knowledge: Knowledge
    probed: Probed
    """The episodes on which the predictor was examined."""
    written: int | None
    """The level at which X's part is exchanged before the predictor runs on; None where none below the deepest is certified."""


def exam(
    world: World,
    predictor: Predictor,
    levels: Sequence[int],
    easy: tuple[Dataset, Dataset],
    disputed: int,
    twins: int,
    seed: int,
    cache: Path,
    uses: float,
) -> Exam:
    """Returns the exam of a predictor, the activations read or taken from the cache.

    Args:
        levels: those that heads are given.
        easy: easy episodes that measure competence, and others on which the predictor itself is examined.
        disputed: how many disputed episodes judge; as many more as there are easy ones for the predictor's examination are drawn beside them. As many
            unlabelled ones as they come, and as many tampered with, show who departs from the human.
        twins: pairs of either kind.
        uses: least share of swaps by which moving the predictor's concept moves its own predictions as it should, where its part is certified.
    """

    def read(episodes: Dataset) -> Tensor:
        return activations(predictor, episodes, world.reads, levels, cache)

    test, easy_probe = easy
    judging, disputed_probe = parts(world.episodes("disputed", disputed + len(easy_probe), seed), (disputed, len(easy_probe)))
    probe = concatenate_datasets([easy_probe, disputed_probe])
    probed = Probed(probe, np.arange(len(probe)) >= len(easy_probe), read(probe), tuple(levels))
    found = examined(predictor, probed, world.reads, cache)
    pairs = twins_of(world, twins, seed)
    cases = [Pair(Cases.of(first), Cases.of(second)) for first, second in pairs]
    mixed = deployment(world, disputed, seed + DEPLOYED)
    human_N = opinions(predictor, mixed, world.reads, cache).human_N.double().numpy() if world.human_shows_in else None
    bench = replace(Bench(Cases.of(test), Cases.of(judging), *(cases or (None, None))), deployed=Deployed.of(mixed, human_N))
    of_concept, of_human = [Both(read(first), read(second)) for first, second in pairs] or (None, None)
    plain = Asked(read(test), read(judging), of_concept, of_human)
    written = certified(found.knowledge, uses, max(levels))
    asked = replace(questions(bench, plain, found), deployed=partial(read, mixed))
    if written is not None and found.subspaces:
        asked = replace(asked, run_on=run_on(predictor, concatenate_datasets([test, judging]), levels, written, bench, plain, found.subspaces))
    return Exam(bench, asked, judging, found.knowledge, probed, written)


def twins_of(world: World, n: int, seed: int) -> list[tuple[Dataset, Dataset]]:
    """Returns pairs that differ in X, and pairs that differ in H; nothing for a world without twins."""
    try:
        return [world.twins("concept", n, seed), world.twins("human", n, seed)]
    except NoTwins:
        return []


def deployment(world: World, n: int, seed: int) -> Dataset:
    """Returns n episodes as they come and, in a world where somebody interferes, n with which somebody did."""
    found = [world.episodes("predictor", n, seed)]
    with suppress(Refusal):
        found.append(world.episodes("tampered", n, seed))
    cluster_N = np.concatenate([np.array(episodes["cluster"]) * len(found) + i for i, episodes in enumerate(found)])
    return concatenate_datasets(found).remove_columns("cluster").add_column("cluster", cluster_N)


def questions(bench: Bench, plain: Asked[Tensor], found: Examined) -> Questions:
    """Returns the plain activations with those that are exchanged between episodes, and those from which something is erased."""
    pool_NLD = cat([plain.easy, plain.disputed])
    asked = plain.map(_given)
    swaps = found.subspaces and _swaps(bench, pool_NLD, found.subspaces)
    bases_PLD = pool_NLD[bench.concept_exchange.base_P]
    return replace(asked, swapped=swaps, erased=Erased(*(_erased(eraser, bases_PLD) for eraser in found.erasers)))


def run_on(
    predictor: Predictor, pool: Dataset, levels: Sequence[int], level: int, bench: Bench, plain: Asked[Tensor], parts: Subspaces
) -> Written[Callable[[], Tensor]]:
    """Returns the activations after X's part, or a random one, was exchanged at one level, and the predictor ran on from there."""
    pairs, i = bench.concept_exchange, levels.index(level)

    def after(onto_LDD: Tensor) -> Tensor:
        z_ND = cat([plain.easy[:, i], plain.disputed[:, i]])
        written_PD = swapped(z_ND[:, None], pairs, onto_LDD[[i]])[:, 0]
        return predictor.read_on(pool.select(pairs.base_P), levels, level, written_PD)

    return Written(partial(after, parts.concept_LDD), partial(after, parts.random_concept_LDD))


def _swaps(bench: Bench, pool_NLD: Tensor, parts: Subspaces) -> Swapped[Callable[[], Tensor]]:
    of_concept, of_human = bench.concept_exchange, bench.human_exchange
    return Swapped(
        partial(swapped, pool_NLD, of_concept, parts.concept_LDD),
        partial(swapped, pool_NLD, of_human, parts.human_LDD),
        partial(swapped, pool_NLD, of_concept, parts.random_concept_LDD),
        partial(swapped, pool_NLD, of_human, parts.random_human_LDD),
    )


def _given(z_NLD: Tensor) -> Callable[[], Tensor]:
    return lambda: z_NLD


def _erased(eraser: Erasers, z_NLD: Tensor) -> Callable[[], Tensor]:
    return lambda: eraser(z_NLD)
