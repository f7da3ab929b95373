"""Heads on rows of files are judged again on rows that they were not trained on."""

from types import SimpleNamespace

import pytest

from configs.build import build
from configs.plan import Sizes
from tests.conftest import node
from training.material import draw_easy
from verdict.judge_again import draw_easy_again

SIZES = Sizes(train=100, validation=20, test=24, disputed=10, twins=2, probe=10)


@pytest.mark.parametrize("seed", [0, 7])
def test_rows_of_files_are_those_of_the_run_and_none_that_trained(seed):
    world = build(node("world/table.yaml", files="docs/data/larger.csv"), "world")
    plan = SimpleNamespace(sizes=SIZES, seed=seed)
    easy, again = draw_easy(world, plan), draw_easy_again(world, plan)
    trained = {*easy.train["text"][:], *easy.validation["text"][:]}
    assert not trained & {*again.test["text"][:], *again.probe["text"][:]}
    assert again.test["text"][:] == easy.test["text"][:]
    assert again.probe["text"][:] == easy.probe["text"][:]
    assert again.seed == seed


def test_a_world_that_makes_any_number_makes_new_ones(vault):
    plan = SimpleNamespace(sizes=SIZES, seed=0)
    easy, again = draw_easy(vault, plan), draw_easy_again(vault, plan)
    assert again.seed != 0
    assert (len(again.test), len(again.probe)) == (24, 10)
    assert again.test.to_list() != easy.test.to_list()
