"""The sentences of a reason are put together from clauses, and figures are filled in last."""

import pytest

from verdict import words
from verdict.gates import Gate
from verdict.verdict import Kind

ROW = {
    "follows_concept": 0.25,
    "follows_concept_low": 0.204,
    "follows_concept_high": 0.3,
    "nde": -0.001,
    "nde_low": -0.5,
    "nde_high": 0.5,
    "swap_all_concept": 1.0,
}


def test_figures_have_their_intervals_where_the_row_holds_them():
    template = "it follows X on {follows_concept}, moves by {nde}, {swap_all_concept} at most"
    assert words.fill(template, ROW) == (
        "it follows X on 0.25 [0.20, 0.30], moves by -0.00 [-0.50, 0.50], 1.00 at most"
    )


def test_a_column_that_the_row_lacks_is_an_error():
    with pytest.raises(KeyError):
        words.fill("{nie}", ROW)


def test_clauses_are_one_sentence_and_empty_ones_are_left_out():
    sentence = words.describe_evidence(["it follows X on {nde}", "", "it depends on X"], 0.9996)
    assert sentence == "It follows X on {nde}; it depends on X (intervals at 99.96%)."


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.UNDECIDED])
def test_every_verdict_has_a_conclusion_after_the_evidence(kind):
    reason = words.fill(words.conclude(kind, "It moves by {nde}."), ROW)
    assert reason.startswith("It moves by -0.00 [-0.50, 0.50]. So it ")
    assert reason.endswith(".") and "{" not in reason


def test_what_leaves_a_head_undecided_is_named():
    gate = Gate("knows", 0.5, 0.95, "Train it for longer.")
    assert words.explain_gates([gate], "E.") == (
        "A gate is not passed, so nothing is decided: knows 0.500 (required: 0.95). Train it for"
        " longer. E."
    )
    assert "Evidence from twins is missing" in words.explain_missing(["twins"], "E.")
    unclear = words.explain_unclear(["behaviour", "twins"], "E.")
    assert unclear == "E. Behaviour and twins come too close to a bound to call."
    views = {"behaviour": Kind.MIXTURE, "twins": Kind.HUMAN_IMITATOR}
    assert words.explain_disagreement(views, "E.") == (
        "E. The kinds of evidence disagree: behaviour like mixture, twins like human imitator."
    )
