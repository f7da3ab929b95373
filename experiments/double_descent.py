"""Double descent: errors of heads of growing width.   python train.py experiment=double_descent

N: episodes, P: predictors, W: widths, K: heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd

from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, Episodes, Range, Seed
from core_model.predictor import CoreModel
from experiments.double_descent_drawing import COLOURS, draw
from experiments.double_descent_words import summarise
from experiments.peaks import FEWEST_PREDICTORS, FEWEST_WIDTHS
from experiments.several_predictors import Sample, SeveralPredictors, check_rising, score
from priors.none import NoPrior
from reporters.mlp import MLP
from storage.atomic import write_atomically
from training.examples import Examples
from training.fit import build_population, take_solution, train_population
from training.heads import Heads
from training.optimizers.optimizer import Optimizer, StepOptimizer
from training.schedule import Schedule
from worlds.ladder import Ladder


class Cell(NamedTuple):
    """What one fit is made of, beside the predictors and seeds."""

    train: int
    hidden: int
    epochs: int


@dataclass(frozen=True)
class DoubleDescent:
    """Trains heads with one hidden layer whose width grows, on labels of which some are flipped.

    A head with about as many parameters as episodes can just fit all labels, the flipped ones
    included, and of all heads that fit them it has the least choice. There the error on other
    episodes can rise before it falls again (Belkin et al. 2019; Nakkiran et al. 2020).

    Args:
        world: the ladder; its `label_noise` is the share of training labels that are flipped.
        core_model: its predictors hold X and H.
        predictors: number of them, of the core model's seed and the seeds after it; all are in one
            fit, each with episodes of its own.
        level: the level that heads read.
        episodes: numbers of training episodes.
        hidden: widths of heads, in hidden units.
        epochs: lengths of training; each has a schedule of its own, to the end.
        seeds: heads of each predictor in each cell.
        seed: of the first predictor's episodes, and of the first head.
        test: number of easy episodes whose labels are not flipped, for test errors.
        disputed: number of disputed episodes, on which heads follow X or H.
        schedule: of the training, but for its epochs.
        optimizer: of the heads.
        trainer: how Lightning runs it.
    """

    world: Ladder
    core_model: CoreModel
    predictors: Annotated[int, Range(FEWEST_PREDICTORS, 10_000)]
    level: Annotated[int, Range(0, 1000)]
    episodes: list[Annotated[int, Range(4, 1_000_000)]]
    hidden: list[Annotated[int, Range(1, 65_536)]]
    epochs: list[Count]
    seeds: Count
    seed: Seed
    test: Episodes
    disputed: Episodes
    schedule: Schedule
    optimizer: Optimizer
    trainer: Trainer

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, StepOptimizer):
            raise UserError(
                f"optimizer: {type(self.optimizer).__name__} does not train for a given number of"
                " epochs. Use optimizer=adamw, or another that takes steps."
            )
        for key in ("episodes", "hidden", "epochs"):
            check_rising(key, getattr(self, key), FEWEST_WIDTHS if key == "hidden" else 1)
        if len(self.episodes) > len(COLOURS):
            raise UserError(
                f"job.episodes: {len(self.episodes)} sizes have no colours of their own in the"
                f" figure. Use {len(COLOURS)} at most."
            )
        self.schedule.check_from_start("double_descent")
        if self.schedule.keep != "last":
            raise UserError(
                "training.keep: best would stop heads before they fit their labels. Use"
                " training.keep=last."
            )

    def __call__(self, folder: Path) -> None:
        """Writes double_descent.parquet, .png and .svg, and summary.md."""
        table = pd.concat(self.train_cells(folder), ignore_index=True)
        with write_atomically(folder / "double_descent.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        drawing = draw(table)
        with write_atomically(folder / "double_descent.png") as temporary:
            drawing.save_png(temporary)
        with write_atomically(folder / "double_descent.svg") as temporary:
            temporary.write_text(drawing.render_svg(), encoding="utf-8")
        with write_atomically(folder / "summary.md") as temporary:
            temporary.write_text(summarise(table, self.world.label_noise), encoding="utf-8")

    def train_cells(self, folder: Path) -> Iterator[pd.DataFrame]:
        """Yields the heads of each cell: all predictors and seeds."""
        predictors = SeveralPredictors.build(
            self.world, self.core_model, self.predictors, self.level, self.seed, self.trainer
        )
        easy = predictors.draw_easy(self.test)
        disputed = predictors.draw_disputed(self.disputed)
        for train in self.episodes:
            examples = predictors.draw_training(train)
            for hidden in self.hidden:
                for epochs in self.epochs:
                    cell = Cell(train, hidden, epochs)
                    heads = self._train(predictors, examples, cell, folder)
                    yield self._measure(heads, examples, easy, disputed, cell)

    def _train(
        self, predictors: SeveralPredictors, examples: Examples, cell: Cell, folder: Path
    ) -> Heads:
        make = partial(MLP, hidden=cell.hidden)
        seeds = range(self.seed, self.seed + self.seeds)
        task = predictors.build_task(make, NoPrior(), examples, seeds, [0.0])
        schedule = replace(self.schedule, epochs=cell.epochs)
        assert isinstance(self.optimizer, StepOptimizer)
        population = build_population(task, schedule, self.optimizer)
        checkpoint = folder / f"unfinished-{'-'.join(map(str, cell))}.ckpt"
        train_population(task, population, self.trainer, checkpoint)
        solution = take_solution(task, population)
        return task.build_heads(solution.weights, solution.nll_GSM)

    def _measure(
        self, heads: Heads, examples: Examples, easy: Sample, disputed: Sample, cell: Cell
    ) -> pd.DataFrame:
        label_PN = examples.human_N.expand(self.predictors, -1)
        on_train = score(heads, examples.z_NLD, label_PN)
        on_test = score(heads, easy.z_NPD, easy.human_PN)
        follows = score(heads, disputed.z_NPD, disputed.concept_PN)
        n_parameters = sum(value.numel() for value in heads.reporter.parameters())
        return pd.DataFrame(
            {
                **cell._asdict(),
                "parameters": n_parameters,
                "predictor": np.arange(self.predictors).repeat(self.seeds),
                "seed": np.tile(heads.seeds, self.predictors),
                "train_error": 1 - on_train.right_K.numpy(),
                "train_nll": on_train.nll_K.numpy(),
                "test_error": 1 - on_test.right_K.numpy(),
                "test_nll": on_test.nll_K.numpy(),
                "follows_concept": follows.right_K.numpy(),
            }
        )


# Peaks of a curve.
