"""Episodes of several predictors: the same H for all, everything else their own."""

import numpy as np
import pytest
import torch

from configs.build import build
from console.errors import UserError
from experiments.several_predictors import SeveralPredictors, align
from tests.conftest import node

N = 200


def make(trainer, number: int = 3, **world) -> SeveralPredictors:
    values = {"bits": 8, "concept_level": 0, "human_level": 0} | world
    ladder = build(node("world/ladder.yaml", **values), "world")
    constructed = build(node("core_model/constructed.yaml"), "core_model")
    return SeveralPredictors.build(ladder, constructed, number, 0, 5, trainer)


def find_answer_coordinates(z_ND: torch.Tensor, answer_N: torch.Tensor) -> torch.Tensor:
    """Returns which coordinates hold an answer exactly."""
    agreement_D = (z_ND * (2 * answer_N.float() - 1)[:, None]).mean(dim=0)
    return agreement_D.abs() == 1


def test_predictors_share_h_and_nothing_else(trainer):
    sample = make(trainer).draw_easy(N)
    assert (sample.human_PN == sample.human_PN[0]).all()
    assert (sample.concept_PN == sample.human_PN).all()
    for p in range(3):
        held_D = find_answer_coordinates(sample.z_NPD[:, p], sample.human_PN[p])
        assert held_D.sum() == 2  # X and H
    unrelated = sample.z_NPD[:, 0].sort(dim=1).values != sample.z_NPD[:, 1].sort(dim=1).values
    assert unrelated.any(dim=1).float().mean() > 0.5


def test_labels_are_flipped_for_all_predictors_and_only_where_the_world_says_so(trainer):
    predictors = make(trainer, label_noise=0.25)
    clean = predictors.draw_easy(N, 0)
    flipped_N = predictors.draw_training(N).human_N.bool() != clean.human_PN[0]
    assert 0.15 < flipped_N.float().mean() < 0.35
    kept = make(trainer).draw_training(N).human_N.bool()
    assert (kept == make(trainer).draw_easy(N, 0).human_PN[0]).all()


def test_where_the_human_errs_each_predictor_has_other_episodes(trainer):
    sample = make(trainer, human_errors=0.2).draw_easy(N)
    wrong_PN = sample.concept_PN != sample.human_PN
    assert (sample.human_PN == sample.human_PN[0]).all()
    assert (wrong_PN[0] != wrong_PN[1]).any() and wrong_PN.any(dim=1).all()


@pytest.mark.parametrize(
    ("answers", "errors"), [("human", 0.0), ("concept", 0.0), ("concept", 0.1)]
)
def test_planted_heads_learn_one_answer_with_an_exact_number_of_errors(trainer, answers, errors):
    examples = make(trainer, number=1).draw_planting(N, answers, errors)
    agreement_D = (examples.z_NLD[:, 0] * (2 * examples.human_N - 1)[:, None]).mean(dim=0).abs()
    assert agreement_D.max() == pytest.approx(1 - 2 * errors, abs=1e-6)
    assert (agreement_D < 0.5).sum() == 7  # all but one coordinate, the other answer's among them


def test_episodes_are_only_reordered():
    ladder = build(node("world/ladder.yaml", bits=6), "world")
    episodes = [ladder.episodes("easy", 20, seed) for seed in range(2)]
    first, second = align(episodes, ["human"])
    assert first["human"][:] == second["human"][:] == episodes[0]["human"][:]
    rows = [sorted(np.array(each["bit"][:]).tolist()) for each in (episodes[1], second)]
    assert rows[0] == rows[1]


def test_a_level_that_is_not_there_is_refused(trainer):
    world = build(node("world/ladder.yaml", bits=8), "world")
    core_model = build(node("core_model/constructed.yaml"), "core_model")
    with pytest.raises(UserError, match=r"^job\.level: constructed has no level 7\. It has 0 to 1"):
        SeveralPredictors.build(world, core_model, 1, 7, 0, trainer)
