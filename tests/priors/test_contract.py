"""The contract of a prior, for every YAML of configs/prior and every YAML of configs/reporter; and
a check that each test detects a prior that breaks it.
"""

import itertools
from collections.abc import Callable

import pytest
import torch

from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter
from reporters.stack import Weights, map_over_heads
from tests.priors.made import COMPONENTS, PRIORS, build_prior, build_step, draw_noise
from tests.reporters.made import REPORTERS, build_reporter, draw_activations, draw_stacked_weights

AID = Aid(components=COMPONENTS)


@pytest.fixture(params=REPORTERS)
def reporter(request) -> Reporter:
    return build_reporter(request.param)


@pytest.fixture(params=PRIORS)
def prior(request) -> Prior:
    return build_prior(request.param)


def copy_as_leaves(tensors: Weights) -> Weights:
    return {name: value.detach().clone().requires_grad_() for name, value in tensors.items()}


def build_head(reporter: Reporter, prior: Prior) -> tuple[Weights, Weights, Weights]:
    """Returns a head's weights and the prior's own state, as leaves of a graph, and noise."""
    weights = copy_as_leaves(dict(reporter.named_parameters()))
    state = copy_as_leaves(prior.state(weights, AID))
    return weights, state, draw_noise(prior, weights, aid=AID)


def get_shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def test_the_charge_is_a_finite_number_of_nats_not_below_zero(prior, reporter):
    head = build_head(reporter, prior)
    charge = prior.charge(build_step(reporter, prior, *head, draw_activations(reporter)))
    assert charge.shape == ()
    assert charge.isfinite()
    assert charge >= 0


def test_a_gradient_of_charge_or_error_reaches_all_of_the_state(prior, reporter):
    weights, state, noise = build_head(reporter, prior)
    if not state:
        return
    step = build_step(reporter, prior, weights, state, noise, draw_activations(reporter))
    error = (step.reading.halt_NT * step.reading.log_odds_NT).mean()
    for gradient in torch.autograd.grad(prior.charge(step) + error, list(state.values())):
        assert gradient.isfinite().all()
        assert gradient.any()


def test_used_and_finished_weights_have_the_shapes_of_the_head(prior, reporter):
    weights, state, noise = build_head(reporter, prior)
    used = prior.transform(weights, state, noise)
    finished = prior.finish(weights, state)
    assert get_shapes(used) == get_shapes(finished) == get_shapes(weights)
    assert all(value.isfinite().all() for value in (*used.values(), *finished.values()))


def test_the_same_noise_gives_the_same_weights_and_changes_no_argument(prior, reporter):
    arguments = build_head(reporter, prior)
    copies = [copy_as_leaves(argument) for argument in arguments]
    weights, state, _ = arguments
    first = prior.transform(*arguments)
    second = prior.transform(*arguments)
    prior.finish(weights, state)
    assert all(torch.equal(first[name], second[name]) for name in weights)
    for argument, copy in zip(arguments, copies, strict=True):
        assert all(torch.equal(argument[name], copy[name]) for name in argument)


def test_states_and_charges_of_stacked_heads_are_those_of_each_head_alone(prior, reporter):
    grid, z_NLD = (2, 3, 2), draw_activations(reporter)
    weights = draw_stacked_weights(reporter, grid)
    states = map_over_heads(lambda head_weights: prior.state(head_weights, AID))(weights)
    noise = draw_noise(prior, dict(reporter.named_parameters()), aid=AID)

    def charge(head_weights: Weights, state: Weights) -> torch.Tensor:
        return prior.charge(build_step(reporter, prior, head_weights, state, noise, z_NLD))

    charge_GSM = map_over_heads(charge)(weights, states)
    for index in itertools.product(*map(range, grid)):
        head_weights = {name: value[index] for name, value in weights.items()}
        state = prior.state(head_weights, AID)
        assert get_shapes(state) == {name: value[index].shape for name, value in states.items()}
        assert all(torch.equal(value, states[name][index]) for name, value in state.items())
        alone = charge(head_weights, state)
        torch.testing.assert_close(charge_GSM[index], alone, rtol=1e-12, atol=1e-12)


class Broken(Prior):
    """A charge on squared weights with a scale of its own that breaks the contract in one way."""

    def __init__(self, flaw: str) -> None:
        self.flaw = flaw

    def state(self, weights: Weights, aid: Aid) -> Weights:
        start = torch.rand if self.flaw == "starts at random" else torch.ones
        return {name: start(value.shape, dtype=value.dtype) for name, value in weights.items()}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        if self.flaw == "draws its own noise":
            noise = {name: torch.rand_like(value) for name, value in weights.items()}
        if self.flaw == "changes an argument":
            weights["weight_1D"].data.add_(1)
        return {name: value + noise[name] for name, value in weights.items()}

    def charge(self, training: Training) -> torch.Tensor:
        squares = []
        for name, value in training.weights.items():
            scale = training.state[name]
            if self.flaw == "detaches its state":
                scale = scale.detach()
            squares.append((value * scale).square().sum())
        charge = torch.stack(squares).sum()
        return -charge if self.flaw == "is negative" else charge

    def finish(self, weights: Weights, state: Weights) -> Weights:
        if self.flaw == "drops a bias":
            return {name: value for name, value in weights.items() if name != "bias"}
        return weights


@pytest.mark.parametrize(
    ("flaw", "test"),
    [
        ("is negative", test_the_charge_is_a_finite_number_of_nats_not_below_zero),
        ("detaches its state", test_a_gradient_of_charge_or_error_reaches_all_of_the_state),
        ("drops a bias", test_used_and_finished_weights_have_the_shapes_of_the_head),
        ("draws its own noise", test_the_same_noise_gives_the_same_weights_and_changes_no_argument),
        ("changes an argument", test_the_same_noise_gives_the_same_weights_and_changes_no_argument),
        ("starts at random", test_states_and_charges_of_stacked_heads_are_those_of_each_head_alone),
    ],
)
def test_a_broken_contract_is_detected(flaw: str, test: Callable[[Prior, Reporter], None]):
    test(Broken("none"), build_reporter("linear"))
    with pytest.raises((AssertionError, RuntimeError)):
        test(Broken(flaw), build_reporter("linear"))
