"""Templates that put the columns of a table into a text: "The city of {city} is in {country}."."""

from __future__ import annotations

from string import Formatter

import pandas as pd

from console.errors import UserError
from worlds.expressions import check_values, get_column


def is_template(text: str) -> bool:
    """Whether a text has fields.

    >>> is_template("{city} is in {country}"), is_template("city")
    (True, False)
    """
    return "{" in text


def fill_template(template: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns the template with the values of each row in place of its fields; {{ stands for a
    brace.

    Args:
        key: the key of the config that holds the template, for messages.

    Raises:
        UserError: a field that is no column, or that is more than a name; a value is missing.

    >>> table = pd.DataFrame({"a": [17, 2], "b": [25, 2]})
    >>> fill_template("{a} + {b}", table, "world.text").tolist()
    ['17 + 25', '2 + 2']
    """
    filled = pd.Series("", index=table.index)
    for literal, field in read_fields(template, key):
        filled = filled + literal
        if field is not None:
            values = get_column(field, table, key)
            check_values(values, field, table, key)
            filled = filled + values.astype(str)
    return filled


def read_fields(template: str, key: str) -> list[tuple[str, str | None]]:
    """Returns the parts of a template: a text, and the column that follows it, None for none.

    Raises:
        UserError: a brace is missing, or a field is more than a name.
    """
    parts = []
    try:
        for literal, field, format_spec, conversion in Formatter().parse(template):
            if field is not None and (not field or format_spec or conversion):
                raise ValueError(f"a field is not the name of a column: {field or 'an empty one'}")
            parts.append((literal, field))
    except ValueError as error:
        raise UserError(
            f"{key}: {template!r} is no template ({error}). Write {{column}} where its value"
            " belongs, and {{ for a brace."
        ) from None
    return parts
