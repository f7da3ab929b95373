"""Fronts: what another point beats is not on them; strips and panels hold every head."""

import numpy as np
import pandas as pd

from report import figures
from report.comparison import heads_of, lines
from report.pareto import front, pareto
from tests.report.planted_sweeps import heads


def table(points: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Returns lines of priors with these FLOPs and errors."""
    rows = [
        {
            "reporter": "linear",
            "prior": prior,
            "strength": 1.0,
            "flops": flops,
            "validation_nll": error,
        }
        for prior, (flops, error) in points.items()
    ]
    return pd.DataFrame(rows)


def test_a_point_that_is_dearer_and_worse_is_not_on_the_front():
    _, groups = front(
        table({"cheap": (1e6, 0.9), "good": (5e6, 0.1), "beaten": (6e6, 0.2)}),
        "flops",
        "MFLOPs",
        1e-6,
        "validation_nll",
    )
    assert [list(group["prior"]) for group in groups] == [["cheap"], ["good"]]


def test_points_upon_each_other_share_a_number():
    points = {"cheap": (1e6, 0.9), "good": (5e6, 0.1), "as good": (5.001e6, 0.0999)}
    _, groups = front(table(points), "flops", "MFLOPs", 1e-6, "validation_nll")
    assert [list(group["prior"]) for group in groups] == [["cheap"], ["good", "as good"]]


def test_the_front_against_following_x_wants_more_of_it():
    frame = table({"cheap": (1e6, 0.0), "dear": (5e6, 0.0), "bad": (6e6, 0.0)}).assign(
        follows_concept=[0.3, 0.9, 0.5]
    )
    assert [
        list(group["prior"])
        for group in front(frame, "flops", "MFLOPs", 1e-6, "follows_concept")[1]
    ] == [["cheap"], ["dear"]]


def test_the_first_of_equals_alone_is_on_the_front():
    assert pareto(np.array([1.0, 1.0, 2.0]), np.array([0.5, 0.5, 0.5])).tolist() == [0]


def test_every_head_is_a_dot_where_it_follows_x():
    both = [heads("speed", (0.5, 1.0, 2.0), follows=0.2), heads("none", follows=0.6)]
    frame = heads_of(pd.concat(both, ignore_index=True).assign(run="a")).assign(
        index=lambda rows: range(len(rows))
    )
    ((_, prior, drawing),) = figures.panels(frame, lines("vault", frame), "strength", whole=False)
    ((_, dots),) = drawing.dots
    assert prior == "speed" and len(dots.head_N) == 24 and set(dots.y_N) == {0.2}
    assert set(np.round(dots.x_N)) == {0.0, 1.0, 2.0}
    assert len(set(dots.x_N)) == 24
    drawing.svg()
    assert drawing.places(0)[:, 1].std() < 1e-9


def test_the_same_heads_make_the_same_picture():
    frame = heads_of(heads("none", follows=0.6).assign(run="a")).assign(
        index=lambda rows: range(len(rows))
    )
    assert figures.strip(frame, 1).svg() == figures.strip(frame, 1).svg()
