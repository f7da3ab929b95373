"""Extracted activations: each episode names its row, and the stored predictor looks it up."""

import numpy as np
import pandas as pd
import pytest
import torch

from configs.build import build
from console.errors import UserError
from core_model.reader import ActivationReader
from tests.conftest import node
from tests.core_model.small_models import make_recipe
from worlds.activations import Activations


def build_world(folder, n_activations: int = 60, **changed) -> Activations:
    """Returns a world of 60 rows; the activations of row i are i, 100 + i and so on."""
    rows = pd.DataFrame(
        {"label": [i % 2 for i in range(60)], "words": [f"w{i}" for i in range(60)]}
    )
    rows.to_csv(folder / "rows.csv", index=False)
    z_NLD = np.arange(n_activations)[:, None, None] + 100.0 * np.arange(3)[:, None] + np.zeros(2)
    np.save(folder / "z.npy", z_NLD)
    files = {"files": str(folder / "rows.csv"), "activations": str(folder / "z.npy")}
    return build(node("world/activations.yaml", **files, **changed), "world")


def test_the_stored_predictor_gives_the_activations_of_the_rows(tmp_path, trainer):
    world = build_world(tmp_path)
    core_model = build(node("core_model/stored.yaml"), "core_model")
    predictor = core_model.predictor(world, tmp_path, trainer)
    reader = ActivationReader(predictor, world.reads, (0, 2), tmp_path / "cache")
    episodes = world.episodes("easy", 20, 0)
    z_NLD = reader.read(episodes)
    row_N = torch.tensor(episodes["row"][:], dtype=torch.float32)
    assert z_NLD.shape == (20, 2, 2) and z_NLD.dtype == torch.float32
    assert torch.equal(z_NLD[:, 0, 1], row_N) and torch.equal(z_NLD[:, 1, 0], 200 + row_N)
    assert episodes["concept"][:] == [row % 2 == 1 for row in episodes["row"][:]]
    assert (predictor.n_levels, predictor.width, predictor.name) == (3, 2, "z")


def test_the_identity_of_a_stored_predictor_is_that_of_its_file(tmp_path, trainer):
    core_model = build(node("core_model/stored.yaml"), "core_model")
    first = core_model.predictor(build_world(tmp_path), tmp_path, trainer).identity
    assert first == core_model.predictor(build_world(tmp_path), tmp_path, trainer).identity
    world = build_world(tmp_path)
    np.save(tmp_path / "z.npy", np.zeros((60, 3, 2)))
    assert first != core_model.predictor(world, tmp_path, trainer).identity


def test_no_verdict_is_promised(tmp_path):
    assert "labels alone" in build_world(tmp_path).undecidable


def test_texts_are_there_for_controls_alone(tmp_path):
    silent, speaking = build_world(tmp_path), build_world(tmp_path, text="words")
    assert silent.surface is None and silent.episodes("easy", 2, 0).column_names[0] == "row"
    assert "text" not in silent.episodes("easy", 2, 0).column_names
    episodes = speaking.episodes("easy", 10, 0)
    assert speaking.surface == "text" and speaking.reads == ("row",)
    assert episodes["text"][:] == [f"w{row}" for row in episodes["row"][:]]


def test_another_number_of_rows_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"z\.npy has 59 rows, and the table has 60\. Save one row"):
        build_world(tmp_path, n_activations=59)


def test_a_stored_predictor_has_one_position(tmp_path, trainer):
    world = build_world(tmp_path)
    predictor = build(node("core_model/stored.yaml"), "core_model").predictor(
        world, tmp_path, trainer
    )
    with pytest.raises(UserError, match="one position"):
        predictor.read(world.episodes("easy", 2, 0), [0], position=0)


def test_worlds_and_core_models_that_do_not_fit_are_refused(tmp_path, trainer, vault):
    stored = build(node("core_model/stored.yaml"), "core_model")
    with pytest.raises(UserError, match="the world vault comes without activations"):
        stored.predictor(vault, tmp_path, trainer)
    world = build_world(tmp_path, text="words")
    for recipe in (make_recipe(tmp_path), build(node("core_model/transformer.yaml"), "core_model")):
        with pytest.raises(UserError, match=r"^core_model: a "):
            recipe.predictor(world, tmp_path, trainer)
