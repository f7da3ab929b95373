"""The evaluation of heads: episodes apart from all training, and their activations.

N: episodes, L: levels, D: width, P: pairs of an exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

from datasets import Dataset, concatenate_datasets
from torch import Tensor, cat, zeros

from core_model.reader import ActivationReader, load_or_compute_opinions
from training.examples import Examples
from training.heads import Heads, Predictions
from verdict.evidence.subspaces import swap_parts
from verdict.ground_truth import Cases, DeployedCases, GroundTruth, TwinCases, Variable
from verdict.knowledge import PredictorReport
from verdict.probe_data import ProbeData
from worlds.world import World


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


def read_any(reader: ActivationReader, episodes: Dataset) -> Tensor:
    """Returns the activations of episodes, of which there may be none."""
    if len(episodes):
        return reader.read(episodes)
    return zeros(0, len(reader.levels), reader.predictor.width)


def _read_unless_known(
    read: Callable[[Dataset], Tensor], known: Dataset, z_NLD: Tensor, episodes: Dataset
) -> Tensor:
    """Returns the activations of episodes; those of one dataset are known already."""
    return z_NLD if episodes is known else read(episodes)


def _choose_rows_of_turn(turn: int, turns: int, n: int) -> range:
    return range(n * turn // turns, n * (turn + 1) // turns)
