"""A circuit of two-input gates over thresholds: run, simplified, counted and printed.

N: episodes, B: inputs, D: width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from reporters.circuits.wiring import Literal, Wiring, reads, words


class Threshold(NamedTuple):
    """Whether an activation is above a value."""

    place: int
    """Which of the D activations."""
    value: float
    """In standard deviations, where activations are standardised."""

    def __str__(self) -> str:
        return f"z{self.place} > {self.value:.4g}"


class Gate(NamedTuple):
    """One two-input gate: bit 2a + b of `function` is what it says of operands a and b."""

    function: int
    """From 0 to 15; 8 is AND, 6 is XOR, 12 is a wire from a."""
    a: int
    """The place of an operand: inputs come first, then gates in their order."""
    b: int


@dataclass(frozen=True)
class Circuit:
    """What a finished head of gates computes. NOT is free: it is part of a gate's function, or of
    the output.

    >>> xor_of_and = Circuit(("p", "q", "r"), (Gate(8, 0, 1), Gate(6, 3, 2)), output=4, negated=True)
    >>> print(xor_of_and)
    g1 = p AND q
    g2 = g1 XOR r
    says NOT g2
    >>> xor_of_and.gates, xor_of_and.depth, xor_of_and.thresholds
    (2, 2, 3)

    Args:
        inputs: thresholds, or plain names.
        nodes: gates, each after its operands.
        output: the place of what it says; None is always no.
        negated: whether it says the opposite.
    """

    inputs: tuple[Threshold | str, ...]
    nodes: tuple[Gate, ...]
    output: int | None
    negated: bool

    def __post_init__(self) -> None:
        first = len(self.inputs)
        assert all(
            0 <= gate.function < 16 and 0 <= gate.a < first + i and 0 <= gate.b < first + i
            for i, gate in enumerate(self.nodes)
        )
        assert self.output is None or 0 <= self.output < first + len(self.nodes)

    @classmethod
    def of_table(cls, table: tuple[bool, ...]) -> Circuit:
        """Returns the plain construction for a truth table: multiplexers over shared subtables
        (Shannon 1949).

        The table is split by its highest bit, the halves are built, and 3 gates of depth 2 choose
        between them; a table of two bits is one gate, a table that was built before, or its
        opposite, is used again. Lupanov (1958) does better by a constant: n / log2 n gates for n
        rows.

        >>> print(Circuit.of_table((False, True, True, False)))
        g1 = x0 XOR x1
        says g1

        Args:
            table: what is said of x = 0, 1, 2, ...; the input named x0 is the lowest bit of x.
        """
        bits = int(math.log2(len(table)))
        assert len(table) == 2**bits
        wiring = Wiring(bits)
        built: dict[tuple[bool, ...], Literal] = {}

        def literal(table: tuple[bool, ...]) -> Literal:
            if len(table) == 1:
                return Literal(None, table[0])
            if table[0]:
                return literal(tuple(not row for row in table)).opposite
            if table not in built:
                half, top = len(table) // 2, Literal(int(math.log2(len(table))) - 1, False)
                low, high = literal(table[:half]), literal(table[half:])
                built[table] = wiring.gate(14, wiring.gate(8, top, high), wiring.gate(2, top, low))
            return built[table]

        return cls._wired(tuple(f"x{i}" for i in range(bits)), wiring, literal(table))

    @classmethod
    def _wired(
        cls, inputs: tuple[Threshold | str, ...], wiring: Wiring, output: Literal
    ) -> Circuit:
        """Returns what is live of gates that have been put together."""
        whole = cls(
            inputs, tuple(Gate(*gate) for gate in wiring.gates), output.place, output.negated
        )
        first = len(inputs)
        kept = [place for place in whole.live if place >= first]
        moved = {place: place for place in range(first)} | {
            place: first + i for i, place in enumerate(kept)
        }
        nodes = tuple(
            Gate(gate.function, moved[gate.a], moved[gate.b])
            for gate in (whole.nodes[place - first] for place in kept)
        )
        return replace(
            whole, nodes=nodes, output=None if whole.output is None else moved[whole.output]
        )

    def simplified(self) -> Circuit:
        """Returns the same function with constants folded, wires and NOT absorbed, common parts
        shared and dead gates dropped.

        A gate both of whose operands are functions of the same two places becomes one gate of
        those. Inputs stay where they are, used or not; of equal ones only the first is read.
        """
        wiring = Wiring(len(self.inputs))
        literals = [Literal(self.inputs.index(one), False) for one in self.inputs]
        for gate in self.nodes:
            literals.append(wiring.gate(gate.function, literals[gate.a], literals[gate.b]))
        output = Literal(None, False) if self.output is None else literals[self.output]
        return self._wired(self.inputs, wiring, output.opposite if self.negated else output)

    @cached_property
    def live(self) -> tuple[int, ...]:
        """The places on which the output depends by the wiring, in their order."""
        first, found = len(self.inputs), set()
        waiting = [] if self.output is None else [self.output]
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += self._operands(place) if place >= first else []
        return tuple(sorted(found))

    def _operands(self, place: int) -> list[int]:
        gate = self.nodes[place - len(self.inputs)]
        return [
            operand
            for operand, read in zip((gate.a, gate.b), reads(gate.function), strict=True)
            if read
        ]

    @property
    def gates(self) -> int:
        """How many live gates it has; wires, NOT and constants are none."""
        first = len(self.inputs)
        return sum(
            all(reads(self.nodes[place - first].function)) for place in self.live if place >= first
        )

    @property
    def thresholds(self) -> int:
        """How many of its inputs are live."""
        return sum(place < len(self.inputs) for place in self.live)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """For every place, the gates on the longest path that ends there."""
        depths = [0] * len(self.inputs)
        for i, gate in enumerate(self.nodes):
            before = [depths[operand] for operand in self._operands(len(self.inputs) + i)]
            depths.append(max(before, default=0) + all(reads(gate.function)))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """Gates on the longest path from an input to the output."""
        return 0 if self.output is None else self.depths[self.output]

    def bits(self, z_ND: Any) -> Any:
        """Returns the inputs' bits, shape (N, B), of activations; every input is a threshold."""
        bits_NB = z_ND[:, [0] * len(self.inputs)] > 0
        for i, one in enumerate(self.inputs):
            assert isinstance(one, Threshold)
            bits_NB[:, i] = z_ND[:, one.place] > one.value
        return bits_NB

    def __call__(self, bits_NB: Any) -> Any:
        """Returns what it says, shape (N,), of boolean arrays of NumPy or torch."""
        no_N = bits_NB[:, 0] & ~bits_NB[:, 0]
        said: dict[int | None, Any] = {None: no_N}
        for place in self.live:
            if place < len(self.inputs):
                said[place] = bits_NB[:, place]
            else:
                gate = self.nodes[place - len(self.inputs)]
                said[place] = no_N
                for row in range(4):
                    if gate.function >> row & 1:
                        a_N, b_N = said.get(gate.a, no_N), said.get(gate.b, no_N)
                        said[place] = said[place] | (
                            (a_N if row & 2 else ~a_N) & (b_N if row & 1 else ~b_N)
                        )
        return ~said[self.output] if self.negated else said[self.output]

    def names(self) -> dict[int, str]:
        """Returns a short name for every live place: t1, t2, ... for thresholds, g1, g2, ... for
        gates, and plain names as they are.
        """
        first = len(self.inputs)
        thresholds = [
            place
            for place in self.live
            if place < first and isinstance(self.inputs[place], Threshold)
        ]
        gates = [place for place in self.live if place >= first]
        named = {place: str(self.inputs[place]) for place in self.live if place < first}
        return (
            named
            | {p: f"t{i}" for i, p in enumerate(thresholds, 1)}
            | {p: f"g{i}" for i, p in enumerate(gates, 1)}
        )

    def __str__(self) -> str:
        names, first = self.names(), len(self.inputs)
        lines = [
            f"{names[place]} = {self.inputs[place]}"
            for place in self.live
            if place < first and isinstance(self.inputs[place], Threshold)
        ]
        for place in self.live:
            if place >= first:
                gate = self.nodes[place - first]
                lines.append(
                    f"{names[place]} ="
                    f" {words(gate.function, names.get(gate.a, ''), names.get(gate.b, ''))}"
                )
        if self.output is None:
            return "\n".join([*lines, "says yes" if self.negated else "says no"])
        return "\n".join([*lines, f"says {'NOT ' if self.negated else ''}{names[self.output]}"])
