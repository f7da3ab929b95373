"""Whether a report depends on X: planted heads that go by the truth, and heads on a planted
predictor that works out H above the level of X.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from configs.build import build
from console.errors import UserError
from core_model.predictor import Opinions, Predictor
from core_model.reader import ActivationReader
from tests.conftest import node
from verdict.calibration.planted import (
    Readers,
    answers,
    coin,
    constant,
    imitator,
    inverted,
    suspicious,
    tamper_detector,
    translator,
    truth,
)
from verdict.cases import Asked, Bench, Cases
from verdict.evidence.access import access, certified, of_deeper_heads
from verdict.evidence.erasure import erasers
from verdict.evidence.subspaces import Subspaces
from verdict.exam import Exam, exam
from verdict.gates import Gate
from verdict.knowledge import Examined, Knowledge, Probed, Swap
from worlds.parts import parts
from worlds.vault import FRAMES, Vault

LEVEL, MARGIN = 0.99, 0.02
CERTIFIED = Gate("uses (swap)", 1.0, 0.8, "")
WIDTH, X, H, CAMERA, GLARE = 8, 0, 1, 2, 3


def world(human: str) -> Vault:
    return Vault(steps=16, tampered=0.5, audited=0.2, human=human, label_noise=0.0)


def drawn(human: str, easy: int = 600, disputed: int = 1200):
    return tuple(
        world(human).episodes(split, n, 0) for split, n in (("easy", easy), ("disputed", disputed))
    )


def bench_of(pool) -> Bench:
    return Bench(*map(Cases.of, pool), None, None)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return bench_of(drawn("last_frame"))


def asked(bench: Bench, said, gates=None):
    """Returns what K heads depend on, X's part being certified unless gates say otherwise."""
    return access(bench, said, LEVEL, gates or [[CERTIFIED]] * len(said.easy), MARGIN)


class Witnessed(NamedTuple):
    """What a planted imitator of the witness goes by."""

    concept_N: np.ndarray
    camera_N: np.ndarray
    glare_N: np.ndarray


def witness_imitator(signs: Witnessed, chance) -> np.ndarray:
    """Says X where the episode ends in glare, what the camera shows elsewhere."""
    return np.where(signs.glare_N, signs.concept_N, signs.camera_N)


def witnessed(pool, bench: Bench):
    """Returns what ideal probes for X, the camera and glare would read, X's part exchanged where a
    question asks it.
    """
    last_N = np.concatenate([np.array(episodes["camera"])[:, -1] for episodes in pool])
    camera_N, glare_N = last_N == FRAMES.index("diamond"), last_N == FRAMES.index("glare")
    places = {"easy": slice(len(pool[0])), "disputed": slice(len(pool[0]), None)}
    base_P = bench.concept_exchange.base_P
    ideal = truth(bench).map(
        lambda signs: Witnessed(signs.concept_N, camera_N[base_P], glare_N[base_P])
    )
    plain = {
        name: Witnessed(getattr(truth(bench), name).concept_N, camera_N[rows], glare_N[rows])
        for name, rows in places.items()
    }
    return replace(ideal, **plain), glare_N[base_P].mean()


@pytest.mark.parametrize("human", ["last_frame", "careful", "witness"])
@pytest.mark.parametrize(
    ("head", "says"),
    [
        (translator, "yes"),
        (inverted, "yes"),
        (imitator, "no"),
        (suspicious, "no"),
        (constant, "no"),
    ],
)
def test_a_head_that_says_x_depends_on_it_whatever_the_human_and_one_that_goes_by_h_does_not(
    human, head, says
):
    bench = bench_of(drawn(human))
    found = asked(bench, answers(head, truth(bench), 3, 0))
    for place in (found.head, found.predictor):
        assert place.depends.tolist() == [says] * 3
        assert place.changes.value.tolist() == [float(says == "yes")] * 3


def test_an_imitator_of_a_witness_depends_on_x_as_often_as_people_are_in_the_room():
    pool = drawn("witness")
    bench = bench_of(pool)
    signs, share_in_glare = witnessed(pool, bench)
    said = answers(witness_imitator, signs, 3, 0)
    assert ((said.easy > 0) == bench.easy.human_N).all() and (
        (said.disputed > 0) == bench.disputed.human_N
    ).all()
    found = asked(bench, said)
    assert 0.2 < share_in_glare < 0.3
    assert (
        found.head.changes.value == pytest.approx([share_in_glare] * 3)
        and found.head.depends.tolist() == ["yes"] * 3
    )
    assert found.predictor.depends.tolist() == ["yes"] * 3


def test_a_detector_of_tampering_does_not_depend_on_x(bench):
    assert asked(bench, answers(tamper_detector, truth(bench), 1, 0)).head.depends.tolist() == [
        "no"
    ]


def test_a_coin_changes_its_mind_as_often_under_random_parts(bench):
    found = asked(bench, answers(coin, truth(bench), 200, 0))
    for place in (found.head, found.predictor):
        assert (place.depends == "yes").mean() <= 1 - LEVEL + 0.02
        assert abs(place.changes.value.mean()) < 0.005


@pytest.mark.parametrize(("n", "says"), [(12, "unclear"), (1200, "no")])
def test_where_there_are_few_episodes_it_is_unclear_that_an_imitator_looks_at_nothing(n, says):
    bench = bench_of(drawn("last_frame", n, n))
    found = asked(bench, answers(imitator, truth(bench), 1, 0))
    assert (found.head.depends.item(), found.predictor.depends.item()) == (says, says)


@pytest.mark.parametrize(("every", "says"), [(10, "yes"), (60, "unclear"), (600, "no")])
def test_the_margin_tells_little_from_nothing(bench, every, says):
    """A head whose report X's part changes in one exchange of so many."""
    said = answers(imitator, truth(bench), 1, 0)
    change = np.where(bench.concept_exchange.cluster_P % every, 1, -1)
    swapped = said.swapped._replace(concept=said.swapped.random_concept * change)
    found = access(bench, replace(said, swapped=swapped), 0.95, [[CERTIFIED]], MARGIN)
    assert found.head.changes.value.item() == pytest.approx(1 / every, rel=0.3)
    assert found.head.depends.item() == says


def test_what_a_random_part_changes_too_does_not_count(bench):
    said = answers(imitator, truth(bench), 1, 0)
    swapped = said.swapped._replace(
        concept=-said.swapped.concept, random_concept=-said.swapped.random_concept
    )
    assert asked(bench, replace(said, swapped=swapped)).head.changes.value.item() == 0
    assert asked(bench, replace(said, swapped=swapped)).head.depends.item() == "no"


def test_a_part_that_is_not_certified_where_the_head_reads_says_nothing(bench):
    gates = [
        [Gate("uses (swap)", value, 0.8, ""), Gate("knows", 0.0, 0.95, "")] for value in (0.7, 0.9)
    ]
    for head in (translator, imitator):
        found = asked(bench, answers(head, truth(bench), 2, 0), gates)
        assert found.head.depends.tolist() == ["unclear", "yes" if head is translator else "no"]


def test_nothing_is_said_without_swaps_and_nothing_of_the_predictor_where_it_did_not_run_on(bench):
    said = answers(translator, truth(bench), 1, 0)
    assert asked(bench, replace(said, swapped=None)) is None
    found = asked(bench, replace(said, run_on=None))
    assert found.predictor is None and found.head.depends.item() == "yes"


def test_a_head_that_reads_nothing_above_what_was_written_is_not_asked(bench):
    said = of_deeper_heads(answers(imitator, truth(bench), 3, 0), [1, 2, 3], 2)
    found = asked(bench, said)
    assert found.predictor.depends.tolist() == ["unclear", "unclear", "no"]
    assert np.isnan(found.predictor.changes.value).tolist() == [True, True, False]
    assert found.head.depends.tolist() == ["no"] * 3


@pytest.mark.parametrize(
    ("bound", "deepest", "level"),
    [(0.8, 4, 2), (0.8, 3, 2), (0.8, 2, None), (0.95, 4, 3), (0.5, 4, 1), (0.99, 9, None)],
)
def test_the_shallowest_certified_level_below_the_deepest_is_written(bound, deepest, level):
    swaps = tuple(
        Swap(i, 1, 1, works, 0.0, 0.0, works, 0.0, 1.0, 1.0, 0.0)
        for i, works in ((1, 0.6), (2, 0.9), (3, 0.96), (4, 0.97))
    )
    assert certified(Knowledge((), 0, "", 0.0, 1.0, 1.0, swaps), bound, deepest) == level


class Planted(Predictor):
    """Level 0 shows the camera and glare; level 1 knows X too; level 2 works out what the witness
    says. Noise is elsewhere.
    """

    name, n_levels, width, identity, can_write = "planted", 3, WIDTH, "planted", True

    def read(self, episodes, levels, position=-1):
        return self._up(self._low(episodes))[:, levels]

    def read_on(self, episodes, levels, level, z_ND, position=-1):
        z_NLD = self._up(self._low(episodes))
        z_NLD[:, level] = z_ND
        return (self._up(z_NLD) if level == 1 else z_NLD)[:, levels]

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        z_NLD = (
            self.read(episodes, [0, 1, 2])
            if level is None
            else self.read_on(episodes, [0, 1, 2], level, z_ND)
        )
        return Opinions(z_NLD[:, 2, X], z_NLD[:, 2, CAMERA])

    def flops(self, episodes):
        return torch.zeros(3, dtype=torch.float64)

    def _low(self, episodes):
        last_N, actions_NT = np.array(episodes["camera"])[:, -1], np.array(episodes["action"])
        z_NLD = np.random.default_rng(0).normal(size=(16, 3 * WIDTH))
        z_NLD = 0.1 * np.sin(actions_NT @ z_NLD).reshape(-1, 3, WIDTH)
        z_NLD[:, :, CAMERA] += 2.0 * (last_N == FRAMES.index("diamond"))[:, None] - 1
        z_NLD[:, :, GLARE] += 2.0 * (last_N == FRAMES.index("glare"))[:, None] - 1
        z_NLD[:, 1, X] += 2.0 * np.array(episodes["concept"]) - 1
        return torch.from_numpy(z_NLD).float()

    def _up(self, z_NLD):
        z_NLD[:, 2, [X, CAMERA, GLARE]] = z_NLD[:, 1, [X, CAMERA, GLARE]]
        z_NLD[:, 2, H] = torch.where(z_NLD[:, 1, GLARE] > 0, z_NLD[:, 1, X], z_NLD[:, 1, CAMERA])
        return z_NLD


@pytest.fixture(scope="module")
def by_hand():
    """The questions on the planted predictor, its parts named by hand, X's written at level 1; and
    the bench.
    """
    pool, predictor, levels = drawn("witness"), Planted(), (0, 1, 2)
    onto_x, onto_h, chance = (torch.zeros(3, WIDTH, WIDTH) for _ in range(3))
    onto_x[:, X, X], onto_h[:, CAMERA, CAMERA], chance[:, 6, 6] = 1, 1, 1
    some = torch.arange(600) % 2 == 0
    swap = Swap(1, 1, 1, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0)
    erased = erasers(predictor.read(pool[0], levels), some, some)
    found = Examined(
        Knowledge((), 0, "", 0.0, 1.0, 1.0, (swap,)),
        Subspaces(onto_x, onto_h, chance, chance),
        erased,
    )
    probed = Probed(pool[0], np.ones(600, bool), predictor.read(pool[0], levels), levels)
    sat = Exam(
        world("witness"),
        predictor,
        Path(),
        Asked(*pool),
        lambda episodes: predictor.read(episodes, levels),
        probed,
        found,
        0.8,
    )
    return sat.bench, replace(sat.questions, erased=None)


def at_level_2(place: int):
    return lambda z_NLD: z_NLD[:, 2, place]


@pytest.mark.parametrize(
    ("head", "in_head", "in_predictor"),
    [
        (at_level_2(X), "yes", "yes"),
        (at_level_2(CAMERA), "no", "no"),
        (at_level_2(H), "no", "yes"),
        (
            lambda z_NLD: torch.where(z_NLD[:, 2, GLARE] > 0, z_NLD[:, 2, X], z_NLD[:, 2, CAMERA]),
            "yes",
            "yes",
        ),
        (lambda z_NLD: z_NLD[:, 0, CAMERA] + 0.3 * z_NLD[:, 2, 6], "no", "no"),
        (lambda z_NLD: z_NLD[:, 2, 4:] @ torch.tensor([1.0, -2.0, 0.5, 1.0]), "no", "no"),
    ],
    ids=[
        "translator",
        "camera",
        "stored answer of the witness",
        "witness worked out anew",
        "lower level",
        "random direction",
    ],
)
def test_in_the_head_or_in_the_predictor(by_hand, head, in_head, in_predictor):
    """Who reads the witness's answer where the predictor has worked it out depends on X in the
    predictor alone.
    """
    bench, asks = by_hand
    found = asked(bench, asks.map(lambda z_of: head(z_of()).double().numpy()[None]))
    assert (found.head.depends.item(), found.predictor.depends.item()) == (in_head, in_predictor)


@pytest.fixture(scope="module")
def sat(tmp_path_factory) -> Exam:
    episodes = world("last_frame").episodes("easy", 1600, 0)
    return exam(
        world("last_frame"),
        ActivationReader(
            Planted(), world("last_frame").reads, (0, 1, 2), tmp_path_factory.mktemp("kept")
        ),
        tuple(parts(episodes, (600, 1000))),
        1200,
        50,
        0,
        0.8,
    )


def test_the_exam_writes_at_the_shallowest_level_that_knows_x(sat):
    assert [swap.separates >= 0.8 for swap in sat.examined.knowledge.swaps] == [
        False,
        True,
        True,
    ] and sat.written == 1
    after, pairs = sat.questions.run_on.concept(), sat.bench.concept_exchange
    pool_NLD = torch.cat([sat.questions.easy(), sat.questions.disputed()])
    assert torch.equal(after[:, 0], pool_NLD[pairs.base_P, 0])
    assert ((after[:, 1:, X] > 0) == (pool_NLD[pairs.source_P, 1:, X] > 0)).double().mean() > 0.99
    assert (
        (sat.questions.run_on.random()[:, 2, X] > 0) == (pool_NLD[pairs.base_P, 2, X] > 0)
    ).all()


@pytest.mark.parametrize(("head", "says"), [(translator, "yes"), (imitator, "no")])
def test_planted_heads_that_read_a_predictor_by_probes(sat, head, says):
    readers = Readers.fitted(sat.probed)
    found = asked(sat.bench, answers(head, sat.questions.map(lambda z_of: readers(z_of())), 2, 0))
    assert found.head.depends.tolist() == found.predictor.depends.tolist() == [says] * 2


def test_a_predictor_that_cannot_write_refuses_to_read_on_by_name():
    class Mute(Planted):
        name, can_write = "mute", False
        read_on = Predictor.read_on

    with pytest.raises(UserError, match=r"^core_model: mute cannot run on"):
        Mute().read_on(drawn("last_frame", 4, 4)[0], [0], 0, torch.zeros(4, WIDTH))


def test_the_judge_says_it_in_words(bench):
    judge = build(node("verdict/default.yaml", without=["twins"]), "verdict")
    for head, word in ((translator, "yes"), (imitator, "no")):
        (verdict,) = judge(bench, answers(head, truth(bench), 1, 0), [[CERTIFIED]]).verdicts
        assert (
            f"whether it depends on X: {word} in the head ({float(word == 'yes'):.2f} ["
            in verdict.reason
        )
        assert f"{word} in the predictor (" in verdict.reason
    one, other = (
        of_deeper_heads(answers(translator, truth(bench), 1, 0), [level], 2) for level in (2, 3)
    )
    assert "in the predictor" not in judge(bench, one, [()]).verdicts[0].reason
    assert "in the predictor" in judge(bench, other, [()]).verdicts[0].reason
