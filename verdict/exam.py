"""The exam that heads sit: episodes apart from all training, their activations, and the same with
parts of them exchanged or erased.

N: episodes, L: levels, D: width, P: exchanges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np
from datasets import Dataset, concatenate_datasets
from torch import Tensor, cat

from configs.plan import Plan
from console.errors import UserError
from core_model.reader import ActivationReader, opinions
from training.examples import Examples
from training.heads import Heads, Said
from training.material import Material
from verdict.cases import Asked, Bench, Both, Cases, Deployed, Erased, Pair, Swapped, Written
from verdict.evidence.access import certified
from verdict.evidence.erasure import Erasers
from verdict.evidence.subspaces import Subspaces, swapped
from verdict.knowledge import Examined, Probed, examined
from worlds.parts import parts
from worlds.world import NoTwins, World

DEPLOYED = 2_000_003
"""Added to the seed of episodes as they come, so that they are not those that the predictor was
trained on.
"""

Questions = Asked[Callable[[], Tensor]]
"""What gives the activations z_NLD of each question; those that are changed are made only when they
are asked for.
"""


@dataclass(frozen=True)
class Exam:
    """All that heads are judged with, whatever their reporter and prior."""

    world: World
    reader: ActivationReader
    episodes: Asked[Dataset]
    """The held-out easy ones, the disputed ones, the twins, and those as they come in deployment."""
    read: Callable[[Dataset], Tensor]
    """From episodes to their activations z_NLD."""
    probed: Probed
    """The episodes on which the predictor was examined."""
    examined: Examined
    uses: float
    """Least share of swaps by which a part must move the predictor's own predictions as it should,
    to be certified.
    """

    @cached_property
    def bench(self) -> Bench:
        """What is known of the episodes."""
        cases = replace(self.episodes, deployed=None).map(Cases.of)
        concept_twins, human_twins = (
            both and Pair(*both) for both in (cases.concept_twins, cases.human_twins)
        )
        return Bench(cases.easy, cases.disputed, concept_twins, human_twins, self._deployed)

    @cached_property
    def questions(self) -> Questions:
        """The activations that heads are asked about; those of the episodes are read now or taken
        from the cache.
        """
        plain = replace(self.episodes, deployed=None).map(self.read)
        pool_NLD, parts = cat([plain.easy, plain.disputed]), self.examined.subspaces
        bases_PLD = pool_NLD[self.bench.concept_exchange.base_P]
        return replace(
            plain.map(_given),
            swapped=parts and _swaps(self.bench, pool_NLD, parts),
            erased=Erased(*(_erased(eraser, bases_PLD) for eraser in self.examined.erasers)),
            run_on=parts and self._run_on(pool_NLD, parts),
            deployed=self.episodes.deployed and partial(self.read, self.episodes.deployed),
        )

    @property
    def written(self) -> int | None:
        """The level at which X's part is exchanged before the predictor runs on; None where none
        below the deepest is certified.
        """
        return certified(self.examined.knowledge, self.uses, max(self.probed.levels))

    def hear(self, heads: Heads, examples: Examples, turn: int | None) -> dict[str, Said]:
        """Returns what heads report on the training, the easy and the disputed episodes.

        Args:
            turn: disputed episodes that a judge reads at once; the first of them alone are heard.
        """
        first = next(self.turns(turn or len(self.bench.disputed)))
        z_NLD_of = {
            "train": examples.z_NLD,
            "easy": self.read(self.episodes.easy),
            "disputed": first.read(first.episodes.disputed),
        }
        return {kind: heads.read(z_NLD) for kind, z_NLD in z_NLD_of.items()}

    def turns(self, disputed: int) -> Iterator[Exam]:
        """Yields the exam in parts of so many disputed episodes, and of easy ones and twins a like
        share; each is read when it is asked about.
        """
        fewest = min(
            len(episodes)
            for episodes in (
                self.episodes.easy,
                *(self.episodes.concept_twins or ()),
                *(self.episodes.human_twins or ()),
            )
        )
        count = max(1, min(len(self.episodes.disputed) // disputed, fewest))
        easy_NLD = self.read(self.episodes.easy)
        for turn in range(count):
            part = self._part(partial(_rows_of_turn, turn, count))
            rows = slice(len(easy_NLD) * turn // count, len(easy_NLD) * (turn + 1) // count)
            yield replace(
                part, read=partial(_read_but, self.read, part.episodes.easy, easy_NLD[rows])
            )

    def first(self, disputed: int) -> Exam:
        """Returns the exam with the first so many disputed episodes, and of the twins a like share;
        all easy ones.
        """
        share = disputed / len(self.episodes.disputed)
        short = self._part(lambda n: range(round(n * share)))
        return replace(short, episodes=replace(short.episodes, easy=self.episodes.easy))

    def _part(self, rows: Callable[[int], range]) -> Exam:
        some = replace(self.episodes, deployed=None).map(
            lambda episodes: episodes.select(rows(len(episodes)))
        )
        return replace(self, episodes=some)

    @property
    def _deployed(self) -> Deployed | None:
        mixed = self.episodes.deployed
        if mixed is None:
            return None
        has_opinion = self.world.human_shows_in is not None
        human_N = (
            opinions(self.reader.predictor, mixed, self.world, self.reader.cache)
            .human_N.double()
            .numpy()
            if has_opinion
            else None
        )
        return Deployed.of(mixed, human_N)

    def _run_on(self, pool_NLD: Tensor, parts: Subspaces) -> Written[Callable[[], Tensor]] | None:
        """Returns the activations after X's part, or a random one, was exchanged at one level, and
        the predictor ran on from there.
        """
        if self.written is None:
            return None
        pairs, levels, level = self.bench.concept_exchange, self.probed.levels, self.written
        pool, i = (
            concatenate_datasets([self.episodes.easy, self.episodes.disputed]),
            levels.index(level),
        )

        def after(onto_LDD: Tensor) -> Callable[[], Tensor]:
            written_PD = swapped(pool_NLD[:, [i]], pairs, onto_LDD[[i]])[:, 0]
            return cache(
                partial(
                    self.reader.predictor.read_on,
                    pool.select(pairs.base_P),
                    levels,
                    level,
                    written_PD,
                )
            )

        return Written(after(parts.concept_LDD), after(parts.random_concept_LDD))


def draw_exam(
    world: World, reader: ActivationReader, material: Material, plan: Plan, uses: float
) -> Exam:
    """Returns the exam of a run.

    Args:
        uses: as in `exam`.
    """
    easy, sizes = (material.test, material.probe), plan.sizes
    return exam(world, reader, easy, sizes.disputed, sizes.twins, plan.seed, uses)


def exam(
    world: World,
    reader: ActivationReader,
    easy: tuple[Dataset, Dataset],
    disputed: int,
    twins: int,
    seed: int,
    uses: float,
) -> Exam:
    """Returns the exam of a predictor, which is examined now unless its cache tells what was found.

    Args:
        reader: reads the predictor at the levels that heads are given.
        easy: easy episodes that measure competence, and others on which the predictor itself is
            examined.
        disputed: how many disputed episodes judge; as many more as there are easy ones for the
            predictor's examination are drawn beside them. As many unlabelled ones as they come, and
            as many tampered with, show who departs from the human.
        twins: pairs of either kind.
        uses: least share of swaps by which moving the predictor's concept moves its own predictions
            as it should, where its part is certified.
    """
    test, easy_probe = easy
    judging, disputed_probe = parts(
        world.episodes("disputed", disputed + len(easy_probe), seed), (disputed, len(easy_probe))
    )
    probe = concatenate_datasets([easy_probe, disputed_probe])
    probed = Probed(
        probe, np.arange(len(probe)) >= len(easy_probe), reader.read(probe), reader.levels
    )
    of_concept, of_human = twins_of(world, twins, seed) or (None, None)
    episodes = Asked(
        test, judging, of_concept, of_human, deployed=deployment(world, disputed, seed + DEPLOYED)
    )
    return Exam(
        world,
        reader,
        episodes,
        reader.read,
        probed,
        examined(reader.predictor, probed, world, reader.cache),
        uses,
    )


def twins_of(world: World, n: int, seed: int) -> tuple[Both[Dataset], Both[Dataset]] | None:
    """Returns pairs that differ in X, and pairs that differ in H; None for a world without twins."""
    try:
        return Both(*world.twins("concept", n, seed)), Both(*world.twins("human", n, seed))
    except NoTwins:
        return None


def deployment(world: World, n: int, seed: int) -> Dataset:
    """Returns n episodes as they come and, in a world where somebody interferes, n with which
    somebody did.
    """
    found = [world.episodes("predictor", n, seed)]
    with suppress(UserError):
        found.append(world.episodes("tampered", n, seed))
    cluster_N = np.concatenate(
        [np.array(episodes["cluster"]) * len(found) + i for i, episodes in enumerate(found)]
    )
    return concatenate_datasets(found).remove_columns("cluster").add_column("cluster", cluster_N)


def _swaps(bench: Bench, pool_NLD: Tensor, parts: Subspaces) -> Swapped[Callable[[], Tensor]]:
    of_concept, of_human = bench.concept_exchange, bench.human_exchange
    return Swapped(
        partial(swapped, pool_NLD, of_concept, parts.concept_LDD),
        partial(swapped, pool_NLD, of_human, parts.human_LDD),
        partial(swapped, pool_NLD, of_concept, parts.random_concept_LDD),
        partial(swapped, pool_NLD, of_human, parts.random_human_LDD),
    )


def _read_but(
    read: Callable[[Dataset], Tensor], known: Dataset, z_NLD: Tensor, episodes: Dataset
) -> Tensor:
    """Returns activations, of which some were read before."""
    return z_NLD if episodes is known else read(episodes)


def _rows_of_turn(turn: int, turns: int, n: int) -> range:
    return range(n * turn // turns, n * (turn + 1) // turns)


def _given(z_NLD: Tensor) -> Callable[[], Tensor]:
    return lambda: z_NLD


def _erased(eraser: Erasers, z_NLD: Tensor) -> Callable[[], Tensor]:
    return lambda: eraser(z_NLD)
