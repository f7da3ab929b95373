"""Activations: read once, kept under a key of all that they depend on, and refused where they are
no numbers.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from datasets import Dataset, Features, List, Value
from torch import Tensor

from console.errors import UserError
from core_model.hashing import content_hash
from core_model.predictor import check_levels
from core_model.reader import ActivationReader, opinions
from storage.tensors import save
from tests.conftest import CONFIGS
from tests.core_model.planted import Planted, texts

EPISODES = Dataset.from_dict({"text": ["no", "yes", "maybe"], "human": [False, True, False]})
LEVELS = (0, 2)
TEXTS = texts(8)
LISTS = re.compile(r"\[.*?\]")
ASKING = """
import sys
from pathlib import Path
import torch
from core_model.reader import ActivationReader
from tests.core_model.planted import Planted, texts

cache, passes, levels, seconds = sys.argv[1:]
levels, episodes = [int(level) for level in levels.split(",")], texts(8)
print("ready", flush=True)
sys.stdin.readline()
z_NLD = ActivationReader(Planted(passes=Path(passes), seconds=float(seconds), size=2), ("text",), levels, Path(cache)).read(episodes)
print("right" if torch.equal(z_NLD, Planted().read(episodes, levels)) else "wrong")
"""
LARGE = """
import re, sys
from pathlib import Path
import torch
from core_model.reader import ActivationReader
from tests.core_model.planted import Planted, texts

def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

class Watched(Planted):
    most = 0

    def _pass(self, *given):
        Watched.most = max(Watched.most, resident())
        return super()._pass(*given)

cache, episodes = Path(sys.argv[1]), texts(2000)
ActivationReader(Planted(identity="warm", size=50), ("text",), [0], cache).read(texts(9))
before = resident()
ActivationReader(Watched(size=20, width=1000), ("text",), [0, 1, 2], cache).read(episodes)
del episodes
before_load, episodes = resident(), texts(2000)
z_ND = ActivationReader(Watched(size=20, width=1000), ("text",), [1], cache).read(episodes)
mapped = resident() - before_load
both = ActivationReader(Watched(size=20, width=1000), ("text",), [0, 1], cache).read(episodes)
print(Watched.most - before, mapped, resident() - before_load)
"""


def reading(
    predictor: Planted, cache: Path, levels: Sequence[int] = LEVELS, episodes: Dataset = EPISODES
) -> Tensor:
    """Returns the activations, after a check that they are those of a plain reading."""
    z_NLD = ActivationReader(predictor, ("text",), levels, cache).read(episodes)
    assert torch.equal(z_NLD, Planted().read(episodes, levels)) and z_NLD.dtype == torch.float32
    return z_NLD


def test_what_was_read_comes_back_and_is_read_once(tmp_path):
    predictor = Planted()
    for _ in range(2):
        z_NLD = ActivationReader(predictor, ("text",), LEVELS, tmp_path).read(EPISODES)
        assert (
            z_NLD.tolist() == [[[2, -1], [202, -1]], [[3, -1], [203, -1]], [[5, -1], [205, -1]]]
            and z_NLD.dtype == torch.float32
        )
    assert len(predictor.asked) == 1


@pytest.mark.parametrize("levels", [[0], [2, 1], [0, 1, 2]])
def test_a_trained_predictor_comes_back_as_it_reads(tiny_predictor, vault, tmp_path, levels):
    episodes = vault.episodes("disputed", 50, seed=0)
    for _ in range(2):
        assert torch.equal(
            ActivationReader(tiny_predictor, vault.reads, levels, tmp_path).read(episodes),
            tiny_predictor.read(episodes, levels),
        )


def read(cache: Path, predictor, episodes, columns, levels, position=-1) -> Tensor:
    return ActivationReader(predictor, columns, levels, cache).read(episodes, position)


@pytest.mark.parametrize(
    "changed",
    [
        {"predictor": Planted("other")},
        {"position": 0},
        {"episodes": EPISODES.select([0, 1])},
        {"episodes": EPISODES.select([1, 0, 2])},
        {"columns": ("text", "human")},
    ],
)
def test_whatever_activations_depend_on_changes_the_key(tmp_path, changed):
    predictor = Planted()
    asked = {"predictor": predictor, "episodes": EPISODES, "columns": ("text",), "levels": LEVELS}
    read(tmp_path, **asked)
    other = asked | changed
    expected = Planted().read(other["episodes"], other["levels"], other.get("position", -1))
    before = len(other["predictor"].asked)
    assert torch.equal(read(tmp_path, **other), expected)
    assert (
        len(other["predictor"].asked) == before + 1
        and len(list(tmp_path.rglob("*.safetensors"))) == 4
    )


@pytest.mark.parametrize(
    "alike",
    [
        EPISODES.map(lambda row: {"human": not row["human"]}, keep_in_memory=True),
        EPISODES.rename_column("human", "concept"),
        EPISODES.select([2, 1, 0]).select([2, 1, 0]),
        Dataset.from_dict({"text": ["no", "yes", "maybe"]}),
    ],
)
def test_what_the_predictor_does_not_read_leaves_the_key_alone(tmp_path, alike):
    predictor = Planted()
    for episodes in (EPISODES, alike):
        ActivationReader(predictor, ("text",), LEVELS, tmp_path).read(episodes)
    assert len(predictor.asked) == 1


def test_another_version_of_the_reader_reads_anew(tmp_path, monkeypatch):
    predictor = Planted()
    ActivationReader(predictor, ("text",), LEVELS, tmp_path).read(EPISODES)
    monkeypatch.setattr("core_model.reader.READER_VERSION", -1)
    ActivationReader(predictor, ("text",), LEVELS, tmp_path).read(EPISODES)
    assert len(predictor.asked) == 2


def test_the_hash_of_symbols_follows_their_content_and_not_how_they_are_stored(vault):
    episodes = vault.episodes("easy", 40, seed=0)
    picked = episodes.select([*range(1, 40), 0]).select([39, *range(39)])
    assert content_hash(picked, vault.reads) == content_hash(episodes, vault.reads)
    assert content_hash(episodes.select(range(1, 40)), vault.reads) != content_hash(
        episodes.select(range(39)), vault.reads
    )
    assert content_hash(episodes, vault.reads) != content_hash(episodes, vault.reads[:1])
    first = episodes[0]
    changed = Dataset.from_list(
        [
            first | {"action": [*first["action"][:-1], (first["action"][-1] + 1) % 2]},
            *episodes.select(range(1, 40)),
        ]
    )
    assert content_hash(changed.cast(episodes.features), vault.reads) != content_hash(
        episodes, vault.reads
    )


def test_the_hash_of_symbols_tells_long_episodes_from_many():
    def hashed(rows: list[list[int]]) -> str:
        return content_hash(
            Dataset.from_dict(
                {"action": rows}, Features({"action": List(Value("int64"), length=len(rows[0]))})
            ),
            ("action",),
        )

    assert hashed([[1, 2], [3, 4]]) != hashed([[1, 2, 3, 4]])
    assert hashed([[1, 2], [3, 4]]) == hashed([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("requests", "asked"),
    [
        ([(0, 1, 2), (1,), (2, 0), (1, 2)], [[0, 1, 2]]),
        ([(1,), (0, 1, 2), (2, 1)], [[1], [0, 2]]),
        ([(2, 1), (1, 2), (0,), (2, 0, 1)], [[2, 1], [0]]),
    ],
)
def test_each_level_is_read_once_whatever_is_asked_for_together(tmp_path, requests, asked):
    predictor = Planted()
    for levels in requests:
        reading(predictor, tmp_path, levels)
    assert predictor.asked == asked


def test_a_damaged_level_is_read_anew_and_no_other(tmp_path, capsys):
    predictor = Planted()
    reading(predictor, tmp_path, (0, 1, 2))
    (path,) = tmp_path.rglob("level_1.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    reading(predictor, tmp_path, (0, 2))
    assert capsys.readouterr().err == ""
    for _ in range(2):
        reading(predictor, tmp_path, (0, 1, 2))
    assert predictor.asked == [[0, 1, 2], [1]]
    assert capsys.readouterr().err.splitlines() == [f"{path} is damaged: made anew."]


def test_what_an_earlier_version_kept_is_neither_used_nor_touched(tmp_path):
    predictor, old = Planted(), tmp_path / "activations" / "0123456789abcdef01234567.safetensors"
    save(old, {"z_NLD": torch.zeros(3, 2, 2)}, {"key": "1 one"})
    before = old.read_bytes()
    reading(predictor, tmp_path)
    assert len(predictor.asked) == 1 and old.read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_is_kept_in_16_bits_comes_back_in_32_and_is_the_same_number(tmp_path, dtype):
    predictor = Planted(dtype=dtype)
    z_NLD = ActivationReader(predictor, ("text",), LEVELS, tmp_path).read(EPISODES)
    assert z_NLD.dtype == torch.float32 and torch.equal(
        z_NLD, predictor.read(EPISODES, LEVELS).float()
    )
    assert all(path.stat().st_size < 600 for path in tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused_by_level_and_not_kept(tmp_path, value):
    predictor = Planted(broken=(2, value))
    with pytest.raises(
        UserError,
        match=(
            r"level 2 holds NaN or infinity\. Use core_model.dtype=float32, or leave it out of"
            r" `levels`"
        ),
    ):
        ActivationReader(predictor, ("text",), (1, 2), tmp_path).read(EPISODES)
    assert [path.name for path in tmp_path.rglob("*level*")] == ["level_1.safetensors"]
    reading(predictor, tmp_path, (1, 0))
    assert predictor.asked == [[1, 2], [0]]


def test_all_levels_that_hold_no_numbers_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Planted,
        "_pass",
        lambda self, length_N, rows_B, levels, position: torch.full(
            (len(rows_B), len(levels), 2), torch.nan
        ),
    )
    with pytest.raises(UserError, match="levels 0, 2 hold NaN or infinity"):
        ActivationReader(Planted(), ("text",), (0, 2), tmp_path).read(EPISODES)


def test_a_reading_that_fails_keeps_nothing_and_holds_no_lock(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Planted, "_pass", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            ActivationReader(Planted(), ("text",), LEVELS, tmp_path).read(EPISODES)
    assert not list(tmp_path.rglob("*level*"))
    reading(Planted(), tmp_path)


def asking(
    cache: Path, passes: Path, levels: Sequence[int], seconds: float
) -> subprocess.Popen[str]:
    """Returns a process that is ready, and asks for levels once it is told to."""
    command = [
        sys.executable,
        "-c",
        ASKING,
        str(cache),
        str(passes),
        ",".join(map(str, levels)),
        str(seconds),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CONFIGS.parent,
        env=environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def test_processes_that_ask_at_once_read_each_level_of_each_episode_once(tmp_path):
    passes = tmp_path / "passes.txt"
    processes = [asking(tmp_path, passes, levels, 0.1) for levels in ((0, 1), (1, 0), (1, 2))]
    for process in processes:
        tell(process)
    assert [process.communicate(timeout=60)[0] for process in processes] == ["right\n"] * 3
    read = Counter(
        (level, row)
        for line in passes.read_text().splitlines()
        for level, row in product(*map(json.loads, LISTS.findall(line)))
    )
    assert read == Counter(product(range(3), range(len(TEXTS)))), "each once"


def test_a_process_that_is_killed_while_it_reads_leaves_nothing_that_is_used_and_no_lock(tmp_path):
    passes = tmp_path / "passes.txt"
    killed, waiting = asking(tmp_path, passes, (0, 1), 0.5), asking(tmp_path, passes, (0, 1), 0.0)
    tell(killed)
    while (
        not passes.exists() or len(passes.read_text().splitlines()) < 2
    ):  # one portion is written, the next is read
        time.sleep(0.01)
    tell(waiting)
    time.sleep(0.2)
    assert {path.name for path in tmp_path.rglob("*level*")} == {
        ".level_0.safetensors.unsealed",
        ".level_1.safetensors.unsealed",
    }
    killed.kill()
    killed.communicate()
    assert waiting.communicate(timeout=60)[0] == "right\n"
    assert {path.name for path in tmp_path.rglob("*level*")} == {
        "level_0.safetensors",
        "level_1.safetensors",
    }
    assert len(passes.read_text().splitlines()) == 2 + 4, (
        "four portions, none of which is taken from the killed one"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory a process has")
def test_a_large_reading_holds_a_portion_in_memory_and_a_level_is_mapped(tmp_path):
    """Eight megabytes a level: reading three of them, and having one of them, takes less than one."""
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=CONFIGS.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    reading_kb, mapped_kb, joined_kb = map(int, done.stdout.split())
    assert reading_kb < 4000 and mapped_kb < 4000, done.stdout
    assert joined_kb > 14_000, "the measure sees a table of two levels that is in memory"


@pytest.mark.parametrize("levels", [[3], [-1], [0, 3]])
def test_a_level_that_the_predictor_lacks_is_refused_before_reading(tmp_path, levels):
    predictor = Planted()
    with pytest.raises(UserError, match=r"planted has no level -?\d\. It has 0 to 2\."):
        ActivationReader(predictor, ("text",), levels, tmp_path).read(EPISODES)
    assert not predictor.asked and not list(tmp_path.iterdir())


@pytest.mark.parametrize("levels", [[], [1, 1]])
def test_no_level_or_one_twice_is_refused(levels):
    with pytest.raises(UserError, match="Name each level once"):
        check_levels(Planted(), levels)
    check_levels(Planted(), [2, 0, 1])


def test_opinions_come_back_as_they_were_said_and_are_asked_for_once(
    tiny_predictor, vault, tmp_path, monkeypatch
):
    episodes, said = vault.episodes("disputed", 50, seed=0), []
    asked = type(tiny_predictor).opinions
    monkeypatch.setattr(
        type(tiny_predictor),
        "opinions",
        lambda self, episodes: said.append(len(episodes)) or asked(self, episodes),
    )
    for one in (episodes, episodes, episodes.select(range(20))):
        for kept, now in zip(
            opinions(tiny_predictor, one, vault, tmp_path), asked(tiny_predictor, one), strict=True
        ):
            assert torch.equal(kept, now)
    assert said == [50, 20]
