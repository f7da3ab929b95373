"""A sum of priors: it charges what its parts charge, and keeps them apart."""

import pytest
import torch

from console.errors import UserError
from priors.circuit_size import CircuitSize
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from priors.sum import Sum
from reporters.stack import Weights
from tests.priors.made import NO_AID, noise_for, said, training

WEIGHTS = {"w": torch.tensor([1.0, -2.0, 0.5]), "bias": torch.tensor(0.3)}
READING = said([[0.5, 0.5]], [1, 3])


def of(noise: Weights, part: str) -> Weights:
    """Returns what one part is given of the joint noise."""
    return {
        name.removeprefix(f"{part}."): value
        for name, value in noise.items()
        if name.startswith(f"{part}.")
    }


def alone(prior: Prior, weights: Weights = WEIGHTS) -> float:
    return prior.charge(training(weights, prior.state(weights, NO_AID), READING)).item()


def test_it_charges_the_sum_of_its_parts():
    parts = {"bits": Simplicity(0.05), "flops": Speed(2.0), "edges": CircuitSize(2.0, prune=False)}
    assert alone(Sum(parts, dict.fromkeys(parts, 1.0))) == pytest.approx(
        sum(alone(part) for part in parts.values())
    )


def test_every_part_has_its_own_share():
    parts = {"bits": Simplicity(0.05), "flops": Speed(2.0)}
    assert alone(Sum(parts, {"bits": 0.25, "flops": 3.0})) == pytest.approx(
        0.25 * alone(parts["bits"]) + 3 * alone(parts["flops"])
    )
    assert alone(Sum(parts, {"bits": 0.0, "flops": 1.0})) == pytest.approx(alone(parts["flops"]))


def test_a_prior_that_charges_nothing_adds_nothing():
    assert alone(
        Sum({"flops": Speed(2.0), "nothing": NoPrior()}, {"flops": 1.0, "nothing": 1.0})
    ) == pytest.approx(alone(Speed(2.0)))


def test_transforms_compose_in_order_each_with_its_own_noise_and_state():
    bits, edges = Simplicity(0.5), CircuitSize(0.0, prune=False)
    both = Sum({"bits": bits, "edges": edges}, {"bits": 1.0, "edges": 1.0})
    noise = noise_for(both, WEIGHTS)
    used = both.transform(WEIGHTS, both.state(WEIGHTS, NO_AID), noise)
    told = bits.transform(WEIGHTS, bits.state(WEIGHTS, NO_AID), of(noise, "bits"))
    expected = edges.transform(told, edges.state(WEIGHTS, NO_AID), of(noise, "edges"))
    assert all(torch.equal(used[name], expected[name]) for name in WEIGHTS)
    swapped = noise | {"bits.w": noise["edges.w"], "edges.w": noise["bits.w"]}
    assert not torch.equal(
        used["w"], both.transform(WEIGHTS, both.state(WEIGHTS, NO_AID), swapped)["w"]
    )


def test_finishing_composes():
    both = Sum(
        {"edges": CircuitSize(2.0, prune=False), "bits": Simplicity(0.5)},
        {"edges": 1.0, "bits": 1.0},
    )
    state = both.state(WEIGHTS, NO_AID) | {"edges.w": torch.tensor([-9.0, 9.0, 9.0])}
    assert both.finish(WEIGHTS, state)["w"].tolist() == [0.0, -2.0, 0.5]


def test_two_of_a_kind_keep_their_states_apart():
    parts = {"fine": Simplicity(0.01), "coarse": Simplicity(1.0)}
    twice = Sum(parts, {"fine": 1.0, "coarse": 1.0})
    state = twice.state(WEIGHTS, NO_AID)
    assert len(state) == 2 * len(WEIGHTS)
    assert alone(twice) == pytest.approx(sum(alone(part) for part in parts.values()))
    assert {
        round(value.exp().mean().item(), 3) for name, value in state.items() if name.endswith("w")
    } == {0.01, 1.0}


def test_a_sum_of_sums_is_a_sum():
    inner = Sum({"bits": Simplicity(0.05), "flops": Speed(2.0)}, {"bits": 2.0, "flops": 1.0})
    outer = Sum({"inner": inner, "bits": Simplicity(0.5)}, {"inner": 0.5, "bits": 1.0})
    assert alone(outer) == pytest.approx(
        alone(Simplicity(0.05)) + 0.5 * alone(Speed(2.0)) + alone(Simplicity(0.5))
    )
    noise = noise_for(outer, WEIGHTS)
    state = outer.state(WEIGHTS, NO_AID)
    inner_first = inner.transform(WEIGHTS, inner.state(WEIGHTS, NO_AID), of(noise, "inner"))
    expected = Simplicity(0.5).transform(
        inner_first, Simplicity(0.5).state(WEIGHTS, NO_AID), of(noise, "bits")
    )
    assert all(
        torch.equal(value, expected[name])
        for name, value in outer.transform(WEIGHTS, state, noise).items()
    )


@pytest.mark.parametrize(
    "shares",
    [{"flops": 1.0}, {"bits": 1.0, "flops": 1.0, "edges": 1.0}, {"bit": 1.0, "flops": 1.0}, {}],
)
def test_shares_that_do_not_fit_the_parts_are_refused(shares):
    with pytest.raises(
        UserError, match=r"prior\.shares: it names .* but the parts are \['bits', 'flops'\]\."
    ):
        Sum({"bits": Simplicity(0.05), "flops": Speed(2.0)}, shares)
