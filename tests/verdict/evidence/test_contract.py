"""The promise of a kind of evidence, over every kind that a YAML of configs/verdict lists; and that
each test of it would notice one that breaks it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from configs.build import build
from console.command_line import to_plain_values
from core_model.reader import ActivationReader
from tests.conftest import CONFIGS
from tests.verdict.conftest import BOUNDS
from tests.verdict.test_gates import PlantedPredictor
from verdict.calibration.planted import Head, answer_as, imitator, mixture, translator
from verdict.draw_evaluation import build_evaluation
from verdict.evaluation import Evaluation
from verdict.evidence.evidence import DecidingEvidence, Evidence, Observations, Tally, build_columns
from verdict.evidence.interchange import CERTIFIES
from verdict.gates import Gate
from verdict.ground_truth import Cases, DeployedCases, GroundTruth, TwinCases
from verdict.inputs import AMISS, DEPLOYED, DISPUTED, EASY, Answers, Input, join_inputs, read_truth
from verdict.signs import Signs
from verdict.statistics import Estimate, estimate_share, select_head
from verdict.verdict import Kind
from verdict.words import PLACEHOLDER, fill
from worlds.vault import Vault

HEADS = (translator, imitator, mixture(0.5))
RIGHT = (Kind.DIRECT_TRANSLATOR, Kind.HUMAN_IMITATOR, Kind.MIXTURE)
VAULT = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
LEVEL = 0.99


def read_verdict(choice: str) -> dict[str, Any]:
    """Returns the config of a judge, composed as a run composes it."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return to_plain_values(compose("train", [f"verdict={choice}"]))["verdict"]


CHOICES = sorted(path.stem for path in (CONFIGS / "verdict").glob("*.yaml"))
NODES = {
    name: node for choice in CHOICES for name, node in read_verdict(choice)["evidence"].items()
}


@pytest.fixture(params=NODES)
def kind(request) -> Evidence:
    return build(NODES[request.param], f"verdict.evidence.{request.param}")


@pytest.fixture(scope="module")
def planted() -> GroundTruth:
    """Ground truth of every kind of episodes."""
    twins = {
        f"{flips}_twins": TwinCases(*(Cases.of(side) for side in VAULT.twins(flips, 400, 0)))
        for flips in ("concept", "human")
    }
    deployed = Cases.of(VAULT.episodes("tampered", 800, 1))
    return GroundTruth(
        Cases.of(VAULT.episodes("easy", 500, 0)),
        Cases.of(VAULT.episodes("disputed", 800, 0)),
        Cases.of(VAULT.episodes("amiss", 800, 0)),
        **twins,
        deployed=DeployedCases(deployed.human_N, np.ones(800, bool), deployed.cluster_N),
    )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Evaluation:
    """A small evaluation of a planted predictor."""
    cache = tmp_path_factory.mktemp("cache")
    reader = ActivationReader(PlantedPredictor(True, True), VAULT.reads, (0,), cache)
    easy, probe = VAULT.episodes("easy", 60, 0), VAULT.episodes("easy", 60, 1)
    return build_evaluation(VAULT, reader, easy, probe, 60, 30, 0, 0.8)


def read_signs(kind: Evidence, truth: GroundTruth) -> dict[Input, Signs]:
    """Returns what ideal probes read in each input of a kind. Of deployed episodes, whose X the
    judge does not know, it is that of tampered ones.
    """
    deployed = Signs.of(Cases.of(VAULT.episodes("tampered", 800, 1)))
    return {**read_truth(join_inputs([kind.inputs]), truth), DEPLOYED: deployed}


def observe(kind: Evidence, truth: GroundTruth, heads: tuple[Head, ...] = HEADS) -> Observations:
    """Returns the observations of one copy of each head."""
    signs = read_signs(kind, truth)
    of_heads = [answer_as(head, signs, copies=1, seed=0) for head in heads]
    answers = {key: np.concatenate([one[key] for one in of_heads]) for key in signs}
    gates = [[Gate(CERTIFIES, 1.0, 0.8, "")]] * len(heads)
    return Observations(truth, Answers(answers), gates, LEVEL)


def find(kind: Evidence, truth: GroundTruth, heads: tuple[Head, ...] = HEADS) -> Any:
    return kind.find(observe(kind, truth, heads), BOUNDS)


def read_rows(kind: Evidence, truth: GroundTruth) -> list[dict[str, Any]]:
    return build_columns(kind.finding, find(kind, truth), len(HEADS))


def test_its_inputs_can_be_read_and_planted_heads_read_as_many_episodes(kind, evaluation):
    assert kind.inputs
    for key in kind.inputs:
        z_NLD, signs = key.read(evaluation), key.read_truth(evaluation.truth)
        if z_NLD is not None:
            assert z_NLD.ndim == 3 and z_NLD.shape[1:] == evaluation.easy_NLD.shape[1:]
        if z_NLD is not None and signs is not None:
            assert {len(sign_N) for sign_N in signs} == {len(z_NLD)}


def test_it_finds_what_it_declares_of_each_head_with_intervals_that_hold_their_values(
    kind, planted
):
    finding = find(kind, planted)
    assert type(finding) is kind.finding
    for value in vars(finding).values():
        if isinstance(value, Estimate):
            assert value.value.shape == value.low.shape == value.high.shape == (len(HEADS),)
            known_K = np.isfinite(value.value)
            assert (value.low <= value.value)[known_K].all()
            assert (value.value <= value.high)[known_K].all()
        elif not isinstance(value, int):
            assert value.shape == (len(HEADS),)


def test_a_head_alone_gets_the_finding_that_it_gets_among_others(kind, planted):
    together = find(kind, planted)
    for k, head in enumerate(HEADS):
        alone = find(kind, planted, (head,))
        for name, value in vars(select_head(alone, 0)).items():
            other = getattr(select_head(together, k), name)
            if isinstance(value, str):
                assert other == value
            else:
                np.testing.assert_allclose(other, value, atol=1e-12)


def test_without_its_own_inputs_it_finds_nothing_or_what_episodes_as_they_are_tell(kind, planted):
    observations = observe(kind, planted)
    plain_answers = Answers({key: observations.answers[key] for key in (EASY, DISPUTED, AMISS)})
    finding = kind.find(replace(observations, answers=plain_answers), BOUNDS)
    assert finding is None or type(finding) is kind.finding
    rows = build_columns(kind.finding, finding, len(HEADS))
    assert list(rows[0]) == list(read_rows(kind, planted)[0])


def test_its_columns_are_plain_values_and_no_other_kind_has_them(kind, planted):
    columns = list(read_rows(kind, planted)[0])
    assert columns and set(kind.headings) <= set(columns)
    for value in read_rows(kind, planted)[0].values():
        assert value is None or type(value) in (float, str, bool, int)
    for name, node in NODES.items():
        other = build(node, name)
        if type(other) is not type(kind):
            assert not set(columns) & set(build_columns(other.finding, None, 1)[0])


def test_its_clause_names_its_own_columns_alone_and_is_a_part_of_a_sentence(kind, planted):
    finding = find(kind, planted)
    for k, row in enumerate(read_rows(kind, planted)):
        clause = kind.write_clause(select_head(finding, k))
        assert set(PLACEHOLDER.findall(clause)) <= set(row)
        assert "{" not in fill(clause, row)
        assert ";" not in clause and ". " not in clause and not clause.endswith(".")


def test_a_translator_looks_like_one_to_it_and_an_imitator_too_or_it_does_not_decide(kind, planted):
    if isinstance(kind, DecidingEvidence):
        finding = find(kind, planted)
        for k, right in enumerate(RIGHT):
            assert kind.view(select_head(finding, k), BOUNDS) in (right, None)
        assert kind.view(select_head(finding, 0), BOUNDS) is Kind.DIRECT_TRANSLATOR


def test_its_tally_after_one_turn_with_everything_says_what_it_finds_at_once(kind, planted):
    observations = observe(kind, planted, (translator, imitator))
    tally = kind.begin_tally(planted.easy, observations.answers.easy, LEVEL)
    if tally is None:
        return
    tally.take(observations)
    in_turns, at_once = tally.finding, kind.find(observations, BOUNDS)
    assert type(in_turns) is kind.finding
    for name, value in vars(at_once).items():
        other = getattr(in_turns, name)
        if isinstance(value, Estimate):
            assert other.value == pytest.approx(value.value)
            assert (other.low <= value.value + 1e-9).all()
        else:
            assert other == pytest.approx(value)


@dataclass(frozen=True)
class Agreement:
    """Of K heads."""

    agrees: Estimate
    """Share of disputed episodes on which the report is X."""


@dataclass(frozen=True)
class AlsoAgreement:
    """Of K heads."""

    nde: Estimate
    """A column that another kind has."""


class FirstTurnOnly(Tally):
    """Keeps what was found at once, of the first head alone."""

    def __init__(self, kind: "Broken") -> None:
        self.kind = kind

    def take(self, turn: Observations) -> None:
        first = Answers({key: value[:1] for key, value in turn.answers.by_input.items()})
        self.found = self.kind.find(replace(turn, answers=first), BOUNDS)

    @property
    def finding(self) -> Agreement:
        return self.found


@dataclass(frozen=True)
class Short(Input):
    """The disputed episodes, of which planted heads read one less."""

    def read(self, evaluation):
        return evaluation.disputed_NLD

    def read_truth(self, truth):
        return Signs(*(sign_N[1:] for sign_N in Signs.of(truth.disputed)))


class Broken(DecidingEvidence):
    """The share of disputed episodes on which a head reports X, and a way to break the promise."""

    inputs: tuple[Input, ...] = (DISPUTED,)
    finding: ClassVar[type[Any]] = Agreement

    def __init__(self, flaw: str) -> None:
        self.flaw = flaw
        if flaw == "planted heads read other episodes":
            self.inputs = (Short(),)
        if flaw == "takes a column of another":
            self.finding = AlsoAgreement

    def find(self, observations, bounds):
        disputed = observations.truth.disputed
        right_KN = (observations.answers.disputed > 0) == disputed.concept_N
        if self.flaw == "depends on the others":
            right_KN = right_KN & right_KN[-1:]
        agrees = estimate_share(right_KN, disputed.cluster_N, observations.level)
        if self.flaw == "forgets a head":
            agrees = Estimate(*(end_K[1:] for end_K in agrees))
        if self.flaw == "an interval beside its value":
            agrees = agrees._replace(low=agrees.high, high=agrees.high + 1)
        if self.flaw == "finds a tuple without inputs" and len(observations.answers.by_input) == 3:
            return (agrees,)
        return self.finding(agrees)

    def write_clause(self, finding):
        if self.flaw == "names a column that it lacks":
            return "it agrees on {follows_concept}"
        return "it agrees on {agrees}"

    def view(self, finding, bounds):
        if finding.agrees.low > 0.9 and self.flaw != "does not know a translator":
            return Kind.DIRECT_TRANSLATOR
        return Kind.HUMAN_IMITATOR if finding.agrees.high < 0.1 else None

    def begin_tally(self, easy, easy_KN, level):
        return FirstTurnOnly(self) if self.flaw == "tallies one head" else None


@pytest.mark.parametrize(
    ("flaw", "notices", "argument"),
    [
        (
            "planted heads read other episodes",
            test_its_inputs_can_be_read_and_planted_heads_read_as_many_episodes,
            "evaluation",
        ),
        (
            "forgets a head",
            test_it_finds_what_it_declares_of_each_head_with_intervals_that_hold_their_values,
            "planted",
        ),
        (
            "an interval beside its value",
            test_it_finds_what_it_declares_of_each_head_with_intervals_that_hold_their_values,
            "planted",
        ),
        (
            "depends on the others",
            test_a_head_alone_gets_the_finding_that_it_gets_among_others,
            "planted",
        ),
        (
            "finds a tuple without inputs",
            test_without_its_own_inputs_it_finds_nothing_or_what_episodes_as_they_are_tell,
            "planted",
        ),
        (
            "takes a column of another",
            test_its_columns_are_plain_values_and_no_other_kind_has_them,
            "planted",
        ),
        (
            "names a column that it lacks",
            test_its_clause_names_its_own_columns_alone_and_is_a_part_of_a_sentence,
            "planted",
        ),
        (
            "does not know a translator",
            test_a_translator_looks_like_one_to_it_and_an_imitator_too_or_it_does_not_decide,
            "planted",
        ),
        (
            "tallies one head",
            test_its_tally_after_one_turn_with_everything_says_what_it_finds_at_once,
            "planted",
        ),
    ],
)
def test_a_broken_promise_is_noticed(
    flaw: str, notices: Callable[..., None], argument: str, request
):
    value = request.getfixturevalue(argument)
    notices(Broken("none"), value)
    with pytest.raises(AssertionError):
        notices(Broken(flaw), value)


def test_what_a_finding_declares_is_frozen():
    for name, node in NODES.items():
        finding = build(node, name).finding
        assert dataclasses.is_dataclass(finding) and finding.__dataclass_params__.frozen
