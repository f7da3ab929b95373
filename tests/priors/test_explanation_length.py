"""The explanation-length prior: charges of open and shut circuits by hand, and training that shuts
the components that do not matter.

N: episodes, L: levels, D: width, C: components.
"""

import math

import pytest
import torch
from torch import Tensor

from priors.explanation_length import OWN, ExplanationLength
from priors.hard_concrete import compute_final_gates
from priors.prior import Aid, Training
from reporters.linear import Linear
from reporters.stack import Weights
from tests.training.made import accuracy, optimizer, schedule
from training.examples import Examples
from training.find_heads import build_task, train
from training.population import Population
from training.requests import Requests
from training.standardised import StandardisedAblation

WIDTH, COMPONENTS, EXAMPLES, BATCH = 8, 4, 500, 40
ELEMENT, VALUE = math.log(WIDTH + COMPONENTS), math.log(EXAMPLES) / 2
"""Nats to name an element, and to state a weight."""
OPEN, SHUT = 30.0, -30.0
"""Log-alphas of gates that are open and shut."""
PRIOR = ExplanationLength(log_alpha=2.0, prune=True, episodes=16)


class Toy:
    """A predictor of four components, each of which writes two directions of the activation: its
    inputs there, or 0 if the component is off.
    """

    components = COMPONENTS

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        return (inputs_N * gates_C.repeat_interleave(2))[:, None]


def draw_inputs(n: int = BATCH, seed: int = 0) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))


def compute_charge(weights: Weights, state: Weights, noise: Weights | None = None) -> Tensor:
    """Returns the charge of a linear head; without noise, of the head after training."""
    reporter, inputs_N = Linear(1, WIDTH), draw_inputs()
    used = PRIOR.transform(weights, state, noise) if noise else PRIOR.finish(weights, state)
    z_NLD = Toy().read(inputs_N, torch.ones(COMPONENTS))
    aid = Aid(
        components=COMPONENTS,
        ablated=lambda n, gates_C: Toy().read(inputs_N[:n], gates_C),
    )
    training = Training(
        reporter=reporter,
        weights=weights,
        state=state,
        noise=noise or {},
        used=used,
        z_NLD=z_NLD,
        reading=torch.func.functional_call(reporter, used, (z_NLD,)),
        reach_T=torch.zeros(1),
        flops_step=1000.0,
        n_examples=EXAMPLES,
        aid=aid,
    )
    return PRIOR.charge(training)


def build_state(components: list[float], edges: list[float] | None = None) -> Weights:
    """Returns the prior's state from log-alphas; by default every edge is open."""
    return {"weight_1D": torch.tensor([edges or [OPEN] * WIDTH]), OWN: torch.tensor(components)}


def build_noise(state: Weights) -> Weights:
    """Returns noise at the median."""
    return {name: torch.full_like(value, 0.5) for name, value in state.items()}


READS_THE_SECOND = {
    "weight_1D": torch.tensor([[0, 0, 3.0, -2.0, 0, 0, 0, 0]]),
    "bias": torch.tensor(0.5),
}
"""A head that reads the second component only."""
ONLY_SECOND = [SHUT, OPEN, SHUT, SHUT]


def test_every_component_and_every_edge_has_a_gate_with_the_given_initial_value():
    state = PRIOR.state(READS_THE_SECOND, Aid(components=COMPONENTS))
    shapes = {name: value.shape for name, value in state.items()}
    assert shapes == {"weight_1D": (1, WIDTH), OWN: (COMPONENTS,)}
    assert all((value == 2.0).all() for value in state.values())


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    ("components", "edges", "nats"),
    [
        ([OPEN] * 4, [OPEN] * 8, 12 * ELEMENT + 8 * VALUE),
        (ONLY_SECOND, [OPEN] * 8, 9 * ELEMENT + 8 * VALUE),
        (ONLY_SECOND, [SHUT, SHUT, OPEN, OPEN, *[SHUT] * 4], 3 * ELEMENT + 2 * VALUE),
        ([SHUT] * 4, [SHUT] * 8, 0.0),
    ],
)
def test_open_elements_are_named_in_one_list_and_a_full_explanation_has_no_error(
    components, edges, nats, noisy
):
    state = build_state(components, edges)
    charge = compute_charge(READS_THE_SECOND, state, build_noise(state) if noisy else None)
    assert charge.item() == pytest.approx(nats / EXAMPLES, abs=1e-6)


def test_an_incomplete_explanation_is_charged_its_divergence():
    """The second component is off, so the explanation is always the bias; the divergence is between
    two coins, over the first 16 episodes.
    """
    state = build_state([OPEN, SHUT, OPEN, OPEN])
    inputs_N = draw_inputs()[:16]
    p_N = torch.sigmoid((inputs_N[:, 2] * 3 - inputs_N[:, 3] * 2 + 0.5).double())
    q = 1 / (1 + math.exp(-0.5))
    kl = (p_N * (p_N / q).log() + (1 - p_N) * ((1 - p_N) / (1 - q)).log()).mean().item()
    nats = 11 * ELEMENT + 8 * VALUE
    assert kl > 0.1
    charge = compute_charge(READS_THE_SECOND, state).item()
    assert charge == pytest.approx(nats / EXAMPLES + kl, abs=1e-5)


def test_a_shut_edge_does_not_need_the_component_that_it_reads():
    edges = [OPEN, OPEN, SHUT, SHUT, *[OPEN] * 4]
    charge = compute_charge(READS_THE_SECOND, build_state([OPEN, SHUT, OPEN, OPEN], edges))
    assert charge.item() == pytest.approx((9 * ELEMENT + 6 * VALUE) / EXAMPLES, abs=1e-6)


def test_gradients_open_the_components_that_matter_and_shut_the_others():
    state = {name: value.requires_grad_() for name, value in build_state([0.0] * 4).items()}
    charge = compute_charge(READS_THE_SECOND, state, build_noise(state))
    gradient_C = torch.autograd.grad(charge, state[OWN])[0]
    assert gradient_C[1] < 0
    assert (gradient_C[[0, 2, 3]] > 0).all()


# Training.


def test_heads_are_given_the_ablated_predictor_in_the_units_in_which_they_are_trained():
    mean_LD, std_LD = torch.arange(8.0)[None], torch.full((1, WIDTH), 2.0)
    ablation = StandardisedAblation(Toy(), mean_LD, std_LD)
    gates_C = torch.tensor([1.0, 0.0, 0.5, 1.0])
    assert ablation.components == COMPONENTS
    actual = ablation.read(draw_inputs(), gates_C) * 2 + mean_LD
    torch.testing.assert_close(actual, Toy().read(draw_inputs(), gates_C))


def draw_examples(n: int, seed: int) -> Examples:
    """Returns episodes on which the human's answer depends on the first two components only."""
    inputs_N = draw_inputs(n, seed)
    human_N = (inputs_N[:, :4].sum(dim=1) > 0).float()
    return Examples(Toy().read(inputs_N, torch.ones(COMPONENTS)), human_N, inputs_N)


@pytest.mark.slow
def test_training_shuts_components_that_do_not_matter_and_the_head_stays_right(
    trainer, tmp_path, monkeypatch
):
    gates: dict[str, Tensor] = {}
    on_train_epoch_end = Population.on_train_epoch_end

    def save_gates(population: Population) -> None:
        on_train_epoch_end(population)
        gates[OWN] = compute_final_gates(population.state[OWN].detach())

    monkeypatch.setattr(Population, "on_train_epoch_end", save_gates)
    held_out = draw_examples(512, seed=2)
    heads = train(
        build_task(
            make=Linear,
            prior=ExplanationLength(log_alpha=2.0, prune=False, episodes=64),
            examples=draw_examples(2048, seed=1),
            held_out=held_out,
            levels=[0],
            flops_L=torch.tensor([1000.0]),
            flops_step=1000.0,
            seeds=(0, 1, 2),
            strengths=(0.0, 8.0),
            requests=Requests(ablation=Toy()),
        ),
        schedule(epochs=20, batch_size=64, patience=20),
        optimizer("adamw"),
        trainer,
        tmp_path / "fit",
    )
    free_SC, charged_SC = gates[OWN][0].unbind(dim=1)
    assert (charged_SC[:, 2:] < 0.1).all()
    assert (charged_SC[:, :2] > 0.9).all()
    assert (free_SC > 0.5).all()
    assert (accuracy(heads, held_out) > 0.95).all()
    live_SD = heads.weights["weight_1D"][0, :, 1, 0] != 0
    assert live_SD[:, :4].all()
    assert not live_SD[:, 4:].any()
