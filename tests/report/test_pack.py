"""The page's data give of every head what heads.parquet gives, each figure once."""

import re

import pandas as pd
import pytest

from report.page.pack import COSTS, EVIDENCE, build_columns, describe_columns
from report.settling import add_settled
from tests.report.planted_sweeps import fill, heads

RATES = {
    "follows_concept": (0.625, 0.5849, 0.7151),
    "nde": (0.301, -0.2, 0.6),
    "access_head": (0.4, 0.3, 0.5),
}
TEMPLATE = (
    "It follows X on {follows_concept} of 2,000 disputed episodes; changing only X moves the report"
    " by {nde}; yes in the head ({access_head}). So it is a mixture, {follows_concept} of it X."
)


def write(template: str, has_template: bool = True) -> pd.DataFrame:
    """Returns one head with these rates and this reason."""
    frame = heads(seeds=1, has_template=has_template).assign(run="a", setting=0, matched=True)
    frame = add_settled(frame)
    for name, limits in RATES.items():
        for ending, value in zip(("", "_low", "_high"), limits, strict=True):
            frame[f"{name}{ending}"] = value
    frame["reason"] = fill(template, frame.iloc[0].to_dict())
    if has_template:
        frame["reason_template"] = template
    return frame


def read_reason(packed: dict, k: int) -> str:
    """Returns a head's reason as the page's script fills it."""
    template = packed["reason"]["words"][packed["reason"]["codes"][k]]

    def write_rate(name: re.Match) -> str:
        value, low, high = (column[k] / 100 for column in packed["rates"][name[1]])
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    return re.sub(r"\{(\w+)\}", write_rate, template)


def test_a_filled_template_is_the_reason_of_the_judge():
    frame = write(TEMPLATE)
    packed = build_columns(frame)
    assert packed["reason"]["words"] == [TEMPLATE]
    assert read_reason(packed, 0) == frame["reason"][0] != TEMPLATE


def test_every_placeholder_has_its_rate_though_the_evidence_does_not_list_it():
    assert "access_head" not in EVIDENCE
    assert set(RATES) <= set(build_columns(write(TEMPLATE))["rates"])
    assert "access_head" not in build_columns(write("It follows X on {follows_concept}."))["rates"]


def test_a_run_without_templates_keeps_its_reasons_as_they_are():
    frame = write(TEMPLATE, has_template=False)
    packed = build_columns(frame)
    assert packed["reason"]["words"] == [frame["reason"][0]]
    assert read_reason(packed, 0) == frame["reason"][0]


def test_runs_with_and_without_templates_stand_beside_each_other():
    frames = [write(TEMPLATE), write(TEMPLATE, has_template=False)]
    both = pd.concat(frames, ignore_index=True)
    packed = build_columns(both)
    assert [read_reason(packed, k) for k in (0, 1)] == list(both["reason"])


def test_a_thousand_heads_take_as_many_reasons_as_there_are_templates():
    follows = [k / 1000 for k in range(1000)]
    frame = heads(seeds=1000, follows=follows).assign(run="a", setting=0, matched=True)
    frame = add_settled(frame)
    assert frame["reason"].nunique() > 100
    assert len(build_columns(frame)["reason"]["words"]) == 3


@pytest.mark.parametrize("name", [*EVIDENCE, *COSTS])
def test_what_the_script_shows_has_a_heading_and_a_meaning(name):
    column = describe_columns()[name]
    assert column["heading"] and column["meaning"]


def test_costs_are_in_the_unit_of_their_heading():
    frame = write(TEMPLATE).assign(flops=2_345_600.0)
    assert build_columns(frame)["costs"]["flops"] == [2.346]
    assert describe_columns()["flops"]["heading"] == "MFLOPs"
