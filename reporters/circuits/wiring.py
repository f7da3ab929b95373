"""The 16 functions of two bits, and a builder that adds gates without duplicates.

Bit 2a + b of a function's number is its value for operands a and b.
"""

from __future__ import annotations

from typing import NamedTuple

WORDS = {
    0: "no",
    1: "{a} NOR {b}",
    2: "NOT {a} AND {b}",
    3: "NOT {a}",
    4: "{a} AND NOT {b}",
    5: "NOT {b}",
    6: "{a} XOR {b}",
    7: "{a} NAND {b}",
    8: "{a} AND {b}",
    9: "{a} XNOR {b}",
    10: "{b}",
    11: "NOT {a} OR {b}",
    12: "{a}",
    13: "{a} OR NOT {b}",
    14: "{a} OR {b}",
    15: "yes",
}

ROWS = ((False, False), (False, True), (True, False), (True, True))
"""The values of two operands, in the order of the bits of a function's number."""


def evaluate(function: int, a: bool, b: bool) -> bool:
    """Returns the value of a function of two bits.

    >>> [evaluate(8, a, b) for a in (False, True) for b in (False, True)]
    [False, False, False, True]
    """
    return bool(function >> (2 * a + b) & 1)


def depends_on(function: int) -> tuple[bool, bool]:
    """Returns whether a function depends on its first operand, and whether on its second.

    >>> depends_on(8), depends_on(12), depends_on(5), depends_on(15)
    ((True, True), (True, False), (False, True), (False, False))
    """
    return function >> 2 != function & 3, (function >> 1 & 5) != function & 5


def format_function(function: int, a: str, b: str) -> str:
    """Returns a function of two named operands in words.

    >>> format_function(4, "p", "q")
    'p AND NOT q'
    """
    return WORDS[function].format(a=a, b=b)


class Literal(NamedTuple):
    """A place or its opposite. Without a place it is a constant: no, and its opposite yes."""

    place: int | None
    negated: bool

    @property
    def opposite(self) -> Literal:
        """NOT this."""
        return Literal(self.place, not self.negated)


class Wiring:
    """Gates added one by one. A gate that reduces to a simpler literal, or that exists already, is
    not added.

    Every gate is kept in one form, so that equal gates are recognised: its operands are in order of
    place and not negated, and its value is no if both operands are no (otherwise the literal is NOT
    the gate). If both operands are functions of the same two places, so is the gate, and it is
    built from those places.

    Args:
        inputs: the number of places before the first gate.
    """

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.gates: list[tuple[int, int, int]] = []
        self._places: dict[tuple[int, int, int], int] = {}

    def add_gate(self, function: int, a: Literal, b: Literal) -> Literal:
        """Returns a function of two literals as a literal, and adds a gate if one is needed."""
        for pair in self._find_pairs(a, b):
            if self._is_function_of(a, pair) and self._is_function_of(b, pair):
                return self._add_function_of_places(self._compose(function, a, b, pair), *pair)
        raise AssertionError("both literals are functions of their own two places")

    def _find_pairs(self, a: Literal, b: Literal) -> list[tuple[int, ...]]:
        """Returns pairs of places, the deepest first, of which both literals may be functions."""
        places = sorted({literal.place for literal in (a, b) if literal.place is not None})
        operands = [self._get_operands(place) for place in places if place >= self.inputs]
        return [*operands, tuple(places)]

    def _get_operands(self, place: int) -> tuple[int, int]:
        return self.gates[place - self.inputs][1:]

    def _is_function_of(self, literal: Literal, pair: tuple[int, ...]) -> bool:
        if literal.place is None or literal.place in pair:
            return True
        return literal.place >= self.inputs and self._get_operands(literal.place) == pair

    def _compose(self, function: int, a: Literal, b: Literal, pair: tuple[int, ...]) -> int:
        """Returns the number of the function of a pair of places that is equal to a function of two
        literals.
        """
        composed = 0
        for i, row in enumerate(ROWS):
            value_a = self._evaluate_literal(a, pair, row)
            value_b = self._evaluate_literal(b, pair, row)
            composed |= evaluate(function, value_a, value_b) << i
        return composed

    def _evaluate_literal(
        self, literal: Literal, pair: tuple[int, ...], row: tuple[bool, bool]
    ) -> bool:
        """Returns the value of a literal if the places of the pair have the values of the row."""
        if literal.place is None:
            return literal.negated
        if literal.place in pair:
            return row[pair.index(literal.place)] != literal.negated
        return evaluate(self.gates[literal.place - self.inputs][0], *row) != literal.negated

    def _add_function_of_places(self, function: int, *pair: int) -> Literal:
        """Returns a function of up to two places as a literal, and adds a gate if it is new."""
        negated = bool(function & 1)
        function ^= 15 * negated
        used = [place for place, read in zip(pair, depends_on(function), strict=False) if read]
        if len(used) < 2:
            return Literal(used[0] if used else None, negated)
        key = (function, used[0], used[1])
        if key not in self._places:
            self._places[key] = self.inputs + len(self.gates)
            self.gates.append(key)
        return Literal(self._places[key], negated)
