"""Heads in closed form: one solution for each level, whatever the prior, seed and strength."""

import pytest
import torch

from priors.none import NoPrior
from priors.simplicity import Simplicity
from reporters.mean_difference import MeanDifference
from tests.training.made import planted, population
from training.watch import Watch

TINY, HELD_OUT = (
    planted(n, inputs=2, width=8, levels=3, noise=1.0, seed=seed) for n, seed in ((256, 0), (96, 1))
)


@pytest.fixture
def solve(trainer, tmp_path):
    def run(prior, **changed):
        grid = {"seeds": (0, 1), "strengths": (0.5, 4.0)}
        checkpoint = tmp_path / "fit"
        return population(
            trainer, checkpoint, MeanDifference, prior, TINY, HELD_OUT, **grid | changed
        )

    return run


def test_a_closed_form_is_solved_once_whatever_the_prior_and_the_seed(solve, capfd):
    heads = solve(Simplicity(0.05))
    weight = heads.weights["weight_1D"]
    assert weight.shape == (3, 2, 2, 1, 8)
    assert (weight == weight[:, :1, :1]).all()
    for level in range(3):
        standard = (TINY.z_NLD[:, [level]] - heads.mean_LD[[level]]) / heads.std_LD[[level]]
        expected = MeanDifference(1, 8).solve(standard, TINY.human_N)["weight_1D"]
        torch.testing.assert_close(weight[level, 0, 0], expected, rtol=1e-4, atol=1e-5)
    assert heads.validation_nll_K.isfinite().all()
    line = "prior: Simplicity does not apply to MeanDifference: it is solved in closed form."
    assert line in capfd.readouterr().err
    solve(NoPrior())
    assert not capfd.readouterr().err


def test_heads_in_closed_form_have_no_history(solve):
    watch = Watch(lambda heads: {})
    solve(NoPrior(), watch=watch, strengths=(1.0,))
    assert (watch.history.epochs, watch.history.figures) == ((), {})
    assert watch.history.kept_K.tolist() == [0] * 6
