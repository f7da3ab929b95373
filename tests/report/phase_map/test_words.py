"""A plane in words: majorities are counted, predictions are held to account only where they are
clear, and cells where they fail are named.
"""

from report.phase_map.words import describe_plane, summarise
from tests.report.phase_map.planted_planes import plant_cell, plant_plane

TRANSLATOR, IMITATOR, MIXTURE = "direct_translator", "human_imitator", "mixture"


def test_majorities_are_counted_and_half_is_none():
    plane = plant_plane(
        [
            plant_cell(
                ("1", "0.5"),
                "simplicity",
                [IMITATOR, IMITATOR, IMITATOR, TRANSLATOR],
                IMITATOR,
                -0.1,
            ),
            plant_cell(("1", "2.0"), "simplicity", [TRANSLATOR, TRANSLATOR], TRANSLATOR, 0.1),
            plant_cell(("16", "0.5"), "simplicity", [TRANSLATOR, IMITATOR], "tie", 0.001),
            plant_cell(("16", "2.0"), "simplicity", [*[MIXTURE] * 2, TRANSLATOR], TRANSLATOR, 0.1),
        ]
    )
    (line,) = describe_plane(plane)
    assert "translators in 1, imitators in 1, and anything else in 2 of 4 cells" in line
    assert "is what most heads are in 2 of 3 cells" in line, "the tie does not count"
    assert "Not in: concept width 16, concept amplitude 2.0." in line


def test_predictions_that_all_fail_are_told():
    cells = [
        plant_cell(("1", a), "circuit_size", [IMITATOR, IMITATOR], TRANSLATOR, 0.5)
        for a in ("0.5", "2.0")
    ]
    (line,) = describe_plane(plant_plane(cells))
    assert "is what most heads are in 0 of 2 cells" in line


def test_costs_that_hardly_differ_predict_nothing():
    (line,) = describe_plane(
        plant_plane([plant_cell(("1", "0.5"), "simplicity", [TRANSLATOR], TRANSLATOR, 0.019)])
    )
    assert "Nothing is predicted clearly enough" in line


def test_an_arm_without_a_charge_is_held_to_the_theory_of_its_optimizer():
    cells = [
        plant_cell(("1", "0.5"), "none (sgd)", [IMITATOR], IMITATOR),
        plant_cell(("1", "2.0"), "none (sgd)", [IMITATOR], TRANSLATOR),
        plant_cell(("16", "2.0"), "none (sgd)", [MIXTURE], "tie"),
    ]
    (line,) = describe_plane(plant_plane(cells))
    assert "The kind that theory predicts is what most" in line and "1 of 2" in line


def test_cells_whose_training_missed_the_optimum_are_counted():
    cells = [
        plant_cell(("1", "0.5"), "circuit_size", [TRANSLATOR], TRANSLATOR, 0.5, excess=0.02),
        plant_cell(("1", "2.0"), "circuit_size", [TRANSLATOR], TRANSLATOR, 0.5, excess=0.005),
    ]
    (line,) = describe_plane(plant_plane(cells))
    assert "In 1 cell training did not find what costs least" in line


def test_all_planes_together_are_told_first_and_the_arm_that_fails_most_is_named_first():
    right = plant_cell(("1", "0.5"), "simplicity", [IMITATOR], IMITATOR, -0.1)
    wrong = [
        plant_cell(("1", a), "circuit_size", [IMITATOR], TRANSLATOR, 0.5) for a in ("0.5", "2.0")
    ]
    by_theory = plant_cell(("1", "0.5"), "none (sgd)", [MIXTURE], TRANSLATOR)
    tie = plant_cell(("1", "2.0"), "none (sgd)", [MIXTURE], "tie")
    planes = [plant_plane([right, *wrong]), plant_plane([by_theory, tie], "widths")]
    assert summarise(planes) == (
        "Most heads are what was predicted in 1 of 4 cells. Not under circuit_size in 2 of 2 cells"
        " of width_amplitude; none (sgd) in 1 of 1 cells of widths."
    )
    assert summarise([plant_plane([right])]) == (
        "Most heads are what was predicted in 1 of 1 cells."
    )
    assert "Nothing is predicted" in summarise([plant_plane([tie])])
