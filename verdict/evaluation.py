"""The evaluation of heads: episodes apart from all training, and their activations.

N: episodes, L: levels, D: width, P: pairs of an exchange.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from datasets import Dataset, concatenate_datasets
from torch import Tensor, cat, zeros

from configs.plan import Plan
from console.errors import UserError
from core_model.reader import ActivationReader, load_or_compute_opinions
from training.examples import Examples
from training.heads import Heads, Predictions
from training.material import Material, find_correct
from verdict.evidence.subspaces import swap_parts
from verdict.ground_truth import Cases, DeployedCases, GroundTruth, TwinCases, Variable
from verdict.knowledge import PredictorReport, build_empty_report, load_or_examine
from verdict.known import select_known
from verdict.probe_data import ProbeData
from worlds.parts import split_by_cluster
from worlds.world import NoTwins, Split, World

DEPLOYED = 2_000_003
"""Added to the seed of deployed episodes, so that they are not those that the predictor was trained
on.
"""


class TwinEpisodes(NamedTuple):
    """Two datasets that are alike row by row but for one change."""

    first: Dataset
    second: Dataset

    def to_cases(self) -> TwinCases:
        """Returns their ground truth."""
        return TwinCases(Cases.of(self.first), Cases.of(self.second))


class TwinActivations(NamedTuple):
    """The activations of twins."""

    first_NLD: Tensor
    second_NLD: Tensor


@dataclass(frozen=True)
class EvaluationEpisodes:
    """The episodes on which heads are evaluated."""

    easy: Dataset
    """Held out from training."""
    disputed: Dataset
    amiss: Dataset
    """Where something is amiss, and yet X = H: with the others, every cell of X × H × amiss."""
    concept_twins: TwinEpisodes | None
    """None in a world that cannot make twins."""
    human_twins: TwinEpisodes | None
    deployed: Dataset | None
    """Unlabelled episodes as deployment brings them; None in a part of an evaluation."""

    @property
    def fewest(self) -> int:
        """The smallest of the numbers of easy episodes, of those amiss, and of pairs of twins."""
        twins = [twins.first for twins in (self.concept_twins, self.human_twins) if twins]
        return min(len(episodes) for episodes in (self.easy, self.amiss, *twins))

    def select(self, choose: Callable[[int], range]) -> EvaluationEpisodes:
        """Returns some rows of each set of episodes, without those of deployment.

        Args:
            choose: from the number of rows of a set to the rows to keep.
        """

        def select(episodes: Dataset) -> Dataset:
            return episodes.select(choose(len(episodes)))

        def select_twins(twins: TwinEpisodes | None) -> TwinEpisodes | None:
            return twins and TwinEpisodes(select(twins.first), select(twins.second))

        return EvaluationEpisodes(
            easy=select(self.easy),
            disputed=select(self.disputed),
            amiss=select(self.amiss),
            concept_twins=select_twins(self.concept_twins),
            human_twins=select_twins(self.human_twins),
            deployed=None,
        )


@dataclass(frozen=True)
class Evaluation:
    """All that heads are evaluated with, whatever their reporter and prior."""

    world: World
    reader: ActivationReader
    episodes: EvaluationEpisodes
    read: Callable[[Dataset], Tensor]
    """From episodes to their activations z_NLD."""
    probe: ProbeData
    """The episodes on which the predictor was examined."""
    predictor_report: PredictorReport
    uses: float
    """Least share of swaps by which a part must move the predictor's own predictions as it should,
    to be certified.
    """
    known: tuple[tuple[str, int, int], ...] = ()
    """Where only what the predictor knows is judged: each set of episodes, how many were drawn, and
    how many are kept.
    """

    @cached_property
    def truth(self) -> GroundTruth:
        """The ground truth of the episodes."""
        episodes = self.episodes
        return GroundTruth(
            easy=Cases.of(episodes.easy),
            disputed=Cases.of(episodes.disputed),
            amiss=Cases.of(episodes.amiss),
            concept_twins=episodes.concept_twins and episodes.concept_twins.to_cases(),
            human_twins=episodes.human_twins and episodes.human_twins.to_cases(),
            deployed=self._find_deployed_cases(),
        )

    def _find_deployed_cases(self) -> DeployedCases | None:
        """Returns what is known of the deployed episodes; the predictor is the model of the human
        where it has an opinion of H.
        """
        episodes = self.episodes.deployed
        if episodes is None:
            return None
        if self.world.human_shows_in is None:
            return DeployedCases.of(episodes, None)
        predicted = load_or_compute_opinions(
            self.reader.predictor, episodes, self.world, self.reader.cache
        )
        return DeployedCases.of(episodes, predicted.human_N.double().numpy())

    @cached_property
    def easy_NLD(self) -> Tensor:
        """The activations of the easy episodes."""
        return self.read(self.episodes.easy)

    @cached_property
    def disputed_NLD(self) -> Tensor:
        """The activations of the disputed episodes."""
        return self.read(self.episodes.disputed)

    @cached_property
    def amiss_NLD(self) -> Tensor:
        """The activations of the episodes where something is amiss, and yet X = H."""
        return self.read(self.episodes.amiss)

    @cached_property
    def pool_NLD(self) -> Tensor:
        """The activations of the easy episodes, then those of the disputed ones."""
        return cat([self.easy_NLD, self.disputed_NLD])

    @cached_property
    def concept_twins_NLD(self) -> TwinActivations | None:
        """The activations of twins that differ in X."""
        return self._read_twins(self.episodes.concept_twins)

    @cached_property
    def human_twins_NLD(self) -> TwinActivations | None:
        """The activations of twins that differ in what the human sees."""
        return self._read_twins(self.episodes.human_twins)

    def get_twins(self, differs: Variable) -> TwinActivations | None:
        """Returns the activations of the twins that differ in one variable."""
        return self.concept_twins_NLD if differs == "concept" else self.human_twins_NLD

    def _read_twins(self, twins: TwinEpisodes | None) -> TwinActivations | None:
        return twins and TwinActivations(self.read(twins.first), self.read(twins.second))

    @property
    def written_level(self) -> int | None:
        """The level at which X's part is swapped before the predictor runs on; None where no level
        below the deepest is certified.
        """
        knowledge = self.predictor_report.knowledge
        return knowledge.find_certified_level(self.uses, max(self.probe.levels))

    @cached_property
    def concept_run_on_PLD(self) -> Tensor | None:
        """The activations after X's part was swapped at the written level and the predictor ran on;
        None where it cannot.
        """
        return self._run_on(random=False)

    @cached_property
    def random_run_on_PLD(self) -> Tensor | None:
        """The same with a random part of the same rank."""
        return self._run_on(random=True)

    def _run_on(self, random: bool) -> Tensor | None:
        subspaces, level = self.predictor_report.subspaces, self.written_level
        if subspaces is None or level is None:
            return None
        exchange, levels = self.truth.concept_exchange, self.probe.levels
        i = levels.index(level)
        onto_LDD = subspaces.choose("concept", random)
        written_PD = swap_parts(self.pool_NLD[:, [i]], exchange, onto_LDD[[i]])[:, 0]
        pool = concatenate_datasets([self.episodes.easy, self.episodes.disputed])
        bases = pool.select(exchange.base_P)
        return self.reader.predictor.read_on(bases, levels, level, written_PD)

    def collect_reports(
        self, heads: Heads, examples: Examples, turn: int | None
    ) -> dict[str, Predictions]:
        """Returns what heads report on the training, the easy and the disputed episodes.

        Args:
            turn: number of disputed episodes that the judge reads at once; the reports on disputed
                episodes are then on the first turn alone.
        """
        first = next(self.split_into_turns(turn or len(self.episodes.disputed)))
        return {
            "train": heads.read(examples.z_NLD),
            "easy": heads.read(self.easy_NLD),
            "disputed": heads.read(first.disputed_NLD),
        }

    def split_into_turns(self, n_disputed: int) -> Iterator[Evaluation]:
        """Yields the evaluation in parts of n disputed episodes and a like share of all others
        that are judged. The activations of a part are read when they are used.
        """
        turns = max(1, min(len(self.episodes.disputed) // max(n_disputed, 1), self.episodes.fewest))
        for turn in range(turns):
            choose = partial(_choose_rows_of_turn, turn, turns)
            episodes = self.episodes.select(choose)
            rows = choose(len(self.easy_NLD))
            easy_NLD = self.easy_NLD[rows.start : rows.stop]
            read = partial(_read_unless_known, self.read, episodes.easy, easy_NLD)
            yield replace(self, episodes=episodes, read=read)

    def take_first(self, n_disputed: int) -> Evaluation:
        """Returns the evaluation with the first n disputed episodes, a like share of those amiss
        and of the twins, and all easy episodes.
        """
        share = n_disputed / len(self.episodes.disputed)
        episodes = self.episodes.select(lambda n: range(round(n * share)))
        return replace(self, episodes=replace(episodes, easy=self.episodes.easy))


def draw_evaluation(
    world: World, reader: ActivationReader, material: Material, plan: Plan, uses: float
) -> Evaluation:
    """Returns the evaluation of a run.

    Args:
        uses: as in `build_evaluation`.
    """
    sizes = plan.sizes
    return build_evaluation(
        world,
        reader,
        material.test,
        material.probe,
        sizes.disputed,
        sizes.twins,
        plan.seed,
        uses,
        sizes.known,
    )


def build_evaluation(
    world: World,
    reader: ActivationReader,
    easy: Dataset,
    easy_probe: Dataset,
    n_disputed: int,
    n_twins: int,
    seed: int,
    uses: float,
    known: bool = False,
) -> Evaluation:
    """Returns an evaluation; the predictor is examined, unless its report is in the cache. Where
    the human errs on easy episodes, heads learn from the errors, and only easy episodes without
    them judge.

    Args:
        reader: reads the predictor at the levels that heads are given.
        easy: easy episodes that measure competence.
        easy_probe: other easy episodes, on which the predictor itself is examined; as many disputed
            ones, and as many amiss, are drawn beside them.
        n_disputed: number of disputed episodes that judge, and of those amiss. As many unlabelled
            deployed episodes, and as many with tampering, show which heads depart from the human.
        n_twins: pairs of twins of either kind.
        uses: least share of swaps by which moving the predictor's concept moves its own predictions
            as it should, where its part is certified.
        known: whether episodes are left out of what the predictor does not know, as in
            `select_known`.
    """
    if not world.compares:
        return _build_without_comparison(world, reader, easy, n_disputed, seed, uses)
    if world.share_of_errors:
        easy = easy.select(find_correct(easy).tolist())
        easy_probe = easy_probe.select(find_correct(easy_probe).tolist())
    n_probe = len(easy_probe)
    disputed, disputed_probe = split_by_cluster(
        world.episodes("disputed", n_disputed + n_probe, seed), (n_disputed, n_probe)
    )
    if not len(disputed) or not len(disputed_probe):
        raise UserError(
            "world: its clusters of disputed episodes are too large to give some to data.disputed"
            " and some to data.probe. Use smaller groups, or more of them."
        )
    amiss, amiss_probe = _draw_amiss(world, n_disputed, n_probe, seed)
    concept_twins, human_twins = draw_twins(world, n_twins, seed)
    counts: list[tuple[str, int, int]] = []
    if known:
        keep = partial(keep_known, reader, world, counts)
        easy, easy_probe = keep("easy", easy), keep("easy probe", easy_probe)
        disputed, disputed_probe = (
            keep("disputed", disputed),
            keep("disputed probe", disputed_probe),
        )
        amiss, amiss_probe = keep("amiss", amiss), keep("amiss probe", amiss_probe)
        if concept_twins and human_twins:
            concept_twins = keep_known_twins(reader, world, counts, "concept twins", concept_twins)
            human_twins = keep_known_twins(reader, world, counts, "human twins", human_twins)
        print(describe_known(reader.predictor.name, counts), file=sys.stderr)
        n_probe = len(easy_probe)
    probe_episodes = concatenate_datasets([easy_probe, disputed_probe, amiss_probe])
    probe_NLD = reader.read(probe_episodes)
    probe = ProbeData(probe_episodes, n_probe, probe_NLD, reader.levels)
    deployed = draw_deployed(world, n_disputed, seed + DEPLOYED)
    episodes = EvaluationEpisodes(easy, disputed, amiss, concept_twins, human_twins, deployed)
    report = load_or_examine(reader.predictor, probe, world, reader.cache)
    read = partial(read_any, reader)
    return Evaluation(world, reader, episodes, read, probe, report, uses, tuple(counts))


def _draw_amiss(world: World, n_disputed: int, n_probe: int, seed: int) -> list[Dataset]:
    """Returns the episodes amiss that judge, and those that examine the predictor; fewer of both
    where the world has fewer.
    """
    wanted = n_disputed + n_probe
    n = count_available(world, "amiss", wanted)
    n_judging = n * n_disputed // wanted
    return split_by_cluster(world.episodes("amiss", n, seed), (n_judging, n - n_judging))


def _build_without_comparison(
    world: World, reader: ActivationReader, easy: Dataset, n_disputed: int, seed: int, uses: float
) -> Evaluation:
    """Returns an evaluation on easy episodes, and on those disputed and amiss that there are, with
    neither twins nor deployed episodes; the predictor is not examined.
    """
    splits: tuple[Split, ...] = ("disputed", "amiss")
    drawn = []
    for split in splits:
        n = count_available(world, split, n_disputed)
        drawn.append(world.episodes(split, n, seed))
    disputed, amiss = drawn
    width = reader.predictor.width
    probe = ProbeData(easy.select([]), 0, zeros(0, len(reader.levels), width), reader.levels)
    episodes = EvaluationEpisodes(easy, disputed, amiss, None, None, None)
    read = partial(read_any, reader)
    report = build_empty_report(max(reader.levels), width)
    return Evaluation(world, reader, episodes, read, probe, report, uses)


def count_available(world: World, split: Split, n: int) -> int:
    """Returns n, or how many episodes of a split there are where these are fewer."""
    available = world.count(split)
    return n if available is None else min(n, available)


def read_any(reader: ActivationReader, episodes: Dataset) -> Tensor:
    """Returns the activations of episodes, of which there may be none."""
    if len(episodes):
        return reader.read(episodes)
    return zeros(0, len(reader.levels), reader.predictor.width)


def keep_known(
    reader: ActivationReader,
    world: World,
    counts: list[tuple[str, int, int]],
    what: str,
    episodes: Dataset,
) -> Dataset:
    """Returns the episodes of what the predictor knows, and counts them."""
    (kept,) = select_known(reader, world, [episodes], f"{what} episodes")
    counts.append((what, len(episodes), len(kept)))
    return kept


def keep_known_twins(
    reader: ActivationReader,
    world: World,
    counts: list[tuple[str, int, int]],
    what: str,
    twins: TwinEpisodes,
) -> TwinEpisodes:
    """Returns the twins both of which the predictor knows, and counts them."""
    kept = TwinEpisodes(*select_known(reader, world, twins, what))
    counts.append((what, len(twins.first), len(kept.first)))
    return kept


def describe_known(name: str, counts: Sequence[tuple[str, int, int]]) -> str:
    """Returns how many of the episodes that judge are kept, in one line.

    >>> describe_known("small", [("easy", 400, 390), ("disputed", 1300, 1004)])
    'data.known: small knows 390 of 400 easy and 1,004 of 1,300 disputed; the others are left out.'
    """
    parts = [f"{kept:,} of {drawn:,} {what}" for what, drawn, kept in counts]
    listed = ", ".join(parts[:-1]) + f" and {parts[-1]}"
    return f"data.known: {name} knows {listed}; the others are left out."


def draw_twins(
    world: World, n: int, seed: int
) -> tuple[TwinEpisodes, TwinEpisodes] | tuple[None, None]:
    """Returns twins that differ in X, and twins that differ in H; None in a world without twins."""
    try:
        concept_twins = TwinEpisodes(*world.twins("concept", n, seed))
        return concept_twins, TwinEpisodes(*world.twins("human", n, seed))
    except NoTwins:
        return None, None


def draw_deployed(world: World, n: int, seed: int) -> Dataset:
    """Returns n episodes as deployment brings them and, in a world with tampering, n with
    tampering.
    """
    drawn = [world.episodes("predictor", n, seed)]
    with suppress(UserError):
        drawn.append(world.episodes("tampered", n, seed))
    clusters = []
    for i, episodes in enumerate(drawn):
        # Clusters of different draws stay different.
        clusters.append(np.array(episodes["cluster"]) * len(drawn) + i)
    joined = concatenate_datasets(drawn).remove_columns("cluster")
    return joined.add_column("cluster", np.concatenate(clusters))


def _read_unless_known(
    read: Callable[[Dataset], Tensor], known: Dataset, z_NLD: Tensor, episodes: Dataset
) -> Tensor:
    """Returns the activations of episodes; those of one dataset are known already."""
    return z_NLD if episodes is known else read(episodes)


def _choose_rows_of_turn(turn: int, turns: int, n: int) -> range:
    return range(n * turn // turns, n * (turn + 1) // turns)
