"""Calibrate the judge: planted heads of known identity on a world and its predictors.

python -m verdict.calibration world=vault
python -m verdict.calibration world.human=careful hydra.run.dir=runs/careful
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import hydra
from omegaconf import DictConfig

from configs.build import build, check, check_groups
from console.command_line import exit_for_mistake, run_command, to_plain_values
from console.errors import UserError
from console.progress import line
from console.ranges import Range, Seed
from console.terminal import open_console

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from core_model.predictor import Predictor
    from verdict.evaluation import Evaluation
    from verdict.judge import Judge
    from worlds.world import World

os.environ["HYDRA_FULL_ERROR"] = "1"
PARTS = ("world", "core_model", "verdict", "trainer")
ROWS, SUMMARY, PLOT = "calibration.parquet", "calibration.md", "power.png"
COLOURS = {"right": "#2a9d5c", "undecided": "#c9c9c9", "wrong": "#c0392b"}
"""Undecided: though more episodes would tell."""
LEAST = {"seed": 0, "evaluations": 1, "copies": 1, "easy": 40, "probe": 40}
LEAST_DISPUTED = 40


Size = Annotated[int, Range(most=10_000_000)]


@dataclass(frozen=True)
class CalibrationPlan:
    """The values that belong to no part; calibrate.yaml says what each is."""

    seed: Seed
    evaluations: Size
    predictors: list[Seed]
    copies: Size
    disputed: list[Size]
    easy: Size
    probe: Size
    given_truth: bool

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value < least:
                raise UserError(f"{name}: {value} is too few. Use {least} or more.")
        for name in ("predictors", "disputed"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise UserError(f"{name}: {values} must name at least one, and each once.")
        if min(self.disputed) < LEAST_DISPUTED:
            raise UserError(
                f"disputed: {min(self.disputed)} is too few. Use {LEAST_DISPUTED} or more."
            )


def read_calibration_plan(config: Mapping[str, Any]) -> CalibrationPlan:
    """Returns the plan of a config.

    Raises:
        UserError: an unknown key, a missing value, a value of the wrong type or out of range.
    """
    values = {key: value for key, value in config.items() if key not in PARTS}
    check(CalibrationPlan, values, "")
    return CalibrationPlan(**values)


def calibrate(config: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the rows of calibration.parquet: every planted head, on every evaluation of every
    predictor.
    """
    import pandas as pd

    from verdict.calibration.planted import SignProbes
    from verdict.calibration.rates import judge_planted_heads

    plan = read_calibration_plan(config)
    check_groups(config, PARTS)
    world, judge = build(config["world"], "world"), build(config["verdict"], "verdict")
    if judge.turn is not None:
        raise UserError("verdict.turn: the judge is not calibrated in turns. Use null.")
    rows: list[dict[str, Any]] = []
    if world.undecidable:
        raise UserError(f"world: the judge cannot be calibrated on it. {world.undecidable}")
    for name, evaluation in draw_evaluations(config, plan, world, judge):
        identity = {"predictor": evaluation.reader.predictor.identity, "evaluation": name}
        probes = None if plan.given_truth else SignProbes.fit(evaluation.probe)
        for row in judge_planted_heads(judge, evaluation, probes, plan.disputed, plan.copies):
            rows.append(identity | row)
    return pd.DataFrame(rows)


def draw_evaluations(
    config: Mapping[str, Any], plan: CalibrationPlan, world: World, judge: Judge
) -> Iterator[tuple[str, Evaluation]]:
    """Yields the name of each evaluation, and the evaluation, of every predictor."""
    from core_model.reader import ActivationReader
    from storage.cache import find_cache_folder
    from verdict.draw_evaluation import build_evaluation
    from worlds.parts import split_by_cluster

    predictors = list_predictors(config, plan)
    disputed = max(plan.disputed)
    with line("Starting", len(predictors) * plan.evaluations) as progress:
        done = 0
        for label, node in predictors.items():
            predictor = load_predictor(node, config, world)
            levels = tuple(range(predictor.n_levels))
            reader = ActivationReader(predictor, world.reads, levels, find_cache_folder())
            for number in range(plan.evaluations):
                progress.move_to(done, f"{label}, evaluation {number + 1} of {plan.evaluations}")
                seed = plan.seed + number
                episodes = world.episodes("easy", plan.easy + plan.probe, seed)
                easy, probe = split_by_cluster(episodes, (plan.easy, plan.probe))
                evaluation = build_evaluation(
                    world, reader, easy, probe, disputed, disputed // 2, seed, judge.uses
                )
                yield f"{predictor.identity} {number}", evaluation
                done += 1


def list_predictors(
    config: Mapping[str, Any], plan: CalibrationPlan
) -> dict[str, Mapping[str, Any]]:
    """Returns the configs of the core model, by what is shown of them while they are used: one for
    each seed, or one where the core model has no seed.
    """
    node = config["core_model"]
    if "seed" not in node:
        return {"Predictor": node}
    return {f"Predictor {seed}": {**node, "seed": seed} for seed in plan.predictors}


def load_predictor(node: Mapping[str, Any], config: Mapping[str, Any], world: World) -> Predictor:
    """Returns the frozen predictor of a core model."""
    from storage.cache import find_cache_folder

    trainer = build(config["trainer"], "trainer")
    predictor: Predictor = build(node, "core_model").predictor(world, find_cache_folder(), trainer)
    return predictor


def write(rows: pd.DataFrame, folder: Path, title: str) -> None:
    """Writes the rows, the tables in words, and the plot of power."""
    from storage.atomic import write_atomically
    from verdict.calibration.rates import compute_power

    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / ROWS) as temporary:
        rows.to_parquet(temporary, index=False)
    with write_atomically(folder / SUMMARY) as temporary:
        temporary.write_text(summarise(rows, title), encoding="utf-8")
    with write_atomically(folder / PLOT) as temporary:
        draw(compute_power(rows), title).savefig(temporary, dpi=150, format="png")


def draw(shares: pd.DataFrame, title: str) -> Figure:
    """Returns a panel for each number of disputed episodes: of each planted head, the shares called
    right, undecided and wrong.
    """
    from matplotlib.figure import Figure

    sizes, heads = sorted(shares["disputed"].unique()), list(dict.fromkeys(shares["head"]))[::-1]
    figure = Figure(figsize=(3 * len(sizes) + 2, 0.28 * len(heads) + 1.3), layout="constrained")
    axes = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    names = [head.replace("_", " ") for head in heads]
    for axis, size in zip(axes, sizes, strict=True):
        part = shares[shares["disputed"] == size].set_index("head").loc[heads]
        start = 0.0
        for outcome, colour in COLOURS.items():
            axis.barh(names, part[outcome], left=start, color=colour, label=outcome)
            start = start + part[outcome].to_numpy()
        axis.set(title=f"{size:,} disputed episodes", xlim=(0, 1), xlabel="share of heads")
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"The judge on planted heads: {title}")
    return figure


def summarise(rows: pd.DataFrame, title: str) -> str:
    """Returns all tables as Markdown."""
    counts = rows["reads"].value_counts()
    reads = "; ".join(f"{count:,} read {what}" for what, count in counts.items())
    text = [
        f"# The judge on planted heads: {title}\n",
        f"Of the planted heads {reads}. Rates are of those that are right on easy episodes.\n",
    ]
    for size, part in rows.groupby("disputed"):
        text += [f"## {size:,} disputed episodes\n", *list_rates(part), ""]
        text += [*tabulate(part), ""]
    return "\n".join(text)


def list_rates(rows: pd.DataFrame) -> list[str]:
    """Returns a line for each outcome: how often it came about."""
    from verdict.calibration.rates import add_outcomes, rate, rate_false_translators, select_able

    able = add_outcomes(select_able(rows))
    rates = {name: rate(able[name], able["predictor"]) for name in ("right", "undecided", "wrong")}
    rates["called translators without being one"] = rate_false_translators(rows)
    lines = []
    for name, share in rates.items():
        n = share.predictors
        limits = (
            f"at most {100 * share.high:.1f}% over {n} predictor{'s' * (n > 1)};"
            f" {100 * share.high_by_head:.2f}% if heads were independent"
        )
        lines.append(f"- {name}: {100 * share.value:.2f}% of {share.heads:,} heads ({limits})")
    return lines


def tabulate(rows: pd.DataFrame) -> list[str]:
    """Returns the confusion matrix as the lines of a Markdown table."""
    from verdict.calibration.rates import count_confusions

    matrix = count_confusions(rows)
    right = rows.groupby("head")["right"].mean().to_dict()
    headings = ["planted head", *(name.replace("_", " ") for name in matrix.columns), "right"]
    lines = [f"| {' | '.join(headings)} |", "| --- |" + " --- |" * (len(headings) - 1)]
    for name, counts in matrix.iterrows():
        cells = [str(name).replace("_", " "), *map(str, counts), f"{100 * right[name]:.1f}%"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@hydra.main(version_base="1.3", config_path="../../configs", config_name="calibrate")
def main(config: DictConfig) -> None:
    """Calibrates, writes and prints."""
    from hydra.core.hydra_config import HydraConfig
    from rich.markdown import Markdown

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        rows = calibrate(to_plain_values(config))
    except Exception as error:
        exit_for_mistake(error)
        raise
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    count = rows["predictor"].nunique()
    predictors = "1 predictor" if count == 1 else f"{count} predictors"
    write(rows, folder, f"{settings.runtime.choices['world']}, {predictors}")
    open_console().print(Markdown((folder / SUMMARY).read_text(encoding="utf-8")))
    print(folder)


if __name__ == "__main__":
    run_command(main, "Stopped: nothing is written.")
