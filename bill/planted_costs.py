"""Planted costs: what a translator, and what an imitator, pays under a prior. They predict which of
the two a prior finds, before the contest is trained.

On easy episodes X = H, and the prior takes the head that is cheaper in its own unit. The same head
under the same prior and schedule is therefore trained twice where X and H are independent: once
with X as its answers, and once with H. Where the human errs on a share of easy episodes, the labels
there are H: that share of the translator's answers is flipped, so that its cost is what a
translator pays on such labels, and an imitator's answers stay as they are.

K: heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor

from bill.bill import Bill
from bill.finished import describe_finished
from configs.build import Parts
from configs.plan import Plan
from training.find_heads import Contestant, Source, find_heads
from training.heads import Heads
from training.material import (
    Answers,
    TrainingMaterial,
    draw_decoupled,
    find_correct,
    read_decoupled,
)
from training.planted_errors import compute_entropy
from training.requests import fulfil
from training.ties import TIED
from training.watch import Watch
from worlds.world import World

if TYPE_CHECKING:
    import pandas as pd

Prediction = Literal["direct_translator", "human_imitator", "tie", ""]


class Planting(NamedTuple):
    """What a planted head learns."""

    answers: Answers
    has_errors: bool
    """Whether as many of its answers are flipped as the human errs."""


PLANTED = {"translator": Planting("concept", True), "imitator": Planting("human", False)}
"""The planted heads."""


class Planted(NamedTuple):
    """The planted heads of one predictor that learn the same answers."""

    heads: Heads
    cost_K: Tensor
    """Nats an episode, errors and charge: the least of all heads of the same level and strength.
    NaN where it is not known.
    """
    settled_K: Tensor
    """Whether the head of that cost has settled."""
    bill: Bill


def measure_planted_costs(
    parts: Parts, plan: Plan, contestants: Sequence[Contestant], checkpoint: Path
) -> pd.DataFrame:
    """Returns predictions.parquet: what planted heads cost, a row for each head of the contest.

    cost_translator, cost_imitator: nats an episode that the best planted head of this level and
    strength pays, errors and charge. errors_nats: nats an episode that errors as frequent as the
    human's on the training labels cost in the best code, the entropy of their share. costs_settled:
    whether both have settled, so that neither is only an upper limit. predicts: the cheaper of the
    two; "tie" where they differ by less than 1 nat of the whole training set, empty where a cost is
    not known. Further columns, translator_... and imitator_..., hold the bill of the planted head
    of the same seed.

    Args:
        checkpoint: where an unfinished fit is kept.

    Raises:
        UserError: the world cannot make episodes on which X and H are independent.
    """
    import pandas as pd

    n = plan.sizes.train + plan.sizes.validation
    decoupled = draw_decoupled(parts.world, n, plan.seed)
    planted = {}
    errors = measure_errors(parts.world, contestants[0].material)
    for name, planting in PLANTED.items():
        own = checkpoint.with_stem(f"{checkpoint.stem}-{name}")
        own_errors = errors if planting.has_errors else 0.0
        planted[name] = plant(
            parts, plan, contestants, decoupled, planting.answers, own_errors, own
        )
    tables = []
    for i in range(len(contestants)):
        pair = {name: of_predictors[i] for name, of_predictors in planted.items()}
        identity = contestants[i].reader.predictor.identity
        table = build_table(pair, plan.sizes.train)
        tables.append(table.assign(errors_nats=compute_entropy(errors), predictor=identity))
    return pd.concat(tables, ignore_index=True)


def plant(
    parts: Parts,
    plan: Plan,
    contestants: Sequence[Contestant],
    decoupled: Dataset,
    answers: Answers,
    errors: float,
    checkpoint: Path,
) -> list[Planted]:
    """Returns the planted heads of each predictor that learn these answers, of which a share is
    flipped. They meet all episodes from the start, whatever `training.errors` is.
    """
    sources = []
    for reader, material, costs in contestants:
        learned = read_decoupled(reader, decoupled, plan.sizes.train, answers, errors, plan.seed)
        requests = fulfil(parts.prior, parts.world, reader, learned, plan, material.train)
        sources.append(Source(learned, requests, costs, material.examples.z_NLD))
    first = contestants[0].reader
    levels, keeps_scale = first.levels, first.predictor.keeps_scale
    found = find_heads(parts, plan, levels, sources, checkpoint, watch_nothing, keeps_scale)
    planted = []
    for (heads, _), source, contestant in zip(found, sources, contestants, strict=True):
        learned, reader, costs = source.material, contestant.reader, contestant.costs
        reports = {"train": heads.read(learned.examples.z_NLD)}
        finished = describe_finished(heads, reports, learned, reader, costs)
        bill = parts.bill(finished, parts.trainer.finishing_memory_budget)
        cost_K, settled_K = choose_cheapest(heads, plan.sizes.train)
        planted.append(Planted(heads, cost_K, settled_K, bill))
    return planted


def measure_errors(world: World, material: TrainingMaterial) -> float:
    """Returns the share of the contest's training labels on which the human errs. That of a few
    episodes need not be the world's.
    """
    if not world.share_of_errors:
        return 0.0
    return 1 - len(find_correct(material.train)) / len(material.train)


def choose_cheapest(heads: Heads, n_examples: int) -> tuple[Tensor, Tensor]:
    """Returns what the cheapest head of each head's level and strength pays, in nats an episode,
    and whether that one has settled: the seeds are restarts of one objective.
    """
    assert heads.settling
    grid = (len(heads.groups), len(heads.seeds), len(heads.strengths))
    total_GSM = heads.settling.total_K.view(grid)
    least_G1M, best_G1M = total_GSM.nan_to_num(nan=torch.inf).min(dim=1, keepdim=True)
    settled_G1M = heads.settling.settled_K.view(grid).gather(1, best_G1M)
    cost_G1M = (least_G1M / n_examples).masked_fill(least_G1M.isinf(), torch.nan)
    return cost_G1M.expand(grid).flatten(), settled_G1M.expand(grid).flatten()


def build_table(planted: Mapping[str, Planted], n_examples: int) -> pd.DataFrame:
    """Returns the rows of one predictor."""
    import pandas as pd

    translator, imitator = planted["translator"], planted["imitator"]
    rows = []
    for k, (levels, seed, strength) in enumerate(translator.heads.table):
        cost_translator, cost_imitator = float(translator.cost_K[k]), float(imitator.cost_K[k])
        row = {
            "levels": " ".join(map(str, levels)),
            "seed": seed,
            "strength": strength,
            "cost_translator": cost_translator,
            "cost_imitator": cost_imitator,
            "costs_settled": bool(translator.settled_K[k] & imitator.settled_K[k]),
            "predicts": predict(n_examples * (cost_imitator - cost_translator)),
        }
        for name, each in planted.items():
            for column, item in each.bill.items():
                if item.repeats:
                    row[f"{name}_{column}"] = float(item.value_K[k])
        rows.append(row)
    return pd.DataFrame(rows)


def predict(difference: float) -> Prediction:
    """Returns which head a prior finds.

    >>> predict(1.5), predict(0.9), predict(float("nan"))
    ('direct_translator', 'tie', '')

    Args:
        difference: nats of the whole training set by which an imitator costs more.
    """
    if difference >= TIED:
        return "direct_translator"
    if difference <= -TIED:
        return "human_imitator"
    return "tie" if abs(difference) < TIED else ""


def watch_nothing(places: Sequence[int]) -> Watch:
    """Returns a watch that records no figures beside those of training itself."""
    return Watch(lambda heads: {})
