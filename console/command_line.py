"""The command line: names of folders, and a user's mistake in one line."""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from console.composing import describe_composing_error
from console.errors import UserError, describe_disk_error
from console.printing import print_any_text, to_ascii

UNREAD = 141
"""The exit code of a program that nobody reads any more: 128 and the number of SIGPIPE."""
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
    """Runs a command, and exits with one line for a user's mistake, and without one where the
    program that reads its output has ended.

    Args:
        stopped: the line that is printed after Ctrl-C.
    """
    print_any_text()
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(f"\n{stopped}")
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            exit_if_unread()
        exit_for_mistake(error)
        raise


def exit_if_unread() -> None:
    """Exits as other programs do if nobody reads the output any more, as after `| head -3`; returns
    otherwise.
    """
    unread = [stream for stream in (1, 2) if _is_unread(stream)]
    for stream in unread:
        # Python flushes its streams once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    if unread:
        sys.exit(UNREAD)


def _is_unread(stream: int) -> bool:
    """Whether a stream leads into a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def exit_for_mistake(error: Exception) -> None:
    """Exits with one line if an error is a user's mistake; returns otherwise, and if ELK_TRACE asks
    for the whole traceback.

    A job of Hydra's calls it inside: about an exception that leaves the job Hydra prints a line of
    its own, about an exit none.
    """
    message = describe_user_error(error)
    if message is not None and "ELK_TRACE" not in os.environ:
        sys.exit(f"error: {message}")


def describe_user_error(error: Exception) -> str | None:
    """Returns a user's mistake in one line; None where the error is not the user's."""
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
    return describe_composing_error(error)


def _build_run_name(*, _root_: DictConfig) -> str:
    """Returns a name from a run's choices and a hash of everything that decides its results."""
    values = OmegaConf.to_container(_root_, resolve=False)
    assert isinstance(values, dict)
    deciding = {str(key): value for key, value in values.items() if key not in KEYS_NOT_IN_NAME}
    choices = [str(_root_.hydra.runtime.choices.get(group)) for group in CHOICES]
    digest = _hash(json.dumps(deciding, sort_keys=True))[:8]
    return f"{'-'.join(choices)}-{digest}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
