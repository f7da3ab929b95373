"""What gradient descent finds without a charge: plain descent by amplitude, Adam by amplitude times
the root of the width; what is shorter through predictor and head: by the elements of its circuit.
Where the theory does not reach, it says nothing.
"""

import math

import pytest

from report.phase_map.theory import predict


def make_config(
    optimizer: str = "sgd.SGD",
    width: int = 1,
    amplitude: float = 1.0,
    reporter: str = "linear.Linear",
    level: int = 0,
    prior: str = "none.NoPrior",
    **world: object,
) -> dict:
    """Returns a config in which H has width 4 and amplitude 1."""
    return {
        "world": {"bits": 64, "concept_level": 0, "human_level": 0, "stores_human": True} | world,
        "core_model": {
            "_target_": "core_model.constructed.Constructed",
            "concept_width": width,
            "concept_amplitude": amplitude,
            "human_width": 4,
            "human_amplitude": 1.0,
        },
        "reporter": {"_target_": f"reporters.{reporter}"},
        "optimizer": {"_target_": f"training.optimizers.{optimizer}"},
        "prior": {"_target_": f"priors.{prior}"},
        "data": {"train": 128},
        "levels": [level],
    }


@pytest.mark.parametrize("width", [1, 4, 16])
def test_plain_descent_decides_by_amplitude_at_every_width(width):
    kinds = [predict(make_config("sgd.SGD", width, g)) for g in (0.7, 1.0, 1.4)]
    assert kinds == ["human_imitator", "tie", "direct_translator"]


@pytest.mark.parametrize("width", [1, 4, 16])
def test_adam_decides_by_amplitude_times_the_root_of_the_width(width):
    at_tie = 2 / math.sqrt(width)
    kinds = [
        predict(make_config("adamw.AdamW", width, factor * at_tie)) for factor in (0.9, 1.0, 1.1)
    ]
    assert kinds == ["human_imitator", "tie", "direct_translator"]


def test_no_errors_are_no_obstacle():
    assert predict(make_config(amplitude=0.7, human_errors=0.0)) == "human_imitator"


@pytest.mark.parametrize(
    "changed",
    [
        {"reporter": "layered.Layered"},
        {"optimizer": "lbfgs.LBFGS"},
        {"concept_level": 1},
        {"stores_human": False},
        {"concept_parity": 2},
        {"human_parity": 3},
        {"human_errors": 0.01},
    ],
)
def test_the_theory_is_silent_where_it_does_not_reach(changed):
    assert predict(make_config(**changed)) == ""


def test_of_two_circuits_the_one_of_fewer_products_is_predicted_and_an_edge_costs_more():
    """H is read with 4 edges, and X with as many as its width."""

    def predict_joint(concept_level: int, human_level: int, width: int) -> str:
        return predict(
            make_config(
                prior="explanation_length.ExplanationLength",
                level=3,
                concept_level=concept_level,
                human_level=human_level,
                width=width,
            )
        )

    assert [predict_joint(2, human, 4) for human in (1, 2, 3)] == [
        "human_imitator",
        "tie",
        "direct_translator",
    ]
    assert predict_joint(1, 0, 3) == "direct_translator"
    assert predict_joint(3, 0, 3) == "human_imitator"


def test_of_another_prior_nothing_is_predicted():
    assert predict(make_config(prior="simplicity.Simplicity")) == ""
