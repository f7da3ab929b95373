"""The page's data: columns of plain values, compressed, as text that an HTML page can hold."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import pandas as pd

RATES = {
    "follows_concept": "follows X on disputed episodes",
    "ranks_concept": "AUROC for X on disputed episodes",
    "nde": "moved by changing only X",
    "nie": "moved by changing only what the human sees",
    "swap_concept": "moved by the predictor's own part of X",
    "swap_human": "moved by the predictor's own part of H",
    "swap_random": "moved by random parts",
    "erase_concept": "lost of following X when X is erased",
    "erase_human": "lost of following H when H is erased",
    "easy_accuracy": "right on easy episodes",
}
"""Columns of heads.parquet that a head's evidence shows, and their words."""
SPOKEN = (
    ("follows_concept", "It follows X on "),
    ("follows_concept", "it is a mixture, "),
    ("ranks_concept", "ranks it with AUROC "),
    ("nde", "changing only X moves the report by "),
    ("nie", "only what the human sees by "),
    ("swap_concept", "moving only the predictor's concept moves it by "),
    ("swap_human", "only its idea of the human's answer by "),
    ("swap_random", "random parts by "),
    ("erase_concept", "erasing X takes away "),
    ("erase_human", "erasing H "),
    ("access_head", "in the head ("),
    ("access_predictor", "in the predictor ("),
)
"""Rates that a head's evidence says in words, and the words before them: the page keeps each figure
once.
"""
WORDS = ("run", "reporter", "prior", "predictor", "verdict", "failed_gates")


def packed(value: Any) -> str:
    """Returns a value as JSON, gzipped, in base64: a page stays small with ten thousand heads in
    it.
    """
    return base64.b64encode(
        gzip.compress(
            json.dumps(value, separators=(",", ":"), allow_nan=False).encode(), 9, mtime=0
        )
    ).decode()


def columns(heads: pd.DataFrame) -> dict[str, Any]:
    """Returns heads column by column: words as numbers of a list, rates in hundredths, none as
    null; `{name}` in a reason stands for a rate.
    """
    out: dict[str, Any] = {"n": len(heads)}
    for name in WORDS:
        codes, words = pd.factorize(heads[name].astype(str))
        out[name] = {"words": list(words), "codes": codes.tolist()}
    out["setting"] = heads["setting"].tolist()
    for name in ("strength", "level", "seed"):
        out[name] = [float(value) if _known(value) else None for value in heads[name]]
    out["matched"] = heads["matched"].astype(int).tolist()
    spoken = [*RATES, *sorted({name for name, _ in SPOKEN} - set(RATES))]
    out["rates"] = {
        name: [
            _hundredths(heads[column]) if column in heads else None
            for column in (name, f"{name}_low", f"{name}_high")
        ]
        for name in spoken
        if name in heads
    }
    codes, words = pd.factorize(
        pd.Series(
            [
                _without_rates(reason, out["rates"], k)
                for k, reason in enumerate(heads["reason"].astype(str))
            ]
        )
    )
    out["reason"] = {"words": list(words), "codes": codes.tolist()}
    out["costs"] = {
        name: [float(f"{value:.4g}") if _known(value) else None for value in heads[name]]
        for name in ("prequential_bits", "flops", "edges")
        if name in heads
    }
    return out


def _without_rates(reason: str, rates: dict[str, list[list[int | None] | None]], k: int) -> str:
    """Returns the evidence of head k with its rates left out, where they are said as they are kept."""
    for name, words in SPOKEN:
        ends = [None if column is None else column[k] for column in rates.get(name, [None])]
        if None not in ends:
            at, low, high = (f"{value / 100:.2f}" for value in ends if value is not None)
            reason = reason.replace(f"{words}{at} [{low}, {high}]", f"{words}{{{name}}}", 1)
    return reason


def _hundredths(values: pd.Series) -> list[int | None]:
    return [
        round(100 * float(f"{float(value):.2f}")) if _known(value) else None for value in values
    ]


def _known(value: Any) -> bool:
    """Whether a value is a number that JSON can hold."""
    return not pd.isna(value) and bool(np.isfinite(float(value)))
