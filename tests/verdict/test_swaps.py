"""Swaps of parts of activations: those that a predictor knows are used in place of fitted ones.
N: episodes, D: width, R: rank.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import concatenate_datasets

from compute.trainer import Trainer
from configs.build import build
from core_model.constructed import ConstructedPredictor
from tests.conftest import node
from verdict.evidence.subspaces import fit_basis, projection
from verdict.knowledge import examine_predictor
from verdict.probe_data import ProbeData
from verdict.swaps import find_subspaces

TRAINER = Trainer(accelerator="cpu", save_every=1e9, bar=False)
USES = node("verdict/default.yaml")["uses"]


def make_predictor(**changed) -> ConstructedPredictor:
    """Returns a predictor that holds X from level 1 on, and H from level 2."""
    values = {"bits": 64, "concept_level": 1, "human_level": 2} | changed
    world = build(node("world/ladder.yaml", **values), "world")
    recipe = build(node("core_model/constructed.yaml", concept_width=3), "core_model")
    return recipe.predictor(world, Path("unused"), TRAINER)


def read_probe(predictor) -> ProbeData:
    world = predictor.world
    parts = [world.episodes(split, 240, seed=0) for split in ("easy", "disputed", "amiss")]
    episodes = concatenate_datasets(parts)
    levels = tuple(range(predictor.n_levels))
    return ProbeData(episodes, 240, predictor.read(episodes, levels), levels)


def measure_swaps(predictor):
    """Returns the swaps at each level, and the subspaces."""
    probe = read_probe(predictor)
    third_N = np.arange(len(probe.episodes)) % 3
    return find_subspaces(predictor, probe, predictor.opinions(probe.episodes), third_N)


def measure_angle(first_DR: torch.Tensor, second_DR: torch.Tensor) -> float:
    """Returns the largest principal angle between two subspaces, in degrees."""
    cosine_R = torch.linalg.svdvals(first_DR.T.double() @ second_DR.double())
    return float(cosine_R.min().clamp(max=1).arccos().rad2deg())


def test_known_subspaces_are_certified_at_every_level():
    predictor = make_predictor()
    swaps, subspaces = measure_swaps(predictor)
    for swap in swaps:
        assert swap.concept_flips_concept == swap.human_flips_human == 1
        assert swap.concept_flips_human == swap.human_flips_concept == 0
        assert swap.separates.low >= USES
    assert [swap.concept_rank for swap in swaps] == [2, 1, 1]
    assert [swap.human_rank for swap in swaps] == [3, 2, 1]
    for level in range(3):
        concept_DR, human_DR = predictor.known_subspaces(level)
        assert torch.equal(subspaces.concept_LDD[level], projection(concept_DR))
        assert torch.equal(subspaces.human_LDD[level], projection(human_DR))


def test_fitted_subspaces_are_certified_only_where_both_are_complete(monkeypatch):
    """The control: without what it knows, only a level that holds X and H linearly is certified."""
    monkeypatch.setattr(ConstructedPredictor, "known_subspaces", lambda self, level: None)
    swaps, _ = measure_swaps(make_predictor())
    assert [swap.separates.low >= USES for swap in swaps] == [False, False, True]
    assert swaps[1].concept_flips_concept > 0.95 and swaps[1].human_flips_human < 0.8


@pytest.mark.parametrize(
    ("level", "concept_is_near", "human_is_near"),
    [(0, False, False), (1, True, False), (2, True, True)],
)
def test_fitted_directions_are_the_known_ones_where_x_and_h_are_complete(
    level, concept_is_near, human_is_near
):
    predictor = make_predictor(bits=16)
    episodes = predictor.world.episodes("tampered", 4000, seed=0)
    z_ND = predictor.read(episodes, [level])[:, 0]
    concept_N, human_N = (opinion_N > 0 for opinion_N in predictor.opinions(episodes))
    concept_DR, human_DR = predictor.known_subspaces(level)
    concept_angle = measure_angle(fit_basis(z_ND, concept_N, human_N, 1), concept_DR)
    human_angle = measure_angle(fit_basis(z_ND, human_N, concept_N, 1), human_DR)
    assert (concept_angle < 10) == concept_is_near and (human_angle < 10) == human_is_near


def test_x_that_is_a_product_of_two_parts_is_known_where_both_are_complete():
    """A linear probe reads neither part as X; below level 1 the parts themselves are incomplete."""
    predictor = make_predictor(concept_parity=2)
    knowledge = examine_predictor(predictor, read_probe(predictor)).knowledge
    assert [share > 0.95 for _, share in knowledge.ceilings] == [False, True, True]


def test_a_linear_probe_does_not_know_that_product(monkeypatch):
    monkeypatch.setattr(ConstructedPredictor, "read_known_product", lambda self, level, z_ND: None)
    predictor = make_predictor(concept_parity=2)
    knowledge = examine_predictor(predictor, read_probe(predictor)).knowledge
    assert all(share < 0.8 for _, share in knowledge.ceilings)
