"""What goes wrong while a config is composed, each in one line: overrides, choices and keys."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from traceback import walk_tb

from omegaconf import DictConfig

from console.errors import did_you_mean
from console.yaml_files import CONFIGS, describe_unreadable_yaml, read_choices

LAUNCHERS = {"joblib": "joblib", "ray": "ray", "submitit": "slurm"}
"""From the first word of a launcher's name to the extra of this project that installs it."""
EXAMPLE = """'core_model.model="/data/epoch=3/model"'"""


def describe_composing_error(error: Exception) -> str | None:
    """Returns what is wrong with a config; None for an error of another kind."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    text = str(error)
    if isinstance(error, OverrideParseException):
        return _describe_override(error.override)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        return _describe_missing_choice(error.missing_cfg_file, error.options)
    if isinstance(error, ValueError) and text.startswith("Only one of --run"):
        command = "python train.py +sweep=NAME --cfg job"
        return f"{error}. The config of a sweep is shown without -m: {command}"
    if isinstance(error, ValueError) and text.startswith("Config group override must be"):
        return _describe_choice_without_name() or text
    unreadable = describe_unreadable_yaml() if _may_come_from_yaml(error) else None
    if unreadable:
        return unreadable
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _describe_unknown_key(error) or " ".join(text.split())
    if isinstance(error, ValueError) and _is_raised_by_hydra(error):
        return " ".join(text.split())
    return None


def _may_come_from_yaml(error: Exception) -> bool:
    """Whether an error is one that an unreadable YAML file causes, among other things."""
    from omegaconf.errors import GrammarParseError, KeyValidationError
    from yaml import YAMLError

    kinds = (YAMLError, UnicodeDecodeError, GrammarParseError, KeyValidationError)
    texts = ("Invalid loaded object", "header format", "Too many components", "Cannot merge")
    has_text = any(text in str(error) for text in texts)
    return has_text or isinstance(error, kinds) or isinstance(error.__cause__, kinds)


def _describe_override(word: str) -> str:
    """Returns a message for a word of the command line that cannot be parsed, with the word as it
    can be, where quotes are all that it lacks.
    """
    key, equals, value = word.partition("=")
    if not equals or not key:
        return f"{word}: it sets no key. Write key=value, or ~key to delete one."
    if value[:1] in ("[", "{"):
        return (
            f"{word}: the list or dictionary cannot be read. Write '{key}=[1,2]' or"
            f" '{key}={{name:1}}', with text that has special letters in double quotes."
        )
    sweeps = {"-m", "--multirun"} & set(sys.argv)
    texts = [_quote(text) for text in (value.split(",") if sweeps else [value])]
    quoted = f"{key}={','.join(texts)}"
    if _can_be_parsed(quoted):
        return f"{word}: text with special letters needs quotes. Write {shlex.quote(quoted)}"
    return f"{word}: it cannot be read. Write key=value, with special letters quoted: {EXAMPLE}"


def _quote(text: str) -> str:
    text = text.strip("'\"").replace('"', '\\"')
    return f'"{text}"'


def _can_be_parsed(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


def _describe_missing_choice(file: str, options: Sequence[str]) -> str:
    """Returns a message for a group's choice that does not exist."""
    group, _, choice = file.rpartition("/")
    extra = LAUNCHERS.get(choice.split("_")[0])
    if group == "hydra/launcher" and extra:
        return f"hydra/launcher: {choice} is not installed. Run: pip install -e '.[{extra}]'"
    suggestion = did_you_mean(choice, options)
    return f"{group}: there is no choice {choice}.{suggestion} There are: {', '.join(options)}."


def _describe_choice_without_name() -> str | None:
    """Returns a message for a group that is given null, a number or a dictionary."""
    import yaml

    for word in sys.argv[1:]:
        key, equals, value = word.partition("=")
        group = key.lstrip("+")
        if not equals or not group or isinstance(yaml.safe_load(value), list):
            continue
        for choice in [value] if value[:1] == "{" else value.split(","):
            is_name = isinstance(yaml.safe_load(choice), str)
            message = None if is_name else _describe_choice(group, choice)
            if message:
                return message
    return None


def _describe_choice(group: str, choice: str) -> str | None:
    """Returns a message for a group's choice that is no name; None where there is no such group."""
    if choice == "null" and group.startswith("hydra/"):
        return f"{group}: it cannot be null. Leave the word out."
    if choice == "null" and group in read_choices():
        return describe_missing_part(group)
    if not (CONFIGS / group).is_dir():
        return None
    choices = ", ".join(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))
    return f"{group}: {choice} is not the name of a choice. There are: {choices}."


def describe_missing_part(group: str) -> str:
    """Returns a message for a group without a choice."""
    example = f"{group}={read_choices()[group]}"
    return f"{group}: it is null or deleted, and a run needs it. Choose one, for example {example}"


def _describe_unknown_key(error: Exception) -> str | None:
    """Returns a message for a key that does not exist; None for an error of another kind."""
    from omegaconf.errors import GrammarParseError, OmegaConfBaseException

    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None)
    parent = getattr(cause, "parent_node", None)
    if not key or not isinstance(parent, DictConfig) or isinstance(cause, GrammarParseError):
        return None
    known = [str(name) for name in parent if name not in ("hydra", "_target_")]
    suggestion = did_you_mean(str(key).rpartition(".")[2], known)
    what_there_is = f"There are: {', '.join(known)}." if known else "Nothing can be set here."
    return f"{key}: no such key.{suggestion} {what_there_is}"


def _is_raised_by_hydra(error: Exception) -> bool:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__", "").startswith("hydra.")
