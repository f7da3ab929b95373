"""The explanation-length prior: charges of open and shut circuits by hand, and training that shuts
what does not matter.

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
from reporters.reporter import Reporter
from reporters.stack import Weights
from tests.training.made import accuracy, schedule
from training.examples import Examples
from training.population import Population, train
from training.standardised import Standardised

WIDTH, COMPONENTS, EXAMPLES, BATCH = 8, 4, 500, 40
ELEMENTS = WIDTH + COMPONENTS
ELEMENT, VALUE = math.log(ELEMENTS), math.log(EXAMPLES) / 2
"""Nats to name an element, and to state a weight."""
PRIOR = ExplanationLength(log_alpha=2.0, prune=True, episodes=16)


class Toy:
    """A predictor of four components, each of which writes two directions of the activation: what
    it read there, and nothing where it is off.
    """

    components = COMPONENTS

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        return (inputs_N * gates_C.repeat_interleave(2))[:, None]


def inputs(n: int = BATCH, seed: int = 0) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))


def training(
    weights: Weights, state: Weights, noise: Weights | None = None, episodes: int | None = None
) -> Training:
    """Returns a head as its prior sees it: after training where there is no noise."""
    reporter, given = Linear(1, WIDTH), inputs()
    used = PRIOR.transform(weights, state, noise) if noise else PRIOR.finish(weights, state)
    z_NLD = Toy().read(given, torch.ones(COMPONENTS))
    aid = Aid(
        components=COMPONENTS,
        ablated=lambda n, gates_C: Toy().read(given[: episodes or n], gates_C),
    )
    said = torch.func.functional_call(reporter, used, (z_NLD,))
    return Training(
        reporter,
        weights,
        state,
        noise or {},
        used,
        z_NLD,
        said,
        torch.zeros(1),
        1000.0,
        EXAMPLES,
        aid,
    )


def head(*weight: float) -> Weights:
    return {"weight_1D": torch.tensor([weight]), "bias": torch.tensor(0.5)}


def gates(components: list[float], edges: float | list[float] = 30.0) -> Weights:
    """Returns the prior's state, in log-alphas: 30 is open, -30 is shut."""
    edge_D = torch.tensor(edges) if isinstance(edges, list) else torch.full((WIDTH,), edges)
    return {"weight_1D": edge_D[None], OWN: torch.tensor(components)}


READS_THE_SECOND = head(0, 0, 3.0, -2.0, 0, 0, 0, 0)


def test_every_component_and_every_edge_has_a_gate_that_begins_where_it_is_told():
    state = PRIOR.state(READS_THE_SECOND, Aid(components=COMPONENTS))
    assert {name: value.shape for name, value in state.items()} == {
        "weight_1D": (1, WIDTH),
        OWN: (COMPONENTS,),
    }
    assert all((value == 2.0).all() for value in state.values())


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    ("components", "edges", "nats"),
    [
        ([30.0] * 4, 30.0, 12 * ELEMENT + 8 * VALUE),
        ([-30.0, 30.0, -30.0, -30.0], 30.0, 9 * ELEMENT + 8 * VALUE),
        (
            [-30.0, 30.0, -30.0, -30.0],
            [-30.0, -30.0, 30.0, 30.0, *[-30.0] * 4],
            3 * ELEMENT + 2 * VALUE,
        ),
        ([-30.0] * 4, -30.0, 0.0),
    ],
)
def test_what_is_open_is_named_in_one_list_and_a_full_explanation_leaves_no_error(
    components, edges, nats, noisy
):
    state = gates(components, edges)
    noise = {name: torch.full_like(value, 0.5) for name, value in state.items()} if noisy else None
    assert PRIOR.charge(training(READS_THE_SECOND, state, noise)).item() == pytest.approx(
        nats / EXAMPLES, abs=1e-6
    )


def test_what_an_explanation_leaves_out_is_charged_by_its_divergence():
    """The second component is off, so the explanation always says the bias; the divergence is
    between two coins, over the first 16 episodes.
    """
    state = gates([30.0, -30.0, 30.0, 30.0])
    said_N = (inputs()[:16, 2] * 3 - inputs()[:16, 3] * 2 + 0.5).double()
    p_N, q = torch.sigmoid(said_N), 1 / (1 + math.exp(-0.5))
    kl = (p_N * (p_N / q).log() + (1 - p_N) * ((1 - p_N) / (1 - q)).log()).mean().item()
    nats = 11 * ELEMENT + 8 * VALUE
    assert kl > 0.1
    assert PRIOR.charge(training(READS_THE_SECOND, state)).item() == pytest.approx(
        nats / EXAMPLES + kl, abs=1e-5
    )


def test_a_shut_edge_asks_nothing_of_the_component_that_it_reads():
    state = gates([30.0, -30.0, 30.0, 30.0], [30.0, 30.0, -30.0, -30.0, *[30.0] * 4])
    assert PRIOR.charge(training(READS_THE_SECOND, state)).item() == pytest.approx(
        (9 * ELEMENT + 6 * VALUE) / EXAMPLES, abs=1e-6
    )


def test_gradients_open_the_components_that_matter_and_shut_those_that_do_not():
    state = {name: value.requires_grad_() for name, value in gates([0.0] * 4).items()}
    noise = {name: torch.full_like(value, 0.5) for name, value in state.items()}
    gradient_C = torch.autograd.grad(
        PRIOR.charge(training(READS_THE_SECOND, state, noise)), state[OWN]
    )[0]
    assert gradient_C[1] < 0 and (gradient_C[[0, 2, 3]] > 0).all()


# Training.


def test_heads_are_given_the_ablated_predictor_in_the_units_that_they_are_trained_in():
    mean_LD, std_LD = torch.arange(8.0)[None], torch.full((1, WIDTH), 2.0)
    ablation = Standardised(Toy(), mean_LD, std_LD)
    gates_C = torch.tensor([1.0, 0.0, 0.5, 1.0])
    assert ablation.components == COMPONENTS
    torch.testing.assert_close(
        ablation.read(inputs(), gates_C) * 2 + mean_LD, Toy().read(inputs(), gates_C)
    )


def examples(n: int, seed: int) -> Examples:
    """Returns episodes on which the human answers what the first two components write: in the
    others there is nothing to learn.
    """
    inputs_N = inputs(n, seed)
    return Examples(
        Toy().read(inputs_N, torch.ones(COMPONENTS)),
        (inputs_N[:, :4].sum(dim=1) > 0).float(),
        inputs_N,
    )


def trained(trainer, checkpoint, monkeypatch, strengths):
    """Returns the finished heads, their examples, and the components' gates at the end of training,
    shape (G, S, M, C).
    """
    ends: dict[str, Tensor] = {}
    before = Population.on_train_epoch_end

    def noted(self: Population) -> None:
        before(self)
        ends[OWN] = compute_final_gates(self.state[OWN].detach())

    monkeypatch.setattr(Population, "on_train_epoch_end", noted)

    def make(n_levels: int, width: int) -> Reporter:
        return Linear(n_levels, width)

    given, held_out, flops = examples(2048, seed=1), examples(512, seed=2), torch.tensor([1000.0])
    short = schedule(epochs=30, batch_size=64, patience=30)
    prior = ExplanationLength(log_alpha=2.0, prune=False, episodes=64)
    heads = train(
        make,
        prior,
        given,
        held_out,
        [0],
        flops,
        1000.0,
        (0, 1, 2),
        strengths,
        short,
        trainer,
        checkpoint,
        ablation=Toy(),
    )
    return heads, held_out, ends[OWN]


def test_training_shuts_components_that_do_not_matter_and_the_head_stays_right(
    trainer, tmp_path, monkeypatch
):
    heads, held_out, gate_GSMC = trained(trainer, tmp_path / "fit", monkeypatch, (0.0, 8.0))
    charged_SC, free_SC = gate_GSMC[0, :, 1], gate_GSMC[0, :, 0]
    assert (charged_SC[:, 2:] < 0.1).all()
    assert (charged_SC[:, :2] > 0.9).all()
    assert (free_SC > 0.5).all()
    assert (accuracy(heads, held_out) > 0.95).all()
    live_SMD = heads.weights["weight_1D"][0, :, :, 0] != 0
    assert live_SMD[:, 1, :4].all() and not live_SMD[:, 1, 4:].any()
