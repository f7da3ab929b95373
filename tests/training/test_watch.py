"""A watch leaves heads as they are, keeps its notes over a restart, and sees heads trained on H
leave X where the two part.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from compute.batches import Batches
from compute.trainer import Trainer
from priors.circuit_size import CircuitSize
from priors.none import NoPrior
from priors.speed import Speed
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mean_difference import MeanDifference
from tests.priors.made import prior_of
from tests.reporters.made import recipe
from tests.training.made import planted, population
from tests.training.test_population import (
    SHORT,
    TINY,
    TINY_HELD_OUT,
    Killed,
    killing,
    of_level,
    same,
)
from training.examples import Examples
from training.heads import Heads, standardiser
from training.watch import Course, Watch
from verdict.alignment import Alignment, Mix, losses


def on_held_out(heads: Heads) -> dict[str, Tensor]:
    return {"said": heads.says(TINY_HELD_OUT.z_NLD).mean(dim=1)}


@pytest.fixture
def fit(trainer, tmp_path):
    return partial(population, trainer, tmp_path / "fit")


@pytest.mark.parametrize("order", ["own", "shared"])
@pytest.mark.parametrize(
    ("reporter", "prior"),
    [
        ("linear", "none"),
        ("layered", "speed"),
        ("mlp", "simplicity"),
        ("attention", "gaussian"),
        ("linear", "circuit_size"),
        ("linear", "explanation_length"),
    ],
)
def test_heads_are_the_same_bit_for_bit_with_and_without_a_watch(reporter, prior, order, fit):
    given = {"seeds": (0, 1), "strengths": (0.5, 2.0), "order": order, **SHORT}
    watch = Watch(on_held_out)
    watched, alone = (
        fit(recipe(reporter, most=4), prior_of(prior), TINY, TINY_HELD_OUT, watch=one, **given)
        for one in (watch, None)
    )
    assert same(watched, alone)
    assert watch.course.epochs == tuple(range(7))
    assert {name: value.shape for name, value in watch.course.figures.items()} == dict.fromkeys(
        ("l_base", "gradient_norm", "said"), (7, len(alone.table))
    )
    assert all(value.isfinite().all() for value in watch.course.figures.values())


def first_batch(of: Tensor) -> Tensor:
    return of[next(iter(Batches(len(of), 64, 0)))]


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_before_any_step_it_notes_the_loss_and_its_gradient_as_worked_out_by_hand(strength, fit):
    # Speed charges one exit at this level log 2 nats for so many FLOPs, whatever the weights:
    # nothing for the gradient.
    watch = Watch(lambda heads: {})
    levels = [of_level(examples, 1) for examples in (TINY, TINY_HELD_OUT)]
    heads = fit(
        Linear,
        Speed(30.0),
        *levels,
        levels=[1],
        strengths=(0.0, strength),
        order="shared",
        watch=watch,
        **SHORT,
    )
    mean_LD, std_LD = standardiser(levels[0].z_NLD)
    torch.manual_seed(0)
    head = Linear(1, 8)
    log_odds_N = head(first_batch((levels[0].z_NLD - mean_LD) / std_LD)).log_odds_N
    nll = torch.nn.functional.binary_cross_entropy_with_logits(
        log_odds_N, first_batch(levels[0].human_N)
    )
    gradients = torch.autograd.grad(nll, list(head.parameters()))
    norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    figures = watch.course.figures
    torch.testing.assert_close(figures["l_base"][0, 0], nll.detach())
    torch.testing.assert_close(figures["gradient_norm"][0, 0], norm)
    assert (figures["l_base"][0, 1] > figures["l_base"][0, 0]) == (strength > 0), (
        "the whole charge, however little is charged at first"
    )
    assert heads.strengths == (0.0, strength)


def test_it_sees_heads_as_they_would_be_finished_at_each_epoch(fit):
    watch = Watch(lambda heads: {"weight": heads.weights["weight_1D"].sum(dim=(3, 4)).flatten()})
    heads = fit(
        Linear,
        NoPrior(),
        TINY,
        TINY_HELD_OUT,
        seeds=(0, 1),
        strengths=(1.0, 2.0),
        watch=watch,
        **SHORT,
    )
    course = watch.course
    kept_K = course.figures["weight"][course.kept_K, torch.arange(len(heads.table))]
    torch.testing.assert_close(
        kept_K, heads.weights["weight_1D"].sum(dim=(3, 4)).flatten(), rtol=0, atol=0
    )


@pytest.mark.parametrize("reporter", ["linear", "layered"])
def test_what_heads_say_in_short_is_what_they_say_at_length(reporter, fit):
    heads = fit(
        recipe(reporter),
        prior_of("speed"),
        TINY,
        TINY_HELD_OUT,
        seeds=(0, 1),
        strengths=(0.5, 2.0),
        **SHORT,
    )
    torch.testing.assert_close(
        heads.says(TINY_HELD_OUT.z_NLD), heads.read(TINY_HELD_OUT.z_NLD).log_odds_KN
    )


def test_heads_that_are_solved_for_have_no_course(fit):
    watch = Watch(on_held_out)
    fit(MeanDifference, NoPrior(), TINY, TINY_HELD_OUT, watch=watch, **SHORT)
    assert (watch.course.epochs, watch.course.figures, watch.course.kept_K.tolist()) == (
        (),
        {},
        [0, 0, 0],
    )


@pytest.mark.parametrize("epoch", [0, 1, 3, 8])
@pytest.mark.parametrize(
    ("make", "prior"),
    [(Linear, CircuitSize(2.0, prune=False)), (Layered, prior_of("simplicity_and_speed"))],
)
def test_killed_and_started_again_its_notes_are_whole_and_the_same(
    make, prior, epoch, tmp_path, monkeypatch
):
    saving = Trainer(accelerator="cpu", save_every=0, bar=False)

    def run(name: str) -> tuple[Heads, Course]:
        watch = Watch(on_held_out)
        data = {
            "examples": TINY,
            "held_out": TINY_HELD_OUT,
            "seeds": (0, 1),
            "strengths": (0.5, 2.0),
            "watch": watch,
        }
        return (
            population(
                saving,
                tmp_path / name,
                make,
                prior,
                **data,
                epochs=8,
                batch_size=64,
                learning_rate=0.1,
            ),
            watch.course,
        )

    heads, whole = run("whole")
    with monkeypatch.context() as patch:
        killing(patch, epoch)
        with pytest.raises(Killed):
            run("killed")
    again, course = run("killed")
    assert same(again, heads)
    assert course.epochs == whole.epochs == tuple(range(9))
    assert torch.equal(course.kept_K, whole.kept_K)
    assert all(torch.equal(course.figures[name], value) for name, value in whole.figures.items())


# Capability kept, alignment lost.


def parted(n: int, shows: str, seed: int) -> tuple[Examples, Mix]:
    """Returns easy episodes, where X = H, and disputed ones, where X ≠ H. One dimension of the
    activations says X or H; the others say nothing.
    """
    chance = torch.Generator().manual_seed(seed)
    easy, z_NLD = planted(n, inputs=1, width=4, seed=seed), torch.randn(n, 1, 4, generator=chance)
    shown_N = (z_NLD[:, 0, 0] > 0).float()
    return easy, Mix(
        z_NLD, *((shown_N, 1 - shown_N) if shows == "concept" else (1 - shown_N, shown_N))
    )


@pytest.mark.parametrize("shows", ["human", "concept"])
def test_training_on_h_builds_capability_and_takes_alignment_where_only_h_can_be_read(shows, fit):
    examples, disputed = parted(2048, shows, seed=0)
    held_out, _ = parted(512, shows, seed=1)
    easy, _ = parted(512, shows, seed=2)
    watch = Watch(partial(losses, Mix(easy.z_NLD, easy.human_N, easy.human_N), disputed))
    fit(
        Linear,
        NoPrior(),
        examples,
        held_out,
        seeds=range(4),
        watch=watch,
        epochs=20,
        batch_size=128,
        learning_rate=0.1,
    )
    alignment = Alignment(tolerance=0.1, confidence=0.95, small=0.01, noise=0.1)
    on_easy, on_disputed = (
        alignment.trained(watch.course),
        alignment.trained(watch.course, disputed=True),
    )
    assert (
        (on_easy.capability_base > 1).all()
        and (on_easy.capability_int > 1).all()
        and (on_easy.outer > 0.5).all()
    )
    if shows == "human":
        assert (on_disputed.capability_base > 1).all(), "it keeps its capability"
        assert (on_disputed.capability_int < -1).all() and (on_disputed.outer < 0).all(), (
            "and loses its alignment"
        )
    else:
        assert (on_disputed.capability_base < -1).all()
        np.testing.assert_allclose(on_disputed.outer, on_easy.outer, atol=0.1)
    base_EK = watch.course.figures["l_base"]
    assert (base_EK[-1] < base_EK[0]).all()
