"""Judging in turns: it stops as soon as it is sure, says what judging at once would say, and never
reads what it does not need.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from core_model.reader import ActivationReader
from tests.verdict.test_gates import PlantedPredictor
from verdict.calibration.planted import (
    Head,
    SignProbes,
    answer_as,
    imitator,
    mixture,
    suspicious,
    translator,
)
from verdict.draw_evaluation import build_evaluation
from verdict.evaluation import Evaluation
from verdict.inputs import evaluate
from verdict.judge import Judge
from verdict.sequential import judge_in_turns
from verdict.verdict import Judgement, Kind
from worlds.vault import Vault

DISPUTED, TURN = 2000, 100


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Evaluation:
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    predictor, cache = PlantedPredictor(knows=True, uses=True), tmp_path_factory.mktemp("cache")
    reader = ActivationReader(predictor, vault.reads, (0,), cache)
    easy, probe = vault.episodes("easy", 500, 0), vault.episodes("easy", 600, 1)
    return build_evaluation(vault, reader, easy, probe, DISPUTED, 1000, 0, 0.8)


@pytest.fixture(scope="module")
def probes(evaluation) -> SignProbes:
    return SignProbes.fit(evaluation.probe)


def judge_in_parts(
    judge: Judge, evaluation: Evaluation, probes: SignProbes, head: Head, copies: int = 5
) -> Judgement:
    """Returns the verdicts on copies of a planted head that are judged in turns."""

    def answer(z_NLD: torch.Tensor) -> np.ndarray:
        signs = probes.read(z_NLD)
        yes = [head(signs, np.random.default_rng([k, len(z_NLD)])) for k in range(copies)]
        return np.where(np.stack(yes), 1.0, -1.0)

    return judge_in_turns(replace(judge, turn=TURN), evaluation, answer, [()] * copies)


@pytest.mark.parametrize(
    ("head", "kind", "most"),
    [
        (translator, Kind.DIRECT_TRANSLATOR, 500),
        (imitator, Kind.HUMAN_IMITATOR, 500),
        (mixture(0.5), Kind.MIXTURE, DISPUTED),
    ],
)
def test_it_is_sure_after_few_episodes_where_the_case_is_clear(
    judge, evaluation, probes, head, kind, most
):
    judgement = judge_in_parts(judge, evaluation, probes, head)
    assert {verdict.kind for verdict in judgement.verdicts} == {kind}
    assert max(judgement.sure_after) <= most
    assert min(judgement.sure_after) >= TURN


def test_it_reads_no_more_than_it_needs(judge, evaluation, probes):
    sizes: list[int] = []

    def read(episodes: Dataset) -> torch.Tensor:
        sizes.append(len(episodes))
        return evaluation.read(episodes)

    judgement = judge_in_parts(judge, replace(evaluation, read=read), probes, translator)
    turns = max(judgement.sure_after) // TURN
    assert sum(sizes) <= len(evaluation.episodes.easy) + turns * (2 * TURN + 4 * TURN // 2 + 4)


def test_its_verdicts_are_those_of_judging_at_once(judge, evaluation, probes):
    signs = evaluate(judge.inputs, evaluation, probes.read)
    for head in (translator, imitator, suspicious):
        at_once = judge(evaluation.truth, answer_as(head, signs, 5, 0), [()] * 5)
        in_turns = judge_in_parts(judge, evaluation, probes, head)
        assert {verdict.kind for verdict in in_turns.verdicts} == {
            verdict.kind for verdict in at_once.verdicts
        }
        assert set(at_once.sure_after) == {DISPUTED}


def test_kinds_of_evidence_without_a_tally_are_left_out(judge, evaluation, probes):
    judgement = judge_in_parts(judge, evaluation, probes, translator, copies=1)
    found = {name for name, finding in judgement.findings.items() if finding is not None}
    assert found == {"behaviour", "twins", "interchange"}
    assert judgement.columns[0]["erase_concept"] is None


def test_heads_stopped_at_a_gate_take_one_turn_only(judge, evaluation, probes):
    judgement = judge_in_parts(
        judge, evaluation, probes, lambda signs, rng: np.ones(len(signs.concept_N), bool)
    )
    assert set(judgement.sure_after) == {TURN}
    assert {verdict.kind for verdict in judgement.verdicts} == {Kind.UNDECIDED}


def test_turns_hold_every_episode_once(evaluation):
    turns = list(evaluation.split_into_turns(300))
    for name in ("easy", "disputed"):
        concept = [getattr(turn.truth, name).concept_N for turn in turns]
        whole = getattr(evaluation.truth, name).concept_N
        np.testing.assert_array_equal(np.concatenate(concept), whole)
    assert sum(len(turn.truth.concept_twins.first) for turn in turns) == 1000
