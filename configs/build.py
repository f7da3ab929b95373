"""One YAML a part, and the one function that turns a YAML node into an object: `build`.

The constructor's signature is the schema: the YAML holds every value, and nothing else.
"""

from __future__ import annotations

import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from console.errors import UserError, did_you_mean

_NOT_TYPED = (inspect.Parameter.empty, Any)


PARTS = (
    "world",
    "core_model",
    "reporter",
    "prior",
    "training",
    "bill",
    "verdict",
    "alignment",
    "trainer",
    "logger",
)
"""The keys of a config that describe a part."""
VALUES = ("data", "seed", "seeds", "strengths", "levels", "job")
"""Its other keys."""


@dataclass(frozen=True)
class Parts:
    """The parts of a run, built once. Their classes stand in folders above this one, so their types
    are not named here; the comments name them.
    """

    world: Any  # worlds.world.World
    core_model: Any  # core_model.predictor.CoreModel
    reporter: Callable[[int, int], Any]
    """From a number of levels and a width to a `reporters.reporter.Reporter`."""
    prior: Any  # priors.prior.Prior
    training: Any  # training.schedule.Schedule, training.convex.Convex
    bill: Any  # bill.bill.Meter
    verdict: Any  # verdict.judge.Judge
    alignment: Any  # verdict.alignment.Alignment
    trainer: Any  # compute.trainer.Trainer
    logger: Any  # a class of training.loggers


def build_parts(config: Mapping[str, Any]) -> Parts:
    """Returns the parts of a run.

    Raises:
        UserError: an unknown key, or an unknown, missing or wrongly typed value of a part.
    """
    known = {*PARTS, *VALUES}
    for key in config:
        if key not in known:
            suggestion, listed = did_you_mean(key, known), ", ".join(sorted(known))
            raise UserError(f"{key}: no such key.{suggestion} There are: {listed}.")
    reporter = maker(config["reporter"], "reporter", "n_levels", "width")
    built = {key: build(config[key], key) for key in PARTS if key != "reporter"}
    return Parts(reporter=lambda n_levels, width: reporter(n_levels=n_levels, width=width), **built)


def build(node: Mapping[str, Any], where: str, **given: Any) -> Any:
    """Returns the object that a node describes: `_target_` names its class, the other keys are its
    constructor's arguments.

    Args:
        node: plain values; nodes within it that have a `_target_` are built first.
        where: the node's key, for messages.
        given: arguments that a run provides and no YAML holds.

    Raises:
        UserError: an unknown, missing or wrongly typed value.
    """
    return maker(node, where, *given)(**given)


def maker(node: Mapping[str, Any], where: str, *given: str) -> Any:
    """Returns the class that a node describes with its values filled in and checked; only the
    arguments in `given` are left to be passed.
    """
    cls = _class(node.get("_target_"), where)
    values = {
        key: _built(value, f"{where}.{key}") for key, value in node.items() if key != "_target_"
    }
    check(cls, values, where, given)
    return partial(cls, **values)


def check(cls: type, values: Mapping[str, Any], where: str, given: Iterable[str] = ()) -> None:
    """Checks names and types of arguments against a constructor.

    Raises:
        UserError: the first that is unknown, missing or wrongly typed.
    """
    hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    takes = [name for name in inspect.signature(cls).parameters if name not in given]
    name = cls.__name__
    for key in values:
        if key not in takes:
            raise UserError(
                f"{_path(where, key)}: {name} has no such option.{did_you_mean(key, takes)} It has:"
                f" {', '.join(takes) or 'none'}."
            )
    for key in takes:
        if key not in values or values[key] == "???":
            raise UserError(
                f"{_path(where, key)}: it has no value, and {name} needs one. Set it:"
                f" {_path(where, key)}=..."
            )
        if not fits(values[key], hints.get(key, Any)):
            raise UserError(f"{_path(where, key)}: {values[key]!r} is not {_plain(hints[key])}.")


def fits(value: Any, kind: Any) -> bool:
    """Whether a plain value is of a type. A whole number is a float; True is no number; NaN is
    nothing.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in _NOT_TYPED:
        return True
    if origin is typing.Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(fits(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, inner[1]) for item in value.values())
    if kind in (int, float):
        return (
            isinstance(value, (int, kind))
            and not isinstance(value, bool)
            and not (isinstance(value, float) and math.isnan(value))
        )
    return isinstance(value, kind)


def _class(target: Any, where: str) -> type:
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{where}._target_: {target} cannot be found ({error}). Name a class by its module:"
            " reporters.linear.Linear"
        ) from None
    return found  # type: ignore[no-any-return]


def _built(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return (
            build(value, where)
            if "_target_" in value
            else {key: _built(item, f"{where}.{key}") for key, item in value.items()}
        )
    return (
        [_built(item, f"{where}.{i}") for i, item in enumerate(value)]
        if isinstance(value, list)
        else value
    )


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _plain(kind: Any) -> str:
    """Returns a type in words."""
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "null",
    }
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(_plain(one) for one in inner)
    if origin in (list, tuple):
        return f"a list, each item {_plain(inner[0])}"
    if origin is dict:
        return f"a name: value list, each value {_plain(inner[1])}"
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def read_default(path: str) -> dict[str, Any]:
    """Returns the plain values of one of this folder's YAML files, such as trainer/default.yaml."""
    values = OmegaConf.to_container(OmegaConf.load(Path(__file__).parent / path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
