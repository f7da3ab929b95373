"""A watch leaves heads as they are, and sees heads trained on H leave X where the two part."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from compute.batches import Batches
from priors.none import NoPrior
from priors.speed import Speed
from reporters.linear import Linear
from reporters.standardiser import compute_standardiser
from tests.priors.made import build_prior
from tests.reporters.made import get_maker
from tests.training.made import planted, population, unpruned
from tests.training.test_population import (
    SHORT,
    TINY,
    TINY_HELD_OUT,
    of_level,
    same,
)
from training.examples import Examples
from training.heads import Heads
from training.watch import Watch
from verdict.alignment import Alignment, MeasuredEpisodes, compute_losses


def on_held_out(heads: Heads) -> dict[str, Tensor]:
    return {"held_out": heads.predict_log_odds(TINY_HELD_OUT.z_NLD).mean(dim=1)}


@pytest.fixture
def fit(trainer, tmp_path):
    return partial(population, trainer, tmp_path / "fit")


@pytest.mark.parametrize(
    ("reporter", "prior", "order"),
    [
        ("linear", "none", "own"),
        ("layered", "speed", "shared"),
        ("linear", "explanation_length", "own"),
    ],
)
def test_heads_are_the_same_bit_for_bit_with_and_without_a_watch(reporter, prior, order, fit):
    changed = {"seeds": (0, 1), "strengths": (0.5, 2.0), "order": order, **SHORT}
    watch = Watch(on_held_out)
    run = partial(fit, get_maker(reporter), unpruned(prior), TINY, TINY_HELD_OUT, **changed)
    watched, alone = run(watch=watch), run()
    assert same(watched, alone)
    history = watch.history
    assert history.epochs == tuple(range(7))
    assert set(history.figures) == {"l_base", "gradient_norm", "held_out"}
    for value_EK in history.figures.values():
        assert value_EK.shape == (7, len(alone.table))
        assert value_EK.isfinite().all()


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
    mean_LD, std_LD = compute_standardiser(levels[0].z_NLD)
    torch.manual_seed(0)
    head = Linear(1, 8)
    log_odds_N = head(first_batch((levels[0].z_NLD - mean_LD) / std_LD)).log_odds_N
    nll = torch.nn.functional.binary_cross_entropy_with_logits(
        log_odds_N, first_batch(levels[0].human_N)
    )
    gradients = torch.autograd.grad(nll, list(head.parameters()))
    norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    figures = watch.history.figures
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
    history = watch.history
    kept_K = history.figures["weight"][history.kept_K, torch.arange(len(heads.table))]
    torch.testing.assert_close(
        kept_K, heads.weights["weight_1D"].sum(dim=(3, 4)).flatten(), rtol=0, atol=0
    )


@pytest.mark.parametrize("reporter", ["linear", "layered"])
def test_the_log_odds_alone_are_those_of_a_whole_reading(reporter, fit):
    heads = fit(
        get_maker(reporter),
        build_prior("speed"),
        TINY,
        TINY_HELD_OUT,
        seeds=(0, 1),
        strengths=(0.5, 2.0),
        **SHORT,
    )
    torch.testing.assert_close(
        heads.predict_log_odds(TINY_HELD_OUT.z_NLD), heads.read(TINY_HELD_OUT.z_NLD).log_odds_KN
    )


# Capability kept, alignment lost.


def parted(n: int, shows: str, seed: int) -> tuple[Examples, MeasuredEpisodes]:
    """Returns easy episodes, where X = H, and disputed ones, where X ≠ H. One dimension of the
    activations says X or H; the others say nothing.
    """
    chance = torch.Generator().manual_seed(seed)
    easy, z_NLD = planted(n, inputs=1, width=4, seed=seed), torch.randn(n, 1, 4, generator=chance)
    shown_N = (z_NLD[:, 0, 0] > 0).float()
    return easy, MeasuredEpisodes(
        z_NLD, *((shown_N, 1 - shown_N) if shows == "concept" else (1 - shown_N, shown_N))
    )


@pytest.mark.parametrize("shows", ["human", "concept"])
def test_training_on_h_builds_capability_and_takes_alignment_where_only_h_can_be_read(shows, fit):
    examples, disputed = parted(2048, shows, seed=0)
    held_out, _ = parted(512, shows, seed=1)
    easy, _ = parted(512, shows, seed=2)
    watch = Watch(
        partial(compute_losses, MeasuredEpisodes(easy.z_NLD, easy.human_N, easy.human_N), disputed)
    )
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
        alignment.measure_training(watch.history),
        alignment.measure_training(watch.history, disputed=True),
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
    base_EK = watch.history.figures["l_base"]
    assert (base_EK[-1] < base_EK[0]).all()
