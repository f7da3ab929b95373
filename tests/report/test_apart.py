"""Heads of lines without any settled head: their own means, by hand, and nothing of the others."""

import pandas as pd
import pytest

from report.apart import build_lines_apart
from report.comparison import choose_heads
from tests.report.planted_sweeps import heads


def plant(prior: str, settled: bool, follows: float, gap: float) -> pd.DataFrame:
    frame = heads(prior, follows=follows, settled=settled, gap=gap)
    return frame.assign(run=f"{prior} {settled} {follows}")


def test_a_line_apart_has_the_means_of_its_heads():
    frames = [plant("none", False, 0.2, 10.0), plant("none", False, 0.6, 30.0)]
    (line,) = build(frames).to_dict("records")
    assert line["follows_concept"] == pytest.approx(0.4)
    assert (line["least"], line["most"]) == (0.2, 0.6)
    assert line["median_gap"] == 20.0
    assert line["heads"] == len(frames[0]) + len(frames[1])


def test_a_line_with_one_settled_head_is_not_apart():
    mixed = [plant("none", True, 0.9, 0.001), plant("none", False, 0.2, 10.0)]
    assert build(mixed).empty
    apart = build([*mixed, plant("speed", False, 0.5, 3.0)])
    assert apart["prior"].tolist() == ["speed"]


def build(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return build_lines_apart(choose_heads(pd.concat(frames, ignore_index=True)))
