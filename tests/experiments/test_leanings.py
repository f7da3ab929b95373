"""Leanings: on planted activations, in which strong weight decay turns heads to X in one context
and to H in the other, the job finds both and says which of them was registered.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from configs.build import build
from console.errors import UserError
from experiments import leanings
from experiments.leanings import Leanings, Pools
from experiments.leanings_words import compute_changes, estimate_changes, judge_change
from storage.run_folder import PREDICTED, PREDICTIONS
from tests.conftest import CONFIGS, node

LEVELS = [1, 2]
WIDTH = 17
EASY, TRAIN, DISPUTED = 512, 256, 200


def job(**changed: object) -> Leanings:
    experiment = OmegaConf.to_container(
        OmegaConf.load(CONFIGS / "experiment/leanings.yaml"), resolve=False
    )
    parts = {
        "world": node("world/cities.yaml"),
        "core_model": node("core_model/quirky.yaml"),
        "schedule": node("training/default.yaml"),
        "optimizer": node("optimizer/auto.yaml"),
        "trainer": node("trainer/default.yaml", accelerator="cpu", bar=False),
        "priors": {"gaussian": node("prior/gaussian.yaml")},
        "strengths": {"gaussian": [0.001, 10000.0]},
        "adapters": 4,
        "resamplings": 2,
        "levels": LEVELS,
        "easy": EASY,
        "train": TRAIN,
        "disputed": DISPUTED,
    }
    return build(experiment["job"] | parts | changed, "job")


def draw_pools(self: Leanings, context: str, adapter: int) -> Pools:
    """Returns activations in which one coordinate holds one answer without noise, and the others
    the other one with noise. Weak decay reads the first, strong decay adds up the others, which are
    X in Alice's context and H in Bob's. At the second level there is nothing.
    """
    rng = np.random.default_rng([adapter, context == "bob"])

    def read(wide_N: np.ndarray, exact_N: np.ndarray) -> torch.Tensor:
        z_NLD = rng.normal(size=(len(wide_N), 2, WIDTH))
        z_NLD[:, 0] *= 2.3
        z_NLD[:, 0] += wide_N[:, None]
        z_NLD[:, 0, 0] = exact_N
        return torch.tensor(z_NLD, dtype=torch.float32)

    label_N = np.tile([1.0, 0.0, 0.0, 1.0], EASY // 4)
    concept_N = np.tile([True, False], DISPUTED // 2)
    x_N, wide_is_x = 2.0 * concept_N - 1, 1 if context == "alice" else -1
    return Pools(
        read(2 * label_N - 1, 2 * label_N - 1),
        torch.tensor(label_N, dtype=torch.float32),
        np.arange(EASY) // 4,
        read(wide_is_x * x_N, -wide_is_x * x_N),
        concept_N,
        torch.tensor([1.0, 2.0, 1.0]),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leanings") / "run"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leanings.Leanings, "read_pools", draw_pools)
        job()(folder)
    return folder


def test_it_finds_the_planted_leaning_of_each_context_and_none_where_nothing_is_planted(folder):
    heads = pd.read_parquet(folder / "leanings.parquet")
    assert heads["settled"].all() and len(heads) == 2 * 4 * 2 * 2 * 2
    of_place = {(each.context, each.level): each.mean for each in estimate_changes(heads)}
    assert of_place["alice", 1].low > 0.5 and of_place["bob", 1].high < -0.5
    assert not of_place["alice", 2].decided and not of_place["bob", 2].decided
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "Of 4 changes 2 as registered and 0 the opposite;" in text
    assert (folder / "leanings.png").stat().st_size > 10_000


def test_predictions_are_registered_before_heads_are_trained(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()

    def stop(self: Leanings, context: str, adapter: int) -> Pools:
        predictions = pd.read_parquet(folder / PREDICTIONS)
        assert predictions["sign"].tolist() == [1, -1] and (folder / PREDICTED).exists()
        raise InterruptedError

    monkeypatch.setattr(leanings.Leanings, "read_pools", stop)
    with pytest.raises(InterruptedError):
        job()(folder)


def test_a_set_holds_whole_clusters_in_the_order_of_its_labels():
    pools = [draw_pools(job(), "alice", adapter) for adapter in range(2)]
    examples = job(adapters=2).resample(pools)
    assert examples.z_NLD.shape == (TRAIN, 2 * 2 * 2, WIDTH)
    assert examples.human_N.tolist() == [0.0] * (TRAIN // 2) + [1.0] * (TRAIN // 2)
    exact_NP = examples.z_NLD[:, ::2, 0]
    assert torch.equal(exact_NP > 0, (examples.human_N > 0)[:, None].expand(-1, 4))
    sets = [set(map(tuple, examples.z_NLD[:, p, 1:3].tolist())) for p in range(0, 8, 2)]
    assert len(sets[0] & sets[1]) not in (0, TRAIN), "two sets of one adapter overlap in part"
    assert not sets[0] & sets[2], "adapters have statements of their own"


def test_heads_that_have_not_settled_are_left_out(folder):
    heads = pd.read_parquet(folder / "leanings.parquet")
    is_one = (heads["adapter"] == 1) & (heads["strength"] == 10000)
    assert set(compute_changes(heads.assign(settled=~is_one))["adapter"]) == {0, 2, 3}
    assert compute_changes(heads.assign(settled=False)).empty


def test_the_opposite_of_what_was_registered_is_said(folder):
    heads = pd.read_parquet(folder / "leanings.parquet")
    turned = heads.assign(ranks_concept=1 - heads["ranks_concept"])
    words = [judge_change(each.mean, 1) for each in estimate_changes(turned)]
    assert sorted(words) == ["as registered", "not decided", "not decided", "the opposite"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"contexts": ["both"]}, r"^job\.contexts: "),
        ({"train": 66}, r"^job\.train: 66 of job\.easy=512 must be whole clusters"),
        ({"train": 1024}, r"^job\.train: 1024 of job\.easy=512"),
        ({"strengths": {"gaussian": [1.0]}}, r"^job\.strengths\.gaussian: "),
        ({"strengths": {"simplicity": [1.0, 2.0]}}, r"^job\.strengths: it names simplicity, and"),
    ],
)
def test_a_mistake_gets_one_line(changed, message):
    with pytest.raises(UserError, match=message):
        job(**changed)
