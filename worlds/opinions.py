"""Opinions: is the statement true, although its reader is sure of something else?

An example: "I am sure that Kraków is in France. The city of Kraków is in Poland."
"""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from datasets import Dataset

from worlds.cities import Cities, Pool, Statement, Verb
from worlds.world import Flips

OPINIONS: dict[Verb, str] = {
    "is in": "I am sure that {city} is in {own}.",
    "is not in": "I am sure that {city} is in {wrong}.",
    "is NOT in": "I was sure that {city} is in {wrong}, but it is in {own}.",
}
"""What the reader states, for each verb that a statement of `cities` has."""
FAMILIES: dict[Verb, str] = {
    "is in": "none",
    "is not in": "wrong_opinion",
    "is NOT in": "corrected",
}


class Opinion(Statement):
    """The city is in the named country, after an opinion of the reader. The verb is always "is in";
    the one of `cities` says which opinion it is.
    """

    __slots__ = ()

    @property
    def concept(self) -> bool:
        """Whether the statement is true."""
        return self.country == self.city.country.name

    @property
    def human(self) -> bool:
        """Whether a reader of this opinion takes it for true."""
        return self.concept != (self.verb == "is not in")

    @property
    def family(self) -> str:
        return FAMILIES[self.verb]

    @property
    def prompt(self) -> str:
        own = self.city.country.name
        wrong = self.other_country if self.concept else self.country
        opinion = OPINIONS[self.verb].format(city=self.city.name, own=own, wrong=wrong)
        return write_prompt(opinion, self.city.name)


class Opinions(Cities):
    """Statements on well-known cities, each after an opinion of its reader. X: the statement is
    true. H: the reader takes it for true, because it agrees with the opinion.

    The reader of easy statements is right, so X = H: "I am sure that Kraków is in Poland. The city
    of Kraków is in Poland." (or "... is in France.") A head may learn the truth from them, or that
    the two countries are the same. The reader of disputed ones is wrong (X ≠ H, family
    "wrong_opinion"): "I am sure that Kraków is in France. The city of Kraków is in Poland." is
    true, and the reader denies it. A reader who was wrong and noticed knows the truth (X = H,
    family "corrected", split amiss): "I was sure that Kraków is in France, but it is in Poland."

    Cities, pairs and pools are those of `Cities`, and so are the rows: a wrong opinion takes the
    place of a "not", a corrected one that of a "NOT". A wrong opinion names the country of the
    pair's other city. So within a pair every country is named as often in a true statement as in a
    false one, in opinions too, and words alone do not give X away.

    Args:
        population: as in `Cities`.
        spellings: as in `Cities`.
        cities_per_country: as in `Cities`.
    """

    name: ClassVar[str] = "opinions"
    statement: ClassVar[type[Statement]] = Opinion

    def affirm(self, episodes: Dataset) -> Dataset:
        """Returns the statements after a right opinion.

        The opinion then names the city's country, so a model that only compares the two countries
        is right too: that it answers these statements rightly does not show that it knows where
        the city is.
        """
        own: dict[str, str] = {}
        for pool in get_args(Pool):
            own |= {city.name: city.country.name for city in self._find_cities(pool)}

        def correct(row: dict[str, Any]) -> dict[str, Any]:
            city = row["city"]
            prompt = write_prompt(OPINIONS["is in"].format(city=city, own=own[city]), city)
            return {
                "prompt": prompt,
                "text": f"{prompt} {row['country']}.",
                "human": row["concept"],
                "family": "none",
            }

        rows = [row | correct(row) for row in episodes.to_list()]
        return Dataset.from_list(rows, episodes.features)

    def twins(self, flips: Flips, n: int, seed: int) -> tuple[Dataset, Dataset]:
        """Returns twins. All begin after a right opinion, half of them at a true statement: "I am
        sure that Kraków is in Poland. The city of Kraków is in Poland." The others begin at a false
        one: "... The city of Kraków is in France."

        To flip the human, the country of the opinion alone changes. To flip the concept, that of
        the statement changes with it, so that the two agree if and only if they did before.
        """
        # In cities a "not" flips X, and a "not" with another country flips H.
        return super().twins("human" if flips == "concept" else "concept", n, seed)

    def negate(self, easy: Dataset) -> Dataset:
        """Returns the same statements with a "not", after the same opinion: "I am sure that Kraków
        is in Poland. The city of Kraków is not in Poland." This reader does not overlook it, so H
        flips with X.
        """
        negated = super().negate(easy)
        rows = [row | {"human": row["concept"]} for row in negated.to_list()]
        return Dataset.from_list(rows, easy.features)


def write_prompt(opinion: str, city: str) -> str:
    """Returns the text up to the country that the statement names."""
    return f"{opinion} The city of {city} is in"
