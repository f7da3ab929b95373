"""Planes of a phase map: the runs of a folder by two dials and by arm, what was found in each cell,
and what was predicted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from console.errors import UserError
from report.arms import add_options, flatten, list_options, name_arms
from report.lines import KINDS
from report.phase_map.theory import predict
from report.runs import Run, find
from report.settings import extract_setting

NO_AXIS = ""
"""The first axis of a plane of one row."""
CLEAR = 0.02
"""Nats an episode by which planted costs must differ for a prediction that is held to account."""
MISSED = 0.01
"""Nats an episode by which a head may pay more than the cheaper planted head: beyond that, training
did not find what the prior wants.
"""
WINNERS = {"direct_translator": "translators", "human_imitator": "imitators"}
"""The kinds of head that can be predicted, and their plural."""


@dataclass(frozen=True)
class Cell:
    """The heads of one arm at one place of a plane."""

    place: tuple[str, ...]
    """Its values of the axes."""
    arm: str
    heads: pd.DataFrame
    folder: Path
    predicted: str
    """The kind of head that is predicted; "tie", or empty where nothing is."""
    difference: float
    """Nats an episode by which an imitator costs more than a translator, mean over predictors; NaN
    without planted costs.
    """

    @property
    def shares(self) -> dict[str, float]:
        """The share of each verdict, mean over predictors."""
        by_predictor = self.heads.groupby("predictor")["verdict"].value_counts(normalize=True)
        shares = by_predictor.unstack(fill_value=0).mean()
        return {kind: float(shares.get(kind, 0.0)) for kind in KINDS}

    @property
    def winner(self) -> str:
        """The kind of more than half of the heads; empty where there is none."""
        shares = self.shares
        kind = max(shares, key=shares.__getitem__)
        return kind if shares[kind] > 0.5 else ""

    @property
    def follows(self) -> float:
        """Share of disputed episodes on which heads follow X, mean over predictors."""
        return float(self.heads.groupby("predictor")["follows_concept"].mean().mean())

    @property
    def has_costs(self) -> bool:
        """Whether what is predicted follows from planted costs, and not from theory."""
        return not math.isnan(self.difference)

    @property
    def is_clear(self) -> bool:
        """Whether the planted costs differ by enough for their prediction to count."""
        return abs(self.difference) >= CLEAR

    @property
    def is_accountable(self) -> bool:
        """Whether the prediction is held to account: planted costs differ by enough, or theory
        names a kind.
        """
        return self.is_clear if self.has_costs else self.predicted in WINNERS

    @property
    def holds(self) -> bool:
        """Whether most heads are of the predicted kind."""
        return self.predicted in WINNERS and self.winner == self.predicted

    @property
    def missed(self) -> bool:
        """Whether even the best head pays clearly more than the cheaper planted head, on more than
        half of the predictors.
        """
        if "cost_found" not in self.heads:
            return False
        cheaper = self.heads[["cost_translator", "cost_imitator"]].min(axis=1)
        excess = (self.heads["cost_found"] - cheaper).groupby(self.heads["predictor"]).min()
        return bool(excess.median() > MISSED)

    @property
    def settled(self) -> float:
        """Share of heads that have settled."""
        return float(self.heads["settled"].mean())


@dataclass(frozen=True)
class Plane:
    """All cells of a plane."""

    name: str
    axes: tuple[str, ...]
    """The keys of the config that differ, the one with fewer values first."""
    values: tuple[tuple[str, ...], ...]
    """The values of each axis, in order."""
    arms: tuple[str, ...]
    cells: Mapping[tuple[tuple[str, ...], str], Cell]
    """By place and arm; a cell whose run is not finished is missing."""
    notices: tuple[str, ...]

    @property
    def n_heads(self) -> int:
        """The number of heads."""
        return sum(len(cell.heads) for cell in self.cells.values())

    def list_cells(self, arm: str) -> list[Cell]:
        """Returns the cells of one arm that are there."""
        return [cell for (_, own_arm), cell in self.cells.items() if own_arm == arm]


def read_planes(folder: Path) -> list[Plane]:
    """Returns the planes in a folder.

    Raises:
        UserError: there is no such folder, or no plane in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder. Name the folder of a phase map.")
    planes = []
    for path in sorted(child for child in folder.iterdir() if child.is_dir()):
        if next(path.rglob("heads.parquet"), None):
            planes.append(read_plane(path))
    if not planes:
        raise UserError(
            f"{folder}: no folder in it holds finished runs. Run a plane first:"
            " python train.py +sweep=width_amplitude"
        )
    return planes


def read_plane(folder: Path) -> Plane:
    """Returns one plane.

    Raises:
        UserError: another number of dials than two differs between its runs.
    """
    found = find([folder])
    settings = [list_dials(run.config) for run in found.runs]
    axes = find_axes(folder, settings)
    values = tuple(sort_values({own.get(axis, "") for own in settings}) for axis in axes)
    arms = name_arms_of_plane(found.runs)
    cells = {}
    for run, own, arm in zip(found.runs, settings, arms, strict=True):
        place = tuple(own.get(axis, "") for axis in axes)
        cells[place, arm] = build_cell(run, place, arm)
    order = sorted(set(arms), key=lambda arm: (not arm.startswith("none"), arm))
    return Plane(folder.name, axes, values, tuple(order), cells, tuple(found.notices()))


def list_dials(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns all of a config that may be a dial: what runs of one setting share, and the levels
    that are read.
    """
    levels = config.get("levels")
    return dict(flatten(extract_setting(dict(config)))) | {"levels": format_levels(levels)}


def format_levels(levels: Sequence[int] | None) -> str:
    """Returns levels in words.

    >>> format_levels([3]), format_levels([1, 2]), format_levels(None)
    ('3', '1 2', 'all')
    """
    return "all" if levels is None else " ".join(map(str, levels))


def name_arms_of_plane(runs: Sequence[Run]) -> list[str]:
    """Returns the name of the arm of each run. Where runs of an arm differ in the strengths of
    their prior, these are added.
    """
    priors = [str(run.heads["prior"].iloc[0]) for run in runs]
    arms = name_arms(priors, [run.config for run in runs])
    strengths = [{"strength": format_strengths(run.config["strengths"])} for run in runs]
    options = list_options(arms, strengths)
    return [add_more_options(arm, own) for arm, own in zip(arms, options, strict=True)]


def add_more_options(name: str, options: list[str]) -> str:
    """Returns a name with more options.

    >>> add_more_options("speed (bonus 0)", ["strength 1"]), add_more_options("speed", [])
    ('speed (bonus 0, strength 1)', 'speed')
    """
    if options and name.endswith(")"):
        return f"{name[:-1]}, {', '.join(options)})"
    return add_options(name, options)


def format_strengths(strengths: Sequence[float]) -> str:
    """Returns strengths in words.

    >>> format_strengths([0.125, 1.0])
    '0.125 1'
    """
    return " ".join(f"{strength:g}" for strength in strengths)


def find_axes(folder: Path, settings: list[dict[str, str]]) -> tuple[str, ...]:
    """Returns the two keys in which the settings differ, the one with fewer values first; where one
    differs, `NO_AXIS` and that one.

    Raises:
        UserError: none differs, or more than two.
    """
    counts = {}
    for key in {key for own in settings for key in own}:
        counts[key] = len({own.get(key) for own in settings})
    axes = [key for key, count in counts.items() if count > 1]
    if not axes:
        raise UserError(
            f"{folder}: no dial differs between its runs, so it is a plane of one cell. Run it with"
            " several values of one or two dials; finished runs are kept."
        )
    if len(axes) > 2:
        raise UserError(
            f"{folder}: {len(axes)} dials differ between its runs ({', '.join(sorted(axes))}), and"
            " a plane has two. Give each plane a folder of its own."
        )
    if len(axes) == 1:
        return NO_AXIS, axes[0]
    return tuple(sorted(axes, key=lambda key: (counts[key], key)))


def sort_values(values: Iterable[str]) -> tuple[str, ...]:
    """Returns values in the order of their numbers, where all are numbers.

    >>> sort_values({"10", "2", "0.5"}), sort_values({"b", "a"})
    (('0.5', '2', '10'), ('a', 'b'))
    """
    try:
        return tuple(sorted(values, key=float))
    except ValueError:
        return tuple(sorted(values))


def build_cell(run: Run, place: tuple[str, ...], arm: str) -> Cell:
    """Returns the cell of a run, with what was predicted: by planted costs, or by theory where
    there are none.
    """
    heads = run.heads
    difference = float("nan")
    if "predicts" in heads and heads["predicts"].any() and heads["prior"].iloc[0] != "none":
        difference = average_difference(heads)
        counts = heads.groupby("predictor")["predicts"].first().value_counts()
        predicted = str(counts.index[0])
    else:
        predicted = predict(run.config)
    return Cell(place, arm, heads, run.folder, predicted, difference)


def average_difference(heads: pd.DataFrame) -> float:
    """Returns by how much an imitator costs more, mean over predictors."""
    difference = heads["cost_imitator"] - heads["cost_translator"]
    return float(difference.groupby(heads["predictor"]).mean().mean())


def describe_values(plane: Plane, place: tuple[str, ...]) -> str:
    """Returns the values of a cell, by the last word of each dial."""
    words = []
    for axis, value in zip(plane.axes, place, strict=True):
        if axis != NO_AXIS:
            words.append(f"{name_axis(axis)} {value}")
    return ", ".join(words)


def name_axis(axis: str) -> str:
    """Returns an axis in words.

    >>> name_axis("core_model.concept_width")
    'concept width'
    """
    return axis.rpartition(".")[2].replace("_", " ")
