"""The cache of predictors and activations: one process makes a file, others wait for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from console.errors import UserError
from storage.tensors import Tensors, load, save


def find_cache_folder() -> Path:
    """Returns the folder of the cache: ELK_CACHE, or elk-reporters in the user's cache.

    Raises:
        UserError: the folder is not writable.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "elk-reporters"
    folder = Path(os.environ.get("ELK_CACHE") or default).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = f"{folder} is not writable ({error.strerror})"
        raise UserError(f"ELK_CACHE: {reason}. Set ELK_CACHE to a writable folder.") from None
    return folder


def load_or_make(
    path: Path, make: Callable[[], tuple[Tensors, dict[str, Any]]]
) -> tuple[Tensors, dict[str, Any]]:
    """Returns the content of a file; makes and saves it first if it is missing or damaged. Other
    processes that need the same file wait until it is complete.
    """
    content = load(path)
    if content is not None:
        return content
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        content = load(path)
        if content is not None:
            return content
        if path.exists():
            print(f"{path} is damaged: recomputing it.", file=sys.stderr)
        content = make()
        save(path, *content)
        return content
