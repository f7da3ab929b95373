"""One YAML file for each part, and the one function that builds an object from it: `build`.

The constructor's signature is the schema: the YAML holds a value for every argument, and no other
key.
"""

from __future__ import annotations

import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import OmegaConf

from console.composing import describe_missing_part
from console.errors import UserError, did_you_mean
from console.yaml_files import describe_unreadable_yaml

PARTS = (
    "world",
    "core_model",
    "reporter",
    "prior",
    "training",
    "optimizer",
    "bill",
    "verdict",
    "alignment",
    "trainer",
    "logger",
)
"""The keys of a config that describe a part."""
VALUES = (
    "data",
    "seed",
    "seeds",
    "predictors",
    "planted_costs",
    "strengths",
    "levels",
    "job",
)
"""Its other keys."""
MOVED = {
    "core_model.fitting.Fitting": "compute.trainer.Trainer",
    "priors.bill.Meter": "bill.bill.Meter",
    "sweeps.Sweep": "experiments.sweep.Sweep",
}
"""From the former name of a class to its present one: configs of earlier runs hold the former."""
_UNTYPED = (inspect.Parameter.empty, Any)


@dataclass(frozen=True)
class Parts:
    """The parts of a run, each built once. Their classes belong to folders above this one, so
    comments name their types.
    """

    world: Any  # worlds.world.World
    core_model: Any  # core_model.predictor.CoreModel
    reporter: Callable[[int, int], Any]
    """From a number of levels and a width to a `reporters.reporter.Reporter`."""
    reads_one_level: bool
    """Whether each head is given one level, so that there are heads of each."""
    prior: Any  # priors.prior.Prior
    training: Any  # training.schedule.Schedule, training.convex.Convex
    optimizer: Any  # training.optimizers.optimizer.Optimizer
    bill: Any  # bill.bill.Meter
    verdict: Any  # verdict.judge.Judge
    alignment: Any  # verdict.alignment.Alignment
    trainer: Any  # compute.trainer.Trainer
    logger: Any  # a class of training.loggers
    reporter_class: type = object
    """The class of the heads."""
    reporter_values: Mapping[str, Any] = field(default_factory=dict)
    """The values of its YAML."""

    @property
    def reporter_needs(self) -> tuple[str, ...]:
        """What heads learn from beside easy episodes."""
        return getattr(self.reporter_class, "needs", ())


def build_parts(config: Mapping[str, Any]) -> Parts:
    """Returns the parts of a run.

    Raises:
        UserError: an unknown key, or an unknown, missing or wrongly typed value of a part.
    """
    known = {*PARTS, *VALUES}
    for key in config:
        if key not in known:
            keys = ", ".join(sorted(known))
            raise UserError(f"{key}: no such key.{did_you_mean(key, known)} There are: {keys}.")
    check_groups(config, PARTS)
    reporter = bind(config["reporter"], "reporter", "n_levels", "width")
    parts = {key: build(config[key], key) for key in PARTS if key != "reporter"}
    return Parts(
        reporter=lambda n_levels, width: reporter(n_levels=n_levels, width=width),
        reads_one_level=getattr(reporter.func, "reads", "one_level") == "one_level",
        reporter_class=reporter.func,
        reporter_values=reporter.keywords,
        **parts,
    )


def check_groups(config: Mapping[str, Any], groups: Iterable[str]) -> None:
    """Checks that a config has values for each of these parts.

    Raises:
        UserError: a part is null, deleted, or a single value.
    """
    for group in groups:
        node = config.get(group)
        if node is None:
            raise UserError(describe_missing_part(group))
        if not isinstance(node, Mapping):
            unreadable = describe_unreadable_yaml()
            raise UserError(unreadable or f"{group}: {node!r} is no choice of {group}.")


def build(node: Mapping[str, Any], where: str, **provided: Any) -> Any:
    """Returns the object that a node describes: `_target_` names its class, the other keys are the
    arguments of its constructor.

    Args:
        node: plain values; nodes within it that have a `_target_` are built first.
        where: the node's key, for messages.
        provided: arguments that a run provides and the YAML does not hold.

    Raises:
        UserError: an unknown, missing or wrongly typed value.
    """
    return bind(node, where, *provided)(**provided)


def bind(node: Mapping[str, Any], where: str, *provided: str) -> Any:
    """Returns the class that a node describes, with the node's values checked and filled in.

    Args:
        provided: names of the arguments that the caller passes later.
    """
    if not isinstance(node, Mapping):
        raise UserError(f"{where}: {node!r} is no part. Give it a _target_ and its values.")
    cls = _import_class(node.get("_target_"), where)
    values = {}
    for key, value in node.items():
        if key != "_target_":
            values[key] = _build_nested(value, f"{where}.{key}")
    check(cls, values, where, provided)
    return partial(cls, **values)


def check(cls: type, values: Any, where: str, provided: Iterable[str] = ()) -> None:
    """Checks arguments against a constructor: that they have names, and names and types that fit.

    Raises:
        UserError: the first argument that is unknown, missing or wrongly typed.
    """
    if not isinstance(values, Mapping):
        _refuse_single_value(cls, values, where)
    hints = typing.get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    options = [name for name in inspect.signature(cls).parameters if name not in provided]
    for key in values:
        if key not in options:
            what_it_has = f"It has: {', '.join(options)}." if options else "It has none."
            raise UserError(
                f"{_join(where, key)}: {cls.__name__} has no such option."
                f"{did_you_mean(key, options)} {what_it_has}"
            )
    for key in options:
        path = _join(where, key)
        if key not in values or values[key] == "???":
            raise UserError(
                f"{path}: it has no value, and {cls.__name__} needs one. Set it: {path}=..."
            )
        if not fits(values[key], hints.get(key, Any)):
            _refuse_type(path, values[key], hints[key])
        outside = find_outside(path, values[key], hints.get(key, Any))
        if outside:
            raise UserError(outside)


def _refuse_single_value(cls: type, value: Any, where: str) -> NoReturn:
    """Raises UserError for null, or another single value, in the place of several with names."""
    first = next(iter(inspect.signature(cls).parameters))
    state = "it is null or deleted" if value is None else f"{value!r} is a single value"
    raise UserError(f"{where}: {state}, and a run needs its keys. Set one: {where}.{first}=...")


def _refuse_type(path: str, value: Any, kind: Any) -> NoReturn:
    """Raises UserError for a value of the wrong type; in a dictionary, for its first wrong item."""
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        item_kind = typing.get_args(kind)[1]
        wrong = next(key for key, item in value.items() if not fits(item, item_kind))
        path, value, kind = f"{path}.{wrong}", value[wrong], item_kind
    raise UserError(f"{path}: {value!r} is not {_describe_type(kind)}.")


def fits(value: Any, kind: Any) -> bool:
    """Whether a plain value is of a type. A whole number is a float too; True is not a number, and
    NaN is of no type.
    """
    origin = typing.get_origin(kind)
    inner = typing.get_args(kind)
    if kind in _UNTYPED:
        return True
    if origin is typing.Annotated:
        return fits(value, inner[0])
    if origin is typing.Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, alternative) for alternative in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(fits(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, inner[1]) for item in value.values())
    if kind in (int, float):
        is_nan = isinstance(value, float) and math.isnan(value)
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and not is_nan
    return isinstance(value, kind)


def find_outside(path: str, value: Any, kind: Any) -> str | None:
    """Returns what is wrong with a value of this type, or with one in it, that is outside its
    range, by its key; None where all are within.
    """
    origin = typing.get_origin(kind)
    inner = typing.get_args(kind)
    found: list[str | None] = []
    if origin is typing.Annotated:
        descriptions = [range_.describe_outside(value) for range_ in inner[1:]]
        found = [f"{path}: {description}" for description in descriptions if description]
    elif origin in (typing.Union, types.UnionType):
        found = [find_outside(path, value, other) for other in inner if fits(value, other)]
    elif origin in (list, tuple):
        found = [find_outside(path, item, inner[0]) for item in value]
    elif origin is dict:
        found = [find_outside(_join(path, key), item, inner[1]) for key, item in value.items()]
    return next(filter(None, found), None)


def read_default(path: str) -> dict[str, Any]:
    """Returns the plain values of one of this folder's YAML files, such as trainer/default.yaml."""
    values = OmegaConf.to_container(OmegaConf.load(Path(__file__).parent / path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _import_class(target: Any, where: str) -> type:
    example = "Name a class by its module: reporters.linear.Linear"
    if target is None:
        raise UserError(f"{where}._target_: it is missing. {example}")
    module, _, name = MOVED.get(str(target), str(target)).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{where}._target_: {target} cannot be found ({error}). {example}"
        ) from None


def _build_nested(value: Any, where: str) -> Any:
    """Returns a value with an object in the place of every node that has a `_target_`."""
    if isinstance(value, Mapping) and "_target_" in value:
        return build(value, where)
    if isinstance(value, Mapping):
        return {key: _build_nested(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_build_nested(item, f"{where}.{i}") for i, item in enumerate(value)]
    return value


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _describe_type(kind: Any) -> str:
    """Returns a type in words."""
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "null",
    }
    origin = typing.get_origin(kind)
    inner = typing.get_args(kind)
    if origin is typing.Annotated:
        return _describe_type(inner[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(_describe_type(alternative) for alternative in inner)
    if origin in (list, tuple):
        return f"a list, each item {_describe_type(inner[0])}"
    if origin is dict:
        return f"a name: value list, each value {_describe_type(inner[1])}"
    return names.get(kind, getattr(kind, "__name__", str(kind)))
