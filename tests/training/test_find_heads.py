"""Heads of several predictors, found in one fit: each is the head that is found with its predictor
alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from priors.downstream import Downstream
from priors.gaussian import Gaussian
from priors.human_dependence import HumanDependence
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from reporters.attention import Attention
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from tests.training.made import FLOPS_STEP, observed, optimizer, pairs, planted, schedule
from training.convex import Convex
from training.examples import Examples, join_examples
from training.find_heads import build_task, train
from training.heads import Heads, join_heads
from training.optimizers.lbfgs import LBFGS
from training.requests import Requests, join_requests

N, LEVELS, WIDTH = 120, 3, 6
PREDICTORS = 3
WATCHED = [planted(N, 2, WIDTH, LEVELS, at=1, noise=1.0, seed=seed) for seed in range(PREDICTORS)]
"""The same episodes as three predictors read them: the human's answers are those of the first."""


def read(predictor: int) -> Examples:
    return Examples(WATCHED[predictor].z_NLD.double(), WATCHED[0].human_N.double())


def request(prior: Prior, predictor: int) -> Requests:
    return Requests(
        observed(read(predictor)) if "observation" in prior.needs else None,
        pairs(read(predictor)) if "pairs" in prior.needs else None,
    )


def find(
    trainer: Any,
    folder: Any,
    make: Any,
    prior: Prior,
    predictors: Sequence[int],
    method: Any,
    mover: Any,
) -> Heads:
    """Returns the heads of these predictors, found in one fit."""

    def make_double(n_levels: int, width: int) -> Reporter:
        return make(n_levels, width).double()

    examples = join_examples([read(predictor) for predictor in predictors])
    task = build_task(
        make_double,
        prior,
        examples,
        examples,
        range(LEVELS),
        FLOPS_STEP * torch.arange(LEVELS, dtype=torch.float64).repeat(len(predictors)),
        FLOPS_STEP,
        seeds=(0, 1),
        strengths=(0.5, 2.0),
        requests=join_requests([request(prior, predictor) for predictor in predictors]),
    )
    name = "-".join(map(str, predictors))
    return train(task, method, mover, trainer, folder / f"{name}.ckpt")


STEPS = partial(schedule, epochs=2, batch_size=40)
UNTIL_SETTLED = LBFGS(tolerance=1e-3, steps=10)
CASES = {
    "linear, convex": (Linear, Gaussian(1.0), Convex(tolerance=1e-8, steps=1000), "adamw"),
    "linear, margin": (Linear, NoPrior(), Convex(tolerance=1e-8, steps=1000), "adamw"),
    "linear, steps": (Linear, Simplicity(0.05), STEPS(), "adamw"),
    "linear, downstream": (Linear, Downstream(), STEPS(), "adamw"),
    "linear, human dependence": (Linear, HumanDependence(), STEPS(), "adamw"),
    "layered, steps": (Layered, Speed(2.0, "never"), STEPS(), "adamw"),
    "layered, settling": (Layered, Gaussian(1.0), STEPS(keep="last"), UNTIL_SETTLED),
    "layered, downstream": (Layered, Downstream(), STEPS(), "adamw"),
    "mlp, steps": (partial(MLP, hidden=4), Gaussian(1.0), STEPS(), "adamw"),
    "attention, steps": (partial(Attention, hidden=4, steps=2), NoPrior(), STEPS(), "adamw"),
}


SLOW = ("attention, steps", "mlp, steps", "layered, downstream")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_in_float64_a_head_is_the_same_with_its_predictor_alone_and_in_company(
    case, trainer, tmp_path
):
    make, prior, method, mover = CASES[case]
    mover = optimizer(mover) if isinstance(mover, str) else mover
    find_for = partial(find, trainer, tmp_path, make, prior, method=method, mover=mover)
    together = find_for(range(PREDICTORS)).split()
    assert len(together) == PREDICTORS
    for predictor, heads in enumerate(together):
        alone = find_for([predictor])
        assert heads.table == alone.table
        for name, value in alone.weights.items():
            torch.testing.assert_close(heads.weights[name], value, rtol=0, atol=1e-10)
        assert_same(heads.validation_nll_K, alone.validation_nll_K)
        assert_same(heads.settling.total_K, alone.settling.total_K)
        z_NLD = read(predictor).z_NLD
        assert_same(heads.read(z_NLD).log_odds_KN, alone.read(z_NLD).log_odds_KN)
    name = next(iter(alone.weights))
    assert not torch.allclose(together[0].weights[name], together[1].weights[name], atol=1e-3)


def assert_same(value: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(value, other, rtol=0, atol=1e-8, equal_nan=True)


def test_heads_of_several_predictors_are_parted_and_joined_without_loss(trainer, tmp_path):
    together = find(trainer, tmp_path, Layered, NoPrior(), range(3), STEPS(), optimizer("adamw"))
    again = join_heads(together.split())
    assert again.table == together.table and len(together.table) == 3 * 2 * 2
    for name, value in together.to_tensors().items():
        assert torch.equal(again.to_tensors()[name], value)
    assert torch.equal(again.settling.total_K.nan_to_num(), together.settling.total_K.nan_to_num())


def test_activations_that_keep_their_scale_are_only_centred():
    examples = WATCHED[0]._replace(z_NLD=WATCHED[0].z_NLD * 7 + 3)
    arguments = (range(LEVELS), torch.zeros(LEVELS), 1.0, (0,), (1.0,))
    kept = build_task(Linear, NoPrior(), examples, examples, *arguments, keeps_scale=True)
    standardised = build_task(Linear, NoPrior(), examples, examples, *arguments)
    assert (kept.examples.z_NLD.mean(dim=0).abs() < 1e-5).all()
    torch.testing.assert_close(kept.examples.z_NLD.std(dim=0), examples.z_NLD.std(dim=0))
    assert (standardised.examples.z_NLD.std(dim=0) - 1).abs().max() < 1e-5
