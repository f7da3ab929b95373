"""Groups runs by their setting. Heads are compared only within a setting, arm by arm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from report.arms import TRAINED_BY, add_options, find_differing, flatten, list_options, name_arms
from report.settling import compare_across_arms
from storage.run_folder import IGNORED_KEYS

if TYPE_CHECKING:
    import pandas as pd

    from report.runs import Run

COMPARED = (
    "prior",
    "reporter",
    "seeds",
    "predictors",
    "planted_costs",
    "strengths",
    "levels",
    "bill",
    "alignment",
    "run",
    *TRAINED_BY,
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
    data and judge. How heads are trained is part of their arm.
    """

    name: str
    """The world and the core model; where there are several settings, also the options in which
    this one differs.
    """
    runs: tuple[Run, ...]
    heads: pd.DataFrame
    """The heads of all runs, one row per head. `prior` is the name of the arm; that and the name of
    the reporter include the options in which runs differ.
    """


def group_by_setting(runs: tuple[Run, ...]) -> list[Setting]:
    """Returns the settings of runs, the one with most runs first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps(extract_setting(run.config), sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    ordered = sorted(groups.values(), key=len, reverse=True)
    options = [dict(flatten(extract_setting(group[0].config))) for group in ordered]
    differing_keys = find_differing(options)
    settings = []
    for group, own_options in zip(ordered, options, strict=True):
        heads = _drop_duplicates(_name_arms(group))
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


def _drop_duplicates(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns each head once. Of several rows of a head, the one with the fewest missing values
    stays: runs may differ in how much of the bill they compute.
    """
    fullest = heads.notna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    return heads.loc[fullest].drop_duplicates(HEAD).sort_index(ignore_index=True)


def _name_arms(group: list[Run]) -> pd.DataFrame:
    """Returns the heads of runs under the names of their arms. Where runs of the same reporter
    differ in its options, these are added to its name.
    """
    import pandas as pd

    frames = [run.heads for run in group]
    heads = pd.concat(frames, ignore_index=True)
    sizes = [len(frame) for frame in frames]
    configs = [run.config for run in group]
    arms = name_arms([str(frame["prior"].iloc[0]) for frame in frames], configs)
    reporters = [str(frame["reporter"].iloc[0]) for frame in frames]
    options = list_options(reporters, [dict(flatten(config["reporter"])) for config in configs])
    named = [add_options(name, own) for name, own in zip(reporters, options, strict=True)]
    for part, full_names in (("prior", arms), ("reporter", named)):
        heads[part] = pd.Series(full_names).repeat(sizes).to_numpy(object)
    priors = [json.dumps(config.get("prior"), sort_keys=True, default=str) for config in configs]
    return compare_across_arms(heads, pd.Series(priors).repeat(sizes).reset_index(drop=True))
