"""The residual MLP of the ladder: what training teaches it, reading and writing, FLOPs as torch
counts them, and its opinion of H without an answer. N: episodes, L: levels.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from configs.build import build
from console.errors import UserError
from core_model.ladder_mlp import Training, compute_product_log_odds, read_targets
from core_model.ladder_predictor import LadderPredictor
from tests.conftest import node
from tests.core_model.checks import check_reading_on
from worlds.ladder import Ladder

RECIPE = build(
    node("core_model/ladder_mlp.yaml", width=16, blocks=2, hidden=24, steps=300), "core_model"
)
SHORT = replace(RECIPE, steps=2)
"""A recipe that trains for so short that it teaches nothing."""


def make_world(**changed) -> Ladder:
    values = {"bits": 6, "human_level": 0} | changed
    return build(node("world/ladder.yaml", **values), "world")


def measure_accuracy(predictor, episodes) -> list[float]:
    """Returns the shares of episodes on which its opinions of X and of H are right."""
    shares = []
    for name, opinion_N in zip(("concept", "human"), predictor.opinions(episodes), strict=True):
        truth_N = torch.tensor(episodes[name][:])
        shares.append(((opinion_N > 0) == truth_N).double().mean().item())
    return shares


@pytest.fixture(scope="module")
def world() -> Ladder:
    return make_world()


@pytest.fixture(scope="module")
def predictor(world, trainer, cache) -> LadderPredictor:
    return RECIPE.predictor(world, cache, trainer)


@pytest.fixture(scope="module")
def episodes(world):
    return world.episodes("tampered", 300, seed=1)


@pytest.mark.parametrize("stores_human", [True, False])
def test_training_teaches_it_x_and_h(trainer, cache, stores_human):
    """The control has hardly been trained."""
    world = make_world(stores_human=stores_human)
    episodes = world.episodes("tampered", 400, seed=1)
    trained = measure_accuracy(RECIPE.predictor(world, cache, trainer), episodes)
    untrained = measure_accuracy(SHORT.predictor(world, cache, trainer), episodes)
    assert min(trained) > 0.98
    assert untrained[0] < 0.7


def test_targets_are_the_audit_the_sensors_and_the_answer():
    world = make_world(human_level=2)
    episodes = world.episodes("disputed", 20, seed=0)
    target_NO = read_targets(episodes, world)
    assert target_NO.shape == (20, 5)
    assert target_NO[:, 0].tolist() == episodes["concept"][:]
    assert target_NO[:, 1:4].tolist() == [row[2:5] for row in episodes["bit"][:]]
    assert target_NO[:, 4].tolist() == episodes["human"][:]
    unstored = make_world(human_level=2, stores_human=False)
    without = read_targets(unstored.episodes("disputed", 20, seed=0), unstored)
    assert torch.equal(without, target_NO[:, :4])


@torch.no_grad()
def test_levels_and_opinions_are_those_of_a_forward_pass(predictor, episodes):
    recorded = []
    handles = []
    for block in predictor.network.blocks:
        handles.append(block.register_forward_pre_hook(lambda _, args: recorded.append(args[0])))
    handles.append(
        predictor.network.norm.register_forward_pre_hook(lambda _, args: recorded.append(args[0]))
    )
    bits_NI = 2.0 * torch.tensor(episodes["bit"][:]) - 1
    log_odds_NO = predictor.network(bits_NI)
    for handle in handles:
        handle.remove()
    expected_NLD = torch.stack(recorded, dim=1)
    torch.testing.assert_close(predictor.read(episodes, [0, 1, 2]), expected_NLD)
    opinions = predictor.opinions(episodes)
    torch.testing.assert_close(opinions.concept_N, log_odds_NO[:, 0])
    torch.testing.assert_close(opinions.human_N, log_odds_NO[:, -1])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_reading_on_gives_the_levels_of_what_was_written(predictor, episodes, level):
    check_reading_on(predictor, episodes, level)


def test_flops_are_those_that_torch_counts(predictor, episodes):
    """By hand: an embedding of 6 x 16, and two matrices of 16 x 24 a block."""
    counts = []
    for level in range(3):
        with FlopCounterMode(display=False) as counter:
            predictor.read(episodes, [level])
        counts.append(counter.get_total_flops() / len(episodes))
    by_hand = [2 * 6 * 16 + 2 * 2 * 16 * 24 * level for level in range(3)]
    assert counts == by_hand == predictor.flops(episodes).tolist()


def test_it_is_trained_once_and_frozen(world, predictor, trainer, cache, monkeypatch):
    monkeypatch.setattr(Training, "training_step", None)
    again = RECIPE.predictor(world, cache, trainer)
    assert again.identity == predictor.identity
    assert not any(weight.requires_grad for weight in again.network.parameters())
    assert RECIPE.count_levels() == again.n_levels == 3
    assert not again.keeps_scale and again.known_subspaces(0) is None


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(world, trainer, tmp_path):
    torch.manual_seed(1)
    first = SHORT.predictor(world, tmp_path / "one", trainer).identity
    expected = torch.rand(1)
    torch.manual_seed(1)
    second = SHORT.predictor(world, tmp_path / "two", trainer).identity
    assert torch.rand(1) == expected
    other = replace(SHORT, seed=1).predictor(world, tmp_path / "two", trainer).identity
    assert first == second != other


@pytest.mark.parametrize(
    "option", ["width", "blocks", "hidden", "steps", "batch_size", "learning_rate"]
)
def test_every_option_makes_another_predictor(world, trainer, tmp_path, option):
    identity = SHORT.predictor(world, tmp_path, trainer).identity
    changed = replace(SHORT, **{option: getattr(SHORT, option) * 2})
    assert changed.predictor(world, tmp_path, trainer).identity != identity


@pytest.mark.parametrize("log_odds", [[1.5], [-1.5], [1.0, -2.0, 0.5], [0.0, 3.0], [-0.1, -0.2]])
def test_the_log_odds_of_a_product_by_hand(log_odds):
    log_odds_1S = torch.tensor([log_odds], dtype=torch.float64)
    expected = 2 * torch.atanh((log_odds_1S / 2).tanh().prod(dim=1))
    torch.testing.assert_close(compute_product_log_odds(log_odds_1S), expected.float())


def test_the_log_odds_of_a_product_of_certain_bits_are_finite():
    """Of two bits with log-odds of 50 each, the product is wrong where one of them is: ln 2 less.
    By way of tanh in float64 it would be infinite.
    """
    certain = compute_product_log_odds(torch.tensor([[50.0, 50.0], [50.0, -50.0], [1e9, 1e9]]))
    torch.testing.assert_close(certain[:2], torch.tensor([1, -1]) * (50 - torch.tensor(2.0).log()))
    assert certain.isfinite().all() and certain[2] > 600


@pytest.mark.parametrize(
    ("option", "value"),
    [("width", 0), ("blocks", 0), ("hidden", 0), ("steps", 1), ("batch_size", 0), ("seed", -1)],
)
def test_impossible_recipes_are_refused_by_their_key(option, value):
    with pytest.raises(UserError, match=rf"^core_model\.{option}: {value} is too small"):
        build(node("core_model/ladder_mlp.yaml", **{option: value}), "core_model")


def test_other_worlds_are_refused(vault, trainer, tmp_path):
    with pytest.raises(UserError, match=r"^core_model: ladder_mlp .* vault has none. Use world=l"):
        RECIPE.predictor(vault, tmp_path, trainer)
