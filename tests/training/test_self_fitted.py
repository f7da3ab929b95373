"""Heads that fit themselves: one solution for each level, whatever the prior and strength."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from configs.build import build_parts
from configs.plan import read_plan
from console.command_line import to_plain_values
from console.errors import UserError
from priors.none import NoPrior
from priors.simplicity import Simplicity
from reporters.fitted_linear import FittedLinear
from reporters.mean_difference import MeanDifference
from reporters.random import Random
from reporters.reporter import Lesson
from tests.conftest import CONFIGS
from tests.training.made import planted, population
from tests.training.tasks import NOISY, build_task
from training.self_fitted import check_fit, fit_themselves
from training.watch import Watch
from worlds.world import NoNegations

TINY, HELD_OUT = (
    planted(n, inputs=2, width=8, levels=3, noise=1.0, seed=seed) for n, seed in ((256, 0), (96, 1))
)


@pytest.fixture
def solve(trainer, tmp_path):
    def run(prior, make=MeanDifference, **changed):
        grid = {"seeds": (0, 1), "strengths": (0.5, 4.0)}
        checkpoint = tmp_path / "fit"
        return population(trainer, checkpoint, make, prior, TINY, HELD_OUT, **grid | changed)

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


def test_a_head_that_its_seed_draws_is_solved_for_each_seed(solve):
    weight = solve(NoPrior(), Random).weights["weight_1D"]
    assert weight.shape == (3, 2, 2, 1, 8)
    assert torch.equal(weight[:, :, 0], weight[:, :, 1])
    similar_G = torch.cosine_similarity(weight[:, 0, 0, 0], weight[:, 1, 0, 0])
    assert (similar_G.abs() < 0.99).all()


class Recorder(FittedLinear):
    """Returns as its weight what its lesson says of one level."""

    needs = ("negations",)

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        weight_1D = lesson.negated_NLD[3] + 10 * lesson.mean_LD + 100 * lesson.std_LD
        return {"weight_1D": weight_1D, "bias": lesson.human_N.mean()}


def test_a_lesson_holds_the_standardised_negations_and_the_scale_of_its_own_level(solve):
    heads = solve(NoPrior(), Recorder)
    # The planted negation of an episode is the episode turned round.
    negated_LD = (-TINY.z_NLD[3] - heads.mean_LD) / heads.std_LD
    expected_LD = negated_LD + 10 * heads.mean_LD + 100 * heads.std_LD
    torch.testing.assert_close(heads.weights["weight_1D"][:, 1, 1, 0], expected_LD)
    assert heads.settling.optimizer == "own"


def test_a_prior_does_not_apply_to_a_method_of_its_own(solve, capfd):
    solve(Simplicity(0.05), Recorder)
    line = "prior: Simplicity does not apply to Recorder: it is fitted by a method of its own."
    assert line in capfd.readouterr().err


def test_many_groups_are_solved_in_parts(monkeypatch):
    task = build_task(MeanDifference, NoPrior(), NOISY)
    whole = fit_themselves(task.objective.reporter, task).weights
    monkeypatch.setattr("training.self_fitted.MOST_NUMBERS", 1)
    parts = fit_themselves(task.objective.reporter, task).weights
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)


def test_a_task_without_negations_is_refused():
    task = build_task(Recorder, NoPrior(), NOISY)
    with pytest.raises(UserError, match=r"^reporter: Recorder needs the negations of training"):
        fit_themselves(task.objective.reporter, task)


def check(*overrides: str) -> None:
    """Checks a run's heads, as `train.py` does before it makes a predictor."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = to_plain_values(compose("train", list(overrides)))
    parts = build_parts(config)
    check_fit(parts, read_plan(config, parts))


@pytest.mark.parametrize("world", ["vault", "ladder"])
@pytest.mark.parametrize("reporter", ["mlp", "mean_difference"])
def test_heads_that_need_no_pairs_fit_every_world(world, reporter):
    check(f"world={world}", f"reporter={reporter}")


def test_a_model_that_is_not_asked_for_x_is_refused_before_it_is_made():
    model = ["experiment=cities", "reporter=lm_head"]
    check(*model, 'core_model.ask={question: "?", yes: " a", no: " b"}')
    for ask in ("null", '{question: "?", human: {yes: " a", no: " b"}}'):
        with pytest.raises(UserError, match=r"^reporter: LMHead reads the answer of a language mo"):
            check(*model, f"core_model.ask={ask}")
    with pytest.raises(UserError, match=r"^reporter: LMHead reads .* or use core_model=quirky\.$"):
        check("world=vault", "reporter=lm_head")


def test_pairs_that_are_missing_are_said_before_a_predictor_is_made():
    check("world=ladder", "reporter=ccs")
    with pytest.raises(UserError, match=r"^planted_costs: .* Use planted_costs=false\.$"):
        check("world=ladder", "reporter=ccs", "prior=simplicity", "planted_costs=true")
    message = r"^reporter: CCS needs pairs of a statement and its negation, and the world vault has"
    with pytest.raises(NoNegations, match=message):
        check("world=vault", "reporter=ccs")


def test_a_probe_that_is_not_there_is_said_before_a_predictor_is_made(tmp_path):
    file = tmp_path / "probe.npz"
    with pytest.raises(UserError, match=r"^reporter\.file: there is no file"):
        check("reporter=direction", f"reporter.file={file}")
    np.savez(file, coef_=np.ones(4), intercept_=np.zeros(1))
    check("reporter=direction", f"reporter.file={file}")
