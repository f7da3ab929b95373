"""A template puts the values of a row in the places of its fields."""

import pandas as pd
import pytest

from console.errors import UserError
from worlds.templates import fill_template

TABLE = pd.DataFrame({"city": ["Lima", "Kraków"], "year": [1535, 1257]})


def test_fields_are_filled_row_by_row():
    filled = fill_template("{{x}} {city}, {year}: {city}", TABLE, "world.text")
    assert filled.tolist() == ["{x} Lima, 1535: Lima", "{x} Kraków, 1257: Kraków"]


def test_a_field_without_a_value_is_refused_with_its_row():
    table = pd.DataFrame({"city": ["Lima", None], "file": ["old", "new"]})
    with pytest.raises(UserError, match=r"world.group: city has no value in 1 of 2 rows, such as"):
        fill_template("{city}!", table, "world.group")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{citty} is", "there is no column citty. Did you mean city? There are: city, year."),
        ("{city.__class__}", "there is no column city.__class__."),
        ("{city[0]}", "there is no column city[0]."),
        ("{year:1000000d}", "is no template (a field is not the name of a column: year). Write"),
        ("{city!r}", "is no template"),
        (
            "{}",
            "is no template (a field is not the name of a column: an empty one). Write {column}",
        ),
        ("{city", "is no template"),
    ],
)
def test_a_wrong_field_is_refused_in_one_line(template, message):
    with pytest.raises(UserError) as refused:
        fill_template(template, TABLE, "world.text")
    assert str(refused.value).startswith("world.text: ") and message in str(refused.value)
