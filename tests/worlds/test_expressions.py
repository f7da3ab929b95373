"""Expressions over columns give what Python would, and run nothing."""

import numpy as np
import pandas as pd
import pytest

from console.errors import UserError
from worlds.expressions import evaluate, to_truth

TABLE = pd.DataFrame(
    {
        "a": [1, 5, 12],
        "b": [2.5, -1.0, 12.0],
        "label": ["good", "bad", "good"],
        "ok": [True, False, True],
        "two words": [3, 4, 5],
        "yes_no": ["yes", "No", "YES"],
    }
)


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
        ("a / 0 > 1", [True, True, True]),
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
        ("a is b", "which is not allowed"),
        ("label * 3", "computes with label, which is no number"),
        ("'x' * 10 == label", "computes with 'x', which is no number"),
        ("label > 3", "cannot be computed"),
        ("1 // 0 == a", "cannot be computed"),
        ("a >=", "is neither a column nor an expression. There are: a, b"),
        ("a in label", "has an `in` without a list"),
        ("a in [b]", "has a column in a list"),
        ("label and ok", "3 of 3 values are no truth values, such as 'good' in row 1"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_line(expression, message):
    with pytest.raises(UserError) as refused:
        evaluate(expression, TABLE, "world.easy")
    text = str(refused.value)
    assert text.startswith("world.easy: ") and "\n" not in text
    assert message in text


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
    ],
)
def test_truth_values_may_be_written_in_several_ways(values, truth):
    assert to_truth(pd.Series(values), "world.concept").tolist() == truth


@pytest.mark.parametrize("wrong", ["maybe", 2, 0.5, np.nan, None, ""])
def test_other_values_are_no_truth_values_and_are_counted(wrong):
    with pytest.raises(UserError, match=r"world.concept: 2 of 3 values are no .* in row 2\."):
        to_truth(pd.Series([1, wrong, wrong], dtype=object), "world.concept")
