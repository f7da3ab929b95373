"""What runs have in common: heads are compared within one setting only, and named by what tells
them apart within it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.run_folder import NOT_DECIDING

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
    *NOT_DECIDING,
)
"""Parts of a config that runs of one setting may differ in; of the core model it is the seed."""

HEAD = ["predictor", "reporter", "prior", "strength", "seed", "levels"]
"""What makes a head within a setting: whatever run it is trained in, it is the same head, and
counts once.
"""


@dataclass(frozen=True)
class Setting:
    """Runs whose heads may be compared: the same world, core model but for its seed, data, training
    and judge.
    """

    name: str
    """The world and the core model; where there are several settings, what is other in this one."""
    runs: tuple[Run, ...]
    heads: pd.DataFrame
    """Of all runs, one row each; priors and reporters whose options differ between runs are named
    with them.
    """


def settings(runs: tuple[Run, ...]) -> list[Setting]:
    """Returns the settings of runs, the largest first."""
    import pandas as pd

    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(
            json.dumps(setting_of(run.config), sort_keys=True, default=str), []
        ).append(run)
    ordered = sorted(groups.values(), key=len, reverse=True)
    own = [dict(flat(setting_of(group[0].config))) for group in ordered]
    found = []
    for group, values in zip(ordered, own, strict=True):
        heads = _once(pd.concat([_named(run, group) for run in group], ignore_index=True))
        title = ", ".join(
            str(value) for key in ("world", "core_model") for value in heads[key].unique()
        )
        others = [
            f"{key} {value}"
            for key, value in values.items()
            if any(other.get(key) != value for other in own) and not key.endswith("_target_")
        ]
        found.append(
            Setting(
                f"{title} ({', '.join(others[:4])})" if others and len(ordered) > 1 else title,
                tuple(group),
                heads,
            )
        )
    return found


def mixed(found: list[Setting]) -> list[str]:
    """Returns a line that says which runs do not belong together; none where all do."""
    if len(found) < 2:
        return []
    parts = "; ".join(
        f"{setting.name}: {len(setting.runs)} run{'s' * (len(setting.runs) > 1)}"
        for setting in found
    )
    named = ", ".join(run.name for run in found[-1].runs[:3])
    return [
        f"Runs of {len(found)} settings, which are shown one after the other and never pooled."
        f" {parts}. The last are: {named}."
    ]


def setting_of(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a config that runs must share to be compared."""
    shared = {key: value for key, value in config.items() if key not in COMPARED}
    core_model = {
        key: value for key, value in dict(shared.get("core_model", {})).items() if key != "seed"
    }
    return shared | {"core_model": core_model}


def flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields the plain values of a nested config under dotted keys.

    >>> list(flat({"world": {"steps": 16, "human": "last_frame"}}))
    [('world.steps', '16'), ('world.human', 'last_frame')]
    """
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(node)


def _once(heads: pd.DataFrame) -> pd.DataFrame:
    """Returns each head once: of the rows of one, that which says the most, for runs may differ in
    how much of the bill they have.
    """
    fullest = heads.notna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    return heads.loc[fullest].drop_duplicates(HEAD).sort_index(ignore_index=True)


def _named(run: Run, group: list[Run]) -> pd.DataFrame:
    """Returns a run's heads; where runs of one prior (or reporter) have other options, its name
    holds those.
    """
    heads = run.heads
    for part in ("prior", "reporter"):
        name = str(heads[part].iloc[0])
        options = [
            dict(flat(other.config[part]))
            for other in group
            if str(other.heads[part].iloc[0]) == name
        ]
        mine = dict(flat(run.config[part]))
        differing = [key for key in mine if any(other.get(key) != mine[key] for other in options)]
        if differing:
            heads = heads.assign(
                **{part: f"{name} ({', '.join(f'{key} {mine[key]}' for key in differing)})"}
            )
    return heads
