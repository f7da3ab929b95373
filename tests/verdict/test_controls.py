"""Controls that must fail do fail: where there is nothing to find, no head is called anything; a
real predictor's own subspaces are certified.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from configs.build import build
from core_model.reader import ActivationReader
from core_model.transformer import Transformer
from core_model.transformer_model import Model, sizes
from core_model.transformer_predictor import TransformerPredictor
from tests.conftest import node
from tests.verdict.test_gates import Planted
from verdict import knowledge
from verdict.calibration.planted import Readers
from verdict.calibration.rates import calls, confusion_matrix, false_translators, power
from verdict.evidence.subspaces import random_basis
from verdict.exam import Exam, exam
from verdict.verdict import Kind
from worlds.vault import Vault
from worlds.world import World

NOTHING = {str(Kind.UNDECIDED), str(Kind.NEITHER)}


@pytest.fixture(scope="module")
def world() -> Vault:
    return build(node("world/vault.yaml"), "world")


def sat(world: World, predictor, cache) -> Exam:
    easy = world.episodes("easy", 500, 0), world.episodes("easy", 600, 1)
    reader = ActivationReader(predictor, world.reads, tuple(range(predictor.n_levels)), cache)
    return exam(world, reader, easy, 2000, 1000, 0, 0.8)


def called(judge, sat: Exam) -> pd.DataFrame:
    return pd.DataFrame(
        calls(judge, sat, Readers.fitted(sat.probed), [2000], copies=5, heads=14)
    ).assign(exam="0")


def test_on_a_predictor_that_knows_and_uses_x_planted_heads_are_called_what_they_are(
    judge, world, tmp_path
):
    rows = called(judge, sat(world, Planted(knows=True, uses=True), tmp_path))
    assert rows[rows["head"] != "suspicious"]["right"].mean() >= 0.95, (
        "it holds no sign of tampering that a suspicious head could read"
    )
    assert false_translators(rows).value == 0
    assert confusion_matrix(rows).loc["translator", str(Kind.DIRECT_TRANSLATOR)] == 5
    assert set(power(rows)["disputed"]) == {2000}
    assert set(rows["reads"]) == {"activations"}


def test_on_an_untrained_predictor_nothing_is_called_anything(judge, world, tmp_path):
    episodes = world.episodes("predictor", 1, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        recipe = Transformer(
            blocks=2,
            width=32,
            heads=2,
            episodes=1,
            epochs=1,
            batch_size=1,
            learning_rate=0.1,
            seed=0,
        )
        model = Model(
            sizes(episodes, world.reads), sizes(episodes, world.predicts), world.steps, recipe
        )
    untrained = sat(world, TransformerPredictor(model, world), tmp_path)
    assert set(called(judge, untrained)["called"]) <= NOTHING


class Shuffled(Vault):
    """A vault whose concept column says nothing; the truth stands in another, which the planted
    predictor reads.
    """

    def episodes(self, split, n, seed):
        return shuffled(super().episodes(split, n, seed), seed)

    def twins(self, flips, n, seed):
        return tuple(shuffled(one, seed + i) for i, one in enumerate(super().twins(flips, n, seed)))


def shuffled(episodes, seed):
    truth = np.asarray(episodes["concept"])
    mixed = np.random.default_rng(seed).permutation(truth)
    return (
        episodes.remove_columns("concept").add_column("concept", mixed).add_column("truth", truth)
    )


class KnowsTheTruth(Planted):
    """Holds the true X, whatever the concept column says."""

    def read(self, episodes, levels, position=-1):
        return super().read(
            episodes.remove_columns("concept").rename_column("truth", "concept"), levels, position
        )


def test_on_shuffled_concept_labels_nothing_is_called_anything(judge, tmp_path):
    world = build(node("world/vault.yaml"), "world")
    world = Shuffled(
        **{
            name: getattr(world, name)
            for name in ("steps", "tampered", "audited", "human", "label_noise")
        }
    )
    assert (
        set(called(judge, sat(world, KnowsTheTruth(knows=True, uses=True), tmp_path))["called"])
        <= NOTHING
    )


def test_with_random_subspaces_nothing_is_called_anything_even_if_the_gates_were_open(
    judge, world, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        knowledge,
        "basis",
        lambda z_ND, own_N, other_N, rank: random_basis(
            z_ND.shape[1], rank, torch.Generator().manual_seed(rank)
        ),
    )
    random = sat(world, Planted(knows=True, uses=True), tmp_path)
    assert set(called(judge, random)["called"]) <= NOTHING
    opened = tuple(
        replace(swap, **{name: float(name.split("_")[0] == name.split("_")[2]) for name in FLIPS})
        for swap in random.examined.knowledge.swaps
    )
    open_gates = random.examined._replace(
        knowledge=replace(random.examined.knowledge, swaps=opened)
    )
    assert set(called(judge, replace(random, examined=open_gates))["called"]) <= NOTHING


FLIPS = ("concept_flips_concept", "concept_flips_human", "human_flips_concept", "human_flips_human")


@pytest.mark.slow
def test_the_real_predictor_keeps_x_and_h_apart_at_its_last_level(world, trainer, tmp_path):
    predictor = build(node("core_model/transformer.yaml"), "core_model").predictor(
        world, tmp_path, trainer
    )
    swap = sat(world, predictor, tmp_path).examined.knowledge.swaps[-1]
    assert min(swap.concept_flips_concept, swap.human_flips_human) >= 0.97
    assert max(swap.concept_flips_human, swap.human_flips_concept, swap.random_flips) <= 0.02
    assert swap.off_data <= 0.05
