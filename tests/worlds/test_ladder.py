"""The ladder: X and H are exact products, nothing less than all bits of one tells it, and each kind
of episode has the X, H and tampering that it should. N: episodes, T: bits.
"""

from itertools import combinations

import numpy as np
import pytest

from configs.build import build
from console.errors import UserError
from tests.conftest import node
from worlds.ladder import Ladder

FEW = 0.06
"""Four standard deviations of the mean of 4,400 fair bits."""


def make_ladder(**changed) -> Ladder:
    values = {"bits": 12, "concept_level": 2, "human_level": 1} | changed
    return build(node("world/ladder.yaml", **values), "world")


def read_bits(episodes) -> np.ndarray:
    return 2 * np.array(episodes["bit"][:]) - 1


def read_column(episodes, column: str) -> np.ndarray:
    return np.array(episodes[column][:])


@pytest.mark.parametrize("split", ["predictor", "easy", "disputed", "tampered", "amiss"])
def test_x_and_h_are_the_products_of_evidence_and_sensors(split):
    episodes = make_ladder(concept_parity=2).episodes(split, 200, seed=0)
    bits_NT = read_bits(episodes)
    assert bits_NT.shape == (200, 12)
    assert (read_column(episodes, "concept") == (bits_NT[:, :6].prod(axis=1) > 0)).all()
    assert (read_column(episodes, "human") == (bits_NT[:, 6:8].prod(axis=1) > 0)).all()


@pytest.mark.parametrize("split", ["easy", "tampered"])
def test_no_bits_but_all_of_the_evidence_tell_x(split):
    """The control is the product of all three. On tampered episodes not even the sensors do."""
    episodes = make_ladder(bits=8).episodes(split, 4400, seed=0)
    bits_NT = read_bits(episodes)
    x_N = 2 * read_column(episodes, "concept") - 1
    told = {}
    for size in range(1, 9):
        for positions in combinations(range(8), size):
            told[positions] = (bits_NT[:, positions].prod(axis=1) * x_N).mean()
    assert told.pop((0, 1, 2)) == 1
    if split == "easy":
        assert told.pop((3, 4)) == 1  # H, which is X there
    assert max(map(abs, told.values())) < FEW


def test_every_bit_is_fair():
    bits_NT = read_bits(make_ladder().episodes("disputed", 4400, seed=0))
    assert abs(bits_NT.mean(axis=0)).max() < FEW


def test_tampering_makes_h_a_coin_and_nothing_else_does():
    episodes = make_ladder(tampered=0.3).episodes("predictor", 4400, seed=0)
    tampered_N = read_column(episodes, "tampered")
    agree_N = read_column(episodes, "concept") == read_column(episodes, "human")
    assert abs(tampered_N.mean() - 0.3) < FEW
    assert agree_N[~tampered_N].all()
    assert abs(agree_N[tampered_N].mean() - 0.5) < FEW
    assert set(read_column(episodes, "family")[tampered_N]) == {"sensors"}
    assert set(read_column(episodes, "family")[~tampered_N]) == {"none"}


@pytest.mark.parametrize(("tampered", "expected"), [(0.0, False), (1.0, True)])
def test_nobody_or_everybody_interferes_where_the_share_says_so(tampered, expected):
    episodes = make_ladder(tampered=tampered).episodes("predictor", 50, seed=0)
    assert set(episodes["tampered"][:]) == {expected}


def test_label_noise_flips_recorded_answers_of_easy_episodes_alone():
    world = make_ladder(label_noise=0.2)
    easy = world.episodes("easy", 4400, seed=0)
    wrong_N = read_column(easy, "concept") != read_column(easy, "human")
    assert abs(wrong_N.mean() - 0.2) < FEW
    assert (read_column(easy, "answer")[:, -1] == read_column(easy, "concept")).all()
    disputed = world.episodes("disputed", 200, seed=0)
    assert (read_column(disputed, "concept") != read_column(disputed, "human")).all()


def test_where_the_human_errs_on_an_easy_episode_the_label_is_h_and_not_x():
    world = make_ladder(human_errors=0.2)
    easy = world.episodes("easy", 4400, seed=0)
    wrong_N = read_column(easy, "concept") != read_column(easy, "human")
    assert abs(wrong_N.mean() - 0.2) < FEW
    assert read_column(easy, "human").sum() == 2200
    assert (read_column(easy, "answer")[:, -1] == read_column(easy, "human")).all()
    assert not any(easy["tampered"])
    for split in ("disputed", "amiss", "predictor"):
        episodes = world.episodes(split, 200, seed=0)
        assert episodes["bit"][:] == make_ladder().episodes(split, 200, seed=0)["bit"][:]


@pytest.mark.parametrize("flips", ["concept", "human"])
def test_twins_differ_in_one_bit_of_what_flips(flips):
    first, second = make_ladder().twins(flips, 300, seed=0)
    differ_NT = read_bits(first) != read_bits(second)
    assert (differ_NT.sum(axis=1) == 1).all()
    positions = {"concept": [0, 1, 2], "human": [3, 4]}[flips]
    assert np.flatnonzero(differ_NT.any(axis=0)).tolist() == positions
    assert not any(first["tampered"]) and all(second["tampered"])


def test_predicted_symbols_are_the_audit_the_sensors_and_the_answer():
    episodes = make_ladder().episodes("disputed", 50, seed=0)
    for column, truth in (("audit", "concept"), ("answer", "human")):
        symbols_NT = read_column(episodes, column)
        assert (symbols_NT[:, :-1] == -1).all()
        assert (symbols_NT[:, -1] == read_column(episodes, truth)).all()
    sensor_NT = read_column(episodes, "sensor")
    assert (sensor_NT[:, [3, 4]] == read_column(episodes, "bit")[:, [3, 4]]).all()
    assert (np.delete(sensor_NT, [3, 4], axis=1) == -1).all()


def test_a_predictor_that_stores_no_human_predicts_the_sensors_alone():
    world = make_ladder(stores_human=False)
    episodes = world.episodes("easy", 5, seed=0)
    assert world.predicts == ("audit", "sensor") and world.human_shows_in is None
    assert "answer" not in episodes.column_names
    stored = make_ladder()
    assert stored.predicts == ("audit", "sensor", "answer")
    assert stored.human_shows_in == ("answer", "yes")


def test_all_bits_may_be_evidence_and_sensors():
    world = make_ladder(bits=5)
    assert len(world.episodes("disputed", 7, seed=0)) == 7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bits": 4}, r"^world\.bits: 4 are too few for 3 bits of evidence and 2 sensors. Use 5 "),
        ({"concept_parity": 0}, r"^world\.concept_parity: 0 is too small. Use 1 or more"),
        ({"human_parity": 0}, r"^world\.human_parity: 0 is too small"),
        ({"concept_level": -1}, r"^world\.concept_level: -1 is too small. Use 0 or more"),
        ({"human_level": -1}, r"^world\.human_level: -1 is too small"),
        ({"label_noise": 0.5}, r"^world\.label_noise: 0.5 is too large"),
        ({"human_errors": 0.5}, r"^world\.human_errors: 0.5 is too large"),
        ({"tampered": 1.1}, r"^world\.tampered: 1.1 is too large"),
    ],
)
def test_impossible_ladders_are_refused_by_their_key(changed, message):
    with pytest.raises(UserError, match=message):
        make_ladder(**changed)


def test_a_negation_turns_round_one_bit_of_evidence_and_one_sensor_so_h_flips_too():
    ladder = make_ladder(label_noise=0.3)
    easy = ladder.episodes("easy", 200, 0)
    negated = ladder.negate(easy)
    turned_NT = read_bits(easy) != read_bits(negated)
    places = [ladder.concept_chains[0, 0], ladder.human_chains[0, 0]]
    assert turned_NT[:, places].all() and turned_NT.sum() == 2 * 200
    assert [not human for human in easy["human"]] == negated["human"][:]
    assert not any(negated["tampered"])
