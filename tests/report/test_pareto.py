"""Pareto fronts hold only points that no other point beats; strips and panels hold every head."""

import numpy as np
import pandas as pd

from report import figures
from report.comparison import build_lines, choose_heads
from report.pareto import draw_front, find_front
from tests.report.planted_sweeps import heads


def create_table(points: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Returns lines of priors with these FLOPs and errors."""
    rows = []
    for prior, (flops, error) in points.items():
        key = {"reporter": "linear", "prior": prior, "strength": 1.0}
        rows.append(key | {"flops": flops, "calibrated_nll": error})
    return pd.DataFrame(rows)


def number_priors(table: pd.DataFrame, against: str) -> list[list[str]]:
    """Returns the priors that each number of the front stands for."""
    _, groups = draw_front(table, "flops", "MFLOPs", 1e-6, against)
    return [list(group["prior"]) for group in groups]


def number_heads(frame: pd.DataFrame) -> pd.DataFrame:
    chosen = choose_heads(frame.assign(run="a"))
    return chosen.assign(index=range(len(chosen)))


def test_a_point_that_is_more_expensive_and_worse_is_not_on_the_front():
    table = create_table({"cheap": (1e6, 0.9), "good": (5e6, 0.1), "beaten": (6e6, 0.2)})
    assert number_priors(table, "calibrated_nll") == [["cheap"], ["good"]]


def test_points_that_overlap_share_a_number():
    points = {"cheap": (1e6, 0.9), "good": (5e6, 0.1), "as good": (5.001e6, 0.0999)}
    numbered = number_priors(create_table(points), "calibrated_nll")
    assert numbered == [["cheap"], ["good", "as good"]]


def test_on_the_front_against_following_x_more_is_better():
    table = create_table({"cheap": (1e6, 0.0), "expensive": (5e6, 0.0), "bad": (6e6, 0.0)})
    table = table.assign(follows_concept=[0.3, 0.9, 0.5])
    assert number_priors(table, "follows_concept") == [["cheap"], ["expensive"]]


def test_only_the_first_of_equal_points_is_on_the_front():
    assert find_front(np.array([1.0, 1.0, 2.0]), np.array([0.5, 0.5, 0.5])).tolist() == [0]


def test_every_head_is_a_dot_at_its_share():
    both = [heads("speed", (0.5, 1.0, 2.0), follows=0.2), heads("none", follows=0.6)]
    frame = number_heads(pd.concat(both, ignore_index=True))
    (panel,) = figures.draw_panels(frame, build_lines("vault", frame), "strength")
    ((_, dots),) = panel.drawing.dots
    assert panel.prior == "speed" and len(dots.head_K) == 24 and set(dots.y_K) == {0.2}
    assert set(np.round(dots.x_K)) == {0.0, 1.0, 2.0}
    assert len(set(dots.x_K)) == 24
    panel.drawing.render_svg()
    assert panel.drawing.locate_dots(0)[:, 1].std() < 1e-9


def test_the_same_heads_give_the_same_picture():
    frame = number_heads(heads("none", follows=0.6))
    first, second = figures.draw_strip(frame, 1), figures.draw_strip(frame, 1)
    assert first.render_svg() == second.render_svg()
