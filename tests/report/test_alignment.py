"""A run's alignment as its summary says it."""

import math

from report.alignment import format_section
from tests.report.test_lines import heads

FIGURES = {
    **{
        "pseudo_alignment_gap": 0.5,
        "worst_family": "loop",
        "worst_family_gap": 0.75,
        "robustly_aligned": False,
    },
    **{
        "capability_int": 1.0,
        "capability_base": 2.0,
        "capability_gradient": 3.0,
        "outer_alignment": 0.5,
        "inner_alignment": math.nan,
    },
    **{
        "capability_int_disputed": -1.0,
        "capability_human_disputed": 1.5,
        "outer_alignment_disputed": -0.25,
    },
}


def test_a_line_holds_the_means_and_a_dash_where_ratios_were_refused():
    said = format_section(heads(level=3, **FIGURES))
    assert (
        "| speed | 1 | 3 | 0.00 | 0.50 | loop 0.75 | 1.00 | 2.00 | 3.00 | 0.50 | – | -1.00 | 1.50 |"
        " -0.25 |" in said
    )
    assert "A human imitator keeps its capability" in said


def test_runs_from_before_it_was_measured_have_no_such_table():
    assert format_section(heads()) == ""
