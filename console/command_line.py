"""The command line: names of folders, and a user's mistake in one line."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from console.errors import UserError, describe_disk_error, did_you_mean
from console.printing import print_any_text, to_ascii

LAUNCHERS = {"joblib": "joblib", "ray": "ray", "submitit": "slurm"}
"""From the first word of a launcher's name to the extra of this project that installs it."""
KEYS_NOT_IN_NAME = ("hydra", "trainer", "logger", "experiment")
"""Keys that are no part of a run's name: they change no result, or the config holds their values
under other keys.
"""
CHOICES = ("world", "core_model", "reporter", "prior")
"""The groups whose choices a run's name begins with."""


def to_plain_values(config: DictConfig) -> dict[str, Any]:
    """Returns a run's config as plain values, without Hydra's own part and without the name of an
    experiment, whose values it holds.
    """
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key not in ("hydra", "experiment")}


def name_runs() -> None:
    """Registers the resolver of `${run_name:}`, which train.yaml uses."""
    OmegaConf.register_new_resolver("run_name", _build_run_name, replace=True)


def name_sweep(words: Sequence[str]) -> None:
    """Names a sweep's folder after the words on the command line.

    The name is kept in the environment: the runs of a sweep have different overrides, and all of
    them need the same name.
    """
    overrides = sorted(word for word in words if "=" in word and not word.startswith("hydra"))
    values = " ".join(overrides).replace(",", "+")
    readable = "".join(letter if letter.isalnum() or letter in "=.+" else "-" for letter in values)
    os.environ["ELK_SWEEP_NAME"] = f"sweep-{readable[:60]}-{_hash(values)[:6]}"


def run_command(main: Callable[[], None], stopped: str) -> None:
    """Runs a command, and exits with one line for a user's mistake; with ELK_TRACE set, with the
    whole traceback.

    Args:
        stopped: the line that is printed after Ctrl-C.
    """
    print_any_text()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(f"\n{stopped}")
    except Exception as error:
        message = describe_user_error(error)
        if message is None or "ELK_TRACE" in os.environ:
            raise
        sys.exit(f"error: {message}")


def describe_user_error(error: Exception) -> str | None:
    """Returns a user's mistake in one line; None where the error is not the user's."""
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, UserError):
        return str(error)
    disk_error = describe_disk_error(error)
    if disk_error:
        return disk_error
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        name = to_ascii(str(error.object))
        return f"{name}: the locale is ASCII, and this name is not. Set PYTHONUTF8=1."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}. Name another folder, or make it writable."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _describe_missing_choice(error.missing_cfg_file, error.options)
    if isinstance(error, ValueError) and str(error).startswith("Only one of --run"):
        command = "python train.py +sweep=NAME --cfg job"
        return f"{error}. The config of a sweep is shown without -m: {command}"
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _describe_unknown_key(error) or " ".join(str(error).split())
    return None


def _describe_missing_choice(file: str, options: Sequence[str]) -> str:
    """Returns a message for a group's choice that does not exist."""
    group, _, choice = file.rpartition("/")
    extra = LAUNCHERS.get(choice.split("_")[0])
    if group == "hydra/launcher" and extra:
        return f"hydra/launcher: {choice} is not installed. Run: pip install -e '.[{extra}]'"
    suggestion = did_you_mean(choice, options)
    return f"{group}: there is no choice {choice}.{suggestion} There are: {', '.join(options)}."


def _describe_unknown_key(error: Exception) -> str | None:
    """Returns a message for a key that does not exist; None for an error of another kind."""
    from omegaconf.errors import OmegaConfBaseException

    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None)
    parent = getattr(cause, "parent_node", None)
    if not key or not isinstance(parent, DictConfig):
        return None
    known = [str(name) for name in parent if name not in ("hydra", "_target_")]
    suggestion = did_you_mean(str(key).rpartition(".")[2], known)
    return f"{key}: no such key.{suggestion} There are: {', '.join(known) or 'none'}."


def _build_run_name(*, _root_: DictConfig) -> str:
    """Returns a name from a run's choices and a hash of everything that decides its results."""
    values = OmegaConf.to_container(_root_, resolve=False)
    assert isinstance(values, dict)
    deciding = {str(key): value for key, value in values.items() if key not in KEYS_NOT_IN_NAME}
    choices = [str(_root_.hydra.runtime.choices[group]) for group in CHOICES]
    digest = _hash(json.dumps(deciding, sort_keys=True))[:8]
    return f"{'-'.join(choices)}-{digest}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
