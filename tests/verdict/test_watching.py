"""What is recorded of heads of several predictors in one fit is what is recorded of each alone."""

from dataclasses import replace

import torch

from configs.build import build
from configs.plan import Plan, Sizes
from core_model.reader import ActivationReader
from tests.conftest import node
from tests.reporters.made import build_reporter
from training.heads import Heads, join_heads
from verdict.watching import prepare_watches

PLAN = Plan(0, 1, 1, False, [1.0], None, Sizes(10, 10, 10, 10, 10, 10))


def draw_heads(seed: int, width: int) -> Heads:
    rng = torch.Generator().manual_seed(seed)
    weights = {
        "weight_1D": torch.randn(1, 2, 1, 1, width, generator=rng),
        "bias": torch.randn(1, 2, 1, generator=rng),
    }
    mean_LD = torch.randn(1, width, generator=rng)
    unknown_K = torch.full((2,), torch.nan)
    return Heads(
        build_reporter("linear", 1, width),
        weights,
        mean_LD,
        torch.ones(1, width),
        (1,),
        (0, 1),
        (1.0,),
        unknown_K,
    )


def test_heads_of_several_predictors_are_watched_each_on_its_own_predictor(trainer, cache):
    world = build(node("world/ladder.yaml"), "world")
    recipe = build(node("core_model/constructed.yaml"), "core_model")
    predictors = [replace(recipe, seed=seed).predictor(world, cache, trainer) for seed in (0, 1)]
    readers = [ActivationReader(each, world.reads, (1,), cache) for each in predictors]
    build_watch = prepare_watches(world, readers, PLAN, None)
    heads = [draw_heads(seed, predictors[seed].width) for seed in (0, 1)]
    together = build_watch([0, 1]).measure(join_heads(heads))
    apart = [build_watch([i]).measure(heads[i]) for i in (0, 1)]
    exchanged = [build_watch([i]).measure(heads[1 - i]) for i in (0, 1)]
    for name, value_K in together.items():
        torch.testing.assert_close(value_K, torch.cat([own[name] for own in apart]))
        assert not torch.allclose(value_K, torch.cat([own[name] for own in exchanged]))
