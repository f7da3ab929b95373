"""The promise of a prior, over every YAML of configs/prior and every YAML of configs/reporter."""

import itertools
from collections.abc import Callable

import pytest
import torch

from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter
from reporters.stack import Weights, over_heads
from tests.priors.made import COMPONENTS, PRIORS, in_training, noise_for, prior_of
from tests.reporters.made import REPORTERS, activations, made


@pytest.fixture(params=REPORTERS)
def reporter(request) -> Reporter:
    return made(request.param)


@pytest.fixture(params=PRIORS)
def prior(request) -> Prior:
    return prior_of(request.param)


AID = Aid(components=COMPONENTS)


def leaves(tensors: Weights) -> Weights:
    return {name: value.detach().clone().requires_grad_() for name, value in tensors.items()}


def head(reporter: Reporter, prior: Prior) -> tuple[Weights, Weights]:
    """Returns a head's weights and the prior's own state, as leaves of a graph."""
    weights = leaves(dict(reporter.named_parameters()))
    return weights, leaves(prior.state(weights, AID))


def shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def test_the_charge_is_a_finite_number_of_nats_not_below_zero(prior, reporter):
    weights, state = head(reporter, prior)
    charge = prior.charge(
        in_training(
            reporter,
            prior,
            weights,
            state,
            noise_for(prior, weights, aid=AID),
            activations(reporter),
        )
    )
    assert charge.shape == ()
    assert charge.isfinite() and charge >= 0


def test_a_gradient_of_charge_or_error_reaches_all_of_the_priors_own_state(prior, reporter):
    weights, state = head(reporter, prior)
    training = in_training(
        reporter, prior, weights, state, noise_for(prior, weights, aid=AID), activations(reporter)
    )
    loss = prior.charge(training) + (training.reading.halt_NT * training.reading.log_odds_NT).mean()
    for gradient in torch.autograd.grad(loss, list(state.values())) if state else ():
        assert gradient.isfinite().all() and gradient.any()


def test_what_is_used_and_what_is_finished_has_the_shapes_of_the_head(prior, reporter):
    weights, state = head(reporter, prior)
    used, finished = (
        prior.transform(weights, state, noise_for(prior, weights, aid=AID)),
        prior.finish(weights, state),
    )
    assert shapes(used) == shapes(finished) == shapes(weights)
    assert all(value.isfinite().all() for value in (*used.values(), *finished.values()))


def test_the_same_noise_gives_the_same_weights_and_changes_no_argument(prior, reporter):
    weights, state = head(reporter, prior)
    noise = noise_for(prior, weights, aid=AID)
    before = [
        {name: value.detach().clone() for name, value in one.items()}
        for one in (weights, state, noise)
    ]
    first, second = (prior.transform(weights, state, noise) for _ in range(2))
    prior.finish(weights, state)
    assert all(torch.equal(first[name], second[name]) for name in weights)
    assert all(
        torch.equal(one[name], old[name])
        for one, old in zip((weights, state, noise), before, strict=True)
        for name in one
    )


def test_a_stacks_state_and_charges_are_those_of_each_head_alone(prior, reporter):
    grid, z_NLD = (2, 3, 2), activations(reporter)
    chance = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(*grid, *value.shape, generator=chance, dtype=torch.float64)
        for name, value in reporter.named_parameters()
    }
    states, noise = (
        over_heads(lambda one: prior.state(one, AID))(weights),
        noise_for(prior, dict(reporter.named_parameters()), aid=AID),
    )

    def charge(one: Weights, state: Weights) -> torch.Tensor:
        return prior.charge(in_training(reporter, prior, one, state, noise, z_NLD))

    charge_GSM = over_heads(charge)(weights, states)
    for place in itertools.product(*map(range, grid)):
        alone = {name: value[place] for name, value in weights.items()}
        state = prior.state(alone, AID)
        assert shapes(state) == {name: value[place].shape for name, value in states.items()}
        assert all(torch.equal(value, states[name][place]) for name, value in state.items())
        torch.testing.assert_close(charge_GSM[place], charge(alone, state), rtol=1e-12, atol=1e-12)


class Broken(Prior):
    """A charge on squared weights with a scale of its own, and one way to break the promise."""

    def __init__(self, flaw: str) -> None:
        self.flaw = flaw

    def state(self, weights: Weights, aid: Aid) -> Weights:
        start = torch.rand if self.flaw == "starts by chance" else torch.ones
        return {name: start(value.shape, dtype=value.dtype) for name, value in weights.items()}

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        if self.flaw == "draws its own noise":
            noise = {name: torch.rand_like(value) for name, value in weights.items()}
        if self.flaw == "writes":
            weights["weight_1D"].data.add_(1)
        return {name: value + noise[name] for name, value in weights.items()}

    def charge(self, training: Training) -> torch.Tensor:
        scale = {
            name: value.detach() if self.flaw == "forgets its state" else value
            for name, value in training.state.items()
        }
        charge = torch.stack(
            [(value * scale[name]).square().sum() for name, value in training.weights.items()]
        ).sum()
        return -charge if self.flaw == "pays" else charge

    def finish(self, weights: Weights, state: Weights) -> Weights:
        return {
            name: value
            for name, value in weights.items()
            if self.flaw != "drops a bias" or name != "bias"
        }


@pytest.mark.parametrize(
    ("flaw", "notices"),
    [
        ("pays", test_the_charge_is_a_finite_number_of_nats_not_below_zero),
        (
            "forgets its state",
            test_a_gradient_of_charge_or_error_reaches_all_of_the_priors_own_state,
        ),
        ("drops a bias", test_what_is_used_and_what_is_finished_has_the_shapes_of_the_head),
        ("draws its own noise", test_the_same_noise_gives_the_same_weights_and_changes_no_argument),
        ("writes", test_the_same_noise_gives_the_same_weights_and_changes_no_argument),
        ("starts by chance", test_a_stacks_state_and_charges_are_those_of_each_head_alone),
    ],
)
def test_a_broken_promise_is_noticed(flaw: str, notices: Callable[[Prior, Reporter], None]):
    notices(Broken("none"), made("linear"))
    with pytest.raises((AssertionError, RuntimeError)):
        notices(Broken(flaw), made("linear"))
