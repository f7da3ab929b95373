"""Groups runs by their setting. Heads are compared only within a setting, and priors and reporters
are named by the options in which they differ.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.run_folder import IGNORED_KEYS

if TYPE_CHECKING:
    import pandas as pd

    from report.runs import Run

COMPARED = (
    "prior",
    "reporter",
    "seeds",
    "strengths",
    "levels",
    "bill",
    "alignment",
    "run",
    *IGNORED_KEYS,
)
"""Keys of a config in which runs of one setting may differ. The seed of the core model may differ
too.
"""
HEAD = ["predictor", "reporter", "prior", "strength", "seed", "levels"]
"""Columns that identify a head within a setting. A head that occurs in several runs counts once."""
MOST_DRAWN = 12
"""Largest number of settings of which figures are drawn."""
MOST_OPTIONS = 4
"""Largest number of options in the name of a setting."""


@dataclass(frozen=True)
class Setting:
    """Runs whose heads may be compared: they have the same world, core model (except for its seed),
    data, training and judge.
    """

    name: str
    """The world and the core model; where there are several settings, also the options in which
    this one differs.
    """
    runs: tuple[Run, ...]
    heads: pd.DataFrame
    """The heads of all runs, one row per head. Names of priors and reporters include the options
    in which runs differ.
    """


def group_by_setting(runs: tuple[Run, ...]) -> list[Setting]:
    """Returns the settings of runs, the one with most runs first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps(extract_setting(run.config), sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    ordered = sorted(groups.values(), key=len, reverse=True)
    options = [dict(flatten(extract_setting(group[0].config))) for group in ordered]
    differing_keys = _find_differing(options)
    settings = []
    for group, own_options in zip(ordered, options, strict=True):
        heads = _drop_duplicates(_add_options_to_names(group))
        name = ", ".join(map(str, [*heads["world"].unique(), *heads["core_model"].unique()]))
        differing = [
            f"{key} {value}"
            for key, value in own_options.items()
            if key in differing_keys and not key.endswith("_target_")
        ]
        if differing:
            name += f" ({', '.join(differing[:MOST_OPTIONS])})"
        settings.append(Setting(name, tuple(group), heads))
    return settings


def describe_several_settings(settings: list[Setting]) -> list[str]:
    """Returns a line that names the settings and their numbers of runs, and one about those that
    are not drawn; none for one setting.
    """
    if len(settings) < 2:
        return []
    counts = []
    for setting in settings:
        n = len(setting.runs)
        counts.append(f"{setting.name}: {n} {'run' if n == 1 else 'runs'}")
    last = ", ".join(run.name for run in settings[-1].runs[:3])
    notices = [
        f"Runs of {len(settings)} settings are shown one after the other and never pooled."
        f" {'; '.join(counts)}. Runs of the last setting: {last}."
    ]
    if len(settings) > MOST_DRAWN:
        notices.append(
            f"Figures are drawn of the {MOST_DRAWN} settings with the most runs. To draw another,"
            " name the folders of its runs alone."
        )
    return notices


def extract_setting(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a config that must be equal for runs to be compared."""
    shared = {key: value for key, value in config.items() if key not in COMPARED}
    core_model = dict(shared.get("core_model", {}))
    core_model.pop("seed", None)
    return shared | {"core_model": core_model}


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


def _drop_duplicates(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns each head once. Of several rows of a head, the one with the fewest missing values
    stays: runs may differ in how much of the bill they compute.
    """
    fullest = heads.notna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    return heads.loc[fullest].drop_duplicates(HEAD).sort_index(ignore_index=True)


def _add_options_to_names(group: list[Run]) -> pd.DataFrame:
    """Returns the heads of runs. Where runs of the same prior (or reporter) differ in its options,
    the options are added to its name.
    """
    import pandas as pd

    frames = [run.heads for run in group]
    heads = pd.concat(frames, ignore_index=True)
    sizes = [len(frame) for frame in frames]
    for part in ("prior", "reporter"):
        names = [str(frame[part].iloc[0]) for frame in frames]
        options = [dict(flatten(run.config[part])) for run in group]
        full_names = _name_with_options(names, options)
        if full_names != names:
            heads[part] = pd.Series(full_names).repeat(sizes).to_numpy(object)
    return heads


def _name_with_options(names: list[str], options: list[dict[str, str]]) -> list[str]:
    """Returns the names, each with those of its options in which others of the same name differ.

    >>> _name_with_options(["a", "a", "b"], [{"x": "1"}, {"x": "2"}, {"x": "3"}])
    ['a (x 1)', 'a (x 2)', 'b']
    """
    same_name: dict[str, list[dict[str, str]]] = {}
    for name, own_options in zip(names, options, strict=True):
        same_name.setdefault(name, []).append(own_options)
    differing = {name: _find_differing(same) for name, same in same_name.items()}
    full_names = []
    for name, own_options in zip(names, options, strict=True):
        shown = [f"{key} {own_options[key]}" for key in own_options if key in differing[name]]
        full_names.append(f"{name} ({', '.join(shown)})" if shown else name)
    return full_names


def _find_differing(options: list[dict[str, str]]) -> set[str]:
    """Returns the keys that some lack, or that have several values."""
    values: dict[str, set[str]] = {}
    counts = Counter[str]()
    for own_options in options:
        counts.update(own_options.keys())
        for key, value in own_options.items():
            values.setdefault(key, set()).add(value)
    return {key for key in values if len(values[key]) > 1 or counts[key] < len(options)}
