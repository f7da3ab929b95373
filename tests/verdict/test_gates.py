"""Gates tell a predictor that knows and uses X from one that does not; its subspaces are found
where they were planted.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets

from core_model.predictor import Opinions, Predictor
from verdict.cases import Cases
from verdict.gates import competent, predictor_gates, swap_gates
from verdict.knowledge import Examined, Probed, examine
from worlds.vault import FRAMES, Vault

WIDTH = 8


class Planted(Predictor):
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


class SeesTheLastFrame(Planted):
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


def found(predictor: Planted, probe: Dataset) -> Examined:
    return examine(
        predictor, Probed(probe, np.arange(1200) >= 600, predictor.read(probe, [0]), (0,))
    )


def gates(predictor: Planted, probe: Dataset, enough: int = 200) -> dict[str, bool]:
    knowledge, disputed = (
        found(predictor, probe).knowledge,
        Cases.of(probe.select(range(600, 1200))),
    )
    both = (
        *predictor_gates(knowledge, disputed, knows=0.95, enough=enough),
        *swap_gates(knowledge, 0, 0.95, 0.8),
    )
    return {gate.name: gate.passed for gate in both}


def test_a_predictor_that_knows_and_uses_both_passes_every_gate(probe):
    assert all(gates(Planted(knows=True, uses=True), probe).values())


def test_a_predictor_that_knows_only_h_fails_to_know_though_x_is_not_h_on_disputed_episodes(probe):
    passed = gates(Planted(knows=False, uses=True), probe)
    assert not passed["knows"]
    assert not passed["knows (worst family)"]


def test_a_predictor_that_knows_x_but_predicts_from_h_fails_to_use_it(probe):
    passed = gates(Planted(knows=True, uses=False), probe)
    assert passed["knows"]
    assert not passed["uses"]
    assert not passed["uses (swap)"]


def test_too_few_disputed_episodes_are_not_enough(probe):
    assert not gates(Planted(knows=True, uses=True), probe, enough=301)["enough"]


def test_a_swap_moves_its_own_prediction_alone_and_a_random_one_moves_none(probe):
    swap = found(Planted(knows=True, uses=True), probe).knowledge.swaps[0]
    assert (swap.concept_flips_concept, swap.concept_flips_human) == (1.0, 0.0)
    assert (swap.human_flips_concept, swap.human_flips_human) == (0.0, 1.0)
    assert (swap.concept_rank, swap.human_rank) == (1, 1)
    assert swap.full_flips_concept == swap.full_flips_human == 1.0
    assert swap.random_flips < 0.5


def test_the_subspaces_are_found_where_they_were_planted(probe):
    subspaces = found(Planted(knows=True, uses=True), probe).subspaces
    for onto_LDD, place in ((subspaces.concept_LDD, 0), (subspaces.human_LDD, 1)):
        assert onto_LDD[0, place, place] > 0.99
        assert torch.trace(onto_LDD[0]) == pytest.approx(1.0, abs=1e-5)


def test_a_predictor_that_says_the_same_of_both_keeps_them_in_no_place_of_their_own(probe):
    assert found(Planted(knows=True, uses=False), probe).knowledge.swaps[0].separates == 0.0


def test_each_head_has_the_gates_of_the_deepest_level_that_it_reads(probe, judge):
    knowledge, disputed = (
        found(Planted(knows=True, uses=True), probe).knowledge,
        Cases.of(probe.select(range(600, 1200))),
    )
    weak = replace(knowledge.swaps[0], level=1, concept_flips_concept=0.5)
    both = replace(knowledge, swaps=(*knowledge.swaps, weak))
    assert [gates[-1].value for gates in judge.gates(both, disputed, [1, 0, 1])] == [0.5, 1.0, 0.5]
    assert not judge.gates(replace(knowledge, swaps=()), disputed, [0])[0][-1].passed


def test_a_human_whom_the_predictor_does_not_predict_stops_interchange_alone(judge):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="careful", label_noise=0.0)
    episodes = concatenate_datasets(
        [vault.episodes("easy", 600, 0), vault.episodes("disputed", 600, 0)]
    )
    knowledge = found(SeesTheLastFrame(knows=True, uses=True), episodes).knowledge
    failed = [gate.name for gate in swap_gates(knowledge, 0, 0.95, 0.8) if not gate.passed]
    assert "uses (human)" in failed
    disputed = Cases.of(episodes.select(range(600, 1200)))
    assert "uses (human)" not in {
        gate.name
        for gate in replace(judge, without=["interchange"]).gates(knowledge, disputed, [0])[0]
    }


def test_noise_in_easy_answers_makes_no_episode_disputed_and_no_head_incompetent(probe):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.4)
    noisy = concatenate_datasets([vault.episodes("easy", 600, 0), probe.select(range(600, 1200))])
    predictor = Planted(knows=True, uses=True)
    knowledge = examine(
        predictor, Probed(noisy, np.arange(1200) >= 600, predictor.read(noisy, [0]), (0,))
    ).knowledge
    assert knowledge.worst_family != "none"
    easy = Cases.of(noisy.select(range(600)))
    assert competent(np.where(easy.concept_N, 1.0, -1.0)[None], easy, 0.97)[0].passed
