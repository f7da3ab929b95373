"""Draws an evaluation: the episodes that judge heads and those that examine the predictor, apart
from all that heads are trained on.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import numpy as np
from datasets import Dataset, concatenate_datasets
from torch import zeros

from configs.plan import Plan
from console.errors import UserError
from core_model.reader import ActivationReader
from training.material import Material, find_correct
from verdict.evaluation import Evaluation, EvaluationEpisodes, TwinEpisodes, read_any
from verdict.knowledge import build_empty_report, load_or_examine
from verdict.known import KnownFilter, describe_counts
from verdict.probe_data import ProbeData
from worlds.parts import split_by_cluster
from worlds.world import NoTwins, Split, World

DEPLOYED = 2_000_003
"""Added to the seed of deployed episodes, so that they are not those that the predictor was trained
on.
"""
Twins = tuple[TwinEpisodes, TwinEpisodes] | tuple[None, None]
"""Twins that differ in X, and twins that differ in H."""


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
    sizes = n_disputed, len(easy_probe)
    disputed, disputed_probe = _draw_disputed(world, *sizes, seed)
    amiss, amiss_probe = _draw_amiss(world, *sizes, seed)
    twins = draw_twins(world, n_twins, seed)
    counts: list[tuple[str, int, int]] = []
    if known:
        knows = KnownFilter(reader, world, counts)
        easy, easy_probe = knows.keep("easy", easy), knows.keep("easy probe", easy_probe)
        disputed = knows.keep("disputed", disputed)
        disputed_probe = knows.keep("disputed probe", disputed_probe)
        amiss, amiss_probe = knows.keep("amiss", amiss), knows.keep("amiss probe", amiss_probe)
        twins = _keep_known_twins(knows, twins)
        print(describe_counts(reader.predictor.name, counts), file=sys.stderr)
    probe_episodes = concatenate_datasets([easy_probe, disputed_probe, amiss_probe])
    probe_NLD = reader.read(probe_episodes)
    probe = ProbeData(probe_episodes, len(easy_probe), probe_NLD, reader.levels)
    deployed = draw_deployed(world, n_disputed, seed + DEPLOYED)
    concept_twins, human_twins = twins
    episodes = EvaluationEpisodes(easy, disputed, amiss, concept_twins, human_twins, deployed)
    report = load_or_examine(reader.predictor, probe, world, reader.cache)
    read = partial(read_any, reader)
    return Evaluation(world, reader, episodes, read, probe, report, uses, tuple(counts))


def _draw_disputed(world: World, n_disputed: int, n_probe: int, seed: int) -> list[Dataset]:
    """Returns the disputed episodes that judge, and those that examine the predictor.

    Raises:
        UserError: its clusters are too large to give some to both.
    """
    drawn = split_by_cluster(
        world.episodes("disputed", n_disputed + n_probe, seed), (n_disputed, n_probe)
    )
    if not all(map(len, drawn)):
        raise UserError(
            "world: its clusters of disputed episodes are too large to give some to data.disputed"
            " and some to data.probe. Use smaller groups, or more of them."
        )
    return drawn


def _draw_amiss(world: World, n_disputed: int, n_probe: int, seed: int) -> list[Dataset]:
    """Returns the episodes amiss that judge, and those that examine the predictor; fewer of both
    where the world has fewer.
    """
    wanted = n_disputed + n_probe
    n = count_available(world, "amiss", wanted)
    n_judging = n * n_disputed // wanted
    return split_by_cluster(world.episodes("amiss", n, seed), (n_judging, n - n_judging))


def _keep_known_twins(knows: KnownFilter, twins: Twins) -> Twins:
    concept_twins, human_twins = twins
    if concept_twins is None or human_twins is None:
        return None, None
    return (
        knows.keep_twins("concept twins", concept_twins),
        knows.keep_twins("human twins", human_twins),
    )


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


def draw_twins(world: World, n: int, seed: int) -> Twins:
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
