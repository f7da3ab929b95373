"""What stands between the command line and a run: names of folders, and a user's mistake in one
line.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from console.errors import UserError, did_you_mean

LAUNCHERS = {"joblib": "joblib", "ray": "ray", "submitit": "slurm"}
"""What installs the launchers whose names begin so."""
NAMELESS = ("hydra", "trainer", "logger", "experiment")
"""Keys that change no result, or whose values stand elsewhere in the config: they are no part of a
run's name.
"""
CHOICES = ("world", "core_model", "reporter", "prior")


def plain(config: DictConfig) -> dict[str, Any]:
    """Returns a run's config as plain values, without Hydra's own part and without the name of an
    experiment, whose values it holds.
    """
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key not in ("hydra", "experiment")}


def name_runs() -> None:
    """Makes `${run_name:}` known to train.yaml."""
    OmegaConf.register_new_resolver("run_name", _run_name, replace=True)


def name_sweep(words: Sequence[str]) -> None:
    """Names a sweep's folder after the words on the command line, in the environment: each run of a
    sweep sees other overrides, but the same name.
    """
    values = " ".join(
        sorted(word for word in words if "=" in word and not word.startswith("hydra"))
    ).replace(",", "+")
    readable = "".join(letter if letter.isalnum() or letter in "=.+" else "-" for letter in values)[
        :60
    ]
    os.environ["ELK_SWEEP_NAME"] = (
        f"sweep-{readable}-{hashlib.sha256(values.encode()).hexdigest()[:6]}"
    )


def in_one_line(main: Callable[[], None], stopped: str) -> None:
    """Runs a command, and exits with one line for what stopped it; with ELK_TRACE set, where it
    was.

    Args:
        stopped: what is said after Ctrl-C.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(f"\n{stopped}")
    except Exception as error:
        why = one_line(error)
        if why is None or "ELK_TRACE" in os.environ:
            raise
        sys.exit(f"error: {why}")


def one_line(error: Exception) -> str | None:
    """Returns what a user's mistake comes down to; None where it is none of theirs."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename}: {error.strerror}. Name another folder, or make this one fit to be"
            " written."
        )
    if (
        isinstance(error, MissingConfigException)
        and error.options is not None
        and error.missing_cfg_file
    ):
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        if group == "hydra/launcher" and choice.split("_")[0] in LAUNCHERS:
            return (
                f"hydra/launcher: {choice} is not installed. Run: pip install -e"
                f" '.[{LAUNCHERS[choice.split('_')[0]]}]'"
            )
        return (
            f"{group}: there is no choice {choice}.{did_you_mean(choice, error.options)} There are:"
            f" {', '.join(error.options)}."
        )
    if isinstance(error, ValueError) and str(error).startswith("Only one of --run"):
        return (
            f"{error}. A sweep's config is shown without -m: python train.py +sweep=NAME --cfg job"
        )
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        key, parent = getattr(cause, "full_key", None), getattr(cause, "parent_node", None)
        if key and isinstance(parent, DictConfig):
            known = [str(name) for name in parent if name not in ("hydra", "_target_")]
            return (
                f"{key}: no such key.{did_you_mean(str(key).rpartition('.')[2], known)} There are:"
                f" {', '.join(known) or 'none'}."
            )
        return " ".join(str(error).split())
    return None


def _run_name(*, _root_: DictConfig) -> str:
    """Names a run's folder after its choices and a hash of all that decides its results."""
    values = OmegaConf.to_container(_root_, resolve=False)
    assert isinstance(values, dict)
    deciding = {str(key): value for key, value in values.items() if key not in NAMELESS}
    choices = [str(_root_.hydra.runtime.choices[group]) for group in CHOICES]
    return (
        "-".join(choices)
        + "-"
        + hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:8]
    )
