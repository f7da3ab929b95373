"""A standard judge, and ground truth on the vault with the answers of planted heads."""

from functools import cache

import pytest

from verdict.calibration.planted import Head, answer_as
from verdict.evidence.evidence import Bounds
from verdict.ground_truth import Cases, GroundTruth, TwinCases
from verdict.inputs import Answers, join_inputs, read_truth
from verdict.judge import Judge, build_standard_evidence
from worlds.vault import Vault

BOUNDS = Bounds(
    knows=0.95,
    uses=0.8,
    competent=0.97,
    ranking=0.9,
    worst=0.8,
    direct=0.8,
    indirect=0.1,
    either=0.5,
    offsets_shift=False,
    margin=0.02,
)
INPUTS = join_inputs(kind.inputs for kind in build_standard_evidence().values())


@cache
def make_truth(disputed: int = 1000, human: str = "last_frame", seed: int = 0) -> GroundTruth:
    world = Vault(steps=16, tampered=0.5, audited=0.2, human=human, label_noise=0.0)
    concept_twins, human_twins = (
        TwinCases(*(Cases.of(side) for side in world.twins(flips, disputed // 2, seed)))
        for flips in ("concept", "human")
    )
    easy = Cases.of(world.episodes("easy", 1024, seed))
    disputed_cases = Cases.of(world.episodes("disputed", disputed, seed))
    amiss = Cases.of(world.episodes("amiss", disputed, seed))
    return GroundTruth(easy, disputed_cases, amiss, concept_twins, human_twins)


def answer(head: Head, truth: GroundTruth, copies: int = 1, seed: int = 0) -> Answers:
    """Returns the answers of copies of a planted head that reads the truth."""
    return answer_as(head, read_truth(INPUTS, truth), copies, seed)


def raise_offset(answers: Answers, truth: GroundTruth, nats: float) -> Answers:
    """Returns the answers, raised where something is amiss: an offset that shifts."""
    amiss = {key: signs.amiss_N for key, signs in read_truth(INPUTS, truth).items()}
    return answers.replace({key: answers[key] + nats * amiss_N for key, amiss_N in amiss.items()})


@pytest.fixture(scope="session")
def truth() -> GroundTruth:
    return make_truth()


@pytest.fixture(scope="session")
def judge() -> Judge:
    return Judge(**vars(BOUNDS), enough=200, heads=16, confidence=0.95, without=[], turn=None)
