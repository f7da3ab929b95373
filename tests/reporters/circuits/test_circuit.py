"""Circuits: all 16 functions, the effects of simplifying, counts known by hand, and every small
truth table.

N: episodes, B: inputs.
"""

import itertools
import random

import numpy as np
import pytest
import torch

from reporters.circuits.circuit import Circuit, Gate, Threshold
from reporters.circuits.drawing import draw
from reporters.circuits.wiring import Literal, Wiring, evaluate, format_function

NO, NOT_A, XOR, NAND, AND, XNOR, WIRE, OR = 0, 3, 6, 7, 8, 9, 12, 14
NAMES = ("p", "q", "r")


def list_rows(n_bits: int) -> np.ndarray:
    """Returns every row of a number of bits, in order; the first bit is the lowest."""
    return (np.arange(2**n_bits)[:, None] >> np.arange(n_bits) & 1).astype(bool)


def draw_circuit(seed: int, inputs: int = 4, gates: int = 12) -> Circuit:
    """Returns a random circuit."""
    rng = random.Random(seed)
    nodes = []
    for place in range(inputs, inputs + gates):
        nodes.append(Gate(rng.randrange(16), rng.randrange(place), rng.randrange(place)))
    names = tuple("pqrstuvw"[:inputs])
    return Circuit(names, tuple(nodes), inputs + gates - 1, rng.random() < 0.5)


def build(
    *gates: tuple[int, int, int], output: int | None = None, negated: bool = False
) -> Circuit:
    """Returns a circuit over NAMES; its output is the last gate, unless another place is given."""
    if output is None:
        output = len(NAMES) + len(gates) - 1
    return Circuit(NAMES, tuple(Gate(*gate) for gate in gates), output, negated)


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
def test_each_function_computes_what_its_words_mean(function):
    compute = IN_PYTHON[format_function(function, "p", "q")]
    circuit = build((function, 0, 1))
    for p, q in itertools.product((False, True), repeat=2):
        expected = compute(p, q)
        bits_NB = np.array([[p, q, True]])
        assert evaluate(function, p, q) is expected
        assert circuit(bits_NB).tolist() == [expected]
        assert circuit.simplify()(torch.from_numpy(bits_NB)).tolist() == [expected]


def test_ten_of_the_16_functions_are_gates():
    circuits = [build((function, 0, 1)) for function in range(16)]
    gates = [circuit.gates for circuit in circuits]
    assert sum(gates) == 10
    assert gates == [circuit.simplify().gates for circuit in circuits]


@pytest.mark.parametrize("seed", range(200))
def test_simplifying_keeps_all_answers_adds_nothing_and_is_complete_after_one_pass(seed):
    whole = draw_circuit(seed)
    simple = whole.simplify()
    assert (whole(list_rows(4)) == simple(list_rows(4))).all()
    assert simple.gates <= whole.gates
    assert simple.depth <= whole.depth
    assert simple.thresholds <= whole.thresholds
    assert simple.gates == len(simple.nodes)
    assert simple.simplify() == simple


def test_wires_and_not_are_absorbed():
    twice_not = build((NOT_A, 0, 1), (NOT_A, 3, 0), (AND, 4, 1), (WIRE, 5, 2))
    assert (twice_not.gates, twice_not.depth, len(twice_not.simplify().nodes)) == (1, 1, 1)
    assert str(twice_not.simplify()) == "g1 = p AND q\noutput = g1"
    assert str(build((NOT_A, 0, 1)).simplify()) == "output = NOT p"


def test_constants_fold():
    assert build((NO, 0, 1), (AND, 3, 0)).gates == 1
    never = build((NO, 0, 1), (AND, 3, 0)).simplify()
    assert (never.gates, never.depth, never.thresholds) == (0, 0, 0)
    assert str(never) == "output = no"
    always = build((AND, 0, 1), (XNOR, 3, 3)).simplify()
    assert str(always) == "output = yes"
    assert always(list_rows(3)).all()


def test_equal_parts_are_shared_whatever_their_order_and_negation():
    gates = (Gate(AND, 0, 1), Gate(NAND, 1, 0), Gate(XOR, 5, 2), Gate(OR, 4, 3), Gate(AND, 6, 7))
    twice = Circuit(("p", "q", "r", "s"), gates, 8, negated=False)
    assert (twice.gates, twice.simplify().gates) == (5, 4)


def test_different_parts_are_not_shared():
    assert build((OR, 0, 1), (AND, 1, 2), (XOR, 3, 4)).simplify().gates == 3


def test_a_function_of_two_places_is_one_gate_however_it_is_built():
    xor = build((4, 0, 1), (2, 0, 1), (OR, 3, 4)).simplify()
    assert str(xor) == "g1 = p XOR q\noutput = g1"
    assert str(build((OR, 0, 1), (AND, 0, 3)).simplify()) == "output = p"
    assert build((OR, 0, 1), (AND, 2, 3)).simplify().gates == 2


def test_depth_is_that_of_the_longest_path_and_ignores_dead_gates():
    chain = build((AND, 0, 1), (AND, 3, 2), (XOR, 4, 0))
    assert (chain.depth, chain.gates) == (3, 3)
    early = build((AND, 0, 1), (AND, 3, 2), (XOR, 4, 0), output=3)
    assert (early.depth, early.gates, early.thresholds) == (1, 1, 2)
    wire = build((AND, 0, 1), output=2, negated=True)
    assert (wire.depth, wire.gates, wire.thresholds) == (0, 0, 1)
    assert str(wire) == "output = NOT r"


def test_equal_thresholds_are_read_once():
    inputs = (Threshold(3, 0.5), Threshold(3, 0.5), Threshold(3, 0.7))
    circuit = Circuit(inputs, (Gate(XOR, 0, 1), Gate(OR, 3, 2)), output=4, negated=False)
    assert (circuit.thresholds, circuit.simplify().thresholds) == (3, 1)
    z_ND = torch.tensor([[0.0, 0.0, 0.0, 0.6], [0.0, 0.0, 0.0, 0.8]])
    assert circuit(circuit.compute_bits(z_ND)).tolist() == [False, True]
    assert str(circuit.simplify()) == "t1 = z3 > 0.7\noutput = t1"


@pytest.mark.parametrize(("n_bits", "deepest"), [(1, 0), (2, 1), (3, 3)])
def test_every_table_of_up_to_three_bits_is_computed(n_bits, deepest):
    for table in itertools.product((False, True), repeat=2**n_bits):
        circuit = Circuit.from_table(table)
        assert circuit(list_rows(n_bits)).tolist() == list(table)
        assert circuit.depth <= deepest
        assert circuit.gates == len(circuit.nodes)


@pytest.mark.parametrize(("n_bits", "depth"), [(4, 5), (6, 9), (8, 13)])
def test_a_random_table_has_the_depth_of_the_standard_construction(n_bits, depth):
    table = np.random.default_rng(1).random(2**n_bits) < 0.5
    circuit = Circuit.from_table(tuple(map(bool, table)))
    assert (circuit(list_rows(n_bits)) == table).all()
    assert depth - 2 <= circuit.depth <= depth


@pytest.mark.parametrize("n_bits", [4, 8, 12])
def test_rules_are_small_however_many_rows_they_have(n_bits):
    rows_NB = list_rows(n_bits)
    lowest = Circuit.from_table(tuple(map(bool, rows_NB[:, 0])))
    parity = Circuit.from_table(tuple(map(bool, rows_NB.sum(axis=1) % 2)))
    assert (lowest.gates, lowest.depth, lowest.thresholds) == (0, 0, 1)
    assert parity.gates == n_bits - 1


def test_a_gate_that_exists_already_is_not_added():
    wiring = Wiring(2)
    p, q = Literal(0, False), Literal(1, False)
    both = wiring.add_gate(AND, p, q)
    assert wiring.add_gate(NAND, q, p) == both.opposite
    assert wiring.add_gate(1, p.opposite, q.opposite) == both
    assert len(wiring.gates) == 1
    assert wiring.add_gate(AND, p, q.opposite) != both
    assert len(wiring.gates) == 2


def test_a_drawing_is_saved(tmp_path):
    draw(draw_circuit(0).simplify(), tmp_path / "circuit.png")
    draw(build((NO, 0, 1)).simplify(), tmp_path / "constant.png")
    assert (tmp_path / "circuit.png").stat().st_size > 5_000
    assert (tmp_path / "constant.png").exists()
