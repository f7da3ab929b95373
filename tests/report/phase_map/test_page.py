"""The page of a map: every cell is drawn, linked and listed with its heads."""

import re

import pytest

from report.lines import KINDS
from report.phase_map.drawing import draw_plane, find_anchor
from report.phase_map.page import build_page, build_table
from tests.report.phase_map.planted_planes import AMPLITUDES, WIDTHS, plant_cell, plant_plane

TRANSLATOR, IMITATOR = "direct_translator", "human_imitator"


@pytest.fixture(scope="module")
def plane():
    cells = []
    for width in WIDTHS:
        for amplitude in AMPLITUDES:
            kind = TRANSLATOR if amplitude == "2.0" else IMITATOR
            cells.append(plant_cell((width, amplitude), "simplicity", [kind, kind], kind, 0.1))
    cells.append(plant_cell(("1", "0.5"), "none (sgd)", [TRANSLATOR, IMITATOR], "tie"))
    return plant_plane(cells)


def test_every_cell_is_linked_to_its_heads(plane):
    page = build_page([plane], [draw_plane(plane)])
    anchors = {find_anchor(plane, cell) for cell in plane.cells.values()}
    assert len(anchors) == len(plane.cells) == 5
    assert set(re.findall(r'<details id="([^"]+)"', page)) == anchors
    assert set(re.findall(r'xlink:href="#(width_amplitude[^"]+)"', page)) == anchors


def test_the_table_has_a_row_a_cell_with_shares_that_add_up(plane):
    table = build_table([plane])
    assert len(table) == 5
    shares = table[[f"share_{kind}" for kind in KINDS]]
    assert (shares.sum(axis=1) - 1).abs().max() < 1e-9
    priced = table[table["arm"] == "simplicity"]
    assert priced["holds"].all() and priced["is_clear"].all()
    assert not table[table["arm"] == "none (sgd)"]["holds"].any()


def test_a_cell_that_is_not_run_yet_is_a_dash(plane):
    texts = [text.get_text() for axis in draw_plane(plane).axes for text in axis.texts]
    assert texts.count("–") == 3
