"""Judge the judge: planted heads of known identity on a world and its predictors.

python -m verdict.calibration.__main__ world=vault
python -m verdict.calibration.__main__ world.human=careful hydra.run.dir=runs/calibration/careful
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from configs.build import build, check
from console.command_line import in_one_line, plain
from console.errors import UserError, did_you_mean
from console.progress import line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

os.environ["HYDRA_FULL_ERROR"] = "1"
PARTS = ("world", "core_model", "verdict", "trainer")
ROWS, SUMMARY, PLOT = "calibration.parquet", "calibration.md", "power.png"
COLOURS = {"right": "#2a9d5c", "undecided": "#c9c9c9", "wrong": "#c0392b"}
"""Undecided: though more episodes would tell."""


@dataclass(frozen=True)
class Plan:
    """The values that belong to no part; calibrate.yaml says what each is."""

    seed: int
    exams: int
    predictors: list[int]
    copies: int
    heads: int
    disputed: list[int]
    easy: int
    probe: int
    told: bool

    def __post_init__(self) -> None:
        for name, least in {
            "seed": 0,
            "exams": 1,
            "copies": 1,
            "heads": 1,
            "easy": 40,
            "probe": 40,
        }.items():
            if getattr(self, name) < least:
                raise UserError(f"{name}: {getattr(self, name)} is too few. Use {least} or more.")
        if not self.disputed or min(self.disputed) < 40:
            raise UserError("disputed: name at least one number, and none below 40.")
        for name in ("predictors", "disputed"):
            if not getattr(self, name) or len(set(getattr(self, name))) < len(getattr(self, name)):
                raise UserError(
                    f"{name}: {getattr(self, name)} must name at least one, and each once."
                )


def calibrated(config: dict[str, Any]) -> Any:
    """Returns the rows of calibration.parquet: every planted head, on every exam of every
    predictor.
    """
    import pandas as pd

    from core_model.reader import ActivationReader
    from storage.cache import cache_folder
    from verdict.calibration.planted import Readers
    from verdict.calibration.rates import calls
    from verdict.exam import exam
    from worlds.parts import parts

    plan = checked(config)
    if config["verdict"]["turn"] is not None:
        raise UserError("verdict.turn: the judge is calibrated at once, not in turns. Use null.")
    world, judge, trainer = (build(config[name], name) for name in ("world", "verdict", "trainer"))
    seeds = plan.predictors if "seed" in config["core_model"] else plan.predictors[:1]
    rows: list[dict[str, Any]] = []
    with line("Starting", len(seeds) * plan.exams) as shown:
        for place, predictor_seed in enumerate(seeds):
            node = config["core_model"] | (
                {"seed": predictor_seed} if "seed" in config["core_model"] else {}
            )
            predictor = build(node, "core_model").predictor(world, cache_folder(), trainer)
            levels, most = tuple(range(predictor.n_levels)), max(plan.disputed)
            for number in range(plan.exams):
                shown.at(
                    place * plan.exams + number,
                    f"Predictor {predictor_seed}, exam {number + 1} of {plan.exams}",
                )
                seed = plan.seed + number
                easy = parts(
                    world.episodes("easy", plan.easy + plan.probe, seed), (plan.easy, plan.probe)
                )
                sat = exam(
                    world,
                    ActivationReader(predictor, world.reads, levels, cache_folder()),
                    (easy[0], easy[1]),
                    most,
                    most // 2,
                    seed,
                    judge.uses,
                )
                found = calls(
                    judge,
                    sat,
                    None if plan.told else Readers.fitted(sat.probed),
                    plan.disputed,
                    plan.copies,
                    plan.heads,
                )
                rows += [
                    {"predictor": predictor.identity, "exam": f"{predictor.identity} {number}"}
                    | row
                    for row in found
                ]
    return pd.DataFrame(rows)


def checked(config: dict[str, Any]) -> Plan:
    """Returns the plan; refuses a config that cannot run."""
    known = {*PARTS, *Plan.__dataclass_fields__}
    for key in config:
        if key not in known:
            raise UserError(
                f"{key}: no such key.{did_you_mean(key, known)} There are:"
                f" {', '.join(sorted(known))}."
            )
    values = {key: value for key, value in config.items() if key not in PARTS}
    check(Plan, values, "")
    return Plan(**values)


def written(rows: Any, folder: Path, title: str) -> None:
    """Writes the rows, the tables in words, and the plot of power."""
    from storage.atomic import replacing
    from verdict.calibration.rates import power

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / ROWS) as temporary:
        rows.to_parquet(temporary, index=False)
    with replacing(folder / SUMMARY) as temporary:
        temporary.write_text(summary(rows, title))
    with replacing(folder / PLOT) as temporary:
        drawn(power(rows), title).savefig(temporary, dpi=150, format="png")


def drawn(shares: Any, title: str) -> Figure:
    """Returns a panel for each number of disputed episodes: of each planted head, the shares called
    right, undecided and wrong.
    """
    from matplotlib.figure import Figure

    sizes, heads = sorted(shares["disputed"].unique()), list(dict.fromkeys(shares["head"]))[::-1]
    figure = Figure(figsize=(3 * len(sizes) + 2, 0.28 * len(heads) + 1.3), layout="constrained")
    axes = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axis, size in zip(axes, sizes, strict=True):
        part, left = shares[shares["disputed"] == size].set_index("head").loc[heads], 0.0
        for outcome, colour in COLOURS.items():
            axis.barh(
                [head.replace("_", " ") for head in heads],
                part[outcome],
                left=left,
                color=colour,
                label=outcome,
            )
            left = left + part[outcome].to_numpy()
        axis.set(title=f"{size:,} disputed episodes", xlim=(0, 1), xlabel="share of heads")
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"The judge on planted heads: {title}")
    return figure


def summary(rows: Any, title: str) -> str:
    """Returns all tables as Markdown."""
    from verdict.calibration.rates import (
        confusion_matrix,
        false_translators,
        judged,
        outcomes,
        rate,
    )

    reads = rows["reads"].value_counts()
    told = "; ".join(f"{count:,} read {what}" for what, count in reads.items())
    text = [
        f"# The judge on planted heads: {title}\n",
        f"Of the planted heads {told}. Rates are of those that are right on easy episodes.\n",
    ]
    for size, part in rows.groupby("disputed"):
        able = judged(part)
        found = {
            name: rate(outcomes(able)[name], able["exam"])
            for name in ("right", "undecided", "wrong")
        }
        found["called translators without being one"] = false_translators(part)
        text.append(f"## {size:,} disputed episodes\n")
        for words, share in found.items():
            limits = (
                f"at most {100 * share.high:.2f}%, or {100 * share.high_by_exam:.2f}% if exams fail"
                " as wholes"
            )
            text.append(f"- {words}: {100 * share.value:.2f}% of {share.heads:,} heads ({limits})")
        text.append("")
        matrix = confusion_matrix(part)
        text.append(
            "| planted head | "
            + " | ".join(name.replace("_", " ") for name in matrix.columns)
            + " | right |"
        )
        text.append("| --- |" + " --- |" * (len(matrix.columns) + 1))
        rights = part.groupby("head")["right"].mean()
        for name, counts in matrix.iterrows():
            text.append(
                f"| {str(name).replace('_', ' ')} | "
                + " | ".join(map(str, counts))
                + f" | {100 * rights[name]:.1f}% |"
            )
        text.append("")
    return "\n".join(text)


@hydra.main(version_base="1.3", config_path="../configs", config_name="calibrate")
def main(config: DictConfig) -> None:
    """Calibrates, writes and prints."""
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console
    from rich.markdown import Markdown

    folder, values = Path(HydraConfig.get().runtime.output_dir), plain(config)
    try:
        rows = calibrated(values)
    except UserError as refusal:
        sys.exit(f"error: {refusal}")
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    count = rows["predictor"].nunique()
    written(
        rows,
        folder,
        f"{HydraConfig.get().runtime.choices['world']}, {count} predictor{'s' * (count > 1)}",
    )
    Console(width=None if Console().is_terminal else 140).print(
        Markdown((folder / SUMMARY).read_text())
    )
    print(folder)


if __name__ == "__main__":
    in_one_line(main, "Stopped: nothing is written.")
