"""What a prior asks a run for, and what is said where the world or the predictor cannot give it."""

from types import SimpleNamespace

import pytest

from core_model.predictor import Predictor
from refusal import Refusal
from tests.priors.made import prior_of
from train import Plan, Sizes, what_it_needs
from worlds.world import NoTwins

PLAN = Plan(seed=0, seeds=1, strengths=[1.0], levels=None, sizes=Sizes(256, 64, 64, 100, 60, 120))


def material(**changed: object) -> SimpleNamespace:
    """Returns a run whose world says nothing of what the human sees."""
    world = SimpleNamespace(name="cities", human_shows_in=None, reads=("text",))
    predictor = SimpleNamespace(
        name="smollm2", ablation=lambda *given: Predictor.ablation(predictor, *given)
    )
    return SimpleNamespace(
        **{
            "world": world,
            "predictor": predictor,
            "levels": (0,),
            "episodes": (None, None),
            "examples": 1,
            "held_out": 2,
        }
        | changed
    )


def test_a_prior_that_needs_nothing_is_given_the_episodes_alone():
    assert what_it_needs(prior_of("simplicity"), PLAN, material()) == {"examples": 1, "held_out": 2}


@pytest.mark.parametrize("prior", ["downstream", "human_dependence"])
def test_a_world_that_does_not_say_what_the_human_sees_is_refused(prior):
    with pytest.raises(
        Refusal,
        match=(
            r"prior: \w+ needs a world that says where the human's view shows; cities does not\."
            r" Use world=vault\."
        ),
    ):
        what_it_needs(prior_of(prior), PLAN, material())


def test_a_world_without_twins_is_refused():
    def twins(*given: object) -> None:
        raise NoTwins

    world = SimpleNamespace(
        name="lamp", human_shows_in=("display", "on"), reads=("action",), twins=twins
    )
    with pytest.raises(
        Refusal, match="prior: HumanDependence needs pairs with the same X; lamp makes no twins"
    ):
        what_it_needs(prior_of("human_dependence"), PLAN, material(world=world))


def test_a_predictor_that_cannot_be_ablated_is_refused():
    with pytest.raises(Refusal, match="smollm2"):
        what_it_needs(prior_of("explanation_length"), PLAN, material())
