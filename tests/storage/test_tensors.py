"""Tensors on disk: what comes back is what was kept, or it is made anew and said so."""

import os
import subprocess
import sys

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from console.errors import UserError
from storage.atomic import replacing
from storage.cache import cache_folder, kept
from storage.tensors import load, save
from tests.conftest import CONFIGS

TENSORS = {
    "z": torch.arange(6.0).reshape(2, 3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.zeros(0, 3),
}
FACTS = {"key": "vault", "levels": [0, 1]}
ASKING = """
import sys, time
from pathlib import Path
import torch
from storage.tensors import kept

def make():
    with open(sys.argv[2], "a") as makes:
        makes.write("made\\n")
    time.sleep(0.5)
    return {"z": torch.arange(3.0)}, {}

print("ready", flush=True)
sys.stdin.readline()
print(kept(Path(sys.argv[1]), make)[0]["z"].tolist())
"""


class Maker:
    """Makes what is to be kept, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self):
        self.made += 1
        return TENSORS, FACTS


def assert_whole(found) -> None:
    tensors, facts = found
    assert facts == FACTS and tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype and torch.equal(tensors[name], value)


def test_what_was_saved_comes_back(tmp_path):
    save(tmp_path / "new" / "folder" / "a.safetensors", TENSORS, FACTS)
    assert_whole(load(tmp_path / "new" / "folder" / "a.safetensors"))
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.safetensors"]


def test_what_is_not_there_is_none_and_nothing_is_said(tmp_path, capsys):
    assert load(tmp_path / "a.safetensors") is None
    assert capsys.readouterr().err == ""


def test_it_is_made_once_and_read_afterwards(tmp_path, capsys):
    make = Maker()
    for _ in range(3):
        assert_whole(kept(tmp_path / "a.safetensors", make))
    assert make.made == 1 and capsys.readouterr().err == ""
    kept(tmp_path / "b.safetensors", make)
    assert make.made == 2


def test_tensors_that_share_memory_or_are_not_contiguous_can_be_kept(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors, _ = kept(
        tmp_path / "a.safetensors",
        lambda: ({"turned": whole.T, "column": whole[:, 1], "trained": whole.requires_grad_()}, {}),
    )
    again, _ = load(tmp_path / "a.safetensors")
    assert (
        torch.equal(again["turned"], whole.T)
        and torch.equal(again["column"], whole[:, 1])
        and torch.equal(tensors["trained"], again["trained"])
    )


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path):
    path = tmp_path / "a.safetensors"
    save(path, TENSORS, FACTS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load(path) is None, place
    path.write_bytes(whole)
    assert_whole(load(path))


def test_a_file_that_was_cut_short_is_noticed_wherever_it_ends(tmp_path):
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
def test_a_damaged_file_is_made_anew_which_one_line_says(tmp_path, capsys, damage):
    make, path = Maker(), tmp_path / "a.safetensors"
    kept(path, make)
    path.write_bytes(damage(path.read_bytes()))
    assert_whole(kept(path, make))
    assert make.made == 2
    assert capsys.readouterr().err.splitlines() == [f"{path} is damaged: made anew."]
    assert_whole(kept(path, make))
    assert make.made == 2 and capsys.readouterr().err == ""


def test_a_file_without_a_checksum_is_damaged(tmp_path, capsys):
    make, path = Maker(), tmp_path / "a.safetensors"
    save_file(TENSORS, path)
    assert_whole(kept(path, make))
    assert make.made == 1 and "is damaged" in capsys.readouterr().err


def test_a_file_left_half_written_under_its_temporary_name_is_not_used(tmp_path):
    make, path = Maker(), tmp_path / "a.safetensors"
    half = path.with_name(f".{path.name}.12345")
    half.write_bytes(b"half")
    assert_whole(kept(path, make))
    assert make.made == 1 and half.read_bytes() == b"half"


def test_a_writer_that_is_stopped_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("old")

    def stopped_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_halfway()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_making_that_fails_keeps_nothing_and_holds_no_lock(tmp_path):
    def fail():
        raise UserError("not now")

    with pytest.raises(UserError, match="not now"):
        kept(tmp_path / "a.safetensors", fail)
    assert not (tmp_path / "a.safetensors").exists()
    assert_whole(kept(tmp_path / "a.safetensors", Maker()))


def test_two_processes_that_ask_at_once_make_it_once(tmp_path):
    """Both start before either may ask; a third that asks for another file makes that one."""
    names, environment = ("a", "a", "b"), os.environ | {"OMP_NUM_THREADS": "1"}
    commands = [
        [
            sys.executable,
            "-c",
            ASKING,
            str(tmp_path / f"{name}.safetensors"),
            str(tmp_path / f"{name}.txt"),
        ]
        for name in names
    ]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CONFIGS.parent,
            env=environment,
        )
        for command in commands
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == [
        "[0.0, 1.0, 2.0]\n"
    ] * 3
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "b.txt").read_text() == "made\n"


def test_a_lock_left_behind_blocks_nobody_and_a_whole_file_is_read_without_it(tmp_path):
    (tmp_path / "a.safetensors.lock").touch()
    assert_whole(kept(tmp_path / "a.safetensors", Maker()))
    with FileLock(tmp_path / "a.safetensors.lock"):
        assert_whole(kept(tmp_path / "a.safetensors", Maker()))


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("ELK_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" and not list((tmp_path / "mine").iterdir())
    monkeypatch.delenv("ELK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "all"))
    assert cache_folder() == tmp_path / "all" / "elk-reporters"


@pytest.mark.parametrize("below", ["", "/folder"])
def test_a_cache_that_cannot_be_written_is_refused(tmp_path, monkeypatch, below):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ELK_CACHE", f"{tmp_path / 'file'}{below}")
    with pytest.raises(UserError, match=r"^ELK_CACHE: .* cannot be written .*Set ELK_CACHE"):
        cache_folder()
