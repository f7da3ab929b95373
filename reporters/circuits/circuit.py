"""A circuit of two-input gates over thresholds, which can be run, simplified, counted and printed.

N: episodes, B: inputs, D: width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from reporters.circuits.wiring import Literal, Wiring, depends_on, format_function

AND, AND_NOT_FIRST, OR = 8, 2, 14


class Threshold(NamedTuple):
    """Whether an activation is above a value."""

    place: int
    """Which of the D activations."""
    value: float
    """In standard deviations, if the activations are standardised."""

    def __str__(self) -> str:
        return f"z{self.place} > {self.value:.4g}"


class Gate(NamedTuple):
    """One two-input gate: bit 2a + b of `function` is its value for operands a and b."""

    function: int
    """From 0 to 15; 8 is AND, 6 is XOR, 12 is a wire from a."""
    a: int
    """The place of an operand: inputs come first, then gates in their order."""
    b: int


@dataclass(frozen=True)
class Circuit:
    """The function that a finished head of gates computes. NOT is free: it is part of a gate's
    function, or of the output.

    >>> gates = (Gate(8, 0, 1), Gate(6, 3, 2))
    >>> xor_of_and = Circuit(("p", "q", "r"), gates, output=4, negated=True)
    >>> print(xor_of_and)
    g1 = p AND q
    g2 = g1 XOR r
    output = NOT g2
    >>> xor_of_and.gates, xor_of_and.depth, xor_of_and.thresholds
    (2, 2, 3)

    Args:
        inputs: thresholds, or plain names.
        nodes: gates, each after its operands.
        output: the place of the output; None is always no.
        negated: whether the output is the opposite of that place.
    """

    inputs: tuple[Threshold | str, ...]
    nodes: tuple[Gate, ...]
    output: int | None
    negated: bool

    def __post_init__(self) -> None:
        for place, gate in enumerate(self.nodes, len(self.inputs)):
            assert 0 <= gate.function < 16
            assert 0 <= gate.a < place
            assert 0 <= gate.b < place
        assert self.output is None or 0 <= self.output < len(self.inputs) + len(self.nodes)

    @classmethod
    def from_table(cls, table: tuple[bool, ...]) -> Circuit:
        """Returns the standard construction for a truth table: multiplexers over shared subtables
        (Shannon 1949).

        The table is split by its highest bit, both halves are built, and 3 gates of depth 2 choose
        between them. A table of two bits is one gate. A table that exists already, or whose
        opposite does, is not built again. Lupanov (1958) needs fewer gates by a constant factor:
        n / log2 n gates for n rows.

        >>> print(Circuit.from_table((False, True, True, False)))
        g1 = x0 XOR x1
        output = g1

        Args:
            table: the output for x = 0, 1, 2, ...; the input named x0 is the lowest bit of x.
        """
        n_bits = int(math.log2(len(table)))
        assert len(table) == 2**n_bits
        wiring = Wiring(n_bits)
        built: dict[tuple[bool, ...], Literal] = {}

        def build(table: tuple[bool, ...]) -> Literal:
            if len(table) == 1:
                return Literal(None, table[0])
            if table[0]:
                return build(tuple(not row for row in table)).opposite
            if table not in built:
                half = len(table) // 2
                top = Literal(int(math.log2(len(table))) - 1, False)
                low = build(table[:half])
                high = build(table[half:])
                if_top = wiring.add_gate(AND, top, high)
                if_not_top = wiring.add_gate(AND_NOT_FIRST, top, low)
                built[table] = wiring.add_gate(OR, if_top, if_not_top)
            return built[table]

        return cls._from_wiring(tuple(f"x{i}" for i in range(n_bits)), wiring, build(table))

    @classmethod
    def _from_wiring(
        cls, inputs: tuple[Threshold | str, ...], wiring: Wiring, output: Literal
    ) -> Circuit:
        """Returns the circuit of a wiring's live gates."""
        gates = tuple(Gate(*gate) for gate in wiring.gates)
        whole = cls(inputs, gates, output.place, output.negated)
        first = len(inputs)
        live_gates = [place for place in whole.live if place >= first]
        new_places = {place: place for place in range(first)}
        new_places |= {place: first + i for i, place in enumerate(live_gates)}
        nodes = []
        for place in live_gates:
            gate = whole.nodes[place - first]
            nodes.append(Gate(gate.function, new_places[gate.a], new_places[gate.b]))
        new_output = None if output.place is None else new_places[output.place]
        return cls(inputs, tuple(nodes), new_output, output.negated)

    def simplify(self) -> Circuit:
        """Returns a circuit of the same function with constants folded, wires and NOT absorbed,
        common parts shared and dead gates removed.

        A gate whose operands are both functions of the same two places becomes one gate of those
        places. Inputs keep their places, used or not; of equal inputs only the first is read.
        """
        wiring = Wiring(len(self.inputs))
        literals = [Literal(self.inputs.index(source), False) for source in self.inputs]
        for gate in self.nodes:
            a, b = literals[gate.a], literals[gate.b]
            literals.append(wiring.add_gate(gate.function, a, b))
        output = Literal(None, False) if self.output is None else literals[self.output]
        return self._from_wiring(self.inputs, wiring, output.opposite if self.negated else output)

    @cached_property
    def live(self) -> tuple[int, ...]:
        """The places on which the output depends through the wiring, in their order."""
        live: set[int] = set()
        waiting = [] if self.output is None else [self.output]
        while waiting:
            place = waiting.pop()
            if place not in live:
                live.add(place)
                waiting += self._find_operands(place)
        return tuple(sorted(live))

    def _find_operands(self, place: int) -> list[int]:
        """Returns the operands that a gate depends on; an input has none."""
        if place < len(self.inputs):
            return []
        gate = self.nodes[place - len(self.inputs)]
        reads_a, reads_b = depends_on(gate.function)
        return [gate.a] * reads_a + [gate.b] * reads_b

    @property
    def gates(self) -> int:
        """The number of live gates; wires, NOT and constants do not count."""
        return sum(len(self._find_operands(place)) == 2 for place in self.live)

    @property
    def thresholds(self) -> int:
        """The number of live inputs."""
        return sum(place < len(self.inputs) for place in self.live)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """For every place, the number of gates on the longest path that ends there."""
        depths = [0] * len(self.inputs)
        for i in range(len(self.nodes)):
            operands = self._find_operands(len(self.inputs) + i)
            deepest = max((depths[operand] for operand in operands), default=0)
            depths.append(deepest + (len(operands) == 2))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """The number of gates on the longest path from an input to the output."""
        return 0 if self.output is None else self.depths[self.output]

    def compute_bits(self, z_ND: Any) -> Any:
        """Returns the inputs' bits, shape (N, B), for activations; every input is a threshold."""
        bits_NB = z_ND[:, [0] * len(self.inputs)] > 0
        for i, threshold in enumerate(self.inputs):
            assert isinstance(threshold, Threshold)
            bits_NB[:, i] = z_ND[:, threshold.place] > threshold.value
        return bits_NB

    def __call__(self, bits_NB: Any) -> Any:
        """Returns the output, shape (N,), for boolean arrays of NumPy or torch."""
        no_N = bits_NB[:, 0] & ~bits_NB[:, 0]
        values: dict[int | None, Any] = {None: no_N}
        for place in self.live:
            if place < len(self.inputs):
                values[place] = bits_NB[:, place]
                continue
            gate = self.nodes[place - len(self.inputs)]
            a_N, b_N = values.get(gate.a, no_N), values.get(gate.b, no_N)
            rows = (~a_N & ~b_N, ~a_N & b_N, a_N & ~b_N, a_N & b_N)
            values[place] = no_N
            for i, row_N in enumerate(rows):
                if gate.function >> i & 1:
                    values[place] = values[place] | row_N
        return ~values[self.output] if self.negated else values[self.output]

    def name_places(self) -> dict[int, str]:
        """Returns a short name for every live place: t1, t2, ... for thresholds, g1, g2, ... for
        gates; plain names stay as they are.
        """
        names = {}
        n_thresholds = n_gates = 0
        for place in self.live:
            if place >= len(self.inputs):
                n_gates += 1
                names[place] = f"g{n_gates}"
            elif isinstance(self.inputs[place], Threshold):
                n_thresholds += 1
                names[place] = f"t{n_thresholds}"
            else:
                names[place] = str(self.inputs[place])
        return names

    def __str__(self) -> str:
        names, first = self.name_places(), len(self.inputs)
        lines = []
        for place in self.live:
            if place >= first:
                gate = self.nodes[place - first]
                a, b = names.get(gate.a, ""), names.get(gate.b, "")
                lines.append(f"{names[place]} = {format_function(gate.function, a, b)}")
            elif isinstance(self.inputs[place], Threshold):
                lines.append(f"{names[place]} = {self.inputs[place]}")
        if self.output is None:
            output = "yes" if self.negated else "no"
        else:
            output = f"NOT {names[self.output]}" if self.negated else names[self.output]
        return "\n".join([*lines, f"output = {output}"])
