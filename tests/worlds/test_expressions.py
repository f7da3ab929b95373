"""Expressions over columns give what Python would, and run nothing."""

import ast

import numpy as np
import pandas as pd
import pytest

from console.errors import UserError
from worlds.expressions import ARITHMETIC, evaluate, to_truth

TABLE = pd.DataFrame(
    {
        "a": [1, 5, 12],
        "b": [2.5, -1.0, 12.0],
        "label": ["good", "bad", "good"],
        "ok": [True, False, True],
        "two words": [3, 4, 5],
        "yes_no": ["yes", "No", "YES"],
        "file": ["mine"] * 3,
    }
)
TEXTS = pd.DataFrame(
    {
        "code": ["007", "7", "12"],
        "size": ["2.5", "-1", "1e1"],
        "word": ["7", "seven", "12"],
        "ok": ["True", "no", "1.0"],
        "gap": ["1", None, "3"],
        "two words": ["1", "0", "2"],
        "file": ["old", "new", "new"],
    }
)
"""As a file gives them."""


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("a", [1, 5, 12]),
        ("two words", [3, 4, 5]),
        ("a >= 5", [False, True, True]),
        ("1 < a < 12", [False, True, False]),
        ("a == b", [False, False, True]),
        ("a + b * 2", [6.0, 3.0, 36.0]),
        ("a % 5 // 1 - -a", [2, 5, 14]),
        ("label == 'good'", [True, False, True]),
        ('label != "good" or a > 10', [False, True, True]),
        ("not ok and yes_no", [False, False, False]),
        ("label in ['bad', 'worse']", [False, True, False]),
        ("label not in ('bad', 'worse')", [True, False, True]),
        ("'oo' in label", [True, False, True]),
        ("`two words` > 3", [False, True, True]),
        ("a in [1, 12]", [True, False, True]),
        ("ok == true or a == 5", [True, True, True]),
        ("3", [3, 3, 3]),
    ],
)
def test_an_expression_has_its_value_in_each_row(expression, values):
    assert evaluate(expression, TABLE, "world.easy").tolist() == values


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("lable == 1", "world.easy: there is no column lable. Did you mean label? There are: a, b"),
        ("lable", "world.easy: there is no column lable. Did you mean label?"),
        ("__import__('os').getcwd()", "calls __import__('os').getcwd(), and nothing is called"),
        ("open('x')", "calls open('x'), and nothing is called here"),
        ("abs(a)", "calls abs(a), and nothing is called here"),
        ("label.upper", "has label.upper, which is not allowed"),
        ("a[0]", "has a[0], which is not allowed"),
        ("[x for x in a]", "which is not allowed"),
        ("(lambda: 1)", "which is not allowed"),
        ("a ** 99999", "which is not allowed"),
        ("a is b", "has is, which is not allowed. Use == or != in its place."),
        ("label * 3", "computes with label, which is no number"),
        ("'x' * 10 == label", "computes with 'x', which is no number"),
        (
            "label > 3",
            "computes with label, which is no number in 3 of 3 rows, such as 'good' in r",
        ),
        ("a / 0 > 1", "divides by 0, which is 0 in 3 of 3 rows, such as row 1 (file mine)."),
        ("1 // 0 == a", "divides by 0, which is 0 in 3 of 3 rows"),
        ("a % (a - 5) > 1", "divides by a - 5, which is 0 in 1 of 3 rows, such as row 2 (file m"),
        ("a == '5'", "compares a with '5': a text with what is none. Put both between quotes, or"),
        ("a >=", "is neither a column nor an expression. There are: a, b"),
        ("a in label", "has an in without a list"),
        ("a in [b]", "has a column in a list"),
        ("label and ok", "3 of 3 values are no truth values, such as 'good' in row 1 (file"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_line(expression, message):
    with pytest.raises(UserError) as refused:
        evaluate(expression, TABLE, "world.easy")
    text = str(refused.value)
    assert text.startswith("world.easy: ") and "\n" not in text
    assert message in text


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("code", ["007", "7", "12"]),
        ("code == '7'", [False, True, False]),
        ("code == 7", [True, True, False]),
        ("code == word or size == 1", [False, False, True]),
        ("code < size", [False, False, False]),
        ("code + 1", [8, 8, 13]),
        ("code in ['7', '12']", [False, True, True]),
        ("code in [7, '12']", [True, True, True]),
        ("size >= 2.5", [True, False, True]),
        ("ok == True", [True, False, True]),
        ("ok == (code == 7)", [True, False, False]),
        ("'ev' in word", [False, True, False]),
    ],
)
def test_texts_of_a_file_are_read_as_what_they_are_compared_with(expression, values):
    assert evaluate(expression, TEXTS, "world.easy").tolist() == values


@pytest.mark.parametrize(
    "expression",
    [
        *("gap == 1", "gap != '1'", "not gap == 3", "gap in ['1']", "gap not in ['1']"),
        *("'1' in gap", "'1' not in gap", "gap + 1", "code == 12 or gap == 1", "code < gap"),
    ],
)
def test_a_missing_value_in_an_expression_is_refused_with_its_row(expression):
    with pytest.raises(UserError) as refused:
        evaluate(expression, TEXTS, "world.easy")
    assert str(refused.value) == (
        "world.easy: gap has no value in 1 of 3 rows, such as row 1 (file new). Fill them in, or"
        " leave these rows out."
    )


def test_a_column_alone_may_lack_values():
    assert evaluate("gap", TEXTS, "world.group").isna().tolist() == [False, True, False]


def test_what_is_not_a_number_is_named_with_its_row():
    with pytest.raises(UserError) as refused:
        evaluate("word >= 7", TEXTS, "world.easy")
    assert (
        "word, which is no number in 1 of 3 rows, such as 'seven' in row 1 (file new). Put a"
        in (str(refused.value))
    )


def test_what_is_computed_to_no_number_is_refused():
    infinite = TEXTS.assign(size=["inf", "1", "2"])
    with pytest.raises(UserError, match=r"world.easy: size - size has no value in 1 of 3 rows, s"):
        evaluate("size - size == 0", infinite, "world.easy")


def test_a_divisor_is_shown_as_it_is_written():
    with pytest.raises(UserError, match=r"divides by `two words`, which is 0 in 1 of 3 rows, such"):
        evaluate("size / `two words` > 1", TEXTS, "world.easy")


def test_several_values_in_one_field_are_refused():
    table = pd.DataFrame({"tags": ["x", ["a", "b"]], "file": ["mine"] * 2})
    for expression in ("tags", "tags == 'a'"):
        with pytest.raises(UserError, match=r"world.easy: tags holds several values in one field"):
            evaluate(expression, table, "world.easy")


def test_an_error_without_a_text_is_refused_by_its_name(monkeypatch):
    def fail(left, right):
        raise ValueError

    monkeypatch.setitem(ARITHMETIC, ast.Add, fail)
    with pytest.raises(UserError, match=r"cannot be computed \(ValueError\)\. There are: a, b"):
        evaluate("a + b", TABLE, "world.easy")


def test_an_expression_that_is_nested_too_deeply_is_refused():
    with pytest.raises(UserError, match=r"nested too deeply|neither a column nor"):
        evaluate("-" * 5000 + "a", TABLE, "world.easy")


@pytest.mark.parametrize(
    ("values", "truth"),
    [
        ([True, False], [True, False]),
        ([1, 0], [True, False]),
        ([1.0, 0.0], [True, False]),
        (["TRUE", "false"], [True, False]),
        ([" yes", "No"], [True, False]),
        (["1.0", "0.0"], [True, False]),
    ],
)
def test_truth_values_may_be_written_in_several_ways(values, truth):
    table = pd.DataFrame({"label": values})
    assert to_truth(table["label"], table, "world.concept").tolist() == truth


@pytest.mark.parametrize("wrong", ["maybe", 2, 0.5, np.nan, None, ""])
def test_other_values_are_no_truth_values_and_are_counted(wrong):
    label = pd.Series([1, wrong, wrong], dtype=object)
    table = pd.DataFrame({"label": label, "file": ["old", "new", "new"]})
    with pytest.raises(UserError, match=r"world.concept: 2 of 3 values .* in row 1 \(file new\)\."):
        to_truth(label, table, "world.concept")
