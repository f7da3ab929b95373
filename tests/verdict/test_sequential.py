"""Judging in turns: it stops as soon as it is sure, says what judging at once would say, and never
reads what it does not need.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset

from core_model.reader import ActivationReader
from tests.verdict.test_gates import Planted as PlantedPredictor
from verdict.calibration.planted import (
    Head,
    Readers,
    answers,
    imitator,
    mixture,
    suspicious,
    translator,
)
from verdict.exam import Exam, exam
from verdict.sequential import judge_in_turns
from verdict.verdict import Judgement, Kind
from worlds.vault import Vault

DISPUTED, TURN = 2000, 100


@pytest.fixture(scope="module")
def sat(tmp_path_factory) -> Exam:
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    easy = vault.episodes("easy", 500, 0), vault.episodes("easy", 600, 1)
    return exam(
        vault,
        ActivationReader(
            PlantedPredictor(knows=True, uses=True),
            vault.reads,
            (0,),
            tmp_path_factory.mktemp("cache"),
        ),
        easy,
        DISPUTED,
        1000,
        0,
        0.8,
    )


def in_turns(judge, sat: Exam, head: Head, copies: int = 5) -> Judgement:
    readers = Readers.fitted(sat.probed)

    def answer(z_NLD: torch.Tensor) -> np.ndarray:
        signs = readers(z_NLD)
        return np.stack(
            [
                np.where(head(signs, np.random.default_rng([k, len(z_NLD)])), 1.0, -1.0)
                for k in range(copies)
            ]
        )

    return judge_in_turns(replace(judge, turn=TURN), sat, answer, [()] * copies)


@pytest.mark.parametrize(
    ("head", "kind", "most"),
    [
        (translator, Kind.DIRECT_TRANSLATOR, 500),
        (imitator, Kind.HUMAN_IMITATOR, 500),
        (mixture(0.5), Kind.MIXTURE, DISPUTED),
    ],
)
def test_it_is_sure_after_few_episodes_where_the_case_is_clear(judge, sat, head, kind, most):
    judgement = in_turns(judge, sat, head)
    assert {verdict.kind for verdict in judgement.verdicts} == {kind}
    assert max(judgement.sure_after) <= most
    assert min(judgement.sure_after) >= TURN


def test_it_reads_no_more_than_it_needs(judge, sat):
    read: list[int] = []

    def counted(episodes: Dataset) -> torch.Tensor:
        read.append(len(episodes))
        return sat.read(episodes)

    judgement = in_turns(judge, replace(sat, read=counted), translator)
    turns = max(judgement.sure_after) // TURN
    assert sum(read) <= 2 * len(sat.episodes.easy) + turns * (TURN + 4 * TURN // 2 + 4)


def test_it_says_what_judging_at_once_says(judge, sat):
    signs = sat.questions.map(lambda z_of: Readers.fitted(sat.probed)(z_of()))
    for head in (translator, imitator, suspicious):
        at_once = judge(sat.bench, answers(head, signs, 5, 0), [()] * 5)
        assert {verdict.kind for verdict in in_turns(judge, sat, head).verdicts} == {
            verdict.kind for verdict in at_once.verdicts
        }
        assert set(at_once.sure_after) == {DISPUTED}


def test_heads_stopped_at_a_gate_ask_for_one_turn_only(judge, sat):
    judgement = in_turns(judge, sat, lambda signs, chance: np.ones(len(signs.concept_N), bool))
    assert set(judgement.sure_after) == {TURN}
    assert {verdict.kind for verdict in judgement.verdicts} == {Kind.UNDECIDED}


def test_turns_hold_every_episode_once(sat):
    parts = list(sat.turns(300))
    for name in ("easy", "disputed"):
        clusters = np.concatenate([getattr(part.bench, name).concept_N for part in parts])
        np.testing.assert_array_equal(clusters, getattr(sat.bench, name).concept_N)
    assert sum(len(part.bench.concept_twins.first) for part in parts) == 1000
