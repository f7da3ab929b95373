"""Data size: where a cheap feature that errs gives way to a costly one that does not.
python train.py experiment=data_size

N: episodes, P: predictors, K: heads, S: numbers of training episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd

from bill.planted_costs import Planting, choose_cheapest
from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, Episodes, Range, Seed
from core_model.predictor import CoreModel
from experiments.crossings import collect_results
from experiments.data_size_drawing import draw
from experiments.data_size_words import summarise
from experiments.several_predictors import SeveralPredictors, check_rising, score
from priors.prior import Prior
from reporters.linear import Linear
from storage import run_folder
from storage.atomic import write_atomically
from training.examples import Examples
from training.find_heads import train
from training.heads import Heads
from training.optimizers.optimizer import Optimizer
from training.planted_errors import compute_entropy
from training.schedule import Schedule
from worlds.ladder import Ladder

PLANTINGS = {
    "cost_imitator": Planting("human", False),
    "cost_translator": Planting("concept", True),
    "cost_without_errors": Planting("concept", False),
}
"""The planted heads, by the column of their costs."""


@dataclass(frozen=True)
class DataSize:
    """Trains linear heads on more and more episodes, on a share of which the human errs.

    The labels are H. X is cheaper to read, and wrong on `world.human_errors` of the labels; H costs
    more and is always right. In a two-part code the price of a head is nearly fixed and its errors
    grow with N, so the imitator takes over where N times the cost of an error rate is the
    difference in price. Planted heads, trained where X and H are independent, give these prices
    before any head is trained on the contest.

    Args:
        world: the ladder; its `human_errors` must be above 0.
        core_model: its predictors hold X and H.
        predictors: number of them, of the core model's seed and the seeds after it; all are in one
            fit, each with episodes of its own.
        level: the level that heads read.
        episodes: numbers of training episodes.
        priors: by name.
        strengths: of the priors.
        seeds: heads of each predictor, prior, strength and number of episodes.
        seed: of the first predictor's episodes, and of the first head.
        test: number of held-out easy episodes, for test errors.
        disputed: number of disputed episodes, on which heads follow X or H.
        schedule: of the training.
        optimizer: of the heads.
        trainer: how Lightning runs it.
    """

    world: Ladder
    core_model: CoreModel
    predictors: Annotated[int, Range(1, 10_000)]
    level: Annotated[int, Range(0, 1000)]
    episodes: list[Annotated[int, Range(4, 1_000_000)]]
    priors: dict[str, Prior]
    strengths: list[Annotated[float, Range(0, 1_000_000)]]
    seeds: Count
    seed: Seed
    test: Episodes
    disputed: Episodes
    schedule: Schedule
    optimizer: Optimizer
    trainer: Trainer

    def __post_init__(self) -> None:
        check_rising("episodes", self.episodes, 2)
        check_rising("strengths", self.strengths, 1)
        self.schedule.check_from_start("data_size")
        if not self.priors:
            raise UserError("job.priors: there is none. Name one, such as gaussian.")
        for name, prior in self.priors.items():
            if prior.needs:
                raise UserError(
                    f"job.priors.{name}: it needs more than training episodes"
                    f" ({', '.join(prior.needs)}). Use another prior."
                )
        if not self.world.human_errors:
            raise UserError(
                "world.human_errors: 0 leaves X without errors, so nothing takes over from it. Use"
                " a number above 0, for example 0.05."
            )

    def __call__(self, folder: Path) -> None:
        """Writes predictions.parquet, its hash, data_size.parquet, .png and .svg, and
        summary.md.
        """
        predictors = SeveralPredictors.build(
            self.world, self.core_model, self.predictors, self.level, self.seed, self.trainer
        )
        predict = partial(self.predict, predictors, folder)
        predictions = run_folder.load_or_predict(folder, predict)
        contest = pd.concat(self.hold_contest(predictors, folder), ignore_index=True)
        run_folder.save_table(folder, "data_size.parquet", contest)
        results = collect_results(predictions, contest)
        drawing = draw(results)
        with write_atomically(folder / "data_size.png") as temporary:
            drawing.save_png(temporary)
        with write_atomically(folder / "data_size.svg") as temporary:
            temporary.write_text(drawing.render_svg(), encoding="utf-8")
        facts = run_folder.read_facts(folder / run_folder.PREDICTED)
        text = summarise(results, self.world.human_errors, facts["sha256"])
        with write_atomically(folder / "summary.md") as temporary:
            temporary.write_text(text, encoding="utf-8")

    def predict(self, predictors: SeveralPredictors, folder: Path) -> pd.DataFrame:
        """Returns predictions.parquet: what planted heads pay for the whole training set, in nats,
        errors included; a row for each prior, strength, number of episodes and predictor.

        cost_imitator: of a head that learns H. cost_translator: of one that learns X from labels
        with as many errors as in the contest. cost_without_errors: of one that learns X from labels
        without errors; two_part is that, and h(errors) nats for each episode. costs_settled:
        whether all three heads have settled, so that no cost is only an upper limit.
        """
        tables: list[pd.DataFrame] = []
        for n in self.episodes:
            costs: dict[str, pd.DataFrame] = {}
            for column, planting in PLANTINGS.items():
                errors = self.world.human_errors if planting.has_errors else 0.0
                examples = predictors.draw_planting(n, planting.answers, errors)
                for name, prior in self.priors.items():
                    checkpoint = folder / f"unfinished-{name}-{n}-{column}.ckpt"
                    heads = self._train(predictors, prior, examples, checkpoint)
                    if name not in costs:
                        costs[name] = self._list_heads(name, n, heads).assign(costs_settled=True)
                    table = costs[name]
                    cost_K, settled_K = choose_cheapest(heads, n)
                    table[column] = n * cost_K.numpy()
                    table["costs_settled"] &= settled_K.numpy()
            tables += costs.values()
        predictions = pd.concat(tables, ignore_index=True)
        # The seeds are restarts, of which the cheapest counts: all have the same cost.
        predictions = predictions[predictions["seed"] == self.seed].drop(columns="seed")
        errors_nats = compute_entropy(self.world.human_errors) * predictions["train"]
        return predictions.assign(two_part=predictions["cost_without_errors"] + errors_nats)

    def hold_contest(self, predictors: SeveralPredictors, folder: Path) -> Iterator[pd.DataFrame]:
        """Yields the heads of each prior and number of episodes, trained on the contest."""
        easy = predictors.draw_easy(self.test)
        disputed = predictors.draw_disputed(self.disputed)
        for n in self.episodes:
            examples = predictors.draw_training(n)
            for name, prior in self.priors.items():
                checkpoint = folder / f"unfinished-{name}-{n}.ckpt"
                heads = self._train(predictors, prior, examples, checkpoint)
                assert heads.settling
                follows = score(heads, disputed.z_NPD, disputed.concept_PN)
                yield self._list_heads(name, n, heads).assign(
                    cost=heads.settling.total_K.numpy(),
                    settled=heads.settling.settled_K.numpy(),
                    test_error=1 - score(heads, easy.z_NPD, easy.human_PN).right_K.numpy(),
                    follows_concept=follows.right_K.numpy(),
                )

    def _train(
        self, predictors: SeveralPredictors, prior: Prior, examples: Examples, checkpoint: Path
    ) -> Heads:
        seeds = range(self.seed, self.seed + self.seeds)
        task = predictors.build_task(Linear, prior, examples, seeds, self.strengths)
        return train(task, self.schedule, self.optimizer, self.trainer, checkpoint)

    def _list_heads(self, prior: str, n: int, heads: Heads) -> pd.DataFrame:
        """Returns a row for each head, with what it was found with."""
        rows = []
        for k, (_, seed, strength) in enumerate(heads.table):
            predictor = k // (len(heads.table) // self.predictors)
            rows.append((prior, strength, n, predictor, seed))
        return pd.DataFrame(rows, columns=["prior", "strength", "train", "predictor", "seed"])
