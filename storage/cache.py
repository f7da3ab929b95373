"""Where predictors and activations are kept, and how one process makes what others wait for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from console.errors import UserError
from storage.tensors import Tensors, load, save


def cache_folder() -> Path:
    """Returns where predictors and activations are kept: ELK_CACHE, or elk-reporters in the user's
    cache.

    Raises:
        UserError: it cannot be written.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "elk-reporters"
    folder = Path(os.environ.get("ELK_CACHE") or default).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"ELK_CACHE: {folder} cannot be written ({error.strerror}). Set ELK_CACHE to a folder"
            " that can."
        ) from None
    return folder


def kept(
    path: Path, make: Callable[[], tuple[Tensors, dict[str, Any]]]
) -> tuple[Tensors, dict[str, Any]]:
    """Returns what a file holds; makes and keeps it first where it is not there or damaged. Others
    who want it at once wait for it.
    """
    found = load(path)
    if found is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(path.name + ".lock")):
        found = load(path)
        if found is None:
            if path.exists():
                print(f"{path} is damaged: made anew.", file=sys.stderr)
            found = make()
            save(path, *found)
    return found
