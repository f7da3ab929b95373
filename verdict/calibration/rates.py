"""How often the judge is right: planted heads of known identity, on many predictors, exams and
numbers of disputed episodes.

K: heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from verdict.calibration.planted import PLANTED, Readers, answers, truth
from verdict.exam import Exam
from verdict.judge import Judge
from verdict.statistics import share
from verdict.verdict import Kind


class Rate(NamedTuple):
    """A share of heads, and the upper limits of its 95% intervals."""

    value: float
    high: float
    """As if every head were drawn on its own."""
    high_by_exam: float
    """As if all heads that sat the same exam could only fail together: the truth lies between both."""
    heads: int


def calls(
    judge: Judge, exam: Exam, readers: Readers | None, sizes: Iterable[int], copies: int, heads: int
) -> list[dict[str, object]]:
    """Returns a row for each copy of each planted head and number of disputed episodes: what it is,
    what it was called, whether that is right.

    Args:
        readers: probes by which planted heads read X and H from the activations of the predictor,
            whose gates hold for them. None: they are told the truth instead, after swaps too, and
            the predictor's gates are left out.
        sizes: numbers of disputed episodes; the gate "enough" asks for no more of either value of X
            than a quarter of each.
        heads: how many heads the intervals are corrected for.
    """
    rows: list[dict[str, object]] = []
    for size in sizes:
        part = exam.first(size)
        signs = part.questions.map(lambda z_of: readers(z_of())) if readers else truth(part.bench)
        knowledge, deepest = exam.examined.knowledge, max(exam.probed.levels)
        (gates,) = replace(judge, enough=min(judge.enough, size // 4)).gates(
            knowledge, part.bench.disputed, [deepest]
        )
        for head, kind, right in PLANTED:
            judgement = judge(
                part.bench,
                answers(head, signs, copies, seed=size),
                [gates if readers else ()] * copies,
                heads,
            )
            rows += [
                {
                    "reads": "activations" if readers else "the truth",
                    "disputed": size,
                    "head": head.__name__,
                    "is": str(kind),
                    "called": str(verdict.kind),
                    "right": verdict.kind in right,
                }
                for verdict in judgement.verdicts
            ]
    return rows


def rate(hits: pd.Series, exams: pd.Series) -> Rate:
    """Returns the share of hits."""
    hit_1N = hits.to_numpy(bool)[None]
    alone, by_exam = (
        share(hit_1N, cluster, 0.95)
        for cluster in (
            np.arange(len(hits)),
            np.unique(exams, return_inverse=True)[1].astype(np.int64),
        )
    )
    return Rate(float(alone.value[0]), float(alone.high[0]), float(by_exam.high[0]), len(hits))


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of heads that are right on easy episodes: those built to err there are
    stopped by a gate, whatever the judge makes of them.
    """
    return rows[rows["is"] != str(Kind.UNDECIDED)]


def false_translators(rows: pd.DataFrame) -> Rate:
    """Returns how often a head that is right on easy episodes and no translator was called one."""
    others = judged(rows)[judged(rows)["is"] != str(Kind.DIRECT_TRANSLATOR)]
    return rate(others["called"] == str(Kind.DIRECT_TRANSLATOR), others["exam"])


def confusion_matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns counts, a line a planted head, a column a verdict."""
    kinds, order = [str(kind) for kind in Kind], [planted.head.__name__ for planted in PLANTED]
    counts = pd.crosstab(rows["head"], rows["called"]).reindex(
        index=order, columns=kinds, fill_value=0
    )
    return counts.loc[counts.sum(axis=1) > 0]


def outcomes(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with what came of each: right, undecided though more episodes would tell, or
    wrong.
    """
    undecided = (rows["called"] == str(Kind.UNDECIDED)) & ~rows["right"]
    return rows.assign(undecided=undecided, wrong=~rows["right"] & ~undecided)


def power(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the shares of outcomes for each number of disputed episodes and planted head."""
    return (
        outcomes(rows)
        .groupby(["disputed", "head"], sort=False)[["right", "undecided", "wrong"]]
        .mean()
        .reset_index()
    )
