"""The transformer trained here: frozen, read and written where it says, its FLOPs counted, and the
same after a training that was stopped.
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
from core_model.hashing import hash_weights
from core_model.transformer import Training, Transformer
from core_model.transformer_model import symbols
from core_model.transformer_predictor import TransformerPredictor
from tests.conftest import node
from worlds.cities import Cities
from worlds.vault import Vault

RECIPE = Transformer(
    blocks=2, width=16, heads=2, episodes=256, epochs=3, batch_size=64, learning_rate=0.003, seed=0
)
SAVING = Trainer(accelerator="cpu", save_every=0.0, bar=False)
STEPS_AN_EPOCH = 4


@pytest.fixture(scope="module")
def episodes(vault):
    return vault.episodes("disputed", 30, seed=0)


@pytest.fixture
def steps_trained(monkeypatch):
    """Training steps in the order taken; one more than `most` stops the training."""

    class Steps(list):
        most = None

    steps, train = Steps(), Training.training_step

    def step(self, batch):
        if len(steps) == steps.most:
            raise KeyboardInterrupt
        steps.append(batch[0].sum().item())
        return train(self, batch)

    monkeypatch.setattr(Training, "training_step", step)
    return steps


def with_last_step_changed(episodes, column: str = "action"):
    """Returns the episodes with another symbol at the last step."""
    size = episodes.features[column].feature.num_classes
    return episodes.map(
        lambda row: {column: [*row[column][:-1], (row[column][-1] + 1) % size]}, keep_in_memory=True
    )


def opinions_by_hand(
    predictor: TransformerPredictor, episodes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the log-odds that the scale says heavy and that the camera shows the diamond, from
    the model's own logits.
    """
    logits = predictor.model(
        symbols(episodes, predictor.world.reads).to(next(predictor.model.parameters()).device)
    )
    heavy_N = logits["scale"][:, -1].softmax(-1)[:, 1]
    diamond_N = logits["camera"][:, -1].softmax(-1)[:, 1]
    return heavy_N.logit().cpu(), diamond_N.logit().cpu()


def test_frozen_means_frozen(tiny_predictor, episodes):
    before = hash_weights(tiny_predictor.model)
    z_NLD = tiny_predictor.read(episodes, [0, 2])
    opinions = tiny_predictor.opinions(episodes, level=1, z_ND=z_NLD[:, 0])
    tiny_predictor.flops(episodes)
    assert hash_weights(tiny_predictor.model) == before == tiny_predictor.identity
    assert not tiny_predictor.model.training and not any(
        weight.requires_grad for weight in tiny_predictor.model.parameters()
    )
    assert not z_NLD.requires_grad and not opinions.concept_N.requires_grad


def test_one_changed_weight_changes_the_hash(tiny_predictor):
    model = deepcopy(tiny_predictor.model)
    assert hash_weights(model) == tiny_predictor.identity
    model.readout.bias[0] += 1e-6
    assert hash_weights(model) != tiny_predictor.identity


@torch.no_grad()
@pytest.mark.parametrize("position", [-1, 0, 3])
def test_every_level_is_what_hooks_hear_in_a_whole_forward_pass(tiny_predictor, episodes, position):
    model, heard = tiny_predictor.model, []
    handles = [
        model.blocks[0].register_forward_pre_hook(
            lambda block, inputs: heard.append(inputs[0].clone())
        )
    ]
    handles += [
        block.register_forward_hook(lambda block, inputs, output: heard.append(output.clone()))
        for block in model.blocks
    ]
    model(symbols(episodes, tiny_predictor.world.reads).to(next(model.parameters()).device))
    for handle in handles:
        handle.remove()
    z_NLD = tiny_predictor.read(episodes, [0, 1, 2], position)
    assert (
        z_NLD.shape == (30, 3, 16) and tiny_predictor.n_levels == 3 and tiny_predictor.width == 16
    )
    torch.testing.assert_close(
        z_NLD, torch.stack([z_BTD[:, position] for z_BTD in heard], dim=1).cpu()
    )
    assert all((z_NLD[:, level] - z_NLD[:, level + 1]).abs().max() > 1e-3 for level in (0, 1))


def test_levels_come_in_the_order_asked_for(tiny_predictor, episodes):
    assert torch.equal(
        tiny_predictor.read(episodes, [2, 0]), tiny_predictor.read(episodes, [0, 1, 2])[:, [2, 0]]
    )


@pytest.mark.parametrize("column", ["action", "camera_before", "scale_before"])
def test_what_comes_later_changes_nothing_before(tiny_predictor, episodes, column):
    changed = with_last_step_changed(episodes, column)
    for position in range(7):
        assert torch.equal(
            tiny_predictor.read(changed, [0, 1, 2], position),
            tiny_predictor.read(episodes, [0, 1, 2], position),
        )
    assert (
        tiny_predictor.read(changed, [0, 1, 2]) - tiny_predictor.read(episodes, [0, 1, 2])
    ).abs().amax(dim=(0, 2)).min() > 1e-3


def test_what_came_first_is_heard_to_the_end_but_not_by_the_embedding(tiny_predictor, episodes):
    changed = episodes.map(
        lambda row: {"action": [(row["action"][0] + 1) % 10, *row["action"][1:]]},
        keep_in_memory=True,
    )
    heard_L = (
        (tiny_predictor.read(changed, [0, 1, 2]) - tiny_predictor.read(episodes, [0, 1, 2]))
        .abs()
        .amax(dim=(0, 2))
    )
    assert heard_L[0] == 0 and heard_L[1:].min() > 1e-4


@torch.no_grad()
def test_opinions_are_log_odds_at_the_last_step(tiny_predictor, episodes):
    opinions = tiny_predictor.opinions(episodes)
    for said_N, by_hand_N in zip(opinions, opinions_by_hand(tiny_predictor, episodes), strict=True):
        torch.testing.assert_close(said_N, by_hand_N, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(opinions.concept_N, opinions.human_N, atol=0.1)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_writing_back_what_was_read_changes_no_opinion(tiny_predictor, episodes, level):
    written = tiny_predictor.opinions(episodes, level, tiny_predictor.read(episodes, [level])[:, 0])
    for said_N, before_N in zip(written, tiny_predictor.opinions(episodes), strict=True):
        torch.testing.assert_close(said_N, before_N)


def test_writing_anothers_last_level_gives_the_others_opinions(tiny_predictor, episodes):
    others = episodes.select([*range(1, 30), 0])
    written = tiny_predictor.opinions(episodes, 2, tiny_predictor.read(others, [2])[:, 0])
    for said_N, others_N, own_N in zip(
        written, tiny_predictor.opinions(others), tiny_predictor.opinions(episodes), strict=True
    ):
        torch.testing.assert_close(said_N, others_N)
        assert (said_N - own_N).abs().max() > 1e-3


def test_a_twin_that_differs_at_the_end_can_be_written_at_any_level(tiny_predictor, episodes):
    """All that two such episodes do not share is in the activation at their last step, so writing
    it makes one the other.
    """
    changed = with_last_step_changed(episodes)
    for level in (0, 1, 2):
        written = tiny_predictor.opinions(
            episodes, level, tiny_predictor.read(changed, [level])[:, 0]
        )
        torch.testing.assert_close(written.concept_N, tiny_predictor.opinions(changed).concept_N)


def test_writing_at_an_earlier_position_is_heard_later_but_not_at_the_last_level(
    tiny_predictor, episodes
):
    z_ND, before_N = torch.full((30, 16), 3.0), tiny_predictor.opinions(episodes).concept_N
    assert (
        tiny_predictor.opinions(episodes, 1, z_ND, position=2).concept_N - before_N
    ).abs().max() > 1e-4
    torch.testing.assert_close(
        tiny_predictor.opinions(episodes, 2, z_ND, position=2).concept_N, before_N
    )


def test_batches_change_neither_readings_nor_opinions(tiny_predictor, episodes, monkeypatch):
    z_NLD, changed = tiny_predictor.read(episodes, [0, 2]), with_last_step_changed(episodes)
    z_ND, opinions = tiny_predictor.read(changed, [1])[:, 0], tiny_predictor.opinions(changed)
    monkeypatch.setattr("core_model.transformer_predictor.READ_BATCH", 7)
    torch.testing.assert_close(tiny_predictor.read(episodes, [0, 2]), z_NLD)
    torch.testing.assert_close(
        tiny_predictor.opinions(episodes, 1, z_ND).concept_N, opinions.concept_N
    )


@pytest.mark.parametrize(
    ("levels", "ran"), [([0], []), ([1], [0]), ([1, 0], [0]), ([0, 2], [0, 1])]
)
def test_reading_stops_at_the_deepest_level_asked_for(tiny_predictor, episodes, levels, ran):
    model, heard = tiny_predictor.model, []
    handles = [
        block.register_forward_pre_hook(lambda *_, i=i: heard.append(i))
        for i, block in enumerate(model.blocks)
    ]
    handles.append(model.readout.register_forward_pre_hook(lambda *_: heard.append("logits")))
    tiny_predictor.read(episodes, levels)
    assert heard == ran
    tiny_predictor.opinions(episodes)
    assert heard == [*ran, 0, 1, "logits"]
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
    one = RECIPE.predictor(vault, tmp_path / "one", trainer)
    torch.manual_seed(2)
    again = RECIPE.predictor(vault, tmp_path / "two", trainer)
    assert one.identity == again.identity
    assert (
        replace(RECIPE, seed=1).predictor(vault, tmp_path / "two", trainer).identity != one.identity
    )


def test_the_seed_decides_initialisation_and_order_too(
    vault, trainer, tmp_path, steps_trained, monkeypatch
):
    episodes = Vault.episodes
    monkeypatch.setattr(Vault, "episodes", lambda self, split, n, seed: episodes(self, split, n, 0))
    models, orders = [], []
    for seed in (0, 1):
        models.append(
            replace(RECIPE, seed=seed, epochs=1, learning_rate=1e-9)
            .predictor(vault, tmp_path, trainer)
            .model
        )
        orders.append([*steps_trained])
        steps_trained.clear()
    assert (models[0].step.weight - models[1].step.weight).abs().max() > 0.1
    assert orders[0] != orders[1] and sum(orders[0]) == sum(orders[1])


def test_training_leaves_global_chance_alone(vault, trainer, tmp_path):
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
    trained = len(steps_trained)
    other = replace(recipe, **{option: getattr(recipe, option) * 2 or 1}).predictor(
        vault, tmp_path, trainer
    )
    assert len(steps_trained) > trained and other.identity != identity


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
    in all that the predictor is trained on.
    """
    recipe, changed = (
        replace(RECIPE, episodes=4000, epochs=1, batch_size=2000),
        replace(vault, **world),
    )
    first, second = (
        one.episodes("predictor", 256, recipe.seed).to_list() for one in (vault, changed)
    )
    assert (first == second) or "tampered" not in world
    identity = recipe.predictor(vault, tmp_path, trainer).identity
    assert (recipe.predictor(changed, tmp_path, trainer).identity != identity) == another


@pytest.mark.parametrize("most", [STEPS_AN_EPOCH, STEPS_AN_EPOCH + 2, 2 * STEPS_AN_EPOCH + 3])
def test_a_training_that_was_stopped_goes_on_and_ends_with_the_same_weights(
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


def test_a_damaged_predictor_is_trained_anew(vault, trainer, tmp_path, capsys):
    identity = RECIPE.predictor(vault, tmp_path, trainer).identity
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert RECIPE.predictor(vault, tmp_path, trainer).identity == identity
    assert f"{path} is damaged: made anew." in capsys.readouterr().err


def test_training_teaches_it_what_the_camera_shows_next(vault, trainer, tmp_path):
    recipe = Transformer(
        blocks=1,
        width=32,
        heads=2,
        episodes=4000,
        epochs=4,
        batch_size=64,
        learning_rate=0.01,
        seed=0,
    )
    episodes = vault.episodes("easy", 400, seed=1)
    human_N = torch.tensor(episodes["human"][:])

    def share_right(predictor: TransformerPredictor) -> float:
        return ((predictor.opinions(episodes).human_N > 0) == human_N).float().mean().item()

    trained = recipe.predictor(vault, tmp_path, trainer)
    untrained = replace(recipe, episodes=64, epochs=1, learning_rate=1e-6).predictor(
        vault, tmp_path, trainer
    )
    assert share_right(trained) > 0.95 and share_right(untrained) < 0.7


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
def test_recipes_that_cannot_be_made_are_refused_by_name(option, value):
    with pytest.raises(UserError, match=rf"^core_model\.{option}: {value}"):
        build(node("core_model/transformer.yaml", **{option: value}), "core_model")


def test_a_world_that_says_nothing_to_predict_is_refused(trainer, tmp_path):
    with pytest.raises(UserError, match="cities does not"):
        RECIPE.predictor(
            Cities(population=40_000, spellings=25, cities_per_country=100), tmp_path, trainer
        )


@pytest.mark.parametrize("position", [-1, 0, 3])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_writing_back_what_was_read_changes_no_level(tiny_predictor, episodes, level, position):
    z_NLD = tiny_predictor.read(episodes, [2, 0, 1], position)
    again = tiny_predictor.read_on(
        episodes, [2, 0, 1], level, tiny_predictor.read(episodes, [level], position)[:, 0], position
    )
    torch.testing.assert_close(again, z_NLD, atol=1e-6, rtol=0)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_written_is_read_there_heard_above_and_not_below(tiny_predictor, episodes, level):
    others = episodes.select([*range(1, 30), 0])
    written_ND = tiny_predictor.read(others, [level])[:, 0]
    before, after = (
        tiny_predictor.read(episodes, [0, 1, 2]),
        tiny_predictor.read_on(episodes, [0, 1, 2], level, written_ND),
    )
    assert torch.equal(after[:, level], written_ND)
    assert torch.equal(after[:, :level], before[:, :level])
    moved_L = (after - before).abs().amax(dim=(0, 2))
    assert all(moved_L[level:] > 1e-3)


def test_writing_anothers_deepest_level_gives_the_others_and_earlier_steps_still_count(
    tiny_predictor, episodes
):
    others = episodes.select([*range(1, 30), 0])
    theirs = tiny_predictor.read(others, [0, 1, 2])
    assert torch.equal(tiny_predictor.read_on(episodes, [2], 2, theirs[:, 2])[:, 0], theirs[:, 2])
    assert (
        tiny_predictor.read_on(episodes, [2], 1, theirs[:, 1])[:, 0] - theirs[:, 2]
    ).abs().max() > 1e-3


def test_what_was_read_after_a_write_leads_to_the_opinions_after_it(tiny_predictor, episodes):
    written_ND = tiny_predictor.read(episodes.select([*range(1, 30), 0]), [1])[:, 0]
    last_ND = tiny_predictor.read_on(episodes, [2], 1, written_ND)[:, 0]
    for by_hand_N, said_N in zip(
        tiny_predictor.opinions(episodes, 2, last_ND),
        tiny_predictor.opinions(episodes, 1, written_ND),
        strict=True,
    ):
        torch.testing.assert_close(by_hand_N, said_N)


def test_writing_in_batches_writes_each_episode_its_own(tiny_predictor, episodes, monkeypatch):
    written_ND = tiny_predictor.read(episodes.select([*range(1, 30), 0]), [1])[:, 0]
    whole = tiny_predictor.read_on(episodes, [1, 2], 1, written_ND)
    monkeypatch.setattr("core_model.transformer_predictor.READ_BATCH", 7)
    torch.testing.assert_close(
        tiny_predictor.read_on(episodes, [1, 2], 1, written_ND), whole, atol=1e-6, rtol=0
    )


def test_a_write_above_all_that_is_read_changes_nothing(tiny_predictor, episodes):
    assert torch.equal(
        tiny_predictor.read_on(episodes, [0, 1], 2, torch.zeros(30, 16)),
        tiny_predictor.read(episodes, [0, 1]),
    )


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there_is_refused(tiny_predictor, episodes, level):
    with pytest.raises(UserError, match=f"has no level {level}"):
        tiny_predictor.read_on(episodes, [0], level, torch.zeros(30, 16))
    with pytest.raises(UserError, match=f"has no level {level}"):
        tiny_predictor.read_on(episodes, [0, level], 0, torch.zeros(30, 16))
    with pytest.raises(UserError, match=f"has no level {level}"):
        tiny_predictor.opinions(episodes, level, torch.zeros(30, 16))
    with pytest.raises(UserError, match=f"has no level {level}"):
        tiny_predictor.read(episodes, [0, level])
