"""Which heads have gates under the speed prior, and what those without pay."""

import pytest
import torch

from priors.prior import Aid
from priors.speed import Speed
from reporters.stack import Weights
from tests.priors.made import build_step
from tests.reporters.made import build_reporter, draw_activations


def get_weights(name: str) -> Weights:
    return dict(build_reporter(name).named_parameters())


@pytest.mark.parametrize(
    ("gates", "with_exits", "without"),
    [("always", True, True), ("auto", False, True), ("never", False, False)],
)
def test_gates_are_where_the_option_says(gates, with_exits, without):
    prior = Speed(2.0, gates)
    assert bool(prior.state(get_weights("layered"), Aid(has_exits=True))) == with_exits
    assert bool(prior.state(get_weights("linear"), Aid(has_exits=False))) == without


def test_heads_without_gates_use_and_keep_their_weights_as_they_are():
    prior, weights = Speed(2.0, "auto"), get_weights("layered")
    for used in (prior.transform(weights, {}, {}), prior.finish(weights, {})):
        assert all(torch.equal(used[name], value) for name, value in weights.items())
    gated = Speed(2.0, "always")
    state = gated.state(weights, Aid(has_exits=True))
    finished = gated.finish(weights, {name: value - 20 for name, value in state.items()})
    assert not finished["weight_L2D"].any()


def test_without_gates_all_units_are_paid_for():
    """As under gates that are all open; under gates that may close, the expected units."""
    reporter = build_reporter("layered")
    weights, z_NLD = get_weights("layered"), draw_activations(reporter)

    def charge(prior: Speed, log_alpha: float) -> float:
        state = prior.state(weights, Aid(has_exits=True))
        state = {name: torch.full_like(value, log_alpha) for name, value in state.items()}
        noise = {name: torch.full_like(value, 1 - 1e-9) for name, value in state.items()}
        return prior.charge(build_step(reporter, prior, weights, state, noise, z_NLD)).item()

    whole = charge(Speed(2.0, "auto"), 0.0)
    assert charge(Speed(2.0, "never"), 0.0) == whole
    assert charge(Speed(2.0, "always"), 30.0) == pytest.approx(whole)
    assert charge(Speed(2.0, "always"), 0.0) < 0.995 * whole


def test_without_gates_it_does_not_apply_to_heads_that_cannot_stop_early():
    assert Speed(2.0, "never").lacks(build_reporter("linear"))
    assert Speed(2.0, "auto").lacks(build_reporter("linear")) is None
    assert Speed(2.0, "never").lacks(build_reporter("layered")) is None
