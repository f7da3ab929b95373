"""Files and folders that are whole or absent, also on a full disk, and readable by whom the umask
says.
"""

import errno
import os
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from console.command_line import describe_user_error
from console.errors import UserError
from storage.atomic import make_folder_atomically, write_atomically
from storage.run_folder import save_table
from storage.tensors import load, save

DISK_ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO]


@pytest.fixture(params=[0o022, 0o002, 0o077], ids=oct)
def mode(request):
    """The mode that files have under a umask, which is in force during the test."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def write_privately(path: Path) -> None:
    """Writes as some libraries do: by a temporary file of their own, for its owner alone."""
    private = path.with_name("private")
    os.close(os.open(private, os.O_CREAT | os.O_WRONLY, 0o600))
    private.replace(path)


def test_the_umask_decides_the_mode_of_a_file_whatever_wrote_it(tmp_path, mode):
    with write_atomically(tmp_path / "private") as temporary:
        write_privately(temporary)
    with write_atomically(tmp_path / "plain") as temporary:
        temporary.write_text("plain", encoding="utf-8")
    save(tmp_path / "a.safetensors", {"z": torch.zeros(3)}, {})
    save_table(tmp_path, "a.parquet", pd.DataFrame({"a": [1]}))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("private", "plain", "a.safetensors", "a.parquet"), mode)


def test_the_umask_decides_the_modes_of_a_folder_and_its_files(tmp_path, mode):
    with make_folder_atomically(tmp_path / "folder") as temporary:
        write_privately(temporary / "private")
        (temporary / "plain").write_text("plain", encoding="utf-8")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "folder").iterdir()}
    assert modes == {"private": mode, "plain": mode}
    assert (tmp_path / "folder").stat().st_mode & 0o666 == mode


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path):
    folder = tmp_path / "folder"

    def write(text: str, fails: bool) -> None:
        with make_folder_atomically(folder) as temporary:
            (temporary / text).touch()
            if fails:
                raise KeyboardInterrupt

    write("old", fails=False)
    with pytest.raises(KeyboardInterrupt):
        write("new", fails=True)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in folder.iterdir()] == ["old"]
    write("new", fails=False)
    assert [path.name for path in folder.iterdir()] == ["new"]


def fail_as_python_does(code: int, path: Path) -> None:
    path.write_text("half", encoding="utf-8")
    raise OSError(code, os.strerror(code))


def fail_as_libraries_do(code: int, path: Path) -> None:
    path.write_text("half", encoding="utf-8")
    raise RuntimeError(f"I/O error: {os.strerror(code)} (os error {code})")


def fail_on_the_way(code: int, path: Path) -> None:
    try:
        fail_as_python_does(code, path)
    except OSError:
        raise RuntimeError("unexpected pos 640 vs 534")  # noqa: B904


@pytest.mark.parametrize("code", DISK_ERRORS)
@pytest.mark.parametrize("fail", [fail_as_python_does, fail_as_libraries_do, fail_on_the_way])
def test_a_full_or_broken_disk_is_one_line_and_leaves_what_was_whole(tmp_path, code, fail):
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    def write() -> None:
        with write_atomically(path) as temporary:
            fail(code, temporary)

    with pytest.raises(UserError) as refusal:
        write()
    assert str(refusal.value).startswith(f"{path}: {os.strerror(code)}. ")
    assert "another disk" in str(refusal.value) and "\n" not in str(refusal.value)
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


def test_other_errors_are_not_taken_for_those_of_a_disk(tmp_path):
    def write(error: Exception) -> None:
        with write_atomically(tmp_path / "file"):
            raise error

    for error in (ValueError("No"), OSError(errno.EACCES, "Permission denied")):
        with pytest.raises(type(error)):
            write(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", DISK_ERRORS)
def test_a_disk_error_from_anywhere_is_one_line_of_the_command_line(code):
    named = describe_user_error(OSError(code, os.strerror(code), "runs/x/multirun.yaml"))
    assert named.startswith(f"runs/x/multirun.yaml: {os.strerror(code)}. ")
    nameless = describe_user_error(OSError(code, os.strerror(code)))
    assert nameless.startswith(f"a file could not be written: {os.strerror(code)}. ")
    assert "make it writable" not in named + nameless
    refused = describe_user_error(PermissionError(errno.EACCES, "Permission denied", "runs"))
    assert refused == "runs: Permission denied. Name another folder, or make it writable."


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def save_figure(path: Path) -> None:
    figure = Figure(figsize=(20, 20))
    figure.subplots().imshow(np.random.default_rng(0).random((300, 300)))
    figure.savefig(path, format="png")


def save_with_torch(path: Path) -> None:
    with path.open("wb") as file:
        torch.save(torch.randn(100_000), file)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x" * 100_000, encoding="utf-8"),
        lambda path: pd.DataFrame({"a": torch.randn(100_000).numpy()}).to_parquet(path),
        lambda path: pd.DataFrame({"a": torch.randn(100_000).numpy()}).to_csv(path),
        save_figure,
        save_with_torch,
    ],
    ids=["text", "parquet", "csv", "figure", "checkpoint"],
)
def test_what_does_not_fit_on_a_real_disk_is_refused_and_removed(small_disk, write):
    save(small_disk / "whole.safetensors", {"z": torch.zeros(3)}, {})

    def write_large() -> None:
        with write_atomically(small_disk / "large") as temporary:
            write(temporary)

    large = {"z": torch.zeros(100_000)}
    for attempt in (write_large, partial(save, small_disk / "large", large, {})):
        with pytest.raises(UserError, match="large: No space left on device"):
            attempt()
        assert [path.name for path in small_disk.iterdir()] == ["whole.safetensors"]
    assert load(small_disk / "whole.safetensors") is not None
