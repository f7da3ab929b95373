"""Of which predictors the judge's record on planted heads speaks."""

import pytest

from report.planted import collect_record, list_gates_not_passed
from verdict.gates import Gate

PASSED = Gate("knows", 1.0, 0.95, "Train it.", 0.99, 1.0, "data.probe")
NOT_SHOWN = Gate("uses", 0.95, 0.95, "Train it.", 0.93, 0.97, "data.probe")
FAILED = Gate("uses (swap)", 0.3, 0.8, "Read a deeper level.", 0.2, 0.4, "data.probe")


def describe(*gates: Gate) -> dict[str, object]:
    """Returns what predictor.json holds of gates, and of one planted head."""
    return {
        "identity": "0123456789",
        "gates": [str(gate) for gate in gates],
        "gates_not_passed": [str(gate) for gate in gates if not gate.passed],
        "judge_on_planted_heads": [["translator", "direct_translator", "undecided", 20, False]],
    }


def test_the_record_counts_for_a_predictor_that_passes_its_gates():
    record = collect_record([describe(PASSED)])
    assert (record.n_runs, record.n, record.stopped) == (1, 20, ())
    assert "right on 0 of 20 planted heads" in record.describe()


@pytest.mark.parametrize("gate", [NOT_SHOWN, FAILED])
def test_it_is_left_out_for_a_predictor_that_does_not_pass_one(gate):
    about = describe(PASSED, gate)
    assert list_gates_not_passed(about) == [str(gate)]
    assert collect_record([about]).stopped == ("01234567",)


def test_a_run_of_before_tells_its_gates_by_their_sentences():
    gates = ["knows 0.998", "uses 0.500 (required: 0.95). Train it for longer."]
    assert list_gates_not_passed({"gates": gates}) == gates[1:]
