"""The fit of a population: at once, or in parts where memory is short, one after the other.

G: groups of levels, S: seeds, M: strengths; K: heads, L: levels, D: width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compute.allocation import keep_freed
from compute.batches import Rows, loader
from compute.memory import SPARE, most_alive
from compute.trainer import Trainer
from reporters.reporter import ClosedForm
from reporters.stack import Weights
from storage.atomic import replacing
from training import convex
from training.heads import Heads
from training.parts import Part, joined, layout, of_part
from training.schedule import Schedule
from training.watch import Moment, Watch

if TYPE_CHECKING:
    from training.examples import Examples
    from training.population import Population


@dataclass(frozen=True)
class Task:
    """What all parts of a population have in common."""

    population: Callable[[Sequence[int], Sequence[int]], Population]
    """From seeds and places of strengths to heads that begin."""
    examples: Examples
    """Standardised."""
    mean_LD: Tensor
    std_LD: Tensor
    levels: tuple[int, ...]
    strengths: tuple[float, ...]
    schedule: Schedule | convex.Convex
    trainer: Trainer

    def at_once(
        self, seeds: Sequence[int], places: Sequence[int], checkpoint: Path, watch: Watch | None
    ) -> Heads:
        """Returns the finished heads of these seeds and strengths, and tells the watch which
        epoch's weights they have.
        """
        population, examples, strengths = (
            self.population(seeds, places),
            self.examples,
            [self.strengths[m] for m in places],
        )
        grid = (*population.best_GSM.shape[:2], len(strengths))

        def flat(value_GSM: Tensor) -> Tensor:
            return value_GSM.cpu().expand(grid).flatten()

        def heads(weights: Weights) -> Heads:
            whole = {
                name: value.detach().cpu().expand(*grid, *value.shape[3:])
                for name, value in weights.items()
            }
            given = self.mean_LD, self.std_LD, self.levels, tuple(seeds), tuple(strengths)
            return Heads(population.reporter, whole, *given, flat(population.best_nll_GSM))

        if watch:
            watch.look = lambda: Moment(
                heads(population.current), flat(population.loss_GSM), flat(population.norm_GSM)
            )
            population.callbacks.append(watch)
        solved = not isinstance(self.schedule, Schedule) or isinstance(
            population.reporter, ClosedForm
        )
        if isinstance(population.reporter, ClosedForm):
            population.solve(examples)
        elif isinstance(self.schedule, Schedule):
            self._fit(population, self.schedule, seeds, checkpoint)
        else:
            population.minimise(self.schedule, examples)
        if price := population.prior.edge_price(population.n_edges, len(examples.human_N)):
            population.prune(price, examples, self.trainer.room_afterwards)
        if watch:
            watch.kept_K = flat(population.best_epoch_GSM) + (0 if solved else 1)
        return heads(population.finished)

    def _fit(
        self, population: Population, schedule: Schedule, seeds: Sequence[int], checkpoint: Path
    ) -> None:
        rows = Rows(*(tensor for tensor in self.examples if tensor is not None))
        batches = loader(
            rows,
            len(self.examples.human_N),
            schedule.batch_size,
            seeds if schedule.order == "own" else 0,
        )
        keep_freed()
        with products(schedule.precision):
            self.trainer(
                population,
                batches,
                schedule.epochs,
                checkpoint,
                f"Training {population.n_heads} heads",
            )
        population.cpu()

    def in_parts(
        self, n: int, seeds: Sequence[int], checkpoint: Path, watch: Watch | None
    ) -> Heads:
        """Returns the same heads, trained in parts one after the other; a part that was finished
        before is read.
        """
        parts, done = layout(len(seeds), len(self.strengths), n), []
        print(
            f"training: {len(seeds)} head seeds in {len(parts)} parts, for want of memory for all"
            " at once.",
            file=sys.stderr,
        )
        for i, part in enumerate(parts):
            own, kept = of_part(checkpoint, i, n), of_part(checkpoint.with_suffix(".part"), i, n)
            if not kept.exists():
                looking = Watch(watch.measure) if watch else None
                heads = self.at_once([seeds[s] for s in part.seeds], part.strengths, own, looking)
                with replacing(kept) as temporary:
                    torch.save(_as_tensors(heads, looking), temporary)
            done.append(torch.load(kept, weights_only=True))
        whole = joined(
            list(zip(parts, (one["tensors"] for one in done), strict=True)),
            len(seeds),
            len(self.strengths),
        )
        if watch:
            watch.noted = _all_noted(
                parts, [one["noted"] for one in done], len(seeds), len(self.strengths)
            )
            watch.kept_K = whole["kept"].flatten()
        for i in range(len(parts)):
            of_part(checkpoint.with_suffix(".part"), i, n).unlink()
        nll_K = whole["nll"].flatten()
        weights = {
            name.removeprefix("weights."): value
            for name, value in whole.items()
            if name.startswith("weights.")
        }
        reporter = self.population(seeds[:1], [0]).reporter
        return Heads(
            reporter,
            weights,
            self.mean_LD,
            self.std_LD,
            self.levels,
            tuple(seeds),
            self.strengths,
            nll_K,
        )

    def bytes_each(self, seed: int) -> int:
        """Returns what the heads of one seed and one strength need while they are trained, as a
        step and a look at held-out episodes tell: how much more two take than one, for what all
        have in common is counted once.
        """

        def rehearsed(heads: int) -> int:
            assert isinstance(self.schedule, Schedule)
            population = self.population([seed] * heads, [0])
            population.rehearse(self.examples, self.schedule.batch_size)
            return sum(
                value.numel() * value.element_size()
                for value in population.parameters()
                if value.requires_grad
            )

        (one, held), (two, _) = most_alive(partial(rehearsed, 1)), most_alive(partial(rehearsed, 2))
        return int(
            SPARE * (two - one + 4 * held)
            # Adam's two averages, and what a watch looks at: the heads as they are, and standing by
            # themselves
        )


def _as_tensors(heads: Heads, watch: Watch | None) -> dict[str, Any]:
    """Returns what of finished heads is kept until all parts are: tensors with axes (G, S, M, ...),
    and what was noted.
    """
    grid = next(iter(heads.weights.values())).shape[:3]
    tensors = {f"weights.{name}": value.contiguous() for name, value in heads.weights.items()} | {
        "nll": heads.validation_nll_K.view(grid)
    }
    if not watch:
        return {"tensors": tensors, "noted": {}}
    noted = {
        epoch: {name: value.view(grid) for name, value in figures.items()}
        for epoch, figures in watch.noted.items()
    }
    return {"tensors": tensors | {"kept": watch.kept_K.view(grid)}, "noted": noted}


def _all_noted(
    parts: Sequence[Part], noted: Sequence[dict[int, Weights]], n_seeds: int, n_strengths: int
) -> dict[int, Weights]:
    """Returns what was noted of all heads; those of a part that was done sooner stay as they were
    last.
    """
    last = max(max(one) for one in noted)
    whole = {}
    for epoch in range(last + 1):
        now = [(part, one[min(epoch, max(one))]) for part, one in zip(parts, noted, strict=True)]
        whole[epoch] = {
            name: value.flatten() for name, value in joined(now, n_seeds, n_strengths).items()
        }
    return whole


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Float32 products are rounded while it lasts, if they are to be."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "medium" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
