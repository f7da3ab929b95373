"""A sum of priors: it charges the sum of its parts, and keeps their states apart."""

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
from tests.priors.made import NO_AID, build_reading, build_training, draw_noise

WEIGHTS = {"w": torch.tensor([1.0, -2.0, 0.5]), "bias": torch.tensor(0.3)}
READING = build_reading([[0.5, 0.5]], [1, 3])


def select_part(noise: Weights, part: str) -> Weights:
    """Returns the part's entries of the joint noise."""
    prefix = f"{part}."
    return {
        name.removeprefix(prefix): value for name, value in noise.items() if name.startswith(prefix)
    }


def compute_charge(prior: Prior) -> float:
    state = prior.state(WEIGHTS, NO_AID)
    return prior.charge(build_training(WEIGHTS, state, READING)).item()


def transform(prior: Prior, weights: Weights, noise: Weights) -> Weights:
    return prior.transform(weights, prior.state(weights, NO_AID), noise)


def assert_equal(actual: Weights, expected: Weights) -> None:
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_it_charges_the_sum_of_its_parts():
    parts = {"bits": Simplicity(0.05), "flops": Speed(2.0), "edges": CircuitSize(2.0, prune=False)}
    both = Sum(parts, dict.fromkeys(parts, 1.0))
    expected = sum(compute_charge(part) for part in parts.values())
    assert compute_charge(both) == pytest.approx(expected)


@pytest.mark.parametrize(("bits", "flops"), [(0.25, 3.0), (0.0, 1.0)])
def test_every_part_has_its_own_share(bits, flops):
    parts = {"bits": Simplicity(0.05), "flops": Speed(2.0)}
    expected = bits * compute_charge(parts["bits"]) + flops * compute_charge(parts["flops"])
    assert compute_charge(Sum(parts, {"bits": bits, "flops": flops})) == pytest.approx(expected)


def test_a_prior_that_charges_nothing_adds_nothing():
    parts = {"flops": Speed(2.0), "nothing": NoPrior()}
    expected = compute_charge(Speed(2.0))
    assert compute_charge(Sum(parts, {"flops": 1.0, "nothing": 1.0})) == pytest.approx(expected)


def test_transforms_apply_in_order_each_with_its_own_noise_and_state():
    bits, edges = Simplicity(0.5), CircuitSize(0.0, prune=False)
    both = Sum({"bits": bits, "edges": edges}, {"bits": 1.0, "edges": 1.0})
    noise = draw_noise(both, WEIGHTS)
    used = transform(both, WEIGHTS, noise)
    after_bits = transform(bits, WEIGHTS, select_part(noise, "bits"))
    assert_equal(used, transform(edges, after_bits, select_part(noise, "edges")))
    swapped = noise | {"bits.w": noise["edges.w"], "edges.w": noise["bits.w"]}
    assert not torch.equal(used["w"], transform(both, WEIGHTS, swapped)["w"])


def test_every_part_finishes_the_head():
    parts = {"edges": CircuitSize(2.0, prune=False), "bits": Simplicity(0.5)}
    both = Sum(parts, {"edges": 1.0, "bits": 1.0})
    state = both.state(WEIGHTS, NO_AID) | {"edges.w": torch.tensor([-9.0, 9.0, 9.0])}
    assert both.finish(WEIGHTS, state)["w"].tolist() == [0.0, -2.0, 0.5]


def test_two_priors_of_one_kind_keep_their_states_apart():
    parts = {"fine": Simplicity(0.01), "coarse": Simplicity(1.0)}
    twice = Sum(parts, {"fine": 1.0, "coarse": 1.0})
    state = twice.state(WEIGHTS, NO_AID)
    assert len(state) == 2 * len(WEIGHTS)
    expected = sum(compute_charge(part) for part in parts.values())
    assert compute_charge(twice) == pytest.approx(expected)
    assert state["fine.w"].exp().mean().item() == pytest.approx(0.01)
    assert state["coarse.w"].exp().mean().item() == pytest.approx(1.0)


def test_a_sum_of_sums_is_a_sum():
    inner = Sum({"bits": Simplicity(0.05), "flops": Speed(2.0)}, {"bits": 2.0, "flops": 1.0})
    bits = Simplicity(0.5)
    outer = Sum({"inner": inner, "bits": bits}, {"inner": 0.5, "bits": 1.0})
    expected = compute_charge(bits) + 0.5 * compute_charge(inner)
    assert compute_charge(outer) == pytest.approx(expected)
    by_hand = 2 * compute_charge(Simplicity(0.05)) + compute_charge(Speed(2.0))
    assert compute_charge(inner) == pytest.approx(by_hand)
    noise = draw_noise(outer, WEIGHTS)
    after_inner = transform(inner, WEIGHTS, select_part(noise, "inner"))
    after_bits = transform(bits, after_inner, select_part(noise, "bits"))
    assert_equal(transform(outer, WEIGHTS, noise), after_bits)


@pytest.mark.parametrize(
    "shares",
    [{"flops": 1.0}, {"bits": 1.0, "flops": 1.0, "edges": 1.0}, {"bit": 1.0, "flops": 1.0}, {}],
)
def test_shares_that_do_not_match_the_parts_are_refused(shares):
    message = r"prior\.shares: it names .* but the parts are \['bits', 'flops'\]\."
    with pytest.raises(UserError, match=message):
        Sum({"bits": Simplicity(0.05), "flops": Speed(2.0)}, shares)
