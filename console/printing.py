"""Printing on terminals that are not UTF-8: what they cannot show becomes ASCII."""

from __future__ import annotations

import codecs
import sys
import unicodedata

ERRORS = "elk-ascii"
"""The name of this treatment among Python's handlers of encoding errors."""
ASCII = {
    "→": "->",
    "←": "<-",
    "►": ">",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "±": "+-",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "·": "*",
    "•": "*",
    "…": "...",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "²": "^2",
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "√": "sqrt",
    "Σ": "sum",
    "Π": "prod",
    "∈": "in",
    "∞": "inf",
    "Δ": "d",
    "α": "alpha",
    "β": "beta",
    "ε": "eps",
    "λ": "lambda",
    "π": "pi",
    "σ": "sigma",
    "ω": "omega",
    "─": "-",
    "━": "-",
    "│": "|",
    "┃": "|",
    "█": "#",
}


def print_any_text() -> None:
    """Lets this process print any text: a letter that a stream cannot encode is written in ASCII,
    instead of an error.
    """
    codecs.register_error(ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def to_ascii(text: str) -> str:
    """Returns a text in ASCII: signs in words, letters without their accents, and ? for others.

    >>> to_ascii("Kraków ≥ 2 → 東")
    'Krakow >= 2 -> ?'
    """
    letters = []
    for letter in text:
        plain = ASCII.get(letter) or unicodedata.normalize("NFKD", letter)
        letters.append(plain.encode("ascii", "ignore").decode() or "?")
    return "".join(letters)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return to_ascii(error.object[error.start : error.end]), error.end
