"""The page's data: columns of plain values, compressed, as text that an HTML page can hold."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import numpy as np
import pandas as pd

from report.columns import find_column

EVIDENCE = (
    "follows_concept",
    "ranks_concept",
    "nde",
    "nie",
    "swap_concept",
    "swap_human",
    "swap_random",
    "erase_concept",
    "erase_human",
    "easy_accuracy",
)
"""Rates that the page lists as a head's evidence."""
COSTS = ("prequential_bits", "flops", "edges")
WORDS = ("run", "reporter", "prior", "predictor", "verdict", "failed_gates")
NUMBERS = ("strength", "level", "seed", "interval_level", "gap")
DESCRIBED = (
    *EVIDENCE,
    *COSTS,
    "verdict",
    "prior",
    "strength",
    "reporter",
    "level",
    "predictor",
    "seed",
    "matched",
    "settled",
)
"""Columns whose headings and meanings the page's script writes."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def pack(value: Any) -> str:
    """Returns a value as JSON, gzipped, in base64: a page with ten thousand heads stays small."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def describe_columns() -> dict[str, dict[str, str]]:
    """Returns the heading and the meaning of the columns that the page's script shows."""
    columns = [find_column(name) for name in DESCRIBED]
    return {
        column.name: {"heading": column.heading, "meaning": column.meaning} for column in columns
    }


def build_columns(heads: pd.DataFrame) -> dict[str, Any]:
    """Returns heads column by column: words as codes into a list, rates in hundredths, costs in the
    unit of their heading, missing values as null.

    The reason is its template: `{NAME}` stands for the figure of the rate NAME.
    """
    template = _get_template(heads)
    rates = {*EVIDENCE, *_find_placeholders(template)} & set(heads)
    columns: dict[str, Any] = {
        "n": len(heads),
        "setting": heads["setting"].tolist(),
        "matched": heads["matched"].astype(int).tolist(),
        "settled": _encode(_describe_settled(heads)),
        "reason": _encode(template),
        "rates": {name: _build_rate(heads, name) for name in sorted(rates)},
        "costs": {name: _round_cost(heads, name) for name in COSTS if name in heads},
    }
    columns |= {name: _encode(heads[name]) for name in WORDS}
    for name in NUMBERS:
        if name in heads:
            columns[name] = [float(value) if _is_number(value) else None for value in heads[name]]
    return columns


def _describe_settled(heads: pd.DataFrame) -> pd.Series:
    """Returns in words whether each head has settled."""
    words = heads["settled"].map({True: "settled", False: "not settled"})
    return words.where(heads["settled_known"], "not known")


def _get_template(heads: pd.DataFrame) -> pd.Series:
    """Returns the template of each head's reason. A run of an earlier version has none: its reason
    holds no placeholder, and is its own template.
    """
    if "reason_template" not in heads:
        return heads["reason"]
    return heads["reason_template"].fillna(heads["reason"])


def _find_placeholders(template: pd.Series) -> set[str]:
    names: set[str] = set()
    for text in template.unique():
        names.update(PLACEHOLDER.findall(str(text)))
    return names


def _encode(words: pd.Series) -> dict[str, list[Any]]:
    codes, unique = pd.factorize(words.astype(str))
    return {"words": list(unique), "codes": codes.tolist()}


def _build_rate(heads: pd.DataFrame, name: str) -> list[list[int | None] | None]:
    """Returns a rate and the limits of its interval, None for limits that are no columns."""
    names = (name, f"{name}_low", f"{name}_high")
    return [_round_hundredths(heads[column]) if column in heads else None for column in names]


def _round_hundredths(values: pd.Series) -> list[int | None]:
    """Returns hundredths that are rounded as the judge rounds in words."""
    rounded: list[int | None] = []
    for value in values:
        rounded.append(round(100 * float(f"{float(value):.2f}")) if _is_number(value) else None)
    return rounded


def _round_cost(heads: pd.DataFrame, name: str) -> list[float | None]:
    scale = find_column(name).scale
    rounded: list[float | None] = []
    for value in heads[name]:
        rounded.append(float(f"{value * scale:.4g}") if _is_number(value) else None)
    return rounded


def _is_number(value: Any) -> bool:
    """Returns whether a value is a number that JSON can hold."""
    return not pd.isna(value) and bool(np.isfinite(float(value)))
