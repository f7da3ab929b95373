"""Activations: read once, kept under a key of everything that they depend on, and refused if they
are not finite.
"""

import json
import os
import re
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
import torch
from datasets import Dataset, Features, List, Value
from torch import Tensor

from console.errors import UserError
from core_model.hashing import hash_content
from core_model.predictor import Opinions, check_levels
from core_model.reader import (
    ActivationReader,
    load_or_compute_log_perplexity,
    load_or_compute_opinions,
)
from storage.tensors import save
from tests.conftest import CONFIGS
from tests.core_model.planted import Planted, make_texts

EPISODES = Dataset.from_dict({"text": ["no", "yes", "maybe"], "human": [False, True, False]})
LEVELS = (0, 2)
TEXTS = make_texts(8)
LISTS = re.compile(r"\[.*?\]")
SCRIPT = """
import sys
from pathlib import Path
import torch
from core_model.reader import ActivationReader
from tests.core_model.planted import Planted, make_texts

cache, passes, levels, seconds = sys.argv[1:]
levels = [int(level) for level in levels.split(",")]
episodes = make_texts(8)
predictor = Planted(passes=Path(passes), seconds=float(seconds), size=2)
print("ready", flush=True)
sys.stdin.readline()
z_NLD = ActivationReader(predictor, ("text",), levels, Path(cache)).read(episodes)
print("right" if torch.equal(z_NLD, Planted().read(episodes, levels)) else "wrong")
"""
MEMORY_SCRIPT = """
import re, sys
from pathlib import Path
import torch
from core_model.reader import ActivationReader
from tests.core_model.planted import Planted, make_texts

def measure():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

class Watched(Planted):
    peak = 0

    def _pass(self, *arguments):
        Watched.peak = max(Watched.peak, measure())
        return super()._pass(*arguments)

def read(levels, predictor=None):
    predictor = predictor or Watched(size=20, width=1000)
    return ActivationReader(predictor, ("text",), levels, Path(sys.argv[1])).read(episodes)

episodes = make_texts(9)
read([0], Planted(identity="first", size=50))
episodes = make_texts(2000)
before = measure()
read([0, 1, 2])
before_load = measure()
z_ND = read([1])
before_stack = measure()
z_NLD = read([0, 1])
print(Watched.peak - before, before_stack - before_load, measure() - before_stack)
"""


def read(
    predictor: Planted,
    cache: Path,
    levels: Sequence[int] = LEVELS,
    episodes: Dataset = EPISODES,
    columns: Sequence[str] = ("text",),
    position: int = -1,
) -> Tensor:
    return ActivationReader(predictor, columns, levels, cache).read(episodes, position)


def check_read(
    predictor: Planted, cache: Path, levels: Sequence[int] = LEVELS, episodes: Dataset = EPISODES
) -> None:
    """Reads, and checks that the activations are those of a plain reading."""
    z_NLD = read(predictor, cache, levels, episodes)
    assert torch.equal(z_NLD, Planted().read(episodes, levels)) and z_NLD.dtype == torch.float32


def list_files(cache: Path) -> set[str]:
    """Returns the names of all files of levels, whole or not."""
    return {path.name for path in cache.rglob("*level*")}


def test_activations_are_read_once_and_loaded_afterwards(tmp_path):
    predictor = Planted()
    expected = [[[2, -1], [202, -1]], [[3, -1], [203, -1]], [[5, -1], [205, -1]]]
    for _ in range(2):
        z_NLD = read(predictor, tmp_path)
        assert z_NLD.tolist() == expected and z_NLD.dtype == torch.float32
    assert len(predictor.readings) == 1


@pytest.mark.parametrize("levels", [[0], [2, 1], [0, 1, 2]])
def test_a_trained_predictor_is_loaded_as_it_reads(tiny_predictor, vault, tmp_path, levels):
    episodes = vault.episodes("disputed", 50, seed=0)
    reader = ActivationReader(tiny_predictor, vault.reads, levels, tmp_path)
    for _ in range(2):
        assert torch.equal(reader.read(episodes), tiny_predictor.read(episodes, levels))


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
def test_everything_that_activations_depend_on_changes_the_key(tmp_path, changed):
    first = {"predictor": Planted(), "episodes": EPISODES, "columns": ("text",), "position": -1}
    read(cache=tmp_path, **first)
    second = first | changed
    predictor = second["predictor"]
    expected = Planted().read(second["episodes"], LEVELS, second["position"])
    before = len(predictor.readings)
    assert torch.equal(read(cache=tmp_path, **second), expected)
    assert len(predictor.readings) == before + 1
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4


@pytest.mark.parametrize(
    "same",
    [
        EPISODES.map(lambda row: {"human": not row["human"]}, keep_in_memory=True),
        EPISODES.rename_column("human", "concept"),
        EPISODES.select([2, 1, 0]).select([2, 1, 0]),
        Dataset.from_dict({"text": ["no", "yes", "maybe"]}),
    ],
)
def test_columns_that_the_predictor_does_not_read_do_not_change_the_key(tmp_path, same):
    predictor = Planted()
    read(predictor, tmp_path)
    read(predictor, tmp_path, episodes=same)
    assert len(predictor.readings) == 1


def test_another_version_of_the_reader_reads_again(tmp_path, monkeypatch):
    predictor = Planted()
    read(predictor, tmp_path)
    monkeypatch.setattr("core_model.reader.READER_VERSION", -1)
    read(predictor, tmp_path)
    assert len(predictor.readings) == 2


def test_the_hash_of_symbols_depends_on_their_content_and_not_on_their_storage(vault):
    episodes = vault.episodes("easy", 40, seed=0)
    expected = hash_content(episodes, vault.reads)
    picked = episodes.select([*range(1, 40), 0]).select([39, *range(39)])
    assert hash_content(picked, vault.reads) == expected
    without_first = hash_content(episodes.select(range(1, 40)), vault.reads)
    without_last = hash_content(episodes.select(range(39)), vault.reads)
    assert len({expected, without_first, without_last}) == 3
    assert hash_content(episodes, vault.reads[:1]) != expected
    first = episodes[0]
    action = [*first["action"][:-1], (first["action"][-1] + 1) % 2]
    rows = [first | {"action": action}, *episodes.select(range(1, 40))]
    changed = Dataset.from_list(rows).cast(episodes.features)
    assert hash_content(changed, vault.reads) != expected


def test_the_hash_of_symbols_distinguishes_long_episodes_from_many():
    def hash_rows(rows: list[list[int]]) -> str:
        features = Features({"action": List(Value("int64"), length=len(rows[0]))})
        return hash_content(Dataset.from_dict({"action": rows}, features), ("action",))

    assert hash_rows([[1, 2], [3, 4]]) != hash_rows([[1, 2, 3, 4]])
    assert hash_rows([[1, 2], [3, 4]]) == hash_rows([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("requests", "readings"),
    [
        ([(0, 1, 2), (1,), (2, 0), (1, 2)], [[0, 1, 2]]),
        ([(1,), (0, 1, 2), (2, 1)], [[1], [0, 2]]),
        ([(2, 1), (1, 2), (0,), (2, 0, 1)], [[2, 1], [0]]),
    ],
)
def test_each_level_is_read_once_whichever_levels_are_read_together(tmp_path, requests, readings):
    predictor = Planted()
    for levels in requests:
        check_read(predictor, tmp_path, levels)
    assert predictor.readings == readings


def test_only_a_damaged_level_is_read_again(tmp_path, capsys):
    predictor = Planted()
    check_read(predictor, tmp_path, (0, 1, 2))
    (path,) = tmp_path.rglob("level_1.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    check_read(predictor, tmp_path, (0, 2))
    assert capsys.readouterr().err == ""
    for _ in range(2):
        check_read(predictor, tmp_path, (0, 1, 2))
    assert predictor.readings == [[0, 1, 2], [1]]
    assert capsys.readouterr().err.splitlines() == [f"{path} is damaged: reading it again."]


def test_files_of_an_earlier_version_are_neither_used_nor_changed(tmp_path):
    predictor = Planted()
    old = tmp_path / "activations" / "0123456789abcdef01234567.safetensors"
    save(old, {"z_NLD": torch.zeros(3, 2, 2)}, {"key": "1 one"})
    before = old.read_bytes()
    check_read(predictor, tmp_path)
    assert len(predictor.readings) == 1 and old.read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_numbers_of_16_bits_are_loaded_in_32_and_stay_the_same(tmp_path, dtype):
    predictor = Planted(dtype=dtype)
    z_NLD = read(predictor, tmp_path)
    assert z_NLD.dtype == torch.float32
    assert torch.equal(z_NLD, predictor.read(EPISODES, LEVELS).float())
    assert all(path.stat().st_size < 600 for path in tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_level_with_a_number_that_is_not_finite_is_refused_and_not_kept(tmp_path, value):
    predictor = Planted(broken=(2, value))
    message = (
        r"level 2 holds NaN or infinity\. Use core_model.dtype=float32, or leave it out of levels"
    )
    with pytest.raises(UserError, match=message):
        read(predictor, tmp_path, (1, 2))
    assert list_files(tmp_path) == {"level_1.safetensors"}
    check_read(predictor, tmp_path, (1, 0))
    assert predictor.readings == [[1, 2], [0]]


def test_all_levels_that_are_not_finite_are_named(tmp_path, monkeypatch):
    def give_nan(self, length_N, rows_B, levels, position):
        return torch.full((len(rows_B), len(levels), 2), torch.nan)

    monkeypatch.setattr(Planted, "_pass", give_nan)
    with pytest.raises(UserError, match="levels 0, 2 hold NaN or infinity"):
        read(Planted(), tmp_path, (0, 2))


def test_a_reading_that_fails_leaves_no_file_and_no_lock(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Planted, "_pass", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            read(Planted(), tmp_path)
    assert not list_files(tmp_path)
    check_read(Planted(), tmp_path)


def start_process(
    cache: Path, passes: Path, levels: Sequence[int], seconds: float
) -> subprocess.Popen[str]:
    """Returns a process that is ready to read levels, and waits for a line."""
    arguments = [str(cache), str(passes), ",".join(map(str, levels)), str(seconds)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CONFIGS.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def let_it_read(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def count_readings(passes: Path) -> Counter[tuple[int, int]]:
    """Returns how often each level of each row was read."""
    count = Counter()
    for line in passes.read_text().splitlines():
        levels, rows = map(json.loads, LISTS.findall(line))
        count.update(product(levels, rows))
    return count


def test_threads_at_once_read_each_level_of_each_episode_once(tmp_path):
    passes = tmp_path / "passes.txt"
    predictor = Planted(passes=passes, seconds=0.01, size=2)
    requests = ((0, 1), (1, 0), (1, 2))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda levels: check_read(predictor, tmp_path, levels, TEXTS), requests))
    assert count_readings(passes) == Counter(product(range(3), range(len(TEXTS))))


@pytest.mark.slow
def test_processes_at_once_read_each_level_of_each_episode_once(tmp_path):
    passes = tmp_path / "passes.txt"
    requests = ((0, 1), (1, 0), (1, 2))
    processes = [start_process(tmp_path, passes, levels, 0.1) for levels in requests]
    for process in processes:
        let_it_read(process)
    assert [process.communicate(timeout=60)[0] for process in processes] == ["right\n"] * 3
    assert count_readings(passes) == Counter(product(range(3), range(len(TEXTS))))


def test_files_that_a_killed_process_left_are_removed_and_not_used(tmp_path):
    predictor = Planted()
    reader = ActivationReader(predictor, ("text",), LEVELS, tmp_path)
    for file in reader._name_files(EPISODES, -1).values():
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.reserve()
        file.rows().fill_(7.0)
    check_read(predictor, tmp_path)
    assert predictor.readings == [list(LEVELS)]
    assert list_files(tmp_path) == {"level_0.safetensors", "level_2.safetensors"}


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_reads_blocks_nobody(tmp_path):
    passes = tmp_path / "passes.txt"
    killed = start_process(tmp_path, passes, (0, 1), 0.5)
    waiting = start_process(tmp_path, passes, (0, 1), 0.0)
    let_it_read(killed)
    # Wait until one portion is written and the next is being read.
    while not passes.exists() or len(passes.read_text().splitlines()) < 2:
        time.sleep(0.01)
    let_it_read(waiting)
    time.sleep(0.2)
    assert list_files(tmp_path) == {
        ".level_0.safetensors.unsealed",
        ".level_1.safetensors.unsealed",
    }
    killed.kill()
    killed.communicate()
    assert waiting.communicate(timeout=60)[0] == "right\n"
    assert list_files(tmp_path) == {"level_0.safetensors", "level_1.safetensors"}
    n_passes = len(passes.read_text().splitlines())
    assert n_passes == 2 + 4, "the four portions are all read again"


def test_memory_holds_one_portion_at_a_time(tmp_path, monkeypatch):
    alive = weakref.WeakSet()
    n_alive = []
    read_portion = Planted._pass

    def watch(self, *arguments):
        n_alive.append(len(alive))
        z_BLD = read_portion(self, *arguments)
        alive.add(z_BLD)
        return z_BLD

    monkeypatch.setattr(Planted, "_pass", watch)
    read(Planted(size=2), tmp_path, (0, 1), TEXTS)
    assert n_alive == [0, 0, 0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lists the files that are mapped")
def test_a_single_level_is_mapped_and_several_are_not(tmp_path):
    def count_mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(tmp_path))

    read(Planted(), tmp_path, (0, 1))
    assert count_mapped() == 0
    z_NLD = read(Planted(), tmp_path, (1,))
    assert count_mapped() == 1
    del z_NLD
    assert count_mapped() == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux measures the memory of a process")
def test_a_large_reading_holds_a_portion_in_memory_and_a_level_is_mapped(tmp_path):
    """Eight megabytes a level: reading three of them, and loading one, takes less than four."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=CONFIGS.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    reading_kb, mapped_kb, stacked_kb = map(int, done.stdout.split())
    assert reading_kb < 4000 and mapped_kb < 4000, done.stdout
    assert stacked_kb > 14_000, "a table of two levels is measured"


@pytest.mark.parametrize("levels", [[3], [-1], [0, 3]])
def test_a_level_that_the_predictor_lacks_is_refused_before_reading(tmp_path, levels):
    predictor = Planted()
    with pytest.raises(UserError, match=r"planted has no level -?\d\. It has 0 to 2\."):
        ActivationReader(predictor, ("text",), levels, tmp_path)
    assert not predictor.readings and not list(tmp_path.iterdir())


@pytest.mark.parametrize("levels", [[], [1, 1]])
def test_levels_that_are_empty_or_repeated_are_refused(levels):
    with pytest.raises(UserError, match="Name each level once"):
        check_levels(Planted(), levels)
    check_levels(Planted(), [2, 0, 1])


def test_opinions_depend_on_where_the_prompt_ends(cities, tmp_path):
    class Prompted(Planted):
        def opinions(self, episodes):
            length_N = torch.tensor([float(len(prompt)) for prompt in episodes["prompt"]])
            return Opinions(length_N, length_N.clone())

    for prompt in ("one", "one two", "one"):
        episodes = Dataset.from_dict({"text": ["one two three"], "prompt": [prompt]})
        opinions = load_or_compute_opinions(Prompted(), episodes, cities, tmp_path)
        assert opinions.concept_N.item() == len(prompt)


def test_opinions_are_computed_once_and_loaded_unchanged(
    tiny_predictor, vault, tmp_path, monkeypatch
):
    compute = type(tiny_predictor).opinions
    n_episodes = []

    def record(self, episodes):
        n_episodes.append(len(episodes))
        return compute(self, episodes)

    monkeypatch.setattr(type(tiny_predictor), "opinions", record)
    episodes = vault.episodes("disputed", 50, seed=0)
    for requested in (episodes, episodes, episodes.select(range(20))):
        loaded = load_or_compute_opinions(tiny_predictor, requested, vault, tmp_path)
        expected = compute(tiny_predictor, requested)
        assert torch.equal(loaded.concept_N, expected.concept_N)
        assert torch.equal(loaded.human_N, expected.human_N)
    assert n_episodes == [50, 20]


def test_perplexity_is_computed_once_for_each_model_and_text(tmp_path):
    class Weighs(Planted):
        calls = 0

        def compute_log_perplexity(self, episodes):
            type(self).calls += 1
            return torch.tensor([float(len(text)) for text in episodes["text"]])

    texts = [Dataset.from_dict({"text": [words, "b"]}) for words in ("aaa", "aaa", "aa")]
    found = [load_or_compute_log_perplexity(Weighs(), each, "text", tmp_path) for each in texts]
    assert [nats_N.tolist() for nats_N in found] == [[3, 1], [3, 1], [2, 1]]
    assert Weighs.calls == 2


def test_a_predictor_that_is_no_language_model_has_no_perplexity(tiny_predictor, tmp_path):
    texts = Dataset.from_dict({"text": ["a"]})
    for _ in range(2):
        assert load_or_compute_log_perplexity(tiny_predictor, texts, "text", tmp_path) is None
