"""What a prior requests of a run, and the error where world or predictor cannot provide it."""

from types import SimpleNamespace

import pytest
import torch

from configs.plan import Plan, Sizes
from console.errors import UserError
from core_model.predictor import Predictor
from tests.priors.made import build_prior
from training.requests import Requests, fulfil, join_requests
from worlds.world import NoTwins

SIZES = Sizes(256, 64, 64, 100, 60, 120)
PLAN = Plan(0, seeds=1, predictors=1, planted_costs=False, strengths=[1], levels=None, sizes=SIZES)


def ask(prior: str, **changed: object) -> Requests:
    """Requests what a prior needs; the world does not state what the human sees."""
    world = SimpleNamespace(name="cities", human_shows_in=None, reads=("text",))
    predictor = SimpleNamespace(
        name="smollm2", ablation=lambda *given: Predictor.ablation(predictor, *given)
    )
    parts = {"world": world, "reader": SimpleNamespace(predictor=predictor, levels=(0,))} | changed
    material = SimpleNamespace(train=None, validation=None)
    return fulfil(build_prior(prior), parts["world"], parts["reader"], material, PLAN)


def test_a_prior_that_needs_nothing_gets_nothing():
    assert ask("simplicity") == Requests()


@pytest.mark.parametrize("prior", ["downstream", "human_dependence"])
def test_a_world_that_does_not_say_what_the_human_sees_is_refused(prior):
    with pytest.raises(
        UserError,
        match=(
            r"prior: \w+ needs a world that states where the human's view shows; cities does not\."
            r" Use world=vault\."
        ),
    ):
        ask(prior)


def test_a_world_without_twins_is_refused():
    def twins(*given: object) -> None:
        raise NoTwins

    world = SimpleNamespace(
        name="lamp", human_shows_in=("display", "on"), reads=("action",), twins=twins
    )
    with pytest.raises(
        UserError, match="prior: HumanDependence needs pairs with the same X; lamp makes no twins"
    ):
        ask("human_dependence", world=world)


def test_a_predictor_that_cannot_be_ablated_is_refused():
    with pytest.raises(UserError, match="smollm2"):
        ask("explanation_length")


def test_the_negations_of_several_predictors_are_joined_by_level():
    parts = [Requests(negated_NLD=torch.full((3, 2, 4), float(i))) for i in range(2)]
    negated_NLD = join_requests(parts).negated_NLD
    assert negated_NLD[0, :, 0].tolist() == [0, 0, 1, 1]
    assert join_requests([Requests(), Requests()]).negated_NLD is None
