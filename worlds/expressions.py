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
from worlds.table_files import describe_row, is_nested

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
DIVISIONS = (ast.Div, ast.FloorDiv, ast.Mod)
YES, NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
TRUTH = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
ALLOWED = "comparisons, and, or, not, in, + - * / // %, numbers, texts and columns"
QUOTED = re.compile(r"`([^`]+)`")


def evaluate(expression: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns a column of the table, or the value of an expression over its columns in each row.

    A column of texts is read as numbers where an expression computes with it or compares it with a
    number, and as truth values where it compares it with one. A column alone may lack values.

    Args:
        expression: a name of a column, or an expression. A column whose name is no Python name
            stands between backticks: `two words` == 3.
        key: the key of the config that holds the expression, for messages.

    Raises:
        UserError: an unknown column, something that is not allowed, values that do not fit, a
            column within an expression that lacks values, or a divisor of 0.

    >>> table = pd.DataFrame({"sum": ["3", "12"], "file": ["easy", "hard"]})
    >>> evaluate("sum >= 10 and file in ['hard', 'harder']", table, "world.easy").tolist()
    [False, True]
    """
    if expression in table.columns:
        return get_column(expression, table, key)
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
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise self._refuse(f"cannot be computed ({reason})", self._list_columns()) from None
        except RecursionError:
            raise self._refuse("is nested too deeply", "Use a shorter one.") from None
        return self._spread(value)

    def _spread(self, value: Any) -> pd.Series:
        """Returns the value of each row."""
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
            return self._compute(node)
        if isinstance(node, ast.Compare):
            return self._compare(node)
        raise self._forbid(node)

    def _get_column(self, name: str) -> Any:
        if name in ("true", "false") and name not in self.table.columns:
            return name == "true"
        values = get_column(name, self.table, self.key)
        check_values(values, name, self.table, self.key)
        return values

    def _compute(self, node: ast.BinOp) -> Any:
        left, right = self._visit_number(node.left), self._visit_number(node.right)
        if isinstance(node.op, DIVISIONS):
            self._check_divisor(self._spread(right), node.right)
        value = ARITHMETIC[type(node.op)](left, right)
        check_values(self._spread(value), self._show(node), self.table, self.key)
        return value

    def _check_divisor(self, values: pd.Series, node: ast.expr) -> None:
        is_zero = values == 0
        if is_zero.any():
            row = describe_row(self.table, int(np.flatnonzero(is_zero)[0]))
            count = f"{is_zero.sum()} of {len(values)} rows"
            raise self._refuse(
                f"divides by {self._show(node)}, which is 0 in {count}, such as {row}",
                "Leave these rows out.",
            )

    def _visit_number(self, node: ast.expr) -> Any:
        return self._to_number(self._visit(node), node)

    def _to_number(self, value: Any, node: ast.expr) -> Any:
        """Returns a number, or a column of texts as numbers."""
        if isinstance(value, (int, float)):
            return value
        if isinstance(value, str):
            raise self._refuse(f"computes with {self._show(node)}, which is no number", "")
        numbers = pd.to_numeric(value, errors="coerce")
        if numbers.isna().any():
            position = int(np.flatnonzero(numbers.isna())[0])
            raise self._refuse(
                f"computes with {self._show(node)}, which is no number in {numbers.isna().sum()} of"
                f" {len(numbers)} rows, such as {str(value.iloc[position])!r} in"
                f" {describe_row(self.table, position)}",
                "Put a text between quotes, or correct these rows.",
            )
        return numbers

    def _visit_truth(self, node: ast.expr) -> pd.Series:
        return self._to_truth(self._visit(node))

    def _to_truth(self, value: Any) -> pd.Series:
        truth_N = to_truth(self._spread(value), self.table, self.key)
        return pd.Series(truth_N, index=self.table.index)

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
            values = self._fit(self._visit(left), left, self._visit(right), right)
            return COMPARISONS[type(comparison)](*values)
        if isinstance(comparison, (ast.Is, ast.IsNot)):
            raise self._refuse("has is, which is not allowed", "Use == or != in its place.")
        is_in = self._contain(left, right)
        return is_in if isinstance(comparison, ast.In) else ~is_in

    def _fit(
        self, left: Any, left_node: ast.expr, right: Any, right_node: ast.expr
    ) -> tuple[Any, Any]:
        """Returns both sides of a comparison as texts, as numbers or as truth values."""
        sides = [(left, left_node), (right, right_node)]
        kinds = {find_kind(left), find_kind(right)}
        if kinds == {"text"}:
            are_columns = isinstance(left, pd.Series) and isinstance(right, pd.Series)
            if not are_columns or not (holds_numbers(left) and holds_numbers(right)):
                return left, right
        elif "text" not in kinds:
            return left, right
        if isinstance(left, str) or isinstance(right, str):
            raise self._refuse(
                f"compares {self._show(left_node)} with {self._show(right_node)}: a text with"
                " what is none",
                "Put both between quotes, or neither.",
            )
        if "truth" in kinds:
            return self._to_truth(left), self._to_truth(right)
        first, second = (self._to_number(value, node) for value, node in sides)
        return first, second

    def _contain(self, left: ast.expr, right: ast.expr) -> pd.Series:
        """Returns where a column is one of the values of a list, or a text is in a column."""
        value = self._visit(left)
        if isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            is_in = pd.Series(False, index=self.table.index)
            for node in right.elts:
                item = self._visit(node)
                if isinstance(item, pd.Series):
                    raise self._refuse("has a column in a list", "List values.")
                is_in = is_in | operator.eq(*self._fit(value, left, item, node))
            return is_in
        column = self._visit(right)
        if not isinstance(value, str) or not isinstance(column, pd.Series):
            raise self._refuse("has an in without a list", "For example: city in ['Lima']")
        return column.astype(str).str.contains(value, regex=False)

    def _show(self, node: ast.AST) -> str:
        """Returns a part of the expression as it is written in the config."""
        text = ast.unparse(node)
        for name, column in self.quoted.items():
            text = text.replace(name, f"`{column}`")
        return text

    def _forbid(self, node: ast.AST) -> UserError:
        what = self._show(node)
        if isinstance(node, ast.Call):
            return self._refuse(f"calls {what}, and nothing is called here", f"Use {ALLOWED}.")
        return self._refuse(f"has {what}, which is not allowed", f"Use {ALLOWED}.")

    def _refuse(self, what: str, cure: str) -> UserError:
        return UserError(f"{self.key}: {self.expression!r} {what}. {cure}".rstrip())

    def _list_columns(self) -> str:
        known = did_you_mean(self.expression, map(str, self.table.columns))
        return f"{known.strip()} {list_columns(self.table.columns)}".strip()


def find_kind(value: Any) -> str:
    """Returns whether a value, or a column, is a truth value, a number or a text.

    >>> find_kind(True), find_kind(pd.Series([1, 2])), find_kind("1")
    ('truth', 'number', 'text')
    """
    values = value if isinstance(value, pd.Series) else pd.Series([value])
    if pd.api.types.is_bool_dtype(values):
        return "truth"
    return "number" if pd.api.types.is_numeric_dtype(values) else "text"


def holds_numbers(values: pd.Series) -> bool:
    """Whether all texts of a column are numbers.

    >>> holds_numbers(pd.Series(["007", "1e3"])), holds_numbers(pd.Series(["7", "seven"]))
    (True, False)
    """
    return bool(pd.to_numeric(values, errors="coerce").notna().all())


def get_column(name: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns a column of a table.

    Raises:
        UserError: there is no such column, or it holds lists and the like.
    """
    if name not in table.columns:
        raise UserError(f"{key}: {describe_missing_column(name, table.columns)}")
    values = table[name]
    if values.dtype == object and is_nested(values).any():
        row = describe_row(table, int(np.flatnonzero(is_nested(values))[0]))
        raise UserError(
            f"{key}: {name} holds several values in one field, such as in {row}. Name a column with"
            " one value in each row."
        )
    return values


def check_values(values: pd.Series, what: str, table: pd.DataFrame, key: str) -> None:
    """Raises UserError where values of the rows of a table are missing.

    Args:
        what: what the values are, for the message.
    """
    missing = values.isna()
    if missing.any():
        row = describe_row(table, int(np.flatnonzero(missing)[0]))
        raise UserError(
            f"{key}: {what} has no value in {missing.sum()} of {len(table)} rows, such as {row}."
            " Fill them in, or leave these rows out."
        )


def to_truth(values: pd.Series, table: pd.DataFrame, key: str) -> Bools:
    """Returns truth values: true or false, yes or no, 1 or 0, in small or capital letters.

    Args:
        table: the table in whose rows the values are, for messages.
        key: the key of the config that the values come from, for messages.

    Raises:
        UserError: some are none.

    >>> table = pd.DataFrame({"label": ["Yes", "no", "1"]})
    >>> to_truth(table["label"], table, "world.concept").tolist()
    [True, False, True]
    """
    if pd.api.types.is_bool_dtype(values) and not values.isna().any():
        return values.to_numpy(dtype=bool)
    words = values.map(_to_word)
    unknown = ~words.isin(list(TRUTH))
    if unknown.any():
        position = int(np.flatnonzero(unknown)[0])
        example = values.iloc[position]
        shown = "nothing" if pd.isna(example) else repr(str(example))
        raise UserError(
            f"{key}: {unknown.sum()} of {len(values)} values are no truth values, such as {shown}"
            f" in {describe_row(table, position)}. Use true or false, yes or no, 1 or 0; or an"
            " expression, such as label == 'good'."
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
