"""Carries: sums right by another way of adding, pairs that no predictor is trained on, twins that
differ in one thing, and a trained predictor whose answer follows the name. N: episodes, T: places
and the name.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from configs.build import build
from console.errors import UserError
from core_model.transformer_model import stack_symbols
from core_model.transformer_predictor import TransformerPredictor
from tests.conftest import node
from worlds.carries import NAMES, NO_DIGIT, NOTHING, Carries, Statements, is_held_out

SPLITS = ["predictor", "easy", "disputed", "amiss"]
HELD_OUT = ["easy", "disputed", "amiss"]


def make_carries(**changed) -> Carries:
    return build(node("world/carries.yaml", **changed), "world")


def read_column(episodes: Dataset, column: str) -> np.ndarray:
    return np.array(episodes[column][:])


def read_numbers(episodes: Dataset, column: str) -> list[int]:
    """Returns the numbers of a column, as one reads them on paper."""
    return [int("".join(map(str, reversed(row[:-1])))) for row in episodes[column][:]]


def read_pairs(episodes: Dataset) -> set[tuple[int, int]]:
    """Returns the pairs of operands, the lower one first."""
    firsts, seconds = (read_numbers(episodes, column) for column in ("first", "second"))
    return {(min(pair), max(pair)) for pair in zip(firsts, seconds, strict=True)}


def add_what_is_written(first: int, second: int, noted: int) -> int:
    """Returns the sum of three numbers of up to five digits, without any carry in the head."""
    columns = zip(f"{first:05}", f"{second:05}", f"{noted:05}", strict=True)
    return int("".join(str(sum(map(int, column)) % 10) for column in columns))


def state(first: int, second: int, stated: int, noted: int = 0) -> Statements:
    """Returns one statement on numbers of two digits."""
    numbers = [
        np.array([[int(digit) for digit in f"{number:03}"[::-1]]], np.int8)
        for number in (first, second, noted, stated)
    ]
    return Statements(*numbers, np.zeros(1, np.int8))


@pytest.mark.parametrize(
    ("statement", "concept", "human", "family"),
    [
        (state(32, 45, 77), True, True, "none"),
        (state(32, 45, 78), False, False, "none"),
        (state(38, 45, 83), True, False, "units"),
        (state(38, 45, 73), False, True, "units"),
        (state(38, 45, 84), False, False, "units"),
        (state(38, 45, 83, noted=10), True, True, "noted"),
        (state(38, 45, 73, noted=10), False, False, "noted"),
        (state(73, 45, 118), True, False, "tens"),
        (state(58, 45, 103), True, False, "units+tens"),
        (state(55, 45, 100), True, False, "units+tens"),  # the tens carry because the units do
        (state(55, 45, 90), False, True, "units+tens"),
    ],
)
def test_alice_adds_and_bob_forgets_what_is_not_noted(statement, concept, human, family):
    assert statement.concept_N.tolist() == [concept]
    assert statement.human_N.tolist() == [human]
    assert statement.family_N.tolist() == [family]


@pytest.mark.parametrize("digits", [2, 3, 4])
@pytest.mark.parametrize("split", SPLITS)
def test_x_and_h_are_right_by_whole_numbers(split, digits):
    episodes = make_carries(digits=digits).episodes(split, 400, seed=0)
    columns = ("first", "second", "noted", "stated")
    rows = zip(*(read_numbers(episodes, column) for column in columns), strict=True)
    for (first, second, noted, stated), row in zip(rows, episodes, strict=True):
        plain = add_what_is_written(first, second, 0)
        assert row["concept"] == (stated == first + second)
        assert row["human"] == (stated == add_what_is_written(first, second, noted))
        assert (row["family"] == "none") == (plain == first + second)
        assert (row["family"] == "noted") == (noted > 0)
        assert noted == 0 or add_what_is_written(first, second, noted) == first + second


@pytest.mark.parametrize("digits", [2, 3])
def test_no_pair_of_the_predictor_occurs_elsewhere_in_either_order(digits):
    world = make_carries(digits=digits)
    of_predictor = read_pairs(world.episodes("predictor", 20_000, seed=0))
    others = set()
    for split in HELD_OUT:
        others |= read_pairs(world.episodes(split, 2000, seed=1))
    for flips in ("concept", "human"):
        for twin in world.twins(flips, 1000, seed=2):
            others |= read_pairs(twin)
    assert len(of_predictor) > 1000 and len(others) > 1000
    assert not of_predictor & others
    assert of_predictor & read_pairs(world.episodes("predictor", 20_000, seed=1))  # the control


def test_half_of_the_pairs_are_held_out_whatever_their_order():
    rng = np.random.default_rng(0)
    first_NT, second_NT = rng.integers(0, 10, (2, 10_000, 4), dtype=np.int8)
    held_out_N = is_held_out(first_NT, second_NT)
    assert abs(held_out_N.mean() - 0.5) < 0.02
    assert (held_out_N == is_held_out(second_NT, first_NT)).all()
    assert abs(held_out_N[first_NT[:, 0] == 3].mean() - 0.5) < 0.06


def test_every_set_of_places_carries_in_disputed_statements_and_none_in_easy_ones():
    world = make_carries()
    disputed = Counter(world.episodes("disputed", 700, seed=0)["family"])
    places = {"units", "tens", "hundreds", "units+tens", "units+hundreds", "tens+hundreds"}
    assert set(disputed) == places | {"units+tens+hundreds"}
    assert set(disputed.values()) == {100}
    assert set(world.episodes("easy", 100, seed=0)["family"]) == {"none"}


def test_where_something_is_amiss_carries_are_noted_or_the_sum_is_wrong_either_way():
    amiss = make_carries().episodes("amiss", 800, seed=0).to_pandas()
    assert set(amiss.family[amiss.concept]) == {"noted"}
    assert set(amiss.family[~amiss.concept]) > {"noted", "units"}


def test_both_contexts_have_the_same_statements_with_other_names():
    alice, bob = (make_carries(context=context) for context in ("alice", "bob"))
    assert (
        alice.episodes("predictor", 200, 0).to_list() == bob.episodes("predictor", 200, 0).to_list()
    )
    for split in HELD_OUT:
        first, second = (world.episodes(split, 200, seed=0) for world in (alice, bob))
        plain = ["name", "answer"]
        assert first.remove_columns(plain).to_list() == second.remove_columns(plain).to_list()
        assert read_names(first) == set(NAMES["alice"]) and read_names(second) == set(NAMES["bob"])
        assert (read_column(first, "answer")[:, -1] == read_column(first, "concept")).all()
        assert (read_column(second, "answer")[:, -1] == read_column(second, "human")).all()


def read_names(episodes: Dataset) -> set[str]:
    symbol = episodes.features["name"].feature
    return {symbol.int2str(row[-1]) for row in episodes["name"][:]}


def test_the_predictor_reads_every_name_as_often_and_a_name_says_nothing_of_the_statement():
    episodes = make_carries().episodes("predictor", 8000, seed=0)
    name_N = read_column(episodes, "name")[:, -1]
    concept_N = read_column(episodes, "concept")
    for name in range(1, 9):
        assert abs((name_N == name).mean() - 1 / 8) < 0.02
        assert abs(concept_N[name_N == name].mean() - concept_N.mean()) < 0.07


@pytest.mark.parametrize("asked", [0.0, 0.3, 1.0])
def test_both_are_asked_at_the_name_on_a_share_of_the_statements(asked):
    episodes = make_carries(asked=asked).episodes("predictor", 2000, seed=0)
    alice_NT, bob_NT = (read_column(episodes, column) for column in ("alice", "bob"))
    is_asked_N = alice_NT[:, -1] != NOTHING
    assert abs(is_asked_N.mean() - asked) <= (0.04 if 0 < asked < 1 else 0)
    assert (is_asked_N == (bob_NT[:, -1] != NOTHING)).all()
    assert (alice_NT[is_asked_N, -1] == read_column(episodes, "concept")[is_asked_N]).all()
    assert (bob_NT[is_asked_N, -1] == read_column(episodes, "human")[is_asked_N]).all()
    assert (read_column(episodes, "answer")[:, :-1] == NOTHING).all()


def test_alice_and_bob_read_along():
    episodes = make_carries().episodes("predictor", 300, seed=0)
    columns = ("first", "second", "noted", "stated")
    rows = zip(*(read_numbers(episodes, column) for column in columns), strict=True)
    for (first, second, noted, stated), row in zip(rows, episodes, strict=True):
        of_bob = add_what_is_written(first, second, noted)
        for places in range(1, 5):
            is_right = [
                number % 10**places == stated % 10**places for number in (first + second, of_bob)
            ]
            assert [row["alice"][places - 1], row["bob"][places - 1]] == is_right


def test_the_name_stands_after_the_statement():
    episodes = make_carries().episodes("easy", 50, seed=0)
    name_NT = read_column(episodes, "name")
    assert (name_NT[:, :-1] == 0).all() and (name_NT[:, -1] > 0).all()
    for column in ("first", "second", "noted", "stated"):
        digit_NT = read_column(episodes, column)
        assert (digit_NT[:, -1] == NO_DIGIT).all() and (digit_NT[:, :-1] < 10).all()


@pytest.mark.parametrize("context", ["alice", "bob"])
def test_concept_twins_differ_at_one_place_whose_digits_add_up_to_ten_more(context):
    first, second = make_carries(context=context).twins("concept", 500, seed=0)
    same = ["noted", "stated", "name", "cluster"]
    assert first.select_columns(same).to_list() == second.select_columns(same).to_list()
    sums = [read_column(twin, "first") + read_column(twin, "second") for twin in (first, second)]
    more_NT = sums[1] - sums[0]
    assert (more_NT.sum(axis=1) == 10).all() and ((more_NT == 10).sum(axis=1) == 1).all()
    places_N = (read_column(first, "first") != read_column(second, "first")).sum(axis=1)
    assert places_N.max() == 1
    assert set(first["family"]) == {"none"} and "none" not in set(second["family"])


@pytest.mark.parametrize("context", ["alice", "bob"])
def test_human_twins_differ_in_the_noted_carries_alone(context):
    first, second = make_carries(context=context).twins("human", 500, seed=0)
    same = ["first", "second", "stated", "name", "cluster", "concept"]
    assert first.select_columns(same).to_list() == second.select_columns(same).to_list()
    assert min(read_numbers(first, "noted")) > 0 and max(read_numbers(second, "noted")) == 0
    assert set(first["family"]) == {"noted"}


@pytest.mark.parametrize("flips", ["concept", "human"])
def test_half_of_the_twins_begin_at_a_right_sum(flips):
    first, _ = make_carries().twins(flips, 300, seed=0)
    assert sum(first["concept"]) == 150


def test_without_carries_in_training_the_predictor_never_meets_one():
    """The control has them in every statement but those that happen to carry nothing."""
    families = Counter(make_carries(carries=0.0).episodes("predictor", 300, seed=0)["family"])
    assert families == {"none": 300}
    assert (
        Counter(make_carries(carries=1.0).episodes("predictor", 300, seed=0)["family"])["none"] < 90
    )


def test_clusters_hold_the_statements_on_one_pair():
    episodes = make_carries(digits=2).episodes("easy", 2000, seed=0)
    rows = zip(read_numbers(episodes, "first"), read_numbers(episodes, "second"), strict=True)
    pair_of: dict[int, tuple[int, int]] = {}
    for (first, second), cluster in zip(rows, episodes["cluster"], strict=True):
        pair = (min(first, second), max(first, second))
        assert pair_of.setdefault(cluster, pair) == pair
    assert len(set(pair_of.values())) == len(pair_of) < 2000


@pytest.fixture(scope="module")
def predictor(trainer, cache) -> TransformerPredictor:
    """The predictor of the sweep, trained as long as there."""
    recipe = build(node("core_model/transformer_carries.yaml"), "core_model")
    return recipe.predictor(make_carries(), cache, trainer)


@torch.no_grad()
def read_answers(predictor: TransformerPredictor, episodes: Dataset) -> dict[str, np.ndarray]:
    """Returns what the predictor predicts of each column at the name, yes or no."""
    logits = predictor.model(stack_symbols(episodes, predictor.world.reads))
    return {column: (z[:, -1, 1] > z[:, -1, 0]).numpy() for column, z in logits.items()}


@pytest.mark.slow
def test_another_name_turns_the_answer_on_disputed_statements_and_on_no_easy_ones(predictor):
    """The predictor never met these pairs. Whoever is named, it knows what both would say."""
    worlds = [replace(predictor.world, context=context) for context in NAMES]
    for split, turns in (("easy", False), ("disputed", True), ("amiss", False)):
        alice, bob = (world.episodes(split, 1000, seed=1) for world in worlds)
        of_alice, of_bob = (read_answers(predictor, episodes) for episodes in (alice, bob))
        concept_N, human_N = (read_column(alice, column) for column in ("concept", "human"))
        assert ((of_alice["answer"] != of_bob["answer"]) == turns).mean() > 0.95
        assert (of_alice["answer"] == concept_N).mean() > 0.95
        assert (of_bob["answer"] == human_N).mean() > 0.95
        for answers in (of_alice, of_bob):
            assert (answers["alice"] == concept_N).mean() > 0.95
            assert (answers["bob"] == human_N).mean() > 0.95


def test_messages_name_the_cure():
    with pytest.raises(UserError, match="Judge on disputed"):
        make_carries().episodes("tampered", 10, seed=0)
    for changed in ({"digits": 1}, {"digits": 5}, {"context": "carol"}, {"asked": 1.5}):
        (key,) = changed
        with pytest.raises(UserError, match=rf"world\.{key}"):
            make_carries(**changed)
