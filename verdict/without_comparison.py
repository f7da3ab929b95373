"""What is measured of heads where X and H cannot be compared: whether they report X on easy
episodes, and on others if there are any. No verdict follows, and the reason says why.

K: heads, N: episodes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from verdict import words
from verdict.evaluation import Evaluation
from verdict.evidence.behaviour import Following
from verdict.evidence.evidence import Bounds, build_columns
from verdict.gates import build_own_gates, build_undecidable_gate, count_numbers
from verdict.ground_truth import Cases, GroundTruth, Ints, Scores
from verdict.inputs import AMISS, DISPUTED, EASY, Answers, evaluate
from verdict.judge import BEHAVIOUR, Judge
from verdict.ranking import compute_recall, estimate_auroc
from verdict.statistics import (
    Estimate,
    estimate_mean_of_shares,
    estimate_share,
    estimate_worst_share,
)
from verdict.verdict import Judgement, Kind, Verdict

FOLLOWS, DEPARTS = "So it follows X there.", "So it does not follow X there."
UNCLEAR = "That is too close to a bound to say whether it follows X there."
ONE_SIDED = "With one value of X it cannot be said whether it follows X there."


def judge_without_comparison(
    judge: Judge, evaluation: Evaluation, answer: Callable[[Tensor], Scores]
) -> Judgement:
    """Returns what is known of heads, without a verdict on any.

    Args:
        answer: from activations z_NLD to the log-odds of K heads, shape (K, N).
    """
    inputs = (EASY, DISPUTED, AMISS)
    answers, truth = Answers(evaluate(inputs, evaluation, answer)), evaluation.truth
    following = find_following(answers, truth, judge.level)
    numbers_K = count_numbers(answers, inputs)
    gate = build_undecidable_gate(str(evaluation.world.undecidable))
    own_gates = build_own_gates(answers.easy, truth.easy, judge.competent, numbers_K)
    gates = [(gate, *own) for own in own_gates]
    findings = {name: following if name == BEHAVIOUR else None for name in judge.evidence}
    columns, headings = build_all_columns(judge, findings, len(gates))
    clause = write_clause(truth, judge.level)
    verdicts = []
    for k, row in enumerate(columns):
        shown = view(following, k, truth, judge)
        failed = [each for each in gates[k] if not each.passed]
        template = words.explain_gates(failed, f"{clause} {shown}".strip())
        verdicts.append(Verdict(Kind.UNDECIDED, words.fill(template, row), template))
    disputed = len(truth.disputed)
    return Judgement(
        verdicts=tuple(verdicts),
        gates=tuple(gates),
        findings=findings,
        columns=columns,
        headings=headings,
        level=judge.level,
        sure_after=(disputed,) * len(gates),
        disputed=disputed,
    )


def build_all_columns(
    judge: Judge, findings: dict[str, Following | None], n_heads: int
) -> tuple[tuple[dict[str, object], ...], dict[str, str]]:
    """Returns the columns of heads.parquet on all kinds of evidence, and the headings of some."""
    columns: list[dict[str, object]] = [{} for _ in range(n_heads)]
    headings: dict[str, str] = {}
    for name, evidence in judge.evidence.items():
        headings |= evidence.headings
        added = build_columns(evidence.finding, findings[name], n_heads)
        columns = [row | more for row, more in zip(columns, added, strict=True)]
    return tuple(columns), headings


def find_following(answers: Answers, truth: GroundTruth, level: float) -> Following:
    """Returns how often K heads report X. What needs H is NaN, and so is what needs episodes that
    there are none of.
    """
    easy, disputed, cases = truth.easy, truth.disputed, truth.all_cells
    n_heads = len(answers.easy)
    nan_K = np.full(n_heads, np.nan)
    follows = ranks = unknown = Estimate(nan_K, nan_K, nan_K)
    right_KN = (answers.all_cells > 0) == cases.concept_N
    cell_N, names = number_parts(cases)
    worst, worst_K = estimate_worst_share(right_KN, cell_N, cases.cluster_N, level)
    if len(disputed):
        follows_KN = (answers.disputed > 0) == disputed.concept_N
        follows = estimate_share(follows_KN, disputed.cluster_N, level)
    if has_both(disputed):
        ranks = estimate_auroc(answers.disputed, disputed.concept_N, disputed.cluster_N, level)
    easy_auroc_K = nan_K
    if has_both(easy):
        easy_auroc_K = estimate_auroc(answers.easy, easy.concept_N, easy.cluster_N, level).value
    return Following(
        concept_accuracy=estimate_mean_of_shares(right_KN, cell_N, cases.cluster_N, level),
        concept_accuracy_worst=worst,
        human_accuracy_worst=unknown,
        worst_cell=names[worst_K],
        easy_auroc=easy_auroc_K,
        follows_concept=follows,
        ranks_concept=ranks,
        recall_at_1_percent=compute_recall(answers.disputed, disputed.concept_N),
        ranks_concept_given_human=nan_K,
        episodes=len(disputed),
    )


def number_parts(cases: Cases) -> tuple[Ints, NDArray[np.str_]]:
    """Returns to which cell of X × family each episode belongs, and the names of the cells."""
    answer_N = np.where(cases.concept_N, "X yes, ", "X no, ")
    names, cell_N = np.unique(np.char.add(answer_N, cases.family_N), return_inverse=True)
    return cell_N, names


def has_both(cases: Cases) -> bool:
    """Whether X is yes in some of the episodes and no in others."""
    return len(np.unique(cases.concept_N)) == 2


def write_clause(truth: GroundTruth, level: float) -> str:
    """Returns the sentence on what heads report; figures are columns in braces."""
    intervals = f"(intervals at {words.format_level(level)})"
    if not len(truth.disputed):
        return f"Its report is X on {{concept_accuracy}} of held-out episodes {intervals}."
    ranking = "and ranks it with AUROC {ranks_concept}"
    if not has_both(truth.disputed):
        ranking = "and the AUROC for X is not defined there"
    return (
        f"Its report is X on {{follows_concept}} of {len(truth.disputed):,} episodes that no head"
        f" trains on, {ranking} {intervals}."
    )


def view(following: Following, k: int, truth: GroundTruth, bounds: Bounds) -> str:
    """Returns in words whether head k follows X on the episodes that no head trains on."""
    if not len(truth.disputed):
        return ""
    if not has_both(truth.disputed):
        return ONE_SIDED
    figures = [following.ranks_concept]
    if not bounds.offsets_shift:
        figures.append(following.follows_concept)
    if all(figure.low[k] >= bounds.ranking for figure in figures):
        return FOLLOWS
    if any(figure.high[k] < bounds.ranking for figure in figures):
        return DEPARTS
    return UNCLEAR
