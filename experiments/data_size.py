"""Data size: where a cheap feature that errs gives way to a costly one that does not.
python train.py experiment=data_size

N: episodes, P: predictors, K: heads, S: numbers of training episodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bill.planted_costs import choose_cheapest
from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, Episodes, Range, Seed
from core_model.predictor import CoreModel
from experiments.several_predictors import SeveralPredictors, check_rising, score
from priors.prior import Prior
from report.drawing import FAINT, INK, Drawing, create_drawing
from report.intervals import NO_MEAN, Mean, estimate_mean
from reporters.linear import Linear
from storage import run_folder
from storage.atomic import write_atomically
from training.examples import Examples
from training.find_heads import train
from training.heads import Heads
from training.material import Answers
from training.optimizers.optimizer import Optimizer
from training.schedule import Schedule
from worlds.ladder import Ladder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PREDICTED = {"cost_translator": "planted heads with errors", "two_part": "two-part rule"}
"""The two predictions, by the column of what the translator pays."""
PAID = {
    "cost_imitator": "imitator",
    "cost_translator": "translator, with errors",
    "two_part": "translator without errors + N · h(errors)",
}
"""What is drawn of planted heads."""
STYLES = {
    "cost_imitator": (ORANGE, "-"),
    "cost_translator": (BLUE, "--"),
    "two_part": (GREEN, ":"),
}
"""Colour and line of each."""
Floats = NDArray[np.float64]


class Planting(NamedTuple):
    """What a planted head learns."""

    answers: Answers
    has_errors: bool
    """Whether as many of its answers are flipped as the human errs."""


PLANTINGS = {
    "cost_imitator": Planting("human", False),
    "cost_translator": Planting("concept", True),
    "cost_without_errors": Planting("concept", False),
}
"""The planted heads, by the column of their costs."""


class Crossing(NamedTuple):
    """Where curves of several predictors cross, in training episodes."""

    mean: Mean
    """log2 of the number, over the predictors whose curves cross."""
    before: int
    """How many predictors are past the crossing at the smallest size."""
    never: int
    """How many do not reach it at the largest."""

    def describe(self) -> str:
        """Returns the number with its interval, in words."""
        total = self.mean.predictors + self.before + self.never
        words = []
        if self.mean.predictors:
            words.append(format_sizes(self.mean))
        if self.before:
            words.append(f"before the smallest size for {self.before} of {total}")
        if self.never:
            words.append(f"not up to the largest size for {self.never} of {total}")
        return "; ".join(words)

    def describe_briefly(self) -> str:
        """Returns the number with its interval, or why there is none."""
        if self.mean.predictors:
            return format_sizes(self.mean)
        return "never" if self.never else "always"


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


def compute_entropy(share: float) -> float:
    """Returns the nats an episode that errors at this rate cost in the best code.

    >>> round(compute_entropy(0.5), 3), round(compute_entropy(0.05), 3)
    (0.693, 0.199)
    """
    return -share * math.log(share) - (1 - share) * math.log1p(-share)


# Where curves cross.


def find_crossing(x_S: Floats, y_S: Floats) -> float:
    """Returns where a curve rises through 0 for the last time, on the line between two points;
    -inf where it is above 0 at all points, inf where it ends below.

    >>> find_crossing(np.array([1, 2, 4]), np.array([-3, -1, 3]))
    2.5
    >>> find_crossing(np.array([1, 2]), np.array([1, 2])), find_crossing(np.array([1]), -np.ones(1))
    (-inf, inf)
    """
    below = np.flatnonzero(y_S < 0)
    if not len(below):
        return -math.inf
    last = int(below[-1])
    if last == len(y_S) - 1:
        return math.inf
    share = -y_S[last] / (y_S[last + 1] - y_S[last])
    return float(x_S[last] + share * (x_S[last + 1] - x_S[last]))


def predict_crossings(predictions: pd.DataFrame, column: str) -> pd.Series[float]:
    """Returns log2 of the number of episodes from which on the imitator is cheaper, for each
    predictor: costs are interpolated along N, in which they are nearly linear.
    """
    crossings = {}
    for predictor, own in predictions.sort_values("train").groupby("predictor"):
        difference_S = (own[column] - own["cost_imitator"]).to_numpy()
        n = find_crossing(own["train"].to_numpy(float), difference_S)
        crossings[predictor] = math.log2(n) if n > 0 else -math.inf
    return pd.Series(crossings)


def measure_crossings(contest: pd.DataFrame) -> pd.Series[float]:
    """Returns log2 of the number of episodes from which on the heads of a predictor follow X on
    less than half of disputed episodes, for each predictor.
    """
    crossings = {}
    means = contest.groupby(["predictor", "train"])["follows_concept"].mean()
    for predictor, follows in means.groupby("predictor"):
        log2_S = np.log2(follows.index.get_level_values("train").to_numpy(float))
        crossings[predictor] = find_crossing(log2_S, 0.5 - follows.to_numpy())
    return pd.Series(crossings)


def summarise_crossings(log2_P: pd.Series[float]) -> Crossing:
    """Returns the mean of crossings over predictors, and how many have none."""
    own = log2_P[np.isfinite(log2_P)]
    mean = NO_MEAN
    if len(own):
        mean = estimate_mean(own.to_numpy().astype(np.float64), own.index.to_numpy(object))
    return Crossing(mean, int((log2_P == -np.inf).sum()), int((log2_P == np.inf).sum()))


def compare_crossings(measured_P: pd.Series[float], predicted_P: pd.Series[float]) -> Mean:
    """Returns log2 of measured over predicted, over the predictors in which both cross."""
    difference_P = measured_P.replace([np.inf, -np.inf], np.nan) - predicted_P
    return summarise_crossings(difference_P.dropna()).mean


@dataclass(frozen=True)
class Result:
    """What was predicted and measured for one prior and strength."""

    name: str
    predictions: pd.DataFrame
    contest: pd.DataFrame

    @property
    def measured_P(self) -> pd.Series[float]:
        """log2 of the crossing of each predictor."""
        return measure_crossings(self.contest)

    def predict(self, column: str) -> pd.Series[float]:
        """Returns log2 of the predicted crossing of each predictor."""
        return predict_crossings(self.predictions, column)


def collect_results(predictions: pd.DataFrame, contest: pd.DataFrame) -> list[Result]:
    """Returns the results of each prior and strength, in their order."""
    results = []
    has_several = contest["strength"].nunique() > 1
    for (prior, strength), own in contest.groupby(["prior", "strength"], sort=False):
        is_own = (predictions["prior"] == prior) & (predictions["strength"] == strength)
        name = f"{prior}, strength {strength:g}" if has_several else str(prior)
        results.append(Result(name, predictions[is_own], own))
    return results


# The summary.


def summarise(results: Sequence[Result], errors: float, digest: str) -> str:
    """Returns the result in words, as Markdown.

    Args:
        errors: share of easy episodes on which the human errs.
        digest: of the predictions.
    """
    n_predictors = results[0].contest["predictor"].nunique()
    lines = [
        "# Data size",
        "",
        f"{n_predictors} predictors. X is the cheaper feature and is wrong on {errors:g} of the"
        " labels; H is dearer and never wrong. Predicted before the contest was trained, from"
        f" planted heads (predictions.parquet, SHA-256 {digest[:16]}...). Numbers are training"
        " episodes from which on heads follow X on less than half of disputed episodes, with"
        " intervals over predictors.",
        "",
        "| prior | measured | predicted by planted heads with errors | by the two-part rule"
        " | measured / first | measured / second | settled heads |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        lines.append(format_row(result))
    lines += [""]
    for result in results:
        lines.append(describe(result))
    return "\n".join([*lines, "", *format_follows(results), ""])


def format_row(result: Result) -> str:
    """Returns one row of the table of crossings."""
    measured_P = result.measured_P
    cells = [result.name, summarise_crossings(measured_P).describe()]
    predicted = [result.predict(column) for column in PREDICTED]
    cells += [summarise_crossings(log2_P).describe() for log2_P in predicted]
    cells += [format_ratio(compare_crossings(measured_P, log2_P)) for log2_P in predicted]
    settled_K = result.contest["settled"]
    cells.append(f"{settled_K.sum()} of {len(settled_K)}")
    return f"| {' | '.join(cells)} |"


def describe(result: Result) -> str:
    """Returns whether predictions hold, in words."""
    measured_P = result.measured_P
    clauses = []
    for column, name in PREDICTED.items():
        ratio = compare_crossings(measured_P, result.predict(column))
        clauses.append(f"{name}: {judge_ratio(ratio)}")
    return f"- **{result.name}.** {'; '.join(clauses)}."


def judge_ratio(log2_ratio: Mean) -> str:
    """Returns whether the measured crossing is earlier or later than predicted, in words."""
    if not log2_ratio.predictors:
        return "no predictor crosses in both, so nothing can be compared"
    if np.isnan(log2_ratio.low):
        return f"{format_ratio(log2_ratio)} times the prediction, of a single predictor"
    share = f"{format_ratio(log2_ratio)} times the prediction"
    if log2_ratio.high < 0:
        return f"the imitator takes over earlier, at {share}"
    if log2_ratio.low > 0:
        return f"the imitator takes over later, at {share}"
    return f"no difference from the measured crossing is shown, {share}"


def format_sizes(log2_mean: Mean) -> str:
    """Returns a number of episodes with its interval.

    >>> format_sizes(Mean(7.0, 6.0, 8.0, 4, 4))
    '128 [64, 256]'
    """
    value, low, high = (2.0**log2 for log2 in log2_mean[:3])
    return f"{value:.0f}" if np.isnan(low) else f"{value:.0f} [{low:.0f}, {high:.0f}]"


def format_ratio(log2_mean: Mean) -> str:
    """Returns a ratio with its interval; a dash where there is none."""
    if not log2_mean.predictors:
        return "–"
    value, low, high = (2.0**log2 for log2 in log2_mean[:3])
    return f"{value:.2f}" if np.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def format_follows(results: Sequence[Result]) -> list[str]:
    """Returns how often heads follow X by number of episodes, as a Markdown table."""
    sizes = sorted(results[0].contest["train"].unique())
    lines = ["Follows X, by number of training episodes:", ""]
    lines += [f"| prior | {' | '.join(map(str, sizes))} |", "|---" * (len(sizes) + 1) + "|"]
    for result in results:
        means = result.contest.groupby("train")["follows_concept"].mean()
        lines.append(f"| {result.name} | {' | '.join(f'{value:.2f}' for value in means)} |")
    return lines


# The figure.


def draw(results: Sequence[Result]) -> Drawing:
    """Returns the figure: a column for each prior and strength. Above, how often heads follow X;
    below, what planted heads pay.
    """
    drawing, axes = create_drawing(
        1 + 3.2 * len(results), 5.6, nrows=2, ncols=len(results), sharex=True, sharey="row"
    )
    for i, result in enumerate(results):
        draw_follows(axes[0, i], result)
        draw_costs(axes[1, i], result)
        axes[0, i].set_title(result.name, fontsize=9)
        axes[1, i].set_xlabel("training episodes, N")
    axes[0, 0].set_ylabel("heads of the contest follow X,\nshare of disputed episodes")
    axes[1, 0].set_ylabel("planted heads pay,\nnats of the whole training set")
    axes[1, 0].legend(frameon=False, fontsize=7, loc="lower right")
    return drawing


def draw_follows(axis: Axes, result: Result) -> None:
    """Draws how often the heads of each predictor follow X, their mean, and the measured and
    predicted crossings.
    """
    means = result.contest.groupby(["train", "predictor"])["follows_concept"].mean()
    curves = means.unstack()
    x = curves.index.to_numpy()
    axis.plot(x, curves.to_numpy(), color=FAINT, linewidth=0.4, alpha=0.5)
    axis.plot(x, curves.mean(axis=1), color=INK, linewidth=1.6)
    crossings = [("measured", result.measured_P, (INK, "-"))]
    for column, name in PREDICTED.items():
        crossings.append((name, result.predict(column), STYLES[column]))
    corner: Any = {"transform": axis.transAxes, "fontsize": 7, "ha": "right", "va": "center"}
    axis.text(0.99, 0.96, "imitator from N =", **corner)
    for i, (name, log2_P, (colour, style)) in enumerate(crossings):
        crossing = summarise_crossings(log2_P)
        mark_crossing(axis, crossing, colour, style)
        label = f"{name}:\n{crossing.describe_briefly()}"
        axis.text(0.99, 0.88 - 0.12 * i, label, color=colour, **corner)
    axis.axhline(0.5, color=FAINT, linewidth=0.5, zorder=0)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xscale("log", base=2)


def mark_crossing(axis: Axes, crossing: Crossing, colour: str, style: str) -> None:
    """Draws where curves cross, with its interval; nothing where they do not."""
    if not crossing.mean.predictors:
        return
    value, low, high = (2.0**log2 for log2 in crossing.mean[:3])
    axis.axvline(value, color=colour, linestyle=style, linewidth=1.2)
    if not np.isnan(low):
        axis.axvspan(low, high, color=colour, alpha=0.12, linewidth=0)


def draw_costs(axis: Axes, result: Result) -> None:
    """Draws what planted heads pay, mean of predictors."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    costs = result.predictions.groupby("train")[list(PAID)].mean()
    for column, label in PAID.items():
        colour, style = STYLES[column]
        axis.plot(costs.index, costs[column], style, color=colour, linewidth=1.3, label=label)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())
