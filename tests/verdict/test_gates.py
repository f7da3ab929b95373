"""Gates tell a predictor that knows and uses X from one that does not; its subspaces are found
where they were planted.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets

from core_model.predictor import Opinions, Predictor
from verdict.evidence.interchange import Interchange
from verdict.gates import build_competence_gates, build_predictor_gates
from verdict.ground_truth import Cases
from verdict.judge import Judge
from verdict.knowledge import PredictorReport, ProbeData, examine_predictor, load_or_examine
from worlds.vault import FRAMES, Vault

WIDTH = 8
DISPUTED = range(600, 1200)


class PlantedPredictor(Predictor):
    """Its one level holds X at place 0 and H at place 1, and noise elsewhere; its opinions read
    what `uses` says.
    """

    name, n_levels, width, identity, can_write = "planted", 1, WIDTH, "0", True

    def __init__(self, knows: bool, uses: bool) -> None:
        self.knows, self.uses = knows, uses

    def read(self, episodes, levels, position=-1):
        cases = Cases.of(episodes)
        z_ND = np.random.default_rng(0).normal(size=(len(cases), WIDTH)) * 0.1
        z_ND[:, 0] += (cases.concept_N * 2.0 - 1) * self.knows
        z_ND[:, 1] += cases.human_N * 2.0 - 1
        return torch.from_numpy(z_ND).float()[:, None]

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        z_ND = self.read(episodes, [0])[:, 0] if z_ND is None else z_ND
        return Opinions(z_ND[:, 0 if self.uses else 1], z_ND[:, 1])

    def flops(self, episodes):
        return torch.zeros(1, dtype=torch.float64)


class SeesTheLastFrame(PlantedPredictor):
    """Its opinion of H is what the last frame shows, whatever the human makes of it."""

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        opinions = super().opinions(episodes, level, z_ND, position)
        return opinions._replace(
            human_N=torch.tensor(
                np.array(episodes["camera"])[:, -1] == FRAMES.index("diamond")
            ).float()
            - 0.5
        )


@pytest.fixture(scope="module")
def probe() -> Dataset:
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    return concatenate_datasets(
        [vault.episodes("easy", 600, 0), vault.episodes("disputed", 600, 0)]
    )


def examine(predictor: PlantedPredictor, probe: Dataset) -> PredictorReport:
    disputed_N = np.arange(1200) >= 600
    return examine_predictor(
        predictor, ProbeData(probe, disputed_N, predictor.read(probe, [0]), (0,))
    )


def passes(
    predictor: PlantedPredictor, probe: Dataset, judge: Judge, enough: int = 200
) -> dict[str, bool]:
    """Returns whether each gate is passed."""
    knowledge, disputed = examine(predictor, probe).knowledge, Cases.of(probe.select(DISPUTED))
    gates = (
        *build_predictor_gates(knowledge, disputed, knows=0.95, enough=enough),
        *Interchange().build_gates(knowledge, 0, judge),
    )
    return {gate.name: gate.passed for gate in gates}


def test_a_predictor_that_knows_and_uses_both_passes_every_gate(probe, judge):
    assert all(passes(PlantedPredictor(knows=True, uses=True), probe, judge).values())


def test_a_predictor_that_knows_only_h_fails_to_know_though_x_is_not_h_on_disputed_episodes(
    probe, judge
):
    passed = passes(PlantedPredictor(knows=False, uses=True), probe, judge)
    assert not passed["knows"]
    assert not passed["knows (worst family)"]


def test_a_predictor_that_knows_x_but_predicts_from_h_fails_to_use_it(probe, judge):
    passed = passes(PlantedPredictor(knows=True, uses=False), probe, judge)
    assert passed["knows"]
    assert not passed["uses"]
    assert not passed["uses (swap)"]


def test_too_few_disputed_episodes_are_not_enough(probe, judge):
    assert not passes(PlantedPredictor(knows=True, uses=True), probe, judge, enough=301)["enough"]


def test_a_swap_moves_its_own_prediction_alone_and_a_random_one_moves_none(probe):
    swap = examine(PlantedPredictor(knows=True, uses=True), probe).knowledge.swaps[0]
    assert (swap.concept_flips_concept, swap.concept_flips_human) == (1.0, 0.0)
    assert (swap.human_flips_concept, swap.human_flips_human) == (0.0, 1.0)
    assert (swap.concept_rank, swap.human_rank) == (1, 1)
    assert swap.full_flips_concept == swap.full_flips_human == 1.0
    assert swap.random_flips < 0.5


def test_the_subspaces_are_found_where_they_were_planted(probe):
    subspaces = examine(PlantedPredictor(knows=True, uses=True), probe).subspaces
    for onto_LDD, place in ((subspaces.concept_LDD, 0), (subspaces.human_LDD, 1)):
        assert onto_LDD[0, place, place] > 0.99
        assert torch.trace(onto_LDD[0]) == pytest.approx(1.0, abs=1e-5)


def test_a_predictor_that_says_the_same_of_both_keeps_them_in_no_place_of_their_own(probe):
    knowledge = examine(PlantedPredictor(knows=True, uses=False), probe).knowledge
    assert knowledge.swaps[0].separates == 0.0


def test_each_head_has_the_gates_of_the_deepest_level_that_it_reads(probe, judge):
    knowledge = examine(PlantedPredictor(knows=True, uses=True), probe).knowledge
    disputed = Cases.of(probe.select(DISPUTED))
    weak = replace(knowledge.swaps[0], level=1, concept_flips_concept=0.5)
    both = replace(knowledge, swaps=(*knowledge.swaps, weak))
    of_heads = judge.build_gates(both, disputed, [1, 0, 1])
    assert [gates[-1].value for gates in of_heads] == [0.5, 1.0, 0.5]
    (unknown,) = judge.build_gates(replace(knowledge, swaps=()), disputed, [0])
    assert not unknown[-1].passed


def test_a_human_whom_the_predictor_does_not_predict_stops_interchange_alone(judge):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="careful", label_noise=0.0)
    episodes = concatenate_datasets(
        [vault.episodes("easy", 600, 0), vault.episodes("disputed", 600, 0)]
    )
    knowledge = examine(SeesTheLastFrame(knows=True, uses=True), episodes).knowledge
    gates = Interchange().build_gates(knowledge, 0, judge)
    assert "uses (human)" in [gate.name for gate in gates if not gate.passed]
    disputed = Cases.of(episodes.select(DISPUTED))
    lenient = replace(judge, without=["interchange"])
    (without,) = lenient.build_gates(knowledge, disputed, [0])
    assert "uses (human)" not in [gate.name for gate in without]


def test_noise_in_easy_answers_makes_no_episode_disputed_and_no_head_incompetent(probe):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.4)
    noisy = concatenate_datasets([vault.episodes("easy", 600, 0), probe.select(DISPUTED)])
    knowledge = examine(PlantedPredictor(knows=True, uses=True), noisy).knowledge
    assert knowledge.worst_family != "none"
    easy = Cases.of(noisy.select(range(600)))
    translator_1N = np.where(easy.concept_N, 1.0, -1.0)[None]
    assert build_competence_gates(translator_1N, easy, 0.97)[0].passed


def test_the_report_on_a_predictor_comes_back_whole_from_the_cache(probe, tmp_path, monkeypatch):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    predictor = PlantedPredictor(knows=True, uses=True)
    data = ProbeData(probe, np.arange(1200) >= 600, predictor.read(probe, [0]), (0,))
    first = load_or_examine(predictor, data, vault, tmp_path)
    monkeypatch.setattr(predictor, "opinions", None)
    again = load_or_examine(predictor, data, vault, tmp_path)
    assert again.knowledge == first.knowledge
    for name, tensor in first.to_tensors().items():
        assert torch.equal(again.to_tensors()[name], tensor)
