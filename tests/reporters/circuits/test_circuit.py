"""Circuits: all 16 functions, what simplifying does and never does, counts known by hand, and
tables of every small size.

N: episodes, B: inputs.
"""

import itertools
import random

import numpy as np
import pytest
import torch

from reporters.circuits.circuit import Circuit, Gate, Threshold
from reporters.circuits.drawing import draw
from reporters.circuits.wiring import Literal, Wiring, says, words

NO, NOT_A, XOR, AND, WIRE, OR = 0, 3, 6, 8, 12, 14
NAMES = ("p", "q", "r")


def rows(bits: int) -> np.ndarray:
    """Returns every row of so many bits, the first the lowest."""
    return (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(bool)


def drawn(seed: int, inputs: int = 4, gates: int = 12) -> Circuit:
    chance = random.Random(seed)
    nodes = tuple(
        Gate(chance.randrange(16), chance.randrange(inputs + i), chance.randrange(inputs + i))
        for i in range(gates)
    )
    return Circuit(tuple("pqrstuvw"[:inputs]), nodes, inputs + gates - 1, chance.random() < 0.5)


def circuit(
    *gates: tuple[int, int, int], output: int | None = None, negated: bool = False
) -> Circuit:
    return Circuit(
        NAMES,
        tuple(Gate(*gate) for gate in gates),
        len(NAMES) + len(gates) - 1 if output is None else output,
        negated,
    )


IN_PYTHON = {
    "no": lambda p, q: False,
    "p NOR q": lambda p, q: not (p or q),
    "NOT p AND q": lambda p, q: not p and q,
    "NOT p": lambda p, q: not p,
    "p AND NOT q": lambda p, q: p and not q,
    "NOT q": lambda p, q: not q,
    "p XOR q": lambda p, q: p != q,
    "p NAND q": lambda p, q: not (p and q),
    "p AND q": lambda p, q: p and q,
    "p XNOR q": lambda p, q: p == q,
    "q": lambda p, q: q,
    "NOT p OR q": lambda p, q: not p or q,
    "p": lambda p, q: p,
    "p OR NOT q": lambda p, q: p or not q,
    "p OR q": lambda p, q: p or q,
    "yes": lambda p, q: True,
}


@pytest.mark.parametrize("function", range(16))
def test_each_function_says_what_its_words_say(function):
    means = IN_PYTHON[words(function, "p", "q")]
    for p, q in itertools.product((False, True), repeat=2):
        assert says(function, p, q) is means(p, q)
        bits_NB = np.array([[p, q, True]])
        assert circuit((function, 0, 1))(bits_NB).tolist() == [means(p, q)]
        assert circuit((function, 0, 1)).simplified()(torch.from_numpy(bits_NB)).tolist() == [
            means(p, q)
        ]


def test_of_the_16_functions_ten_are_gates():
    gates = [circuit((function, 0, 1)).gates for function in range(16)]
    assert sum(gates) == 10
    assert gates == [circuit((function, 0, 1)).simplified().gates for function in range(16)]


@pytest.mark.parametrize("seed", range(200))
def test_simplifying_changes_no_answer_adds_nothing_and_is_done_after_once(seed):
    whole = drawn(seed)
    less = whole.simplified()
    assert (whole(rows(4)) == less(rows(4))).all()
    assert (
        less.gates <= whole.gates
        and less.depth <= whole.depth
        and less.thresholds <= whole.thresholds
    )
    assert less.gates == len(less.nodes)
    assert less.simplified() == less


def test_wires_and_not_are_absorbed():
    twice_not = circuit((NOT_A, 0, 1), (NOT_A, 3, 0), (AND, 4, 1), (WIRE, 5, 2))
    assert (twice_not.gates, twice_not.depth, len(twice_not.simplified().nodes)) == (1, 1, 1)
    assert str(twice_not.simplified()) == "g1 = p AND q\nsays g1"
    assert str(circuit((NOT_A, 0, 1)).simplified()) == "says NOT p"


def test_constants_fold():
    assert circuit((NO, 0, 1), (AND, 3, 0)).gates == 1
    nothing = circuit((NO, 0, 1), (AND, 3, 0)).simplified()
    assert (nothing.gates, nothing.depth, nothing.thresholds, str(nothing)) == (0, 0, 0, "says no")
    always = circuit((AND, 0, 1), (9, 3, 3)).simplified()
    assert str(always) == "says yes" and always(rows(3)).all()


def test_equal_parts_are_shared_whatever_their_order_and_negation():
    gates = (Gate(AND, 0, 1), Gate(7, 1, 0), Gate(XOR, 5, 2), Gate(OR, 4, 3), Gate(AND, 6, 7))
    twice = Circuit(("p", "q", "r", "s"), gates, 8, negated=False)
    assert (twice.gates, twice.simplified().gates) == (5, 4)


def test_different_parts_are_not_shared():
    assert circuit((OR, 0, 1), (AND, 1, 2), (XOR, 3, 4)).simplified().gates == 3


def test_a_function_of_two_places_is_one_gate_however_it_is_built():
    xor = circuit((4, 0, 1), (2, 0, 1), (OR, 3, 4)).simplified()
    assert str(xor) == "g1 = p XOR q\nsays g1"
    assert str(circuit((OR, 0, 1), (AND, 0, 3)).simplified()) == "says p"
    assert circuit((OR, 0, 1), (AND, 2, 3)).simplified().gates == 2


def test_depth_is_that_of_the_longest_path_and_dead_gates_are_none():
    chain = circuit((AND, 0, 1), (AND, 3, 2), (XOR, 4, 0))
    assert (chain.depth, chain.gates) == (3, 3)
    early = circuit((AND, 0, 1), (AND, 3, 2), (XOR, 4, 0), output=3)
    assert (early.depth, early.gates, early.thresholds) == (1, 1, 2)
    wire = circuit((AND, 0, 1), output=2, negated=True)
    assert (wire.depth, wire.gates, wire.thresholds, str(wire)) == (0, 0, 1, "says NOT r")


def test_equal_thresholds_are_read_once():
    twice = Circuit(
        (Threshold(3, 0.5), Threshold(3, 0.5), Threshold(3, 0.7)),
        (Gate(XOR, 0, 1), Gate(OR, 3, 2)),
        4,
        False,
    )
    assert (twice.thresholds, twice.simplified().thresholds) == (3, 1)
    z_ND = torch.tensor([[0.0, 0.0, 0.0, 0.6], [0.0, 0.0, 0.0, 0.8]])
    assert twice(twice.bits(z_ND)).tolist() == [False, True]
    assert str(twice.simplified()) == "t1 = z3 > 0.7\nsays t1"


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_every_table_of_up_to_three_bits_is_computed(bits):
    deepest = {1: 0, 2: 1, 3: 3}[bits]
    for table in itertools.product((False, True), repeat=2**bits):
        made = Circuit.of_table(table)
        assert made(rows(bits)).tolist() == list(table)
        assert made.depth <= deepest and made.gates == len(made.nodes)


@pytest.mark.parametrize(("bits", "depth"), [(4, 5), (6, 9), (8, 13)])
def test_a_random_table_has_the_depth_of_the_plain_construction(bits, depth):
    table = np.random.default_rng(1).random(2**bits) < 0.5
    made = Circuit.of_table(tuple(map(bool, table)))
    assert (made(rows(bits)) == table).all()
    assert depth - 2 <= made.depth <= depth


def test_rules_are_small_however_many_rows_they_have():
    for bits in (4, 8, 12):
        x_N = np.arange(2**bits)
        lowest, parity = ((x_N & 1) == 1), np.array([bin(x).count("1") % 2 == 1 for x in x_N])
        wire = Circuit.of_table(tuple(map(bool, lowest)))
        assert (wire.gates, wire.depth, wire.thresholds) == (0, 0, 1)
        assert Circuit.of_table(tuple(map(bool, parity))).gates == bits - 1


def test_gates_that_are_there_already_are_not_made_again():
    wiring = Wiring(2)
    p, q = Literal(0, False), Literal(1, False)
    first = wiring.gate(AND, p, q)
    assert wiring.gate(7, q, p) == first.opposite
    assert wiring.gate(1, p.opposite, q.opposite) == first
    assert len(wiring.gates) == 1
    assert wiring.gate(AND, p, q.opposite) != first and len(wiring.gates) == 2


def test_a_drawing_is_written(tmp_path):
    draw(drawn(0).simplified(), tmp_path / "circuit.png")
    draw(circuit((NO, 0, 1)).simplified(), tmp_path / "constant.png")
    assert (tmp_path / "circuit.png").stat().st_size > 5_000 and (
        tmp_path / "constant.png"
    ).exists()
