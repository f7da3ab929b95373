"""Expressions over the columns of a table, such as `abs_diff >= 10` or `label == "yes"`: read as a
syntax tree of which few kinds of nodes are allowed, and never run as Python.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from console.errors import UserError, did_you_mean

Bools = NDArray[np.bool_]
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
ALLOWED = "comparisons, and, or, not, in, + - * / // %, numbers, texts and columns"
QUOTED = re.compile(r"`([^`]+)`")


def evaluate(expression: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns a column of the table, or the value of an expression over its columns in each row.

    Args:
        expression: a name of a column, or an expression. A column whose name is no Python name
            stands between backticks: `two words` == 3.
        key: the key of the config that holds the expression, for messages.

    Raises:
        UserError: an unknown column, something that is not allowed, or values that do not fit.

    >>> table = pd.DataFrame({"sum": [3, 12], "file": ["easy", "hard"]})
    >>> evaluate("sum >= 10 and file in ['hard', 'harder']", table, "world.easy").tolist()
    [False, True]
    """
    if expression in table.columns:
        return table[expression]
    return _Evaluator(expression, table, key).evaluate()


class _Evaluator:
    """Evaluates one expression."""

    def __init__(self, expression: str, table: pd.DataFrame, key: str) -> None:
        self.expression, self.table, self.key = expression, table, key
        self.quoted: dict[str, str] = {}

    def evaluate(self) -> pd.Series:
        code = QUOTED.sub(self._replace_quoted, self.expression)
        try:
            tree = ast.parse(code.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._refuse(
                "is neither a column nor an expression", self._list_columns()
            ) from None
        try:
            value = self._visit(tree.body)
        except (TypeError, ValueError, ArithmeticError) as error:
            reason = str(error).splitlines()[0]
            raise self._refuse(f"cannot be computed ({reason})", self._list_columns()) from None
        except RecursionError:
            raise self._refuse("is nested too deeply", "Use a shorter one.") from None
        return value if isinstance(value, pd.Series) else pd.Series(value, index=self.table.index)

    def _replace_quoted(self, found: re.Match[str]) -> str:
        name = f"quoted_{len(self.quoted)}_"
        self.quoted[name] = found[1]
        return name

    def _visit(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
            return node.value
        if isinstance(node, ast.Name):
            return self._get_column(self.quoted.get(node.id, node.id))
        if isinstance(node, ast.BoolOp):
            return self._join(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            return self._turn(node)
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            left, right = self._visit_number(node.left), self._visit_number(node.right)
            return ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            return self._compare(node)
        raise self._forbid(node)

    def _get_column(self, name: str) -> pd.Series:
        if name not in self.table.columns:
            raise UserError(f"{self.key}: {describe_missing_column(name, self.table.columns)}")
        return self.table[name]

    def _visit_number(self, node: ast.expr) -> Any:
        value = self._visit(node)
        is_number = isinstance(value, (int, float))
        if isinstance(value, pd.Series):
            is_number = pd.api.types.is_numeric_dtype(value)
        if not is_number:
            raise self._refuse(f"computes with {ast.unparse(node)}, which is no number", "")
        return value

    def _visit_truth(self, node: ast.expr) -> pd.Series:
        value = self._visit(node)
        if not isinstance(value, pd.Series):
            value = pd.Series(value, index=self.table.index)
        return pd.Series(to_truth(value, self.key), index=self.table.index)

    def _join(self, node: ast.BoolOp) -> pd.Series:
        values = [self._visit_truth(value) for value in node.values]
        joined = values[0]
        for value in values[1:]:
            joined = joined & value if isinstance(node.op, ast.And) else joined | value
        return joined

    def _turn(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return ~self._visit_truth(node.operand)
        return -self._visit_number(node.operand)

    def _compare(self, node: ast.Compare) -> pd.Series:
        left = node.left
        result = pd.Series(True, index=self.table.index)
        for comparison, right in zip(node.ops, node.comparators, strict=True):
            result = result & self._compare_two(left, comparison, right)
            left = right
        return result

    def _compare_two(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> Any:
        if type(comparison) in COMPARISONS:
            return COMPARISONS[type(comparison)](self._visit(left), self._visit(right))
        if not isinstance(comparison, (ast.In, ast.NotIn)):
            raise self._forbid(left)
        is_in = self._contain(left, right)
        return is_in if isinstance(comparison, ast.In) else ~is_in

    def _contain(self, left: ast.expr, right: ast.expr) -> pd.Series:
        """Returns where a column is one of the values of a list, or a text is in a column."""
        value = self._visit(left)
        if isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            values = [self._visit(item) for item in right.elts]
            if any(isinstance(item, pd.Series) for item in values):
                raise self._refuse("has a column in a list", "List values.")
            if not isinstance(value, pd.Series):
                value = pd.Series(value, index=self.table.index)
            return value.isin(values)
        column = self._visit(right)
        if not isinstance(value, str) or not isinstance(column, pd.Series):
            raise self._refuse("has an `in` without a list", "For example: city in ['Lima']")
        return column.astype(str).str.contains(value, regex=False)

    def _forbid(self, node: ast.AST) -> UserError:
        what = ast.unparse(node)
        if isinstance(node, ast.Call):
            return self._refuse(f"calls {what}, and nothing is called here", f"Use {ALLOWED}.")
        return self._refuse(f"has {what}, which is not allowed", f"Use {ALLOWED}.")

    def _refuse(self, what: str, cure: str) -> UserError:
        return UserError(f"{self.key}: {self.expression!r} {what}. {cure}".rstrip())

    def _list_columns(self) -> str:
        known = did_you_mean(self.expression, map(str, self.table.columns))
        return f"{known.strip()} {list_columns(self.table.columns)}".strip()


def to_truth(values: pd.Series, key: str) -> Bools:
    """Returns truth values: true or false, yes or no, 1 or 0, in small or capital letters.

    Args:
        key: the key of the config that the values come from, for messages.

    Raises:
        UserError: some are none.

    >>> to_truth(pd.Series(["Yes", "no", "1"]), "world.concept").tolist()
    [True, False, True]
    """
    if pd.api.types.is_bool_dtype(values) and not values.isna().any():
        return values.to_numpy(dtype=bool)
    words = values.map(_to_word)
    unknown = ~words.isin(list(TRUTH))
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        example = values.iloc[row]
        shown = "nothing" if pd.isna(example) else repr(str(example))
        raise UserError(
            f"{key}: {unknown.sum()} of {len(values)} values are no truth values, such as {shown}"
            f" in row {row + 1}. Use true or false, yes or no, 1 or 0; or an expression, such as"
            " label == 'good'."
        )
    return words.map(TRUTH).to_numpy(dtype=bool)


def _to_word(value: Any) -> str:
    if isinstance(value, (int, float, np.number)) and value in (0, 1):
        return str(int(value))
    return str(value).strip().lower()


def describe_missing_column(name: str, columns: Sequence[str] | pd.Index) -> str:
    """Returns that a table has no column of this name, and which it has."""
    known = did_you_mean(name, map(str, columns))
    return f"there is no column {name}.{known} {list_columns(columns)}"


def list_columns(columns: Sequence[str] | pd.Index) -> str:
    """Returns in words which columns there are.

    >>> list_columns(["a", "b"])
    'There are: a, b.'
    """
    return f"There are: {', '.join(map(str, columns))}."
