"""Negative controls: where there is nothing to find, no head gets a verdict; and a real predictor's
own subspaces are certified.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from configs.build import build
from core_model.predictor import Predictor
from core_model.reader import ActivationReader
from core_model.transformer_model import Model, count_classes
from core_model.transformer_predictor import TransformerPredictor
from tests.conftest import node
from tests.verdict.test_gates import PlantedPredictor
from verdict.calibration.planted import SignProbes
from verdict.calibration.rates import (
    compute_power,
    count_confusions,
    judge_planted_heads,
    rate_false_translators,
)
from verdict.draw_evaluation import build_evaluation
from verdict.evaluation import Evaluation
from verdict.evidence.subspaces import draw_basis
from verdict.judge import Judge
from verdict.verdict import Kind
from worlds.vault import Vault
from worlds.world import World

NOTHING = {str(Kind.UNDECIDED), str(Kind.NEITHER)}
FLIPS = ("concept_flips_concept", "concept_flips_human", "human_flips_concept", "human_flips_human")


@pytest.fixture(scope="module")
def world() -> Vault:
    return build(node("world/vault.yaml"), "world")


def evaluate(
    world: World, predictor: Predictor, cache: Path, disputed: int = 2000, probe: int = 1200
) -> Evaluation:
    """Returns an evaluation of a predictor at all its levels."""
    easy, easy_probe = world.episodes("easy", 500, 0), world.episodes("easy", probe, 1)
    levels = tuple(range(predictor.n_levels))
    reader = ActivationReader(predictor, world.reads, levels, cache)
    return build_evaluation(world, reader, easy, easy_probe, disputed, disputed // 2, 0, 0.8)


def call(judge: Judge, evaluation: Evaluation, copies: int = 5) -> pd.DataFrame:
    """Returns the verdicts on planted heads that read the activations by probes."""
    probes, sizes = SignProbes.fit(evaluation.probe), [len(evaluation.episodes.disputed)]
    rows = judge_planted_heads(judge, evaluation, probes, sizes, copies)
    return pd.DataFrame(rows).assign(predictor="0")


def test_on_a_predictor_that_knows_and_uses_x_planted_heads_are_called_what_they_are(
    judge, world, tmp_path
):
    rows = call(judge, evaluate(world, PlantedPredictor(knows=True, uses=True), tmp_path))
    # It holds no sign of what is amiss that these heads could read.
    need_signs = ["suspicious", "human_unless_amiss", "human_unless_disputed", "coin_where_amiss"]
    need_signs.append("translator_but_for_half_a_family")
    rows = rows[~rows["head"].isin(need_signs)]
    assert rows["right"].mean() >= 0.95
    assert rate_false_translators(rows).value == 0
    assert count_confusions(rows).loc["translator", str(Kind.DIRECT_TRANSLATOR)] == 5
    assert set(compute_power(rows)["disputed"]) == {2000}
    assert set(rows["reads"]) == {"activations"}


def build_untrained_predictor(world: World) -> TransformerPredictor:
    episodes = world.episodes("predictor", 1, 0)
    reads, predicts = count_classes(episodes, world.reads), count_classes(episodes, world.predicts)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(reads, predicts, world.steps, width=32, heads=2, blocks=2, mlp_ratio=4)
    return TransformerPredictor(model, world)


@pytest.mark.parametrize(
    ("disputed", "probe"), [(400, 200), pytest.param(2000, 1200, marks=pytest.mark.slow)]
)
def test_on_an_untrained_predictor_no_head_gets_a_verdict(judge, world, tmp_path, disputed, probe):
    evaluation = evaluate(world, build_untrained_predictor(world), tmp_path, disputed, probe)
    assert set(call(judge, evaluation)["called"]) <= NOTHING


class Shuffled(Vault):
    """A vault whose concept column says nothing; the truth stands in another, which the planted
    predictor reads.
    """

    def episodes(self, split, n, seed):
        return shuffle(super().episodes(split, n, seed), seed)

    def twins(self, flips, n, seed):
        first, second = super().twins(flips, n, seed)
        return shuffle(first, seed), shuffle(second, seed + 1)


def shuffle(episodes, seed):
    truth = np.asarray(episodes["concept"])
    mixed = np.random.default_rng(seed).permutation(truth)
    return (
        episodes.remove_columns("concept").add_column("concept", mixed).add_column("truth", truth)
    )


class KnowsTheTruth(PlantedPredictor):
    """Holds the true X, whatever the concept column says."""

    def read(self, episodes, levels, position=-1):
        true = episodes.remove_columns("concept").rename_column("truth", "concept")
        return super().read(true, levels, position)


def test_on_shuffled_concept_labels_no_head_gets_a_verdict(judge, world, tmp_path):
    options = ("steps", "tampered", "audited", "human", "label_noise")
    shuffled = Shuffled(**{name: getattr(world, name) for name in options})
    evaluation = evaluate(shuffled, KnowsTheTruth(knows=True, uses=True), tmp_path)
    assert set(call(judge, evaluation)["called"]) <= NOTHING


def test_with_random_subspaces_no_head_gets_a_verdict_even_if_the_gates_are_open(
    judge, world, tmp_path, monkeypatch
):
    def draw(z_ND, own_N, other_N, rank):
        return draw_basis(z_ND.shape[1], rank, torch.Generator().manual_seed(rank))

    monkeypatch.setattr("verdict.swaps.fit_basis", draw)
    evaluation = evaluate(world, PlantedPredictor(knows=True, uses=True), tmp_path)
    assert set(call(judge, evaluation)["called"]) <= NOTHING
    report = evaluation.predictor_report
    perfect = {name: float(name.split("_")[0] == name.split("_")[2]) for name in FLIPS}
    swaps = tuple(replace(swap, **perfect) for swap in report.knowledge.swaps)
    open_gates = report._replace(knowledge=replace(report.knowledge, swaps=swaps))
    opened = replace(evaluation, predictor_report=open_gates)
    assert set(call(judge, opened)["called"]) <= NOTHING


@pytest.mark.slow
def test_the_real_predictor_keeps_x_and_h_apart_at_its_last_level(world, trainer, cache, tmp_path):
    recipe = build(node("core_model/transformer.yaml"), "core_model")
    predictor = recipe.predictor(world, cache, trainer)
    swap = evaluate(world, predictor, tmp_path).predictor_report.knowledge.swaps[-1]
    assert min(swap.concept_flips_concept, swap.human_flips_human) >= 0.97
    assert max(swap.concept_flips_human, swap.human_flips_concept, swap.random_flips) <= 0.02
    assert swap.off_data <= 0.05
    assert min(swap.concept_completeness, swap.concept_selectivity) >= 0.95
    assert min(swap.human_completeness, swap.human_selectivity) >= 0.95
