"""Names the arms of a comparison. An arm is a prior with its options and the training and optimizer
that found its heads; it is named by what tells it from the others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import configs

CONFIGS = Path(configs.__file__).parent
TRAINED_BY = ("training", "optimizer")
"""Keys of a config that say how heads are trained."""
SHORT = {"halting_bonus": "bonus"}
"""Short words for options in names."""
WITHOUT_PRIOR = r"none(?: \(.*)?"
"""Names of the arms without a prior."""
OLD = "earlier version"
"""What names runs that were made before there were optimizers to choose."""
Options = dict[str, str]


def has_no_prior(names: pd.Series) -> pd.Series:
    """Returns which of these arms have no prior.

    >>> has_no_prior(pd.Series(["none", "none (sgd)", "nonesuch"])).tolist()
    [True, True, False]
    """
    return names.str.fullmatch(WITHOUT_PRIOR)


def is_without_prior(name: str) -> bool:
    """Returns whether the arm of this name has no prior."""
    return name == "none" or name.startswith("none (")


def name_arms(priors: list[str], run_configs: list[dict[str, Any]]) -> list[str]:
    """Returns the name of the arm of each run: its prior, the options in which others of this prior
    differ, and what of its training is not shared by all runs.

    Runs of an earlier version are told from each other by their training's own options.
    """
    kinds, own = [], []
    for prior, config in zip(priors, run_configs, strict=True):
        is_old = "optimizer" not in config
        kinds.append(f"{prior}, {OLD}" if is_old else prior)
        parts = ("prior", "training") if is_old else ("prior",)
        own.append(dict(flatten({part: config.get(part, {}) for part in parts})))
    options = list_options(kinds, own)
    trainings = [describe_training(config) for config in run_configs]
    shared = set(trainings[0]).intersection(*trainings)
    names = []
    for prior, own_options, training in zip(priors, options, trainings, strict=True):
        own_training = [word for word in training if word not in shared]
        names.append(add_options(prior, [*own_options, *own_training]))
    return names


def list_options(names: list[str], options: list[Options]) -> list[list[str]]:
    """Returns for each name those of its options in which others of the same name differ.

    >>> list_options(["a", "a", "b"], [{"x": "1"}, {"x": "2"}, {"x": "3"}])
    [['x 1'], ['x 2'], []]
    """
    same_name: dict[str, list[Options]] = {}
    for name, own_options in zip(names, options, strict=True):
        same_name.setdefault(name, []).append(own_options)
    differing = {name: find_differing(same) for name, same in same_name.items()}
    listed = []
    for name, own_options in zip(names, options, strict=True):
        keys = [key for key in own_options if key in differing[name]]
        listed.append([f"{_shorten(key)} {own_options[key]}" for key in keys])
    return listed


def add_options(name: str, options: list[str]) -> str:
    """Returns a name with options in brackets; without options, the name."""
    return f"{name} ({', '.join(options)})" if options else name


def describe_training(config: dict[str, Any]) -> tuple[str, ...]:
    """Returns in words how a config trains heads: the choices of training and optimizer, where
    they are not the default ones, and the options in which it departs from its choice.
    """
    if "optimizer" not in config:
        return (OLD,)
    words: tuple[str, ...] = ()
    for group in TRAINED_BY:
        words += _describe_choice(group, json.dumps(config[group], sort_keys=True, default=str))
    return words


def find_differing(options: list[Options]) -> set[str]:
    """Returns the keys that some lack, or that have several values."""
    values: dict[str, set[str]] = {}
    counts = Counter[str]()
    for own_options in options:
        counts.update(own_options.keys())
        for key, value in own_options.items():
            values.setdefault(key, set()).add(value)
    return {key for key in values if len(values[key]) > 1 or counts[key] < len(options)}


def flatten(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the plain values of a nested config with dotted keys.

    >>> list(flatten({"world": {"steps": 16, "human": "last_frame"}}))
    [('world.steps', '16'), ('world.human', 'last_frame')]
    """
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flatten(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(node)


def _shorten(key: str) -> str:
    """Returns an option's name without its part.

    >>> _shorten("training.halting_bonus"), _shorten("prior.scale.low")
    ('bonus', 'scale.low')
    """
    for part in ("prior.", *(f"{group}." for group in TRAINED_BY)):
        key = key.removeprefix(part)
    return SHORT.get(key, key)


@lru_cache
def _describe_choice(group: str, serialized: str) -> tuple[str, ...]:
    """Returns the choice of a group that is nearest to these options, and what departs from it."""
    options = dict(flatten(json.loads(serialized)))
    choices = _read_choices(group, CONFIGS)
    default = _find_default(group, CONFIGS)

    def rank(name: str) -> tuple[bool, int, bool]:
        differing = find_differing([options, choices[name]])
        return "_target_" in differing, len(differing), name != default

    nearest = min(choices, key=rank, default="")
    words = [] if nearest in ("", default) else [nearest.replace("_", " ")]
    for key in sorted(find_differing([options, choices.get(nearest, {})])):
        if key == "_target_":
            words.append(options.get(key, "").rpartition(".")[2].lower())
        else:
            words.append(f"{_shorten(key)} {options.get(key, 'unset')}")
    return tuple(words)


@lru_cache
def _read_choices(group: str, folder: Path) -> dict[str, Options]:
    """Returns the options of each choice of a group, by its name."""
    choices = {}
    for path in sorted((folder / group).glob("*.yaml")):
        choices[path.stem] = dict(flatten(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return choices


@lru_cache
def _find_default(group: str, folder: Path) -> str:
    """Returns the choice of a group that a run has if its command names none."""
    train = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
    for entry in train["defaults"]:
        if isinstance(entry, dict) and group in entry:
            return str(entry[group])
    return ""
