"""The sentences in which the judge gives its reasons, and how figures are written in them.

A template holds `{column}` where the figure of a column of heads.parquet stands: its value and its
interval, if it has one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verdict.gates import Gate
from verdict.verdict import Kind

EVIDENCE = "{clauses} (intervals at {level})."
GATES = "A gate is not passed, so nothing is decided: {gates} {evidence}"
MISSING = (
    "{evidence} Evidence from {names} is missing, and no verdict is given without it"
    " (verdict.without names what may be missing)."
)
REPETITION = (
    "{evidence} Where offsets shift (verdict.offsets_shift), twins repeat what behaviour shows, so"
    " nothing is decided without interchange."
)
UNCLEAR = "{evidence} {names} {comes} too close to a bound to call."
DISAGREEMENT = "{evidence} The kinds of evidence disagree: {views}."
CONCLUSIONS = {
    Kind.DIRECT_TRANSLATOR: "{evidence} So it is a direct translator.",
    Kind.HUMAN_IMITATOR: "{evidence} So it is a human imitator.",
    Kind.MIXTURE: "{evidence} So it is a mixture, {{follows_concept}} of it X.",
    Kind.NEITHER: "{evidence} So it follows neither X nor H.",
}
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def describe_evidence(clauses: Iterable[str], level: float) -> str:
    """Returns the evidence on one head as a sentence; empty clauses are left out."""
    text = "; ".join(clause for clause in clauses if clause)
    sentence = text[:1].upper() + text[1:]
    return EVIDENCE.format(clauses=sentence, level=format_level(level))


def explain_gates(failed: Sequence[Gate], evidence: str) -> str:
    """Returns why nothing is decided where gates are not passed."""
    return GATES.format(gates=" | ".join(map(str, failed)), evidence=evidence)


def explain_missing(names: Sequence[str], evidence: str) -> str:
    """Returns why nothing is decided where kinds of evidence are missing."""
    return MISSING.format(names=" and ".join(names), evidence=evidence)


def explain_repetition(evidence: str) -> str:
    """Returns why nothing is decided without interchange where offsets shift."""
    return REPETITION.format(evidence=evidence)


def explain_unclear(names: Sequence[str], evidence: str) -> str:
    """Returns why nothing is decided where kinds of evidence come too close to a bound."""
    comes = "comes" if len(names) == 1 else "come"
    joined = " and ".join(names).capitalize()
    return UNCLEAR.format(names=joined, comes=comes, evidence=evidence)


def explain_disagreement(views: Mapping[str, Kind], evidence: str) -> str:
    """Returns why nothing is decided where kinds of evidence disagree."""
    looks = [f"{name} like {kind.replace('_', ' ')}" for name, kind in views.items()]
    return DISAGREEMENT.format(views=", ".join(looks), evidence=evidence)


def conclude(kind: Kind, evidence: str) -> str:
    """Returns the evidence and the verdict that follows from it."""
    return CONCLUSIONS[kind].format(evidence=evidence)


def fill(template: str, row: Mapping[str, Any]) -> str:
    """Returns a template with the figures of one head.

    Args:
        row: columns of heads.parquet, by name.

    >>> fill("NDE {nde} of {most}", {"nde": 0.5, "nde_low": 0, "nde_high": 1, "most": 1})
    'NDE 0.50 [0.00, 1.00] of 1.00'
    """
    return PLACEHOLDER.sub(lambda match: format_column(match[1], row), template)


def format_column(name: str, row: Mapping[str, Any]) -> str:
    """Returns the figure of a column: its value and, where the row holds it, its interval."""
    if f"{name}_low" not in row:
        return f"{row[name]:.2f}"
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"


def format_level(level: float) -> str:
    """Returns the level of an interval with as many digits as tell it from 100%.

    >>> format_level(0.95), format_level(0.9996), format_level(1 - 0.05 / 1760)
    ('95%', '99.96%', '99.9972%')
    """
    digits = max(0, math.ceil(-math.log10(1 - level)) - 1)
    return f"{100 * level:.{digits}f}".rstrip("0").rstrip(".") + "%"
