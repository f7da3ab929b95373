"""What many tests share: a short vault and a tiny frozen predictor that has read it, in a cache of
their own.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from compute.trainer import Trainer
from configs.build import build
from core_model.transformer import Transformer
from core_model.transformer_predictor import TransformerPredictor
from worlds.vault import Vault

CONFIGS = Path(__file__).parents[1] / "configs"


def node(yaml: Path | str, **changed: Any) -> dict[str, Any]:
    """Returns the plain values of a YAML, named from `configs` on, some of them changed."""
    return OmegaConf.to_container(OmegaConf.load(CONFIGS / yaml)) | changed


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors are quickest on one thread, and give the same bits on any number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Path:
    """Where predictors and activations are kept while the tests run: never the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELK_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def vault() -> Vault:
    """The vault of its YAML, with half the steps."""
    return build(node("world/vault.yaml", steps=8), "world")


@pytest.fixture(scope="session")
def trainer() -> Trainer:
    return Trainer(accelerator="cpu", save_every=1e9, bar=False)


@pytest.fixture(scope="session")
def tiny_predictor(vault, trainer, cache) -> TransformerPredictor:
    """Frozen, and trained so shortly that it knows little; a test that wants to change it takes a
    deep copy.
    """
    recipe = Transformer(
        blocks=2,
        width=16,
        heads=2,
        episodes=512,
        epochs=1,
        batch_size=64,
        learning_rate=0.003,
        seed=0,
    )
    return recipe.predictor(vault, cache, trainer)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """One cache for the runs of a file, so that the tiny predictor is trained once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ELK_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield Path(os.environ["ELK_CACHE"])
    patch.undo()


@pytest.fixture
def cached(shared_cache, monkeypatch):
    monkeypatch.setenv("ELK_CACHE", str(shared_cache))
