"""Files and folders that are whole or absent: written under a temporary name, and renamed when
complete. The umask decides who may read them, whatever wrote them.

This file needs no torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.errors import UserError, describe_disk_error


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary name in the same folder, and renames it to the path after the block.

    Raises:
        UserError: the disk is full, or fails.
    """
    temporary = _name_temporary(path)
    try:
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            _set_mode(temporary, mode)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def make_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yields an empty folder under a temporary name beside the folder, and gives it the folder's
    name after the block; a folder that has the name is deleted then.

    Raises:
        UserError: the disk is full, or fails.
    """
    temporary = _name_temporary(folder)
    try:
        with explain_disk_errors(folder):
            temporary.mkdir(parents=True)
            mode_of_files = temporary.stat().st_mode & 0o666
            yield temporary
            for path in temporary.iterdir():
                _set_mode(path, mode_of_files)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Turns what is raised in the block because a disk is full, or fails, into one line about the
    path that is written.
    """
    try:
        yield
    except Exception as error:
        message = describe_disk_error(error, path)
        if message is None:
            raise
        raise UserError(message) from error


def _name_temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _set_mode(path: Path, mode: int) -> None:
    """Sets the mode of a file if it is another one; some file systems cannot set any."""
    if path.stat().st_mode & 0o777 != mode & 0o777:
        path.chmod(mode & 0o777)
