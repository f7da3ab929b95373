"""Ablation on the ladder: all on is the predictor itself; without a product of a chain its code is
that of the level before, and the other chain is as it was; many gates at once as one by one.

N: episodes, C: components, L: levels, D: width.
"""

import pytest
import torch
from torch.func import vmap

from configs.build import build
from console.errors import UserError
from core_model.ladder_predictor import LadderPredictor
from tests.conftest import node
from worlds.ladder import Ladder

LEVELS = [0, 1, 2]


@pytest.fixture(scope="module")
def world() -> Ladder:
    """X takes two products, and H one."""
    return build(node("world/ladder.yaml", concept_level=2), "world")


@pytest.fixture(scope="module")
def constructed(world, cache, trainer) -> LadderPredictor:
    """Components: in block 1 the products of X and of H, in block 2 that of X."""
    return build(node("core_model/constructed.yaml"), "core_model").predictor(world, cache, trainer)


@pytest.fixture(scope="module", params=["constructed", "ladder_mlp"])
def predictor(request, constructed, world, cache, trainer) -> LadderPredictor:
    if request.param == "constructed":
        return constructed
    recipe = build(node("core_model/ladder_mlp.yaml", steps=2, blocks=2), "core_model")
    return recipe.predictor(world, cache, trainer)


@pytest.fixture(scope="module")
def easy(world):
    return world.episodes("easy", 400, seed=0)


@pytest.mark.parametrize("kind", ["mean", "resampled"])
def test_with_all_on_it_is_the_predictor_itself(predictor, easy, kind):
    ablation = predictor.ablation(easy, LEVELS, kind)
    z_NLD = ablation.read(ablation.inputs(easy), torch.ones(ablation.components))
    torch.testing.assert_close(z_NLD, predictor.read(easy, LEVELS), rtol=0, atol=1e-5)


def test_a_product_that_is_switched_off_leaves_the_product_before_it(constructed, world):
    """The mean change of a product is 0 over many episodes; here it is set to 0."""
    easy = world.episodes("easy", 64, seed=0)
    ablation = constructed.ablation(easy, LEVELS, "mean")
    ablation.means = [torch.zeros_like(mean) for mean in ablation.means]
    assert ablation.components == 3
    concept, human = constructed.stream.concept, constructed.stream.human

    def read_products(gates: list[float]) -> list[torch.Tensor]:
        z_ND = ablation.read(ablation.inputs(easy), torch.tensor(gates, dtype=torch.float32))[:, 2]
        return [z_ND @ chains.read_CD.float().T[:, 0] for chains in (concept, human)]

    z_NLD = constructed.read(easy, LEVELS)
    at_level = [[z_NLD[:, i] @ c.read_CD.float().T[:, 0] for i in LEVELS] for c in (concept, human)]
    concept_N, human_N = read_products([1, 1, 0])
    torch.testing.assert_close(concept_N, at_level[0][1], rtol=0, atol=1e-5)
    torch.testing.assert_close(human_N, at_level[1][2], rtol=0, atol=1e-5)
    concept_N, human_N = read_products([1, 0, 1])
    torch.testing.assert_close(concept_N, at_level[0][2], rtol=0, atol=1e-5)
    torch.testing.assert_close(human_N, at_level[1][0], rtol=0, atol=1e-5)
    assert not torch.allclose(human_N, at_level[1][2])


def test_the_mean_is_that_of_the_intact_outputs(predictor, easy):
    ablation = predictor.ablation(easy, LEVELS, "mean")
    z_NLD = ablation.read(ablation.inputs(easy), torch.zeros(ablation.components))
    intact_NLD = predictor.read(easy, LEVELS)
    torch.testing.assert_close(z_NLD[:, 0], intact_NLD[:, 0])
    for level in (1, 2):
        change_D = (z_NLD[:, level] - z_NLD[:, level - 1])[0]
        expected_D = (intact_NLD[:, level] - intact_NLD[:, level - 1]).mean(dim=0)
        torch.testing.assert_close(change_D, expected_D, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["mean", "resampled"])
def test_many_sets_of_gates_at_once_are_as_one_by_one(predictor, easy, kind):
    ablation = predictor.ablation(easy, [0, 2], kind)
    inputs_NI = ablation.inputs(easy.select(range(20)))
    gates_KC = torch.rand(5, ablation.components, generator=torch.Generator().manual_seed(0))
    together = vmap(ablation.read, (None, 0))(inputs_NI, gates_KC)
    apart = torch.stack([ablation.read(inputs_NI, gates_C) for gates_C in gates_KC])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_gates_get_the_gradients_of_finite_differences(predictor, easy):
    ablation = predictor.ablation(easy, [2], "mean")
    inputs_NI = ablation.inputs(easy.select(range(8)))
    gates_C = torch.full((ablation.components,), 0.5)

    def compute(gates_C):
        return ablation.read(inputs_NI, gates_C).double().pow(2).mean()

    gradient_C = torch.func.grad(compute)(gates_C)
    for c in range(ablation.components):
        step_C = torch.zeros_like(gates_C)
        step_C[c] = 1e-2
        slope = (compute(gates_C + step_C) - compute(gates_C - step_C)) / 2e-2
        assert gradient_C[c].item() == pytest.approx(slope.item(), rel=0.02, abs=1e-4)


def test_levels_and_kinds_that_are_not_there_are_refused(constructed, easy):
    with pytest.raises(UserError, match="level"):
        constructed.ablation(easy, [3], "mean")
    with pytest.raises(UserError, match="there is no kind zero"):
        constructed.ablation(easy, [1], "zero")
