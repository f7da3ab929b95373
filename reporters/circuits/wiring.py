"""The 16 functions of two bits, and gates put together so that none is there twice.

Bit 2a + b of a function's number is what it says of operands a and b.
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


def says(function: int, a: bool, b: bool) -> bool:
    """Returns what a function says of two bits.

    >>> [says(8, a, b) for a in (False, True) for b in (False, True)]
    [False, False, False, True]
    """
    return bool(function >> (2 * a + b) & 1)


def reads(function: int) -> tuple[bool, bool]:
    """Returns whether a function depends on its first operand, and whether on its second.

    >>> reads(8), reads(12), reads(5), reads(15)
    ((True, True), (True, False), (False, True), (False, False))
    """
    return function >> 2 != function & 3, (function >> 1 & 5) != function & 5


def words(function: int, a: str, b: str) -> str:
    """Returns a function of two named operands as people write it.

    >>> words(4, "p", "q")
    'p AND NOT q'
    """
    return WORDS[function].format(a=a, b=b)


class Literal(NamedTuple):
    """A place or its opposite; no place is a constant: no, and its opposite yes."""

    place: int | None
    negated: bool

    @property
    def opposite(self) -> Literal:
        """NOT this."""
        return Literal(self.place, not self.negated)


class Wiring:
    """Gates put together one by one; a gate that folds away, or is there already, is not made
    again.

    Every gate is kept in one form, so that equal ones are found: operands in order of place, not
    negated, and saying no where both are no (the opposite is NOT the gate). Where both operands are
    functions of the same two places, so is the gate, and it is made of those.

    Args:
        inputs: how many places there are before the first gate.
    """

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.gates: list[tuple[int, int, int]] = []
        self._found: dict[tuple[int, int, int], int] = {}

    def gate(self, function: int, a: Literal, b: Literal) -> Literal:
        """Returns a function of two literals as a literal."""
        for pair in self._pairs(a, b):
            if all(self._is_of(literal, pair) for literal in (a, b)):
                rows = [(x, y) for x in (False, True) for y in (False, True)]
                return self._made(
                    sum(
                        says(function, self._said(a, pair, row), self._said(b, pair, row)) << i
                        for i, row in enumerate(rows)
                    ),
                    *pair,
                )
        raise AssertionError("both literals are functions of their own two places")

    def _pairs(self, a: Literal, b: Literal) -> list[tuple[int, ...]]:
        """Returns pairs of places, deepest first, of which both literals may be functions."""
        places = sorted({literal.place for literal in (a, b) if literal.place is not None})
        below = [self.gates[place - self.inputs][1:] for place in places if place >= self.inputs]
        return [*below, tuple(places)]

    def _is_of(self, literal: Literal, pair: tuple[int, ...]) -> bool:
        if literal.place is None or literal.place in pair:
            return True
        return literal.place >= self.inputs and self.gates[literal.place - self.inputs][1:] == pair

    def _said(self, literal: Literal, pair: tuple[int, ...], row: tuple[bool, bool]) -> bool:
        """Returns what a literal is where the places of the pair are as in the row."""
        if literal.place is None:
            return literal.negated
        if literal.place in pair:
            return row[pair.index(literal.place)] != literal.negated
        return says(self.gates[literal.place - self.inputs][0], *row) != literal.negated

    def _made(self, function: int, *pair: int) -> Literal:
        """Returns a function of up to two places, the gate for it made where there is none."""
        negated = bool(function & 1)
        function ^= 15 * negated
        used = [place for place, read in zip(pair, reads(function), strict=False) if read]
        if len(used) < 2:
            return Literal(used[0] if used else None, negated)
        key = (function, used[0], used[1])
        if key not in self._found:
            self._found[key] = self.inputs + len(self.gates)
            self.gates.append(key)
        return Literal(self._found[key], negated)
