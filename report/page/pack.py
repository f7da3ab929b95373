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
WORDS = ("run", "reporter", "prior", "predictor", "verdict", "failed_gates")


def packed(value: Any) -> str:
    """Returns a value as JSON, gzipped, in base64: a page stays small with ten thousand heads in it."""
    return base64.b64encode(gzip.compress(json.dumps(value, separators=(",", ":"), allow_nan=False).encode(), 9, mtime=0)).decode()


def columns(heads: pd.DataFrame) -> dict[str, Any]:
    """Returns heads column by column: words as numbers of a list, rates in thousandths, none as null."""
    out: dict[str, Any] = {"n": len(heads)}
    for name in WORDS:
        codes, words = pd.factorize(heads[name].astype(str))
        out[name] = {"words": list(words), "codes": codes.tolist()}
    out["setting"] = heads["setting"].tolist()
    for name in ("strength", "level", "seed"):
        out[name] = [float(value) if _known(value) else None for value in heads[name]]
    out["reason"] = heads["reason"].astype(str).tolist()
    out["matched"] = heads["matched"].astype(int).tolist()
    out["rates"] = {
        name: [_thousandths(heads[column]) if column in heads else None for column in (name, f"{name}_low", f"{name}_high")]
        for name in RATES
        if name in heads
    }
    out["costs"] = {
        name: [float(f"{value:.4g}") if _known(value) else None for value in heads[name]]
        for name in ("prequential_bits", "flops", "edges")
        if name in heads
    }
    return out


def _thousandths(values: pd.Series) -> list[int | None]:
    return [round(1000 * float(value)) if _known(value) else None for value in values]


def _known(value: Any) -> bool:
    """Whether a value is a number that JSON can hold."""
    return not pd.isna(value) and bool(np.isfinite(float(value)))
