"""Double descent: errors of heads of growing width.   python train.py experiment=double_descent

N: episodes, P: predictors, W: widths, K: heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, Episodes, Range, Seed
from core_model.predictor import CoreModel
from experiments.several_predictors import Sample, SeveralPredictors, check_rising, score
from priors.none import NoPrior
from report.drawing import FAINT, Drawing, create_drawing
from report.intervals import Mean, estimate_mean
from reporters.mlp import MLP
from storage.atomic import write_atomically
from training.examples import Examples
from training.fit import build_population, take_solution, train_population
from training.heads import Heads
from training.optimizers.optimizer import Optimizer, StepOptimizer
from training.schedule import Schedule
from worlds.ladder import Ladder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "test_nll": "test NLL, nats an episode",
    "test_error": "test error, share of episodes",
    "follows_concept": "follows X, share of disputed episodes",
}
"""What is drawn against the number of parameters."""
PEAKS = {"test_nll": "test NLL", "test_error": "test error"}
"""In what a peak is looked for."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito (2008), one for each number of training episodes."""
NLL_TICKS = (0.3, 1, 3, 10)
FEWEST_PREDICTORS, FEWEST_WIDTHS = 4, 3
Floats = NDArray[np.float64]


class Cell(NamedTuple):
    """What one fit is made of, beside the predictors and seeds."""

    train: int
    hidden: int
    epochs: int


class Peak(NamedTuple):
    """A rise of a curve and its fall after it. Where they are is chosen on half of the predictors;
    how large they are is measured on the other half.
    """

    parameters: tuple[int, int, int]
    """Numbers of parameters: the lowest point before the peak, the peak, the lowest after it."""
    rise: Mean
    fall: Mean
    height: float
    """The curve at the peak, mean of all predictors."""

    @property
    def is_shown(self) -> bool:
        """Whether both intervals are above 0."""
        return self.rise.low > 0 and self.fall.low > 0


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


def tabulate(heads: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns the mean over the heads of each predictor (row) at each number of parameters."""
    return heads.pivot_table(index="predictor", columns="parameters", values=column)


def find_peak(curves: pd.DataFrame, n_means: int) -> Peak | None:
    """Returns the peak of curves; None where no inner point is above a point on either side.

    >>> rows = [[1.0, 3.0, 2.0, 1.5], [1.0, 3.2, 2.0, 1.6], [1.0, 2.9, 2.2, 1.4], [1.1, 3, 2, 1.5]]
    >>> peak = find_peak(pd.DataFrame(rows, columns=[10, 20, 30, 40]), 1)
    >>> peak.parameters, round(peak.rise.value, 2), round(peak.fall.value, 2)
    ((10, 20, 40), 2.05, 1.55)
    >>> find_peak(pd.DataFrame([[4.0, 3.0, 1.0]] * 4, columns=[10, 20, 30]), 1)

    Args:
        curves: a row for each predictor, a column for each number of parameters.
        n_means: number of means that are estimated together.
    """
    value_PW = curves.to_numpy()
    places = choose_peak(value_PW[::2].mean(axis=0))
    if places is None:
        return None
    before, at, after = places
    measured_PW = value_PW[1::2]
    own = np.arange(len(measured_PW)).astype(object)
    return Peak(
        tuple(int(curves.columns[place]) for place in places),  # type: ignore[arg-type]
        estimate_mean(measured_PW[:, at] - measured_PW[:, before], own, n_means),
        estimate_mean(measured_PW[:, at] - measured_PW[:, after], own, n_means),
        float(value_PW[:, at].mean()),
    )


def choose_peak(value_W: Floats) -> tuple[int, int, int] | None:
    """Returns the places of the lowest point before the peak, of the peak, and of the lowest after
    it: those for which the smaller of rise and fall is largest.
    """
    best, places = 0.0, None
    for at in range(1, len(value_W) - 1):
        before = int(value_W[:at].argmin())
        after = at + 1 + int(value_W[at + 1 :].argmin())
        size = value_W[at] - max(value_W[before], value_W[after])
        if size > best:
            best, places = size, (before, at, after)
    return places


def find_threshold(heads: pd.DataFrame) -> int | None:
    """Returns the fewest parameters with which no head errs on its training labels; None where
    some do at every width.
    """
    worst = heads.groupby("parameters")["train_error"].max()
    fitted = worst.index[worst == 0]
    return int(fitted.min()) if len(fitted) else None


# The summary.


def summarise(table: pd.DataFrame, label_noise: float) -> str:
    """Returns the result in words, as Markdown."""
    cells = []
    for _, heads in table.groupby(["train", "epochs"]):
        cells.append((int(heads["train"].iloc[0]), int(heads["epochs"].iloc[0]), heads))
    n_means = 2 * len(cells) * len(PEAKS)
    described = []
    shown = dict.fromkeys(PEAKS, 0)
    for train, epochs, heads in cells:
        sentences = [describe_threshold(heads)]
        for column, name in PEAKS.items():
            peak = find_peak(tabulate(heads, column), n_means)
            shown[column] += peak is not None and peak.is_shown
            sentences.append(describe_peak(name, peak, train))
        sentences.append(describe_following(heads))
        described.append(f"- **N = {train}, {epochs:,} epochs.** {' '.join(sentences)}")
    counts = [f"{PEAKS[column]} in {count}" for column, count in shown.items()]
    lines = [
        "# Double descent",
        "",
        f"{table['predictor'].nunique()} predictors, {label_noise:g} of the training labels"
        f" flipped. A peak is shown of {' and of '.join(counts)} of the {len(cells)} pairs of N"
        " training episodes and a length of training.",
        "",
        "Where a peak is, is chosen on half of the predictors; by how much the curve rises to it"
        " and falls after it is measured on the other half, with intervals over predictors for all"
        f" {n_means} differences together. A peak is shown where both intervals are above 0.",
        "",
        *described,
        "",
    ]
    return "\n".join([*lines, *format_table(table), ""])


def describe_threshold(heads: pd.DataFrame) -> str:
    """Returns from how many parameters on all heads fit their labels, in words."""
    threshold = find_threshold(heads)
    if threshold is None:
        least = heads.groupby("parameters")["train_error"].mean().min()
        return f"At no width do all heads fit all labels (training error {least:.3f} at the least)."
    return f"All heads fit all labels from {threshold:,} parameters on."


def describe_peak(name: str, peak: Peak | None, train: int) -> str:
    """Returns whether there is a peak, in words.

    Args:
        train: number of training episodes.
    """
    if peak is None:
        return (
            f"{name.capitalize()} has no peak." if name.islower() else f"T{name[1:]} has no peak."
        )
    before, at, after = peak.parameters
    sizes = (
        f"it rises by {format_mean(peak.rise)} from {before:,} to {at:,} parameters and falls by"
        f" {format_mean(peak.fall)} to {after:,}"
    )
    subject = f"T{name[1:]}"
    if peak.is_shown:
        place = f"{at:,} parameters, {at / train:.2f} for each training episode"
        return f"{subject} has a peak of {peak.height:.2f} at {place}: {sizes}."
    return f"No peak of {name} is shown: {sizes}."


def describe_following(heads: pd.DataFrame) -> str:
    """Returns how follows X changes from the narrowest heads to the widest, in words."""
    curves = tabulate(heads, "follows_concept")
    few, many = curves.columns[0], curves.columns[-1]
    change_P = (curves[many] - curves[few]).to_numpy()
    change = estimate_mean(change_P, curves.index.to_numpy(object))
    return (
        f"From {few:,} to {many:,} parameters follows X changes from {curves[few].mean():.2f} to"
        f" {curves[many].mean():.2f}, by {format_mean(change)}."
    )


def format_mean(mean: Mean) -> str:
    """Returns a mean with its interval."""
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def format_table(table: pd.DataFrame) -> list[str]:
    """Returns the means over predictors, as a Markdown table."""
    columns = ["train_error", "train_nll", "test_error", "test_nll", "follows_concept"]
    keys = ["train", "epochs", "hidden", "parameters"]
    lines = [f"| {' | '.join([*keys, *columns])} |", "|---" * (len(keys) + len(columns)) + "|"]
    means = table.groupby(keys, as_index=False)[columns].mean()
    for _, row in means.iterrows():
        cells = [str(int(row[key])) for key in keys] + [f"{row[key]:.3f}" for key in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


# The figure.


def draw(table: pd.DataFrame) -> Drawing:
    """Returns the figure: a row for each length of training, a column for each panel, a line for
    each number of training episodes.
    """
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    lengths = sorted(table["epochs"].unique())
    drawing, axes = create_drawing(
        10.5,
        0.9 + 2.7 * len(lengths),
        nrows=len(lengths),
        ncols=len(PANELS),
        sharex=True,
        sharey="col",
    )
    for row, epochs in enumerate(lengths):
        of_length = table[table["epochs"] == epochs]
        for axis, (column, title) in zip(axes[row], PANELS.items(), strict=True):
            draw_panel(axis, of_length, column)
            if row == 0:
                axis.set_title(title, fontsize=9)
            if row == len(lengths) - 1:
                axis.set_xlabel("parameters of a head")
        axes[row, 0].set_ylabel(f"{epochs:,} epochs", fontsize=9, fontweight="bold")
        axes[row, 0].set_yscale("log")
        axes[row, 0].yaxis.set_major_formatter(ScalarFormatter())
        axes[row, 0].yaxis.set_minor_formatter(NullFormatter())
        axes[row, 0].set_yticks(NLL_TICKS)
    lines = axes[0, 0].get_legend_handles_labels()
    columns = len(lines[0])
    drawing.figure.legend(
        *lines, loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
    return drawing


def draw_panel(axis: Axes, heads: pd.DataFrame, column: str) -> None:
    """Draws one quantity at one length of training."""
    for colour, train in zip(COLOURS, sorted(heads["train"].unique()), strict=False):
        of_size = heads[heads["train"] == train]
        curves = tabulate(of_size, column)
        own = curves.index.to_numpy(object)
        means = [estimate_mean(curves[width].to_numpy(), own) for width in curves]
        x = curves.columns.to_numpy()
        y = np.array([mean.value for mean in means])
        low, high = ([getattr(mean, end) for mean in means] for end in ("low", "high"))
        axis.axvline(float(train), color=colour, linewidth=0.8, linestyle=":", zorder=0)
        axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.plot(x, y, color=colour, linewidth=1.3, label=f"N = {train} episodes")
        threshold = find_threshold(of_size)
        if threshold:
            axis.plot(threshold, y[x == threshold], "o", color=colour, markersize=5)
    axis.plot([], [], "o", color=FAINT, markersize=5, label="all heads fit all N labels")
    axis.plot([], [], ":", color=FAINT, linewidth=0.8, label="N parameters")
    axis.set_xscale("log")
