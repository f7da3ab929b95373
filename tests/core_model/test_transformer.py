"""The small transformer: frozen, read and written at any level, with FLOPs as torch counts them,
and with the same weights after a training that was stopped.
"""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compute.trainer import Trainer
from configs.build import build
from console.errors import UserError
from core_model.transformer import Training, Transformer
from core_model.transformer_model import stack_symbols
from core_model.transformer_predictor import TransformerPredictor, compute_identity
from tests.conftest import node
from worlds.ladder import Ladder
from worlds.vault import Vault

RECIPE = Transformer(
    blocks=2,
    width=16,
    heads=2,
    mlp_ratio=4,
    episodes=256,
    epochs=3,
    batch_size=64,
    learning_rate=0.003,
    seed=0,
)
SAVING = Trainer(accelerator="cpu", save_every=0.0, bar=False)
STEPS_AN_EPOCH = 4


@pytest.fixture(scope="module")
def episodes(vault):
    return vault.episodes("disputed", 30, seed=0)


@pytest.fixture
def steps_trained(monkeypatch):
    """The training steps in their order; step `most` stops the training."""

    class Steps(list):
        most = None

    steps = Steps()
    train = Training.training_step

    def step(self, batch):
        if len(steps) == steps.most:
            raise KeyboardInterrupt
        steps.append(batch[0].sum().item())
        return train(self, batch)

    monkeypatch.setattr(Training, "training_step", step)
    return steps


def change_last_step(episodes, column: str = "action"):
    """Returns the episodes with another symbol at the last step."""
    size = episodes.features[column].feature.num_classes

    def change(row):
        values = row[column]
        return {column: [*values[:-1], (values[-1] + 1) % size]}

    return episodes.map(change, keep_in_memory=True)


def rotate(episodes):
    """Returns the episodes in another order: each row has another episode."""
    return episodes.select([*range(1, len(episodes)), 0])


def read_symbols(predictor: TransformerPredictor, episodes) -> torch.Tensor:
    device = next(predictor.model.parameters()).device
    return stack_symbols(episodes, predictor.world.reads).to(device)


def compute_opinions_by_hand(
    predictor: TransformerPredictor, episodes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the log-odds that the scale reads heavy and that the camera shows the diamond, from
    the model's own logits.
    """
    logits = predictor.model(read_symbols(predictor, episodes))
    heavy_N = logits["scale"][:, -1].softmax(-1)[:, 1]
    diamond_N = logits["camera"][:, -1].softmax(-1)[:, 1]
    return heavy_N.logit().cpu(), diamond_N.logit().cpu()


def assert_opinions_close(opinions, expected, **tolerance) -> None:
    for opinion_N, expected_N in zip(opinions, expected, strict=True):
        torch.testing.assert_close(opinion_N, expected_N, **tolerance)


def test_a_frozen_predictor_does_not_change(tiny_predictor, episodes):
    before = compute_identity(tiny_predictor.model)
    z_NLD = tiny_predictor.read(episodes, [0, 2])
    opinions = tiny_predictor.opinions(episodes, level=1, z_ND=z_NLD[:, 0])
    tiny_predictor.flops(episodes)
    assert compute_identity(tiny_predictor.model) == before == tiny_predictor.identity
    assert not tiny_predictor.model.training
    assert not any(weight.requires_grad for weight in tiny_predictor.model.parameters())
    assert not z_NLD.requires_grad and not opinions.concept_N.requires_grad


def test_the_identity_depends_on_weights_heads_number_type_and_code(tiny_predictor, monkeypatch):
    model = deepcopy(tiny_predictor.model)
    assert compute_identity(model) == tiny_predictor.identity
    identities = [tiny_predictor.identity]
    model.readout.bias[0] += 1e-6
    identities.append(compute_identity(model))
    model.blocks[0].heads = 1
    identities.append(compute_identity(model))
    identities.append(compute_identity(model.double()))
    monkeypatch.setattr("core_model.transformer_predictor.hash_code", lambda module: "other code")
    identities.append(compute_identity(model))
    assert len(set(identities)) == 5


@torch.no_grad()
@pytest.mark.parametrize("position", [-1, 0, 3])
def test_every_level_is_what_hooks_record_in_a_forward_pass(tiny_predictor, episodes, position):
    model = tiny_predictor.model
    recorded = []

    def record_input(block, inputs):
        recorded.append(inputs[0].clone())

    def record_output(block, inputs, output):
        recorded.append(output.clone())

    handles = [model.blocks[0].register_forward_pre_hook(record_input)]
    handles += [block.register_forward_hook(record_output) for block in model.blocks]
    model(read_symbols(tiny_predictor, episodes))
    for handle in handles:
        handle.remove()
    z_NLD = tiny_predictor.read(episodes, [0, 1, 2], position)
    assert z_NLD.shape == (30, 3, 16)
    assert tiny_predictor.n_levels == 3 and tiny_predictor.width == 16
    assert replace(RECIPE, blocks=2).count_levels() == 3
    expected = torch.stack([z_BTD[:, position] for z_BTD in recorded], dim=1).cpu()
    torch.testing.assert_close(z_NLD, expected)
    for level in (0, 1):
        assert (z_NLD[:, level] - z_NLD[:, level + 1]).abs().max() > 1e-3


def test_levels_are_in_the_order_of_the_request(tiny_predictor, episodes):
    all_levels = tiny_predictor.read(episodes, [0, 1, 2])
    assert torch.equal(tiny_predictor.read(episodes, [2, 0]), all_levels[:, [2, 0]])


@pytest.mark.parametrize("column", ["action", "camera_before", "scale_before"])
def test_later_steps_have_no_effect_on_earlier_ones(tiny_predictor, episodes, column):
    levels = [0, 1, 2]
    changed = change_last_step(episodes, column)
    for position in range(7):
        before = tiny_predictor.read(episodes, levels, position)
        assert torch.equal(tiny_predictor.read(changed, levels, position), before)
    moved_NLD = (tiny_predictor.read(changed, levels) - tiny_predictor.read(episodes, levels)).abs()
    assert moved_NLD.amax(dim=(0, 2)).min() > 1e-3


def test_the_first_step_has_an_effect_on_the_last_except_at_the_embedding(tiny_predictor, episodes):
    def change(row):
        return {"action": [(row["action"][0] + 1) % 10, *row["action"][1:]]}

    levels = [0, 1, 2]
    changed = episodes.map(change, keep_in_memory=True)
    moved_NLD = (tiny_predictor.read(changed, levels) - tiny_predictor.read(episodes, levels)).abs()
    moved_L = moved_NLD.amax(dim=(0, 2))
    assert moved_L[0] == 0 and moved_L[1:].min() > 1e-4


@torch.no_grad()
def test_opinions_are_log_odds_at_the_last_step(tiny_predictor, episodes):
    opinions = tiny_predictor.opinions(episodes)
    by_hand = compute_opinions_by_hand(tiny_predictor, episodes)
    assert_opinions_close(opinions, by_hand, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(opinions.concept_N, opinions.human_N, atol=0.1)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_writing_back_what_was_read_changes_no_opinion(tiny_predictor, episodes, level):
    z_ND = tiny_predictor.read(episodes, [level])[:, 0]
    after = tiny_predictor.opinions(episodes, level, z_ND)
    assert_opinions_close(after, tiny_predictor.opinions(episodes))


def test_writing_the_last_level_of_others_gives_their_opinions(tiny_predictor, episodes):
    others = rotate(episodes)
    after = tiny_predictor.opinions(episodes, 2, tiny_predictor.read(others, [2])[:, 0])
    assert_opinions_close(after, tiny_predictor.opinions(others))
    for after_N, before_N in zip(after, tiny_predictor.opinions(episodes), strict=True):
        assert (after_N - before_N).abs().max() > 1e-3


@pytest.mark.parametrize("level", [0, 1, 2])
def test_an_episode_that_differs_in_the_last_step_can_be_written_at_any_level(
    tiny_predictor, episodes, level
):
    """The two episodes differ only in the activation at the last step, so writing it turns one into
    the other.
    """
    changed = change_last_step(episodes)
    after = tiny_predictor.opinions(episodes, level, tiny_predictor.read(changed, [level])[:, 0])
    torch.testing.assert_close(after.concept_N, tiny_predictor.opinions(changed).concept_N)


def test_writing_at_an_earlier_position_has_an_effect_below_the_last_level(
    tiny_predictor, episodes
):
    z_ND = torch.full((30, 16), 3.0)
    before_N = tiny_predictor.opinions(episodes).concept_N
    below_N = tiny_predictor.opinions(episodes, 1, z_ND, position=2).concept_N
    last_N = tiny_predictor.opinions(episodes, 2, z_ND, position=2).concept_N
    assert (below_N - before_N).abs().max() > 1e-4
    torch.testing.assert_close(last_N, before_N)


def test_batches_change_neither_readings_nor_opinions(tiny_predictor, episodes, monkeypatch):
    z_NLD = tiny_predictor.read(episodes, [0, 2])
    changed = change_last_step(episodes)
    z_ND = tiny_predictor.read(changed, [1])[:, 0]
    expected_N = tiny_predictor.opinions(changed).concept_N
    monkeypatch.setattr("core_model.transformer_predictor.READ_BATCH", 7)
    torch.testing.assert_close(tiny_predictor.read(episodes, [0, 2]), z_NLD)
    torch.testing.assert_close(tiny_predictor.opinions(episodes, 1, z_ND).concept_N, expected_N)


@pytest.mark.parametrize(
    ("levels", "expected"), [([0], []), ([1], [0]), ([1, 0], [0]), ([0, 2], [0, 1])]
)
def test_reading_stops_at_the_deepest_level(tiny_predictor, episodes, levels, expected):
    model = tiny_predictor.model
    ran = []
    handles = []
    for i, block in enumerate(model.blocks):
        handles.append(block.register_forward_pre_hook(lambda *_, i=i: ran.append(i)))
    handles.append(model.readout.register_forward_pre_hook(lambda *_: ran.append("logits")))
    tiny_predictor.read(episodes, levels)
    assert ran == expected
    tiny_predictor.opinions(episodes)
    assert ran == [*expected, 0, 1, "logits"]
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_flops_to_each_level_are_those_that_torch_counts(tiny_predictor, episodes, level):
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        tiny_predictor.read(episodes, [level])
    assert counter.get_total_flops() == len(episodes) * tiny_predictor.flops(episodes)[level]


def test_flops_by_hand(tiny_predictor, episodes):
    """A block of width 16 over 8 steps: matrices of 16 x 48, 16 x 16, 16 x 64 and 64 x 16, scores
    and sums of 8 x 8 x 16.
    """
    a_block = 2 * 8 * (16 * 48 + 16 * 16 + 2 * 16 * 64) + 2 * 2 * 8 * 8 * 16
    assert tiny_predictor.flops(episodes).tolist() == [0, a_block, 2 * a_block]


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(vault, trainer, tmp_path):
    torch.manual_seed(1)
    first = RECIPE.predictor(vault, tmp_path / "one", trainer).identity
    torch.manual_seed(2)
    second = RECIPE.predictor(vault, tmp_path / "two", trainer).identity
    other_seed = replace(RECIPE, seed=1).predictor(vault, tmp_path / "two", trainer).identity
    assert first == second != other_seed


def test_the_seed_also_decides_initialisation_and_order(
    vault, trainer, tmp_path, steps_trained, monkeypatch
):
    episodes = Vault.episodes
    monkeypatch.setattr(Vault, "episodes", lambda self, split, n, seed: episodes(self, split, n, 0))
    models, orders = [], []
    for seed in (0, 1):
        recipe = replace(RECIPE, seed=seed, epochs=1, learning_rate=1e-9)
        models.append(recipe.predictor(vault, tmp_path, trainer).model)
        orders.append([*steps_trained])
        steps_trained.clear()
    assert (models[0].step.weight - models[1].step.weight).abs().max() > 0.1
    assert orders[0] != orders[1] and sum(orders[0]) == sum(orders[1])


def test_training_does_not_change_the_global_random_state(vault, trainer, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    RECIPE.predictor(vault, tmp_path, trainer)
    assert torch.rand(1) == expected


def test_it_is_trained_once_and_loaded_afterwards(vault, trainer, tmp_path, steps_trained):
    identities = {RECIPE.predictor(vault, tmp_path, trainer).identity for _ in range(3)}
    assert len(identities) == 1 and len(steps_trained) == 3 * STEPS_AN_EPOCH


@pytest.mark.parametrize(
    "option",
    ["blocks", "width", "heads", "episodes", "epochs", "batch_size", "learning_rate", "seed"],
)
def test_every_option_of_the_recipe_makes_another_predictor(
    vault, trainer, tmp_path, steps_trained, option
):
    recipe = replace(RECIPE, epochs=1)
    identity = recipe.predictor(vault, tmp_path, trainer).identity
    n_steps = len(steps_trained)
    other_recipe = replace(recipe, **{option: getattr(recipe, option) * 2 or 1})
    other = other_recipe.predictor(vault, tmp_path, trainer)
    assert len(steps_trained) > n_steps and other.identity != identity


@pytest.mark.parametrize(
    ("world", "another"),
    [
        ({"tampered": 0.499}, True),
        ({"steps": 9}, True),
        ({"human": "careful"}, False),
        ({"label_noise": 0.1}, False),
    ],
)
def test_another_world_makes_another_predictor_and_another_human_does_not(
    vault, trainer, tmp_path, world, another
):
    """Two shares of tampered episodes may agree in their first episodes (these do in 256), but not
    in all episodes that the predictor is trained on.
    """
    recipe = replace(RECIPE, episodes=4000, epochs=1, batch_size=2000)
    changed = replace(vault, **world)
    if "tampered" in world:
        first, second = (each.episodes("predictor", 256, recipe.seed) for each in (vault, changed))
        assert first.to_list() == second.to_list()
    identity = recipe.predictor(vault, tmp_path, trainer).identity
    assert (recipe.predictor(changed, tmp_path, trainer).identity != identity) == another


@pytest.mark.parametrize("most", [STEPS_AN_EPOCH, STEPS_AN_EPOCH + 2, 2 * STEPS_AN_EPOCH + 3])
def test_a_training_that_was_stopped_resumes_and_ends_with_the_same_weights(
    vault, tmp_path, steps_trained, most
):
    whole = RECIPE.predictor(vault, tmp_path / "whole", SAVING).identity
    expected = [*steps_trained]
    steps_trained.clear()
    steps_trained.most = most
    with pytest.raises(KeyboardInterrupt):
        RECIPE.predictor(vault, tmp_path / "stopped", SAVING)
    assert not list((tmp_path / "stopped").rglob("*.safetensors"))
    steps_trained.clear()
    steps_trained.most = None
    assert RECIPE.predictor(vault, tmp_path / "stopped", SAVING).identity == whole
    assert steps_trained == expected[most // STEPS_AN_EPOCH * STEPS_AN_EPOCH :]


def test_a_damaged_predictor_is_trained_again(vault, trainer, tmp_path, capsys):
    identity = RECIPE.predictor(vault, tmp_path, trainer).identity
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert RECIPE.predictor(vault, tmp_path, trainer).identity == identity
    assert f"{path} is damaged: recomputing it." in capsys.readouterr().err


def test_training_teaches_it_what_the_camera_shows_next(vault, trainer, tmp_path):
    recipe = Transformer(
        blocks=1,
        width=32,
        heads=2,
        mlp_ratio=4,
        episodes=4000,
        epochs=4,
        batch_size=64,
        learning_rate=0.01,
        seed=0,
    )
    episodes = vault.episodes("easy", 400, seed=1)
    human_N = torch.tensor(episodes["human"][:])

    def compute_accuracy(predictor: TransformerPredictor) -> float:
        return ((predictor.opinions(episodes).human_N > 0) == human_N).float().mean().item()

    trained = recipe.predictor(vault, tmp_path, trainer)
    short_recipe = replace(recipe, episodes=64, epochs=1, learning_rate=1e-6)
    untrained = short_recipe.predictor(vault, tmp_path, trainer)
    assert compute_accuracy(trained) > 0.95 and compute_accuracy(untrained) < 0.7


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("width", 15),
        ("heads", 0),
        ("blocks", 0),
        ("episodes", 0),
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("seed", -1),
    ],
)
def test_impossible_recipes_are_refused_by_their_key(option, value):
    with pytest.raises(UserError, match=rf"^core_model\.{option}: {value}"):
        build(node("core_model/transformer.yaml", **{option: value}), "core_model")


def test_a_world_with_nothing_to_predict_is_refused(cities, trainer, tmp_path):
    with pytest.raises(UserError, match="cities has nothing"):
        RECIPE.predictor(cities, tmp_path, trainer)


def make_ladder(**changed) -> Ladder:
    return build(node("world/ladder.yaml", bits=6, **changed), "world")


def test_it_reads_a_world_of_one_column(trainer, tmp_path):
    ladder = make_ladder()
    episodes = ladder.episodes("disputed", 30, seed=0)
    predictor = RECIPE.predictor(ladder, tmp_path, trainer)
    assert predictor.read(episodes, [0, 2]).shape == (30, 2, 16)
    assert all(opinion_N.isfinite().all() for opinion_N in predictor.opinions(episodes))


def test_a_world_where_h_shows_in_nothing_is_refused(trainer, tmp_path):
    with pytest.raises(UserError, match=r"^core_model: .* Use world.stores_human=true"):
        RECIPE.predictor(make_ladder(stores_human=False), tmp_path, trainer)


@pytest.mark.parametrize("position", [-1, 0, 3])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_writing_back_what_was_read_changes_no_level(tiny_predictor, episodes, level, position):
    z_NLD = tiny_predictor.read(episodes, [2, 0, 1], position)
    z_ND = tiny_predictor.read(episodes, [level], position)[:, 0]
    again = tiny_predictor.read_on(episodes, [2, 0, 1], level, z_ND, position)
    torch.testing.assert_close(again, z_NLD, atol=1e-6, rtol=0)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_write_is_read_at_its_level_has_an_effect_above_and_none_below(
    tiny_predictor, episodes, level
):
    z_ND = tiny_predictor.read(rotate(episodes), [level])[:, 0]
    before = tiny_predictor.read(episodes, [0, 1, 2])
    after = tiny_predictor.read_on(episodes, [0, 1, 2], level, z_ND)
    assert torch.equal(after[:, level], z_ND)
    assert torch.equal(after[:, :level], before[:, :level])
    moved_L = (after - before).abs().amax(dim=(0, 2))
    assert all(moved_L[level:] > 1e-3)


def test_earlier_steps_still_count_after_a_write_below_the_last_level(tiny_predictor, episodes):
    others = tiny_predictor.read(rotate(episodes), [0, 1, 2])
    at_last = tiny_predictor.read_on(episodes, [2], 2, others[:, 2])[:, 0]
    below_last = tiny_predictor.read_on(episodes, [2], 1, others[:, 1])[:, 0]
    assert torch.equal(at_last, others[:, 2])
    assert (below_last - others[:, 2]).abs().max() > 1e-3


def test_the_last_level_after_a_write_gives_the_opinions_after_it(tiny_predictor, episodes):
    z_ND = tiny_predictor.read(rotate(episodes), [1])[:, 0]
    last_ND = tiny_predictor.read_on(episodes, [2], 1, z_ND)[:, 0]
    by_hand = tiny_predictor.opinions(episodes, 2, last_ND)
    assert_opinions_close(tiny_predictor.opinions(episodes, 1, z_ND), by_hand)


def test_a_write_in_batches_reaches_the_right_episodes(tiny_predictor, episodes, monkeypatch):
    z_ND = tiny_predictor.read(rotate(episodes), [1])[:, 0]
    whole = tiny_predictor.read_on(episodes, [1, 2], 1, z_ND)
    monkeypatch.setattr("core_model.transformer_predictor.READ_BATCH", 7)
    in_batches = tiny_predictor.read_on(episodes, [1, 2], 1, z_ND)
    torch.testing.assert_close(in_batches, whole, atol=1e-6, rtol=0)


def test_a_write_above_all_levels_that_are_read_changes_nothing(tiny_predictor, episodes):
    after = tiny_predictor.read_on(episodes, [0, 1], 2, torch.zeros(30, 16))
    assert torch.equal(after, tiny_predictor.read(episodes, [0, 1]))


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_does_not_exist_is_refused(tiny_predictor, episodes, level):
    zeros = torch.zeros(30, 16)
    for call in (
        lambda: tiny_predictor.read_on(episodes, [0], level, zeros),
        lambda: tiny_predictor.read_on(episodes, [0, level], 0, zeros),
        lambda: tiny_predictor.opinions(episodes, level, zeros),
        lambda: tiny_predictor.read(episodes, [0, level]),
    ):
        with pytest.raises(UserError, match=f"has no level {level}"):
            call()
