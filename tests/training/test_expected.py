"""What heads pay without chance: the average over many draws of noise, or the plain objective where
there is none; and for which heads it can be computed.

K: heads, S: seeds, here draws; W: numbers of a head.
"""

from functools import partial

import pytest
import torch
from torch import Tensor

from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from tests.priors.made import build_prior
from tests.reporters.made import REPORTERS, build_reporter, draw_activations
from tests.training.tasks import NOISY, advance_all, build_task
from training.coordinates import Coordinates
from training.expected import find_obstacle, has_moments
from training.noise import draw_noise
from training.objective import Head, StepInputs
from training.settle import SettlingPopulation, flatten_heads

DRAWS = 20_000
STRENGTH, BONUS = 0.7, 0.2
FEW = NOISY._replace(z_NLD=NOISY.z_NLD[:20], human_N=NOISY.human_N[:20])


def plant(make: type[Reporter], prior: Prior, examples=NOISY) -> SettlingPopulation:
    """Returns one head for each level, with random weights. Where a head stops is left to no
    chance: of that, few draws are averaged.
    """
    task = build_task(make, prior, examples, strengths=(STRENGTH,))
    weights = task.draw_start()
    state = task.objective.create_state(weights)
    if make is Layered and state:
        state["weight_L2D"][..., 1, :] = state["bias_2L"][..., 1, :] = -9
    return advance_all(task, steps=0, halting_bonus=BONUS, start=Head(weights, state))


def pay(population: SettlingPopulation, head: Head, noise: dict[str, Tensor]) -> Tensor:
    """Returns what heads pay as they are trained by steps, shape (G, S, M)."""
    objective = population.objective
    scheduled_2 = torch.tensor([1.0, BONUS]).double()
    examples = (population.z_GNRD[:, :, 0].movedim(0, 1), population.human_N)
    if not objective.one_level:
        examples = (population.z_GNRD[0], population.human_N)
    step = StepInputs(noise, scheduled_2, objective.build_groups(), examples)
    return objective.compute_paid(head, torch.tensor([STRENGTH]).double(), step)[0]


@pytest.mark.parametrize("make", [Linear, Layered])
def test_it_is_the_average_over_many_draws_of_the_noise(make):
    population = plant(make, Simplicity(sigma=0.8), FEW)
    head = population.head
    seed_S = torch.arange(DRAWS)
    many = []
    for part in head:
        many.append(
            {name: value.expand(-1, DRAWS, *value.shape[2:]) for name, value in part.items()}
        )
    paid_GS = pay(population, Head(*many), draw_noise(head.state, seed_S, 0))[:, :, 0]
    error_G = paid_GS.std(dim=1) / DRAWS**0.5
    found_G = population.lbfgs.loss_K
    assert (error_G < 0.01).all()
    assert ((found_G - paid_GS.mean(dim=1)).abs() < 4 * error_G).all()
    middle = {name: torch.full(value.shape[3:], 0.5)[None] for name, value in head.state.items()}
    without_G = pay(population, head, middle).flatten()
    assert ((found_G - without_G).abs() > 10 * error_G).all()


@pytest.mark.parametrize(
    ("make", "prior"),
    [
        (Linear, Gaussian(1.0)),
        (Layered, Gaussian(1.0)),
        (Linear, NoPrior()),
        (partial(MLP, hidden=3), NoPrior()),
        (Layered, Speed(2.0, "never")),
    ],
)
def test_without_noise_it_is_what_heads_pay_as_they_are_trained_by_steps(make, prior):
    population = plant(make, prior)
    head = population.head
    trained = [value.requires_grad_() for value in head.weights.values()]
    paid_GSM = pay(population, head, {})
    gradients = torch.autograd.grad(paid_GSM.sum(), trained, materialize_grads=True)
    by_theta_KW = flatten_heads(Head(dict(zip(head.weights, gradients, strict=True)), {}))
    expected_KW = population._map_groups(Coordinates.to_phi_gradient, by_theta_KW)
    torch.testing.assert_close(population.lbfgs.loss_K, paid_GSM.detach().flatten())
    torch.testing.assert_close(population.lbfgs.gradient_KW, expected_KW)


def test_log_odds_have_moments_where_weights_enter_by_products_with_activations():
    found = {}
    for name in REPORTERS:
        reporter = build_reporter(name)
        found[name] = has_moments(reporter, draw_activations(reporter))
    assert {"linear", "layered"} <= {name for name in found if found[name]}
    assert not any(found[name] for name in ("mlp", "attention", "logic"))


def find(reporter: str, prior: str) -> str | None:
    n_levels = 3 if reporter in ("layered", "attention") else 1
    return find_obstacle(build_prior(prior), build_reporter(reporter), n_levels, 8)


@pytest.mark.parametrize(
    ("reporter", "prior"),
    [
        ("linear", "none"),
        ("linear", "gaussian"),
        ("linear", "simplicity"),
        ("linear", "human_dependence"),
        ("linear", "circuit_depth"),
        ("mlp", "gaussian"),
        ("mlp", "human_dependence"),
        ("attention", "none"),
        ("layered", "speed"),
        ("layered", "simplicity"),
        ("layered", "simplicity_and_speed"),
    ],
)
def test_what_these_heads_pay_can_be_computed(reporter, prior):
    assert find(reporter, prior) is None


@pytest.mark.parametrize(
    ("reporter", "prior", "reason"),
    [
        ("linear", "speed", "Speed has gates that open and close by chance"),
        ("linear", "simplicity_and_speed", "Sum has gates"),
        ("layered", "circuit_size", "CircuitSize has gates"),
        ("mlp", "explanation_length", "ExplanationLength has gates"),
        ("mlp", "simplicity", "log-odds of MLP are not linear in them"),
        ("attention", "simplicity", "log-odds of Attention are not linear in them"),
        ("logic", "gates", "a finished Logic has hard choices"),
        ("logic", "none", "a finished Logic has hard choices"),
    ],
)
def test_what_others_pay_cannot_and_it_is_said_why(reporter, prior, reason):
    assert reason in find(reporter, prior)
