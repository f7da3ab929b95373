"""Tensors on disk: what is loaded is what was saved, or it is recomputed with a message."""

import os
import subprocess
import sys

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from console.errors import UserError
from storage.atomic import write_atomically
from storage.cache import find_cache_folder, load_or_make
from storage.tensors import KINDS, load, save
from tests.conftest import CONFIGS

TENSORS = {
    "z": torch.arange(6.0).reshape(2, 3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.zeros(0, 3),
}
FACTS = {"key": "vault", "levels": [0, 1]}
SCRIPT = """
import sys, time
from pathlib import Path
import torch
from storage.cache import load_or_make

def make():
    with open(sys.argv[2], "a") as calls:
        calls.write("made\\n")
    time.sleep(0.5)
    return {"z": torch.arange(3.0)}, {}

print("ready", flush=True)
sys.stdin.readline()
print(load_or_make(Path(sys.argv[1]), make)[0]["z"].tolist())
"""


class Maker:
    """Makes the tensors, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return TENSORS, FACTS


def assert_whole(content) -> None:
    tensors, facts = content
    assert facts == FACTS and tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype and torch.equal(tensors[name], value)


def test_saved_tensors_are_loaded(tmp_path):
    save(tmp_path / "new" / "folder" / "a.safetensors", TENSORS, FACTS)
    assert_whole(load(tmp_path / "new" / "folder" / "a.safetensors"))
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.safetensors"]


def test_the_same_tensors_and_facts_are_the_same_bytes_in_any_order(tmp_path):
    turned = dict(reversed(TENSORS.items())), dict(reversed(FACTS.items()))
    contents = set()
    for i in range(8):
        save(tmp_path / f"{i}", *(turned if i % 2 else (TENSORS, FACTS)))
        contents.add((tmp_path / f"{i}").read_bytes())
    assert len(contents) == 1
    save(tmp_path / "other", TENSORS, FACTS | {"other": 1})
    assert (tmp_path / "other").read_bytes() not in contents


def test_the_file_is_one_of_safetensors_whose_numbers_are_aligned(tmp_path):
    kinds = {f"{i}": torch.ones(3, dtype=dtype) for i, dtype in enumerate(reversed(KINDS))}
    kinds |= {"scalar": torch.tensor(2.0), "empty": torch.zeros(0, 4)}
    save(tmp_path / "a.safetensors", kinds, {})
    read = load_file(tmp_path / "a.safetensors")
    assert read.keys() == kinds.keys()
    for name, value in kinds.items():
        assert read[name].dtype == value.dtype and torch.equal(read[name], value)
        assert read[name].data_ptr() % value.dtype.itemsize == 0


def test_a_missing_file_gives_none_without_a_message(tmp_path, capsys):
    assert load(tmp_path / "a.safetensors") is None
    assert capsys.readouterr().err == ""


def test_a_file_is_made_once_and_loaded_afterwards(tmp_path, capsys):
    make = Maker()
    for _ in range(3):
        assert_whole(load_or_make(tmp_path / "a.safetensors", make))
    assert make.calls == 1 and capsys.readouterr().err == ""
    load_or_make(tmp_path / "b.safetensors", make)
    assert make.calls == 2


def test_tensors_that_share_memory_or_are_not_contiguous_can_be_saved(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"turned": whole.T, "column": whole[:, 1], "trained": whole.requires_grad_()}
    made, _ = load_or_make(tmp_path / "a.safetensors", lambda: (tensors, {}))
    loaded, _ = load(tmp_path / "a.safetensors")
    for name, value in tensors.items():
        assert torch.equal(made[name], value) and torch.equal(loaded[name], value)


def test_a_flipped_bit_is_detected_in_every_byte(tmp_path):
    path = tmp_path / "a.safetensors"
    save(path, TENSORS, FACTS)
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert load(path) is None, i
    path.write_bytes(whole)
    assert_whole(load(path))


def test_a_file_that_was_cut_short_is_detected(tmp_path):
    path = tmp_path / "a.safetensors"
    save(path, TENSORS, FACTS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert load(path) is None, length


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
        lambda whole: b"",
    ],
)
def test_a_damaged_file_is_recomputed_with_a_message(tmp_path, capsys, damage):
    make = Maker()
    path = tmp_path / "a.safetensors"
    load_or_make(path, make)
    path.write_bytes(damage(path.read_bytes()))
    assert_whole(load_or_make(path, make))
    assert make.calls == 2
    assert capsys.readouterr().err.splitlines() == [f"{path} is damaged: recomputing it."]
    assert_whole(load_or_make(path, make))
    assert make.calls == 2 and capsys.readouterr().err == ""


def test_a_file_without_a_checksum_is_damaged(tmp_path, capsys):
    make = Maker()
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path)
    assert_whole(load_or_make(path, make))
    assert make.calls == 1 and "is damaged" in capsys.readouterr().err


def test_a_half_written_file_under_a_temporary_name_is_not_used(tmp_path):
    make = Maker()
    path = tmp_path / "a.safetensors"
    half = path.with_name(f".{path.name}.12345")
    half.write_bytes(b"half")
    assert_whole(load_or_make(path, make))
    assert make.calls == 1 and half.read_bytes() == b"half"


def test_a_stopped_writer_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("old")

    def stop_halfway() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with write_atomically(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_maker_that_fails_leaves_no_file_and_no_lock(tmp_path):
    def fail():
        raise UserError("not now")

    with pytest.raises(UserError, match="not now"):
        load_or_make(tmp_path / "a.safetensors", fail)
    assert not (tmp_path / "a.safetensors").exists()
    assert_whole(load_or_make(tmp_path / "a.safetensors", Maker()))


def test_a_process_that_waited_for_the_lock_loads_what_was_made_meanwhile(tmp_path, monkeypatch):
    """The file appears between the first look and the lock, as if another process had made it."""
    path = tmp_path / "a.safetensors"

    class LateLock(FileLock):
        def acquire(self, *args, **options):
            save(path, TENSORS, FACTS)
            return super().acquire(*args, **options)

    monkeypatch.setattr("storage.cache.FileLock", LateLock)
    make = Maker()
    assert_whole(load_or_make(path, make))
    assert make.calls == 0


@pytest.mark.slow
def test_two_processes_at_once_make_a_file_once(tmp_path):
    """Both start before either may begin; a third process makes another file."""
    processes = []
    for name in ("a", "a", "b"):
        files = [str(tmp_path / f"{name}.safetensors"), str(tmp_path / f"{name}.txt")]
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CONFIGS.parent,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        processes.append(process)
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["[0.0, 1.0, 2.0]\n"] * 3
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b.txt").read_text() == "made\n"


def test_a_lock_file_blocks_nobody_and_a_whole_file_is_loaded_without_the_lock(tmp_path):
    (tmp_path / "a.safetensors.lock").touch()
    assert_whole(load_or_make(tmp_path / "a.safetensors", Maker()))
    with FileLock(tmp_path / "a.safetensors.lock"):
        assert_whole(load_or_make(tmp_path / "a.safetensors", Maker()))


def test_the_user_chooses_the_folder_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ELK_CACHE", str(tmp_path / "mine"))
    assert find_cache_folder() == tmp_path / "mine" and not list((tmp_path / "mine").iterdir())
    monkeypatch.delenv("ELK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "all"))
    assert find_cache_folder() == tmp_path / "all" / "elk-reporters"


@pytest.mark.parametrize("below", ["", "/folder"])
def test_a_cache_that_is_not_writable_is_refused(tmp_path, monkeypatch, below):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ELK_CACHE", f"{tmp_path / 'file'}{below}")
    message = r"^ELK_CACHE: .* is not writable .*Set ELK_CACHE to a writable folder"
    with pytest.raises(UserError, match=message):
        find_cache_folder()
