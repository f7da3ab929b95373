"""How often the judge is right: planted heads of known identity, on many predictors, evaluations
and numbers of disputed episodes.

K: heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from verdict.calibration.planted import PLANTED, SignProbes, answer_as
from verdict.evaluation import Evaluation
from verdict.gates import Gate
from verdict.inputs import evaluate, read_truth
from verdict.judge import Judge
from verdict.statistics import estimate_share
from verdict.verdict import Kind


class Rate(NamedTuple):
    """A share of heads, and the upper limits of its 95% intervals."""

    value: float
    high: float
    """With predictors as the sample: the heads of one share what it knows."""
    high_by_head: float
    """As if every head were drawn on its own, which says nothing of other predictors."""
    heads: int
    predictors: int


def judge_planted_heads(
    judge: Judge,
    evaluation: Evaluation,
    probes: SignProbes | None,
    sizes: Iterable[int],
    copies: int,
) -> list[dict[str, object]]:
    """Returns a row for each copy of each planted head and number of disputed episodes: what it is,
    its verdict, whether that is right.

    Args:
        probes: planted heads read X and H from the activations of the predictor by them, and the
            predictor's gates hold for them. None: they read the truth instead, after swaps too, and
            the predictor's gates are left out.
        sizes: numbers of disputed episodes; the gate "enough" requires no more of either value of X
            than a quarter of each.
    """
    knowledge, deepest = evaluation.predictor_report.knowledge, max(evaluation.probe.levels)
    rows: list[dict[str, object]] = []
    for size in sizes:
        part = evaluation.take_first(size)
        gates: list[tuple[Gate, ...]] = [()] * copies
        if probes is None:
            signs = read_truth(judge.inputs, part.truth)
        else:
            signs = evaluate(judge.inputs, part, probes.read)
            lenient = replace(judge, enough=min(judge.enough, size // 4))
            gates = lenient.build_gates(knowledge, part.truth.disputed, [deepest] * copies)
        for head, kind, right in PLANTED:
            answers = answer_as(head, signs, copies, seed=size)
            for verdict in judge(part.truth, answers, gates).verdicts:
                rows.append(
                    {
                        "reads": "the truth" if probes is None else "activations",
                        "disputed": size,
                        "head": head.__name__,
                        "is": str(kind),
                        "called": str(verdict.kind),
                        "right": verdict.kind in right,
                    }
                )
    return rows


def rate(hits: pd.Series, predictors: pd.Series) -> Rate:
    """Returns the share of hits.

    Args:
        predictors: of each head, the predictor whose activations it reads.
    """
    hit_1N = hits.to_numpy(bool)[None]
    cluster_N = np.unique(predictors, return_inverse=True)[1].astype(np.int64)
    alone = estimate_share(hit_1N, np.arange(len(hits)), 0.95)
    together = estimate_share(hit_1N, cluster_N, 0.95)
    return Rate(
        float(alone.value[0]),
        float(together.high[0]),
        float(alone.high[0]),
        len(hits),
        int(cluster_N.max()) + 1,
    )


def select_able(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of heads that are right on easy episodes: a gate stops those built to err
    there, whatever their evidence.
    """
    return rows[rows["is"] != str(Kind.UNDECIDED)]


def rate_false_translators(rows: pd.DataFrame) -> Rate:
    """Returns how often a head that is right on easy episodes and no translator was called one."""
    able = select_able(rows)
    others = able[able["is"] != str(Kind.DIRECT_TRANSLATOR)]
    return rate(others["called"] == str(Kind.DIRECT_TRANSLATOR), others["predictor"])


def count_confusions(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the confusion matrix: counts, a line a planted head, a column a verdict."""
    kinds = [str(kind) for kind in Kind]
    order = [planted.head.__name__ for planted in PLANTED]
    counts = pd.crosstab(rows["head"], rows["called"])
    counts = counts.reindex(index=order, columns=kinds, fill_value=0)
    return counts.loc[counts.sum(axis=1) > 0]


def add_outcomes(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with the outcome of each: right, undecided though more episodes would tell,
    or wrong.
    """
    undecided = (rows["called"] == str(Kind.UNDECIDED)) & ~rows["right"]
    return rows.assign(undecided=undecided, wrong=~rows["right"] & ~undecided)


def compute_power(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the shares of outcomes for each number of disputed episodes and planted head."""
    grouped = add_outcomes(rows).groupby(["disputed", "head"], sort=False)
    return grouped[["right", "undecided", "wrong"]].mean().reset_index()
