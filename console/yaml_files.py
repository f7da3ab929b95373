"""The YAML files of configs/, and those that cannot be read: which file, which line, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

CONFIGS = Path(__file__).parents[1] / "configs"


def read_choices() -> dict[str, str]:
    """Returns the choice that train.yaml makes in each group."""
    choices: dict[str, str] = {}
    for item in OmegaConf.load(CONFIGS / "train.yaml").defaults:
        if isinstance(item, DictConfig):
            choices |= {str(group): str(choice) for group, choice in item.items()}
    return choices


def describe_unreadable_yaml() -> str | None:
    """Returns what is wrong with the first YAML file of this command that cannot be read; None
    where all can.
    """
    for folder in _list_config_folders():
        for path in sorted(folder.rglob("*.yaml")):
            fault = find_fault(path) if path.is_file() else None
            if fault:
                return fault
    return None


def find_fault(path: Path) -> str | None:
    """Returns why a YAML file holds no keys and values, in one line; None where it does."""
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError, YAMLError
    from yaml.reader import ReaderError

    try:
        content = OmegaConf.load(path)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _format(path, mark.line if mark else 0, f"{error.problem}. Correct this line.")
    except ReaderError as error:
        line = path.read_text(encoding="utf-8")[: error.position].count("\n")
        return _format(path, line, f"{error.reason}. Remove the character.")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n")
        return _format(path, line, "it is not UTF-8. Save the file as UTF-8.")
    except OmegaConfBaseException as error:
        cause = str(error).partition("\n")[0]
        return _format(path, _find_key(path, error.full_key), f"{cause}. Correct this line.")
    except (OSError, YAMLError) as error:
        if isinstance(error, OSError) and error.filename:
            return f"{path}: {error.strerror}. Make the file readable."
        content = OmegaConf.create([])
    wrong_header = _find_wrong_header(path)
    if wrong_header is not None:
        return _format(path, wrong_header, "such a line has one word after it: # @package _global_")
    if isinstance(content, DictConfig):
        return None
    line = _find_first_line(path)
    return _format(path, line, "the file holds no keys. Write key: value on each line.")


def _list_config_folders() -> Iterator[Path]:
    """Yields the folders that this command reads YAML files from, the user's own first."""
    words = sys.argv[1:]
    for number, word in enumerate(words, start=1):
        option, _, value = word.partition("=")
        if option in ("--config-dir", "-cd"):
            yield Path(value or "".join(words[number : number + 1]))
    yield CONFIGS


def _find_key(path: Path, key: str | None) -> int:
    """Returns the first line that holds the last part of a key."""
    last = (key or "null").rpartition(".")[2]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if line.strip().startswith(f"{last}:"):
            return number
    return 0


def _find_wrong_header(path: Path) -> int | None:
    """Returns the first line of Hydra's own that has not a name and one word; None without one."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        words = line.strip().lstrip("#").split()
        if line.strip() and not line.strip().startswith("#"):
            return None
        if words and words[0].startswith("@") and len(words) != 2:
            return number
    return None


def _find_first_line(path: Path) -> int:
    """Returns the first line that is neither empty nor a comment."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        if line.strip() and not line.strip().startswith("#"):
            return number
    return 0


def _format(path: Path, line: int, cause: str) -> str:
    return f"{path}, line {line + 1}: {' '.join(cause.split())}"
