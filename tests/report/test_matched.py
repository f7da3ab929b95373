"""Matched accuracy: of each prior the largest strength that is near the best, on each predictor by
itself.
"""

import pandas as pd
import pytest

from report import matched
from report.matched import flag_matched, select_matched
from report.settling import add_settled
from tests.report.test_lines import heads


def format_table(frame: pd.DataFrame) -> str:
    return matched.format_table(flag_matched(add_settled(frame.reset_index(drop=True))))


def chosen(frame: pd.DataFrame) -> list[tuple[str, float]]:
    kept = select_matched(frame)
    return sorted(
        {
            (prior, float(strength))
            for prior, strength in zip(kept["prior"], kept["strength"], strict=True)
        }
    )


def test_the_largest_strength_near_the_best_is_chosen():
    errors = {0.25: 0.100, 1.0: 0.109, 4.0: 0.115}
    assert chosen(
        pd.concat(
            [heads("speed", strength, calibrated_nll=nll) for strength, nll in errors.items()]
        )
    ) == [("speed", 1.0)]


def test_the_best_is_that_of_any_prior_and_a_prior_that_never_comes_near_is_left_out():
    frame = pd.concat(
        [
            heads("speed", 1.0, calibrated_nll=0.2),
            heads("simplicity", 1.0, calibrated_nll=0.1),
            heads("none", 0.0, calibrated_nll=0.3),
        ]
    )
    assert chosen(frame) == [("none", 0.0), ("simplicity", 1.0)]


def test_a_strength_is_near_by_its_mean_error_and_not_by_a_lucky_head():
    lucky = heads("speed", 4.0, calibrated_nll=0.2)
    lucky.loc[0, "calibrated_nll"] = 0.1
    assert chosen(pd.concat([heads("speed", 1.0, calibrated_nll=0.1), lucky])) == [("speed", 1.0)]


def test_every_predictor_has_its_own_best():
    frame = pd.concat(
        [
            heads("speed", s, predictor=p, calibrated_nll=n)
            for p, s, n in (("a", 1, 0.1), ("a", 4, 0.2), ("b", 1, 0.3), ("b", 4, 0.3))
        ]
    )
    kept = select_matched(frame)
    assert kept.groupby("predictor")["strength"].first().to_dict() == {"a": 1, "b": 4}


def test_the_table_has_a_line_a_prior_and_shares_of_verdicts():
    both = heads("speed", follows=(0.0, 0.2, 0.9, 1.0), verdict="mixture")
    both.loc[3, "verdict"] = "direct_translator"
    lines = format_table(pd.concat([both, heads("none", follows=(0.5, 0.5))])).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:4]] == ["none", "speed"]
    cells = [cell.strip() for cell in lines[3].split("|")]
    assert cells[6:9] == ["0.25", "0.00", "0.75"]
    assert cells[12] == "0.00 0.15 0.55 0.93 1.00"


def cells(frame: pd.DataFrame) -> dict[str, str]:
    """Returns the cells of the table's first line, by their headings."""
    headings, _, first, *_ = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in format_table(frame).splitlines()[:3]
    )
    return dict(zip(headings, first, strict=True))


@pytest.mark.parametrize(
    ("settled", "written"),
    [
        ((1.0,) * 10, "5.50"),
        ((1.0,) * 9 + (0.0,), "5.00"),
        ((1.0,) * 5 + (0.0,) * 5, "3.00 (0.50)"),
        ((0.0,) * 10, "– (0.00)"),
    ],
    ids=["all", "nine in ten", "half", "none"],
)
def test_the_learning_coefficient_is_that_of_heads_that_have_settled_and_says_so_where_few_have(
    settled, written
):
    frame = heads(follows=(0.5,) * 10).assign(
        learning_coefficient=[float(i) for i in range(1, 11)], learning_coefficient_settled=settled
    )
    assert cells(frame)["learning coefficient"] == written


def test_what_was_not_measured_is_a_dash_or_no_column():
    priced = heads("speed").assign(
        learning_coefficient=4.0, learning_coefficient_settled=1.0, seconds=0.0205
    )
    both = pd.concat([heads("simplicity"), priced])
    assert (cells(both)["learning coefficient"], cells(both)["ms for 1,000"]) == ("–", "–")
    assert (cells(priced)["learning coefficient"], cells(priced)["ms for 1,000"]) == (
        "4.00",
        "20.5",
    )
    assert cells(heads())["learning coefficient"] == "–"
    assert "ms for 1,000" not in cells(heads())
