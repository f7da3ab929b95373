"""What judges: where the human errs on easy episodes, only those without errors do."""

import pytest

from configs.build import build
from core_model.reader import ActivationReader
from tests.conftest import node
from training.material import find_correct
from verdict.draw_evaluation import build_evaluation

N = 200


@pytest.mark.parametrize("errors", [0.0, 0.2])
def test_easy_episodes_on_which_the_human_errs_judge_nothing(errors, trainer, cache):
    values = {"bits": 8, "concept_level": 0, "human_level": 0, "human_errors": errors}
    world = build(node("world/ladder.yaml", **values), "world")
    predictor = build(node("core_model/constructed.yaml"), "core_model").predictor(
        world, cache, trainer
    )
    reader = ActivationReader(predictor, world.reads, (0,), cache)
    easy, probe = world.episodes("easy", N, 0), world.episodes("easy", N, 1)
    evaluation = build_evaluation(world, reader, easy, probe, 60, 30, 0, 0.8)
    judging = evaluation.episodes.easy
    assert judging["concept"][:] == judging["human"][:]
    assert len(judging) == len(find_correct(easy)) and (len(judging) < N) == (errors > 0)
    assert evaluation.probe.n_easy == len(find_correct(probe))
