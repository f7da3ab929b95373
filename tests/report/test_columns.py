"""Each column is described once: every one that runs write, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from report.columns import (
    COLUMNS,
    IN_TABLES,
    MORE,
    document,
    find_column,
    find_families,
)
from report.comparison import ORDER

ROOT = Path(__file__).parents[2]
WITH_LIMITS = """concept_accuracy concept_accuracy_worst human_accuracy_worst follows_concept
ranks_concept nde nie swap_concept swap_human swap_random
erase_concept erase_human access_head access_predictor departs_from_human pseudo_alignment_gap
worst_family_gap"""
WRITTEN = f"""world core_model predictor_seed predictor reporter prior strength seed level levels
cost_found cost_translator cost_imitator errors_nats costs_settled predicts
shift_cosine optimizer halting_bonus objective gap settled tied tied_follows_low
tied_follows_high
two_part_bits model_bits edges flops level_read steps level_read_easy steps_easy level_read_disputed
steps_disputed gates depth thresholds prequential_bits variational_bits variational_model_bits
explanation_bits explanation_components learning_coefficient learning_coefficient_settled
validation_nll calibrated_nll easy_accuracy easy_auroc worst_cell twins_from_no twins_from_yes
recall_at_1_percent
ranks_concept_given_human swap_all_concept swap_all_human swap_concept_completeness
swap_concept_selectivity swap_human_completeness swap_human_selectivity
depends_in_head depends_in_predictor imitation interval_level sure_after disputed gates_passed
failed_gates verdict reason reason_template worst_family robustly_aligned capability_int
capability_base capability_gradient outer_alignment inner_alignment ratio_refused
capability_int_disputed capability_human_disputed outer_alignment_disputed {WITH_LIMITS}""".split()
"""Columns that real runs write, limits aside: a linear head with every measure of the bill, and one
of logic gates. tests/test_train.py compares them with a run that it trains.
"""


def test_what_runs_write_is_described_and_nothing_else():
    names = [column.name for column in COLUMNS]
    assert sorted(names) == sorted([*WRITTEN, "follows_concept_FAMILY"])
    assert [column.name for column in COLUMNS if column.has_limits] == [
        name for name in names if name in WITH_LIMITS.split()
    ]


def test_what_comparisons_write_is_described_and_nothing_else():
    assert all(find_column(name).meaning for name in ORDER)
    # The clock is the one column that is both: a run keeps it in predictor.json.
    assert {column.name for column in MORE} <= set(ORDER)


@pytest.mark.parametrize("column", [*COLUMNS, *MORE, *IN_TABLES], ids=lambda column: column.name)
def test_every_meaning_is_a_sentence(column):
    assert column.meaning[0].isupper() and column.meaning.endswith(".")


def test_headings_are_told_apart():
    headings = [column.heading for column in (*COLUMNS, *MORE) if column.heading]
    # A number of heads and its share have one heading.
    assert sorted(headings) == sorted([*set(headings), "translators"])


@pytest.mark.parametrize("name", ["follows_concept_loop", "nde_low", "follows_concept_high"])
def test_limits_and_families_are_derived(name):
    assert find_column(name).name == name


@pytest.mark.parametrize("name", ["speed", "edges_low", "FAMILY", ""])
def test_what_no_run_writes_has_no_description(name):
    with pytest.raises(KeyError):
        find_column(name)


def test_families_are_told_from_limits():
    limits = [f"follows_concept_{end}" for end in ("low", "high", "low_corrected")]
    assert find_families(["follows_concept", *limits, "follows_concept_low_light"]) == [
        "follows_concept_low_light"
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(4.321, "4.32"), (43.21, "43.2"), (432.1, "432"), (4321.0, "4,321"), (None, "–")],
)
def test_costs_have_three_figures(value, text):
    assert find_column("edges").format(value) == text


def test_a_column_is_shown_in_the_unit_of_its_heading():
    column = find_column("flops")
    assert column.format(4_020_000) == "4.02"
    assert replace(column, scale=1.0).format(4_020_000) == "4,020,000"


def test_the_page_of_columns_is_the_one_that_the_code_prints():
    text = (ROOT / "docs" / "columns.md").read_text()
    assert text == document(), "print it again: python -m report.columns > docs/columns.md"
