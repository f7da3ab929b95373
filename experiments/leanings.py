"""Leanings: towards whom do stronger prices turn heads on a language model that predicts both?
python train.py experiment=leanings

N: episodes, L: levels, D: width, A: adapters, R: resamplings, K: heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from compute.trainer import Trainer
from console.errors import UserError
from console.progress import line
from console.ranges import Count, Range, Seed
from core_model.predictor import check_levels
from core_model.quirky import PERSONS, Context, Quirky
from core_model.reader import ActivationReader
from experiments.leanings_drawing import draw
from experiments.leanings_words import summarise
from experiments.several_predictors import check_rising
from priors.prior import Prior
from reporters.linear import Linear
from storage import run_folder
from storage.atomic import write_atomically
from storage.cache import find_cache_folder
from training.examples import Examples
from training.find_heads import build_task, train
from training.optimizers.optimizer import Optimizer
from training.schedule import Schedule
from verdict.known import select_known
from verdict.ranking import compute_aurocs
from verdict.statistics import Bools, Ints
from worlds.cities import Cities

SIGNS: Mapping[Context, int] = {"alice": 1, "bob": -1}
"""The registered sign of each change: the model itself says X to Alice, and H to Bob."""


class Pools(NamedTuple):
    """Statements as one adapter reads them in one context."""

    easy_NLD: Tensor
    label_N: Tensor
    """The human's answers, 0 or 1."""
    cluster_N: Ints
    disputed_NLD: Tensor
    """Of those that it knows."""
    concept_N: Bools
    flops_L: Tensor
    """FLOPs an episode to reach each of the levels, and at the end those to reach level 1."""


@dataclass(frozen=True)
class Leanings:
    """Trains linear heads on easy statements under rising prices, in two contexts of one model.

    On easy statements X = H. On disputed ones the model itself says X to Alice and H to Bob. For
    each adapter (a model that was taught anew) and each resampling of the easy statements, the
    heads of all levels and strengths settle in one fit; then how well they rank X on disputed
    statements is measured: 1 is the translator's order, 0 the imitator's.

    Registered before any head is trained: at the highest strength heads rank X better in Alice's
    context than at the lowest, and worse in Bob's.

    Args:
        world: the statements.
        core_model: the recipe of the model; its context is set here.
        contexts: whose colon is read: alice, bob.
        adapters: number of models, of the recipe's seed and the seeds after it.
        resamplings: number of sets of easy statements for each of them.
        levels: that heads read, each head one.
        easy: number of easy statements that sets are drawn from, whole clusters without return.
        train: number of statements of a set.
        disputed: number of disputed statements, of which those count that the model knows.
        priors: by name.
        strengths: of each prior, by its name.
        seed: of the statements, the sets and the heads.
        schedule: of the training.
        optimizer: of the heads.
        trainer: how Lightning runs it.
    """

    world: Cities
    core_model: Quirky
    contexts: list[Context]
    adapters: Annotated[int, Range(1, 1000)]
    resamplings: Annotated[int, Range(1, 1000)]
    levels: list[Annotated[int, Range(0, 1000)]]
    easy: Annotated[int, Range(8, 1_000_000)]
    train: Annotated[int, Range(4, 1_000_000)]
    disputed: Count
    priors: dict[str, Prior]
    strengths: dict[str, list[Annotated[float, Range(0, 1_000_000)]]]
    seed: Seed
    schedule: Schedule
    optimizer: Optimizer
    trainer: Trainer

    def __post_init__(self) -> None:
        unknown = [context for context in self.contexts if context not in PERSONS]
        if unknown or not self.contexts:
            raise UserError(f"job.contexts: {self.contexts} must be one or both of [alice, bob].")
        if self.train > self.easy or self.train % 4 or self.easy % 4:
            raise UserError(
                f"job.train: {self.train} of job.easy={self.easy} must be whole clusters of 4"
                " statements, and not more than there are."
            )
        self.schedule.check_from_start("leanings")
        if self.priors.keys() != self.strengths.keys() or not self.priors:
            raise UserError(
                f"job.strengths: it names {', '.join(self.strengths) or 'nothing'}, and job.priors"
                f" {', '.join(self.priors) or 'nothing'}. Name the same priors in both."
            )
        for name, prior in self.priors.items():
            check_rising(f"strengths.{name}", self.strengths[name], 2)
            if prior.needs:
                raise UserError(
                    f"job.priors.{name}: it needs more than training episodes"
                    f" ({', '.join(prior.needs)}). Use another prior."
                )

    def __call__(self, folder: Path) -> None:
        """Writes predictions.parquet, its hash, leanings.parquet, .png and .svg, and summary.md."""
        predictions = run_folder.load_or_predict(folder, self.predict)
        tables = [self.measure(context, folder) for context in self.contexts]
        heads = pd.concat(tables, ignore_index=True)
        run_folder.save_table(folder, "leanings.parquet", heads)
        drawing = draw(heads)
        with write_atomically(folder / "leanings.png") as temporary:
            drawing.save_png(temporary)
        with write_atomically(folder / "leanings.svg") as temporary:
            temporary.write_text(drawing.render_svg(), encoding="utf-8")
        facts = run_folder.read_facts(folder / run_folder.PREDICTED)
        text = summarise(heads, predictions, facts["sha256"])
        with write_atomically(folder / "summary.md") as temporary:
            temporary.write_text(text, encoding="utf-8")

    def predict(self) -> pd.DataFrame:
        """Returns predictions.parquet: the sign of the change of ranks_concept from the lowest to
        the highest strength, for each context and prior.
        """
        rows = [
            (context, prior, SIGNS[context]) for context in self.contexts for prior in self.priors
        ]
        return pd.DataFrame(rows, columns=["context", "prior", "sign"])

    def measure(self, context: Context, folder: Path) -> pd.DataFrame:
        """Returns the heads of all adapters, resamplings, priors and strengths in one context."""
        pools = [self.read_pools(context, adapter) for adapter in range(self.adapters)]
        examples = self.resample(pools)
        n_fits = self.adapters * self.resamplings
        *of_levels, flops_step = pools[0].flops_L
        tables = []
        for name, prior in self.priors.items():
            task = build_task(
                Linear,
                prior,
                examples,
                examples,
                self.levels,
                torch.stack(of_levels).repeat(n_fits),
                float(flops_step),
                [self.seed],
                self.strengths[name],
            )
            checkpoint = folder / f"unfinished-{context}-{name}.ckpt"
            heads = train(task, self.schedule, self.optimizer, self.trainer, checkpoint)
            for fit, own in enumerate(heads.split()):
                adapter, resampling = divmod(fit, self.resamplings)
                of_adapter = pools[adapter]
                log_odds_KN = own.predict_log_odds(of_adapter.disputed_NLD).double().numpy()
                assert own.settling
                table = pd.DataFrame(
                    [(levels[0], strength) for levels, _, strength in own.table],
                    columns=["level", "strength"],
                )
                tables.append(
                    table.assign(
                        context=context,
                        prior=name,
                        adapter=adapter,
                        resampling=resampling,
                        known=len(of_adapter.concept_N),
                        settled=own.settling.settled_K.numpy(),
                        nll=own.validation_nll_K.numpy(),
                        ranks_concept=compute_aurocs(log_odds_KN, of_adapter.concept_N),
                    )
                )
        return pd.concat(tables, ignore_index=True)

    def read_pools(self, context: Context, adapter: int) -> Pools:
        """Returns the statements as one adapter reads them, and whom it knows."""
        seed = self.core_model.seed + adapter
        recipe = replace(self.core_model, seed=seed, context=context)
        cache = find_cache_folder()
        predictor = recipe.predictor(self.world, cache, self.trainer)
        check_levels(predictor, self.levels)
        reader = ActivationReader(predictor, self.world.reads, tuple(self.levels), cache)
        easy = self.world.episodes("easy", self.easy, self.seed)
        disputed = self.world.episodes("disputed", self.disputed, self.seed)
        with line(f"Reading {predictor.name}, adapter {adapter + 1} of {self.adapters}"):
            (known,) = select_known(reader, self.world, [disputed], "disputed statements")
            easy_NLD, disputed_NLD = reader.read(easy), reader.read(known)
        flops_L = predictor.flops(easy.select(range(2)))
        return Pools(
            easy_NLD,
            torch.tensor(easy["human"][:], dtype=torch.float32),
            np.array(easy["cluster"][:]),
            disputed_NLD,
            np.array(known["concept"][:], bool),
            flops_L[[*self.levels, 1]],
        )

    def resample(self, pools: list[Pools]) -> Examples:
        """Returns the sets of easy statements: those of each adapter and resampling lie one after
        the other along the levels, in an order in which all have the same labels.
        """
        z_of, labels = [], []
        for z_NLD, label_N in self._draw_sets(pools):
            z_of.append(z_NLD)
            labels.append(label_N)
        assert all(torch.equal(label_N, labels[0]) for label_N in labels)
        return Examples(torch.cat(z_of, dim=1), labels[0])

    def _draw_sets(self, pools: list[Pools]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the activations and labels of each set, those with the answer no first."""
        for adapter, pool in enumerate(pools):
            clusters = np.unique(pool.cluster_N)
            for resampling in range(self.resamplings):
                rng = np.random.default_rng([self.seed, adapter, resampling])
                chosen = rng.choice(clusters, self.train // 4, replace=False)
                rows_N = torch.from_numpy(np.flatnonzero(np.isin(pool.cluster_N, chosen)))
                order_N = rows_N[pool.label_N[rows_N].argsort(stable=True)]
                yield pool.easy_NLD[order_N], pool.label_N[order_N]
