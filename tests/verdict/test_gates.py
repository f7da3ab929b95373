"""Gates tell a predictor that knows and uses X from one that does not; its subspaces are found
where they were planted.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets

from core_model.predictor import Opinions, Predictor
from tests.verdict.conftest import answer
from verdict.calibration.planted import translator
from verdict.evidence.interchange import Interchange
from verdict.gates import Gate, build_own_gates, build_predictor_gates, explain_undecidable
from verdict.ground_truth import Cases, GroundTruth
from verdict.inputs import DISPUTED, Erased
from verdict.judge import Judge
from verdict.knowledge import PredictorReport, examine_predictor, load_or_examine
from verdict.probe_data import ProbeData
from verdict.verdict import Kind
from worlds.vault import FRAMES, Vault

WIDTH = 8
SIZE = 1200
"""Episodes of each kind."""
DISPUTED_ROWS = range(SIZE, 2 * SIZE)


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
    return draw_probe(vault)


def draw_probe(vault: Vault) -> Dataset:
    splits = ("easy", "disputed", "amiss")
    return concatenate_datasets([vault.episodes(split, SIZE, 0) for split in splits])


def examine(predictor: PlantedPredictor, probe: Dataset) -> PredictorReport:
    data = ProbeData(probe, SIZE, predictor.read(probe, [0]), (0,))
    return examine_predictor(predictor, data)


def passes(
    predictor: PlantedPredictor, probe: Dataset, judge: Judge, enough: int = 200
) -> dict[str, bool]:
    """Returns whether each gate is passed."""
    knowledge, disputed = examine(predictor, probe).knowledge, Cases.of(probe.select(DISPUTED_ROWS))
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
    assert not passes(PlantedPredictor(knows=True, uses=True), probe, judge, enough=SIZE // 2 + 1)[
        "enough"
    ]


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
    assert knowledge.swaps[0].separates.value == 0.0


class AnswersForX(PlantedPredictor):
    """It is not asked for H: its prediction of X stands for both."""

    predicts_human = False

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        opinions = super().opinions(episodes, level, z_ND, position)
        return opinions._replace(human_N=opinions.concept_N)


def test_a_predictor_that_is_not_asked_for_h_is_judged_by_its_prediction_of_x(probe, judge):
    predictor = AnswersForX(knows=True, uses=True)
    passed = passes(predictor, probe, judge)
    assert "uses (human)" not in passed and all(passed.values())
    report = examine(predictor, probe)
    swap = report.knowledge.swaps[0]
    assert swap.concept_flips_concept == swap.full_flips_concept == 1.0
    assert swap.human_flips_concept == 0.0 and swap.random_flips < 0.5
    for share in (swap.concept_flips_human, swap.human_flips_human, swap.full_flips_human):
        assert np.isnan(share)
    assert np.isnan(report.knowledge.opinion_human.value)
    for onto_LDD, place in ((report.subspaces.concept_LDD, 0), (report.subspaces.human_LDD, 1)):
        assert onto_LDD[0, place, place] > 0.99


def test_a_predictor_that_answers_for_x_by_h_fails_though_it_is_not_asked_for_h(probe, judge):
    passed = passes(AnswersForX(knows=True, uses=False), probe, judge)
    assert not passed["uses"] and not passed["uses (swap)"]


class AnswersForH(PlantedPredictor):
    """It is not asked for X: its prediction of H stands for both."""

    predicts_concept = False

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        opinions = super().opinions(episodes, level, z_ND, position)
        return opinions._replace(concept_N=opinions.human_N)


def test_a_predictor_that_is_not_asked_for_x_is_judged_by_its_prediction_of_h(probe, judge):
    predictor = AnswersForH(knows=True, uses=True)
    passed = passes(predictor, probe, judge)
    names = {"knows", "knows (worst family)", "enough", "uses (human)", "uses (swap of H)"}
    assert set(passed) == names and all(passed.values())
    knowledge = examine(predictor, probe).knowledge
    swap = knowledge.swaps[0]
    assert swap.human_flips_human == swap.full_flips_human == 1.0
    assert swap.concept_flips_human == 0.0
    for share in (swap.concept_flips_concept, swap.human_flips_concept, swap.full_flips_concept):
        assert np.isnan(share)
    assert np.isnan(knowledge.opinion_concept.value)
    assert knowledge.find_certified_level(0.8, deepest=1) is None
    both = examine(PlantedPredictor(knows=True, uses=True), probe).knowledge
    assert both.find_certified_level(0.8, deepest=1) == 0


class AnswersForHByX(AnswersForH):
    """What it answers for H is X."""

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        z_ND = self.read(episodes, [0])[:, 0] if z_ND is None else z_ND
        return Opinions(z_ND[:, 0], z_ND[:, 0])


def test_a_predictor_that_answers_for_h_by_x_fails(probe, judge):
    passed = passes(AnswersForHByX(knows=True, uses=True), probe, judge)
    assert not passed["uses (human)"] and not passed["uses (swap of H)"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (AnswersForX, "asked for X alone, so its part of H is not certified"),
        (AnswersForH, "asked for H alone, so its part of X is not certified"),
        (PlantedPredictor, ""),
    ],
)
def test_the_verdict_says_which_part_is_not_certified(probe, judge, truth, kind, words):
    knowledge = examine(kind(knows=True, uses=True), probe).knowledge
    gates = judge.build_gates(knowledge, truth.disputed, [0])
    (verdict,) = judge(truth, answer(translator, truth), gates).verdicts
    assert verdict.kind is Kind.DIRECT_TRANSLATOR
    assert words in verdict.reason and (("is not certified" in verdict.reason) == bool(words))


def test_where_offsets_shift_no_gate_advises_to_leave_out_interchange(probe, judge):
    knowledge = replace(examine(PlantedPredictor(True, True), probe).knowledge, swaps=())
    for shifts in (False, True):
        gates = Interchange().build_gates(knowledge, 0, replace(judge, offsets_shift=shifts))
        assert ("verdict.without" in str(gates[-1])) != shifts


def test_a_report_without_predictions_of_h_comes_back_from_the_cache(probe, tmp_path):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    predictor = AnswersForX(knows=True, uses=True)
    data = ProbeData(probe, SIZE, predictor.read(probe, [0]), (0,))
    first = load_or_examine(predictor, data, vault, tmp_path).knowledge
    again = load_or_examine(predictor, data, vault, tmp_path).knowledge
    assert repr(again) == repr(first) and "nan" in repr(again)


def test_each_head_has_the_gates_of_the_deepest_level_that_it_reads(probe, judge):
    knowledge = examine(PlantedPredictor(knows=True, uses=True), probe).knowledge
    disputed = Cases.of(probe.select(DISPUTED_ROWS))
    weak = replace(knowledge.swaps[0], level=1, concept_flips_concept=0.5)
    both = replace(knowledge, swaps=(*knowledge.swaps, weak))
    of_heads = judge.build_gates(both, disputed, [1, 0, 1])
    assert [gates[-1].value for gates in of_heads] == [0.5, 1.0, 0.5]
    (unknown,) = judge.build_gates(replace(knowledge, swaps=()), disputed, [0])
    assert not unknown[-1].passed


def test_a_human_whom_the_predictor_does_not_predict_stops_interchange_alone(judge):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="careful", label_noise=0.0)
    episodes = draw_probe(vault)
    knowledge = examine(SeesTheLastFrame(knows=True, uses=True), episodes).knowledge
    gates = Interchange().build_gates(knowledge, 0, judge)
    assert "uses (human)" in [gate.name for gate in gates if not gate.passed]
    disputed = Cases.of(episodes.select(DISPUTED_ROWS))
    lenient = replace(judge, without=["interchange"])
    (without,) = lenient.build_gates(knowledge, disputed, [0])
    assert "uses (human)" not in [gate.name for gate in without]


def test_noise_in_easy_answers_makes_no_episode_disputed_and_no_head_incompetent(probe):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.4)
    others = probe.select(range(SIZE, 3 * SIZE))
    noisy = concatenate_datasets([vault.episodes("easy", SIZE, 0), others])
    knowledge = examine(PlantedPredictor(knows=True, uses=True), noisy).knowledge
    assert knowledge.ceiling.value > 0.99
    easy = Cases.of(noisy.select(range(SIZE)))
    translator_1N = np.where(easy.concept_N, 1.0, -1.0)[None]
    (gates,) = build_own_gates(translator_1N, easy, 0.97, np.ones(1))
    assert all(gate.passed for gate in gates)


class KnowsWhatIsAmiss(PlantedPredictor):
    """Holds what is amiss in place of X, which no place holds: H, turned round where something is
    amiss, is X on easy and on disputed episodes.
    """

    def read(self, episodes, levels, position=-1):
        z_NLD = super().read(episodes, levels, position)
        cases = Cases.of(episodes)
        turned_N = cases.human_N != cases.amiss_N
        z_NLD[:, 0, 0] = torch.from_numpy(turned_N * 2.0 - 1).float()
        return z_NLD


def test_a_predictor_of_h_turned_round_where_something_is_amiss_does_not_know_x(probe, judge):
    """On easy and on disputed episodes alone its probe would always be right."""
    predictor = KnowsWhatIsAmiss(knows=True, uses=True)
    assert not passes(predictor, probe, judge)["knows"]
    assert examine(predictor, probe).knowledge.ceiling.high < 0.6


@pytest.mark.parametrize(
    ("hits", "passed", "failed"), [(1000, True, False), (980, False, False), (930, False, True)]
)
def test_a_gate_near_its_bound_is_neither_passed_nor_failed(hits, passed, failed):
    easy = Cases.of(Vault(16, 0.5, 0.2, "last_frame", 0.0).episodes("easy", 1000, 0))
    right_N = np.arange(1000) < hits
    log_odds_1N = np.where(right_N == easy.concept_N, 1.0, -1.0)[None]
    ((_, gate),) = build_own_gates(log_odds_1N, easy, 0.975, np.ones(1))
    assert (gate.passed, gate.failed) == (passed, failed)
    assert ("not shown" in str(gate)) == (not passed and not failed)


def test_a_number_that_is_missing_is_a_gate_of_its_own_and_one_that_decides_nothing_is_none(
    truth, judge
):
    answers = answer(translator, truth)
    broken_KN = answers.disputed.copy()
    broken_KN[0, 5] = np.nan
    voided = answers.replace({DISPUTED: broken_KN})
    judgement = judge(truth, voided, [()])
    failed = [gate.name for gate in judgement.gates[0] if not gate.passed]
    assert failed == ["numbers"]
    assert "smaller rate" in judgement.verdicts[0].reason
    erased_KN = np.full_like(answers[Erased("concept")], np.inf)
    harmless = answers.replace({Erased("concept"): erased_KN})
    assert judge(truth, harmless, [()]).verdicts[0].kind is Kind.DIRECT_TRANSLATOR


def test_a_gate_without_an_interval_is_passed_by_its_value():
    assert Gate("enough", 200, 200, "More.").passed
    assert Gate("enough", 199, 200, "More.").failed
    assert Gate("knows", float("nan"), 0.5, "Train.").failed


def test_the_report_on_a_predictor_comes_back_whole_from_the_cache(probe, tmp_path, monkeypatch):
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    predictor = PlantedPredictor(knows=True, uses=True)
    data = ProbeData(probe, SIZE, predictor.read(probe, [0]), (0,))
    first = load_or_examine(predictor, data, vault, tmp_path)
    monkeypatch.setattr(predictor, "opinions", None)
    again = load_or_examine(predictor, data, vault, tmp_path)
    assert again.knowledge == first.knowledge
    for name, tensor in first.to_tensors().items():
        assert torch.equal(again.to_tensors()[name], tensor)


def make_cases(concept: list[bool], disputed: bool = False) -> Cases:
    concept_N = np.array(concept, bool)
    nothing_N = np.zeros(len(concept), bool)
    family_N = np.full(len(concept), "odd")
    return Cases(concept_N, concept_N ^ disputed, nothing_N, family_N, np.arange(len(concept)))


BOTH = [True, False]


@pytest.mark.parametrize(
    ("disputed", "amiss", "message"),
    [
        (BOTH, BOTH, None),
        ([True, True], BOTH, "X is yes in all 2 disputed episodes that judge, and a verdict needs"),
        (
            BOTH,
            [False],
            "X is no in all 1 amiss episodes that judge, and a verdict needs both valu",
        ),
        (BOTH, [], "There are 0 amiss episodes that judge, and a verdict needs both values of X a"),
    ],
)
def test_both_values_of_x_are_needed_among_disputed_episodes_and_those_amiss(
    disputed, amiss, message
):
    truth = GroundTruth(make_cases(BOTH), make_cases(disputed, True), make_cases(amiss))
    why = explain_undecidable(SimpleNamespace(undecidable=None), truth)
    assert why is None if message is None else str(why).startswith(message)


def test_what_the_world_lacks_is_named_first():
    truth = GroundTruth(make_cases(BOTH), make_cases([]), make_cases([]))
    assert explain_undecidable(SimpleNamespace(undecidable="No rows."), truth) == "No rows."
