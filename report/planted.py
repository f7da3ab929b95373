"""The judge's record on planted heads. They are given the truth in place of a predictor, so the
record measures the judge's rule and intervals, and says nothing about a predictor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Record:
    """Verdicts on planted heads in the runs whose predictors passed their gates."""

    verdicts: dict[str, Counter[str]]
    """For each planted head, how often it got which verdict."""
    wrong: Counter[str]
    """How often which planted head got which wrong verdict, in words."""
    n_runs: int
    stopped: tuple[str, ...]
    """Predictors whose gates are not passed. Their runs are left out: the judge decides nothing."""

    @property
    def n(self) -> int:
        """Number of verdicts."""
        return sum(counts.total() for counts in self.verdicts.values())

    def describe(self) -> str:
        """Returns how often the judge is right, and for which predictors that does not count."""
        names = ", ".join(self.stopped)
        if not self.n_runs:
            return (
                "The judge's record on planted heads is left out: it says nothing about heads of a"
                f" predictor whose gates are not passed ({names})."
            )
        repeats = f", the same heads in each of {self.n_runs} runs" if self.n_runs > 1 else ""
        others = "".join(f"; {count} {words}" for words, count in self.wrong.items())
        words = (
            f"The judge is right on {self.n - self.wrong.total():,} of {self.n:,} planted heads,"
            f" which are given the truth in place of a predictor{repeats}{others}."
        )
        if self.stopped:
            words += (
                f" It says nothing about heads of predictors whose gates are not passed: {names}."
            )
        return words


def collect_record(abouts: Iterable[dict[str, Any]]) -> Record:
    """Returns the judge's record in runs.

    Args:
        abouts: predictor.json of each run.
    """
    verdicts: dict[str, Counter[str]] = {}
    wrong = Counter[str]()
    n_runs = 0
    stopped = {}
    for about in abouts:
        if list_gates_not_passed(about):
            stopped[str(about.get("identity", about.get("name", "this one")))[:8]] = True
            continue
        n_runs += 1
        for head, _, verdict, count, is_right in about.get("judge_on_planted_heads", []):
            verdicts.setdefault(head, Counter())[verdict] += count
            if not is_right:
                wrong[f"{head} called {verdict}"] += count
    return Record(verdicts, wrong, n_runs, tuple(stopped))


def list_gates_not_passed(about: dict[str, Any]) -> list[str]:
    """Returns the gates that a predictor does not pass, in words.

    predictor.json lists them. An older one holds a gate that is passed as its name and value, and
    another one with a sentence.
    """
    sentences = [gate for gate in about.get("gates", []) if not gate[-1].isdigit()]
    listed: list[str] = about.get("gates_not_passed", sentences)
    return listed
