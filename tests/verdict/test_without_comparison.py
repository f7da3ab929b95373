"""Where X and H cannot be compared, what can be measured is, and no head gets a verdict."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from configs.build import build
from tests.conftest import node
from verdict.ground_truth import Cases, GroundTruth
from verdict.judge import Judge
from verdict.verdict import Judgement, Kind
from verdict.without_comparison import judge_without_comparison

WHY = "The table names no human."


@pytest.fixture(scope="module")
def judge() -> Judge:
    return build(node("verdict/default.yaml"), "verdict")


def make_cases(n: int, family: str, seed: int, one_sided: bool = False) -> Cases:
    concept_N = np.random.default_rng(seed).permutation(np.arange(n) % 2 == 0) | one_sided
    human_N = concept_N if family == "none" else ~concept_N
    return Cases(concept_N, human_N, np.zeros(n, bool), np.full(n, family), np.arange(n))


def encode(cases: Cases) -> torch.Tensor:
    """Returns activations: X as 1 or -1, and whether the episode is hard."""
    is_hard_N = (cases.family_N != "none").astype(float)
    z_N2 = np.stack([2.0 * cases.concept_N - 1, is_hard_N], axis=1)
    return torch.tensor(z_N2[:, None])


def judge_heads(judge: Judge, heads, n_disputed: int = 1000, one_sided: bool = False) -> Judgement:
    """Returns the judgement of heads, each a function of X (1 or -1) and of whether it is hard."""
    easy, disputed = make_cases(1000, "none", 0), make_cases(n_disputed, "hard", 1, one_sided)
    amiss = make_cases(0, "none", 2)
    evaluation = SimpleNamespace(
        world=SimpleNamespace(undecidable=WHY, compares=False),
        truth=GroundTruth(easy, disputed, amiss),
        easy_NLD=encode(easy),
        disputed_NLD=encode(disputed),
        amiss_NLD=encode(amiss),
    )

    def answer(z_NLD: torch.Tensor) -> np.ndarray:
        x_N, hard_N = z_NLD[:, 0].numpy().T
        return np.stack([head(x_N, hard_N) + np.zeros(len(x_N)) for head in heads])

    return judge_without_comparison(judge, evaluation, answer)


def follow_x(x_N, hard_N):
    return x_N


def turn_round(x_N, hard_N):
    return x_N * (1 - 2 * hard_N)


def say_yes(x_N, hard_N):
    return 1.0


def test_no_head_gets_a_verdict_and_the_reason_says_why(judge):
    judgement = judge_heads(judge, [follow_x, turn_round, say_yes])
    assert {verdict.kind for verdict in judgement.verdicts} == {Kind.UNDECIDED}
    for verdict in judgement.verdicts:
        assert WHY in verdict.reason and "{" not in verdict.reason and "nan" not in verdict.reason


def test_what_follows_x_is_told_from_what_does_not(judge):
    follows, turns, constant = judge_heads(judge, [follow_x, turn_round, say_yes]).verdicts
    assert "So it follows X there." in follows.reason
    for other in (turns, constant):
        assert "So it does not follow X there." in other.reason
        assert "So it follows" not in other.reason


def test_few_episodes_are_too_few_to_say(judge):
    (verdict,) = judge_heads(judge, [follow_x], n_disputed=30).verdicts
    assert "too close to a bound to say" in verdict.reason


def test_figures_of_x_are_exact_and_those_of_h_are_missing(judge):
    columns = judge_heads(judge, [follow_x, turn_round]).columns
    assert [row["follows_concept"] for row in columns] == [1.0, 0.0]
    assert [row["ranks_concept"] for row in columns] == [1.0, 0.0]
    assert [row["recall_at_1_percent"] for row in columns] == [1.0, 0.0]
    assert [row["easy_auroc"] for row in columns] == [1.0, 1.0]
    assert [row["concept_accuracy"] for row in columns] == [1.0, 0.5]
    assert columns[1]["worst_cell"] in ("X no, hard", "X yes, hard")
    for row in columns:
        assert np.isnan(row["human_accuracy_worst"]) and np.isnan(row["ranks_concept_given_human"])
        assert row["nde"] is None and row["swap_concept"] is None


def test_without_other_episodes_only_easy_ones_are_measured(judge):
    judgement = judge_heads(judge, [follow_x, say_yes], n_disputed=0)
    for row, share in zip(judgement.columns, (1.0, 0.5), strict=True):
        assert row["concept_accuracy"] == share
        assert np.isnan(row["follows_concept"]) and np.isnan(row["ranks_concept"])
    reason = judgement.verdicts[0].reason
    assert "of held-out episodes" in reason and "follow X there" not in reason
    assert judgement.disputed == 0


def test_with_one_value_of_x_the_auroc_is_not_defined_and_nothing_is_said(judge):
    """The control of the other side: a head that always says yes follows X on all of them."""
    judgement = judge_heads(judge, [say_yes], one_sided=True)
    (row,), (verdict,) = judgement.columns, judgement.verdicts
    assert row["follows_concept"] == 1.0 and np.isnan(row["ranks_concept"])
    assert "the AUROC for X is not defined there" in verdict.reason
    assert "cannot be said whether it follows X" in verdict.reason


def test_an_incompetent_head_is_named_too(judge):
    judgement = judge_heads(judge, [say_yes, follow_x])
    names = [[gate.name for gate in gates if not gate.passed] for gates in judgement.gates]
    assert names == [["decidable", "competent"], ["decidable"]]
