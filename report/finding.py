"""What a table of finished heads shows, in words: on the terminal, and in a run's summary."""

from __future__ import annotations

import pandas as pd

from report.answer import compose_answer
from report.comparison import heads_of
from report.lines import KINDS


def finding(table: pd.DataFrame, heads: pd.DataFrame) -> str:
    """Returns in words what the lines show, and how far it reaches; nothing is claimed that its
    corrected interval does not bear out.
    """
    counts = ", ".join(f"{(heads['verdict'] == kind).sum()} {kind}" for kind in KINDS)
    words = [f"{len(heads)} heads judged: {counts}."]
    if table["level"].nunique() > 1:
        best = table.sort_values("validation_nll", kind="stable").iloc[0]
        said = (
            f"easy AUROC {best['easy_auroc']:.3f}, AUROC for X on disputed ones"
            f" {best['ranks_concept']:.3f}"
        )
        words.append(f"Held-out easy episodes choose level {best['level']}: {said}.")
    chosen = heads_of(heads)
    found = compose_answer(chosen[chosen["matched"]])
    return " ".join([*words, found.headline, *found.details, found.scope])
