"""The comparison as a table: a line a setting, reporter, prior, strength and level, with corrected
intervals.   comparison.parquet, comparison.csv
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from report.bimodality import find_two_modes
from report.intervals import estimate_mean
from report.lines import KINDS, compared
from report.matched import UNITS, matched

SHARE = (0.0, 1.0)
LIMITS = tuple(
    f"follows_concept_{end}{which}" for end in ("low", "high") for which in ("", "_corrected")
)
KEYS = ["reporter", "prior", "strength", "level"]
COST_UNITS = {name: "levels" if name == "level_read" else name.split("_")[0] for name in UNITS} | {
    "prequential_bits": "bits",
    "variational_bits": "bits",
    "two_part_bits": "bits",
    "explanation_bits": "bits",
    "flops": "FLOPs an episode",
    "seconds": "seconds for 1,000 episodes",
}
FIGURES = {
    "easy_accuracy": ("share", "right on held-out easy episodes"),
    "easy_auroc": ("AUROC", "for the human's answer on held-out easy episodes"),
    "validation_nll": (
        "nats an episode",
        "error on held-out easy episodes, which chooses strengths and levels",
    ),
    "ranks_concept": ("AUROC", "for X on disputed episodes"),
    "nde": ("share", "by which changing only X moves the report"),
    "nie": ("share", "by which changing only what the human sees moves the report"),
    "swap_concept": (
        "share",
        "by which exchanging only the predictor's own part of X moves the report",
    ),
    "swap_human": (
        "share",
        "by which exchanging only the predictor's own part of H moves the report",
    ),
    "worst_family_gap": (
        "share",
        "by which a head falls from easy episodes to the kind of tampering that is worst for it",
    ),
}
COLUMNS = {
    "setting": ("", "the world and the core model; where there are several settings, what tells this one from the others"),
    "world": ("", "where episodes come from"),
    "core_model": ("", "the frozen predictor's kind"),
    "reporter": ("", "the head's architecture"),
    "prior": ("", "what heads were charged for in training"),
    "strength": ("times the natural price", "of the charge; 0 where nothing was charged"),
    "level": ("level", "that the head reads; empty where it may read all"),
    "chosen": ("", "whether held-out easy episodes choose this level; always where heads may read all"),
    "matched": ("share", "of predictors on which this is the prior's largest strength at matched accuracy"),
    "heads": ("heads", "judged"),
    "predictors": ("predictors", "that they read"),
    "gates_passed": ("share", "of heads that no gate stopped"),
    **dict.fromkeys(KINDS, ("heads", "with this verdict")),
    "translators": ("share", "of heads that are direct translators; mean over predictors"),
    "follows_concept": ("share", "of disputed episodes on which a head follows X; mean over predictors"),
    **{f"{name}_{end}{which}": ("share", f"{word} limit of {what}") for name in ("translators", "follows_concept")
       for which, what in (("", "its own 95% interval"), ("_corrected", "the 95% interval of all lines of the setting together"))
       for end, word in (("low", "lower"), ("high", "upper"))},
    "least": ("share", "followed by the head that follows X least"),
    "median": ("share", "followed by the middle head"),
    "most": ("share", "followed by the head that follows X most"),
    "two_heaps": ("", "where the heads have two modes: how many, and where; else empty"),
    **FIGURES,
    **{name: (COST_UNITS[name], "cost of a finished head; mean over heads") for name in UNITS},
}  # fmt: skip
"""Every column's unit and meaning, but for those of families: follows_concept_<family>, the share
of its disputed episodes that follow X.
"""


def heads_of(heads: pd.DataFrame, each_level: bool = False) -> pd.DataFrame:
    """Returns the heads that stand for their prior and strength, with `translator` and `matched`,
    whether each is one at matched accuracy.
    """
    chosen = compared(heads, each_level).reset_index(drop=True)
    near = matched(chosen).index
    return chosen.assign(
        translator=chosen["verdict"] == "direct_translator",
        matched=chosen.index.isin(near),
        chosen=True,
    )


def lines(setting: str, heads: pd.DataFrame) -> pd.DataFrame:
    """Returns one line a reporter, prior, strength and level of heads that `heads_of` chose."""
    groups = list(heads.groupby(KEYS, dropna=False, sort=True))
    rows = [_line(group, len(groups)) | dict(zip(KEYS, key, strict=True)) for key, group in groups]
    table = pd.DataFrame(rows).assign(setting=setting)
    families = [name for name in family_columns(table) if name not in COLUMNS]
    table = table.reindex(columns=[*COLUMNS, *families]).astype({"level": "Int64"})
    return table.sort_values(
        ["reporter", "prior", "strength"], key=_none_first, kind="stable"
    ).reset_index(drop=True)


def family_columns(heads: pd.DataFrame) -> list[str]:
    """Returns the columns that hold the share of a family's disputed episodes on which a head
    follows X.
    """
    return sorted(
        str(name)
        for name in heads
        if str(name).startswith("follows_concept_") and name not in LIMITS
    )


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes comparison.parquet, with each column's unit and meaning in its metadata,
    comparison.csv, and comparison_columns.csv, which says them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    said = {
        str(name): (
            COLUMNS.get(str(name))
            or (
                "share",
                f"of disputed episodes of this family on which heads follow X: {str(name)[16:]}",
            )
        )
        for name in table
    }
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    fields = [
        field.with_metadata({"unit": said[field.name][0], "meaning": said[field.name][1]})
        for field in arrow.schema
    ]
    paths = [folder / f"comparison{end}" for end in (".parquet", ".csv", "_columns.csv")]
    pq.write_table(arrow.cast(pa.schema(fields, metadata=arrow.schema.metadata)), paths[0])
    table.to_csv(paths[1], index=False)
    pd.DataFrame(
        [(name, *said[name]) for name in said], columns=["column", "unit", "meaning"]
    ).to_csv(paths[2], index=False)
    return paths


def _line(heads: pd.DataFrame, among: int) -> dict[str, object]:
    names = heads["predictor"].to_numpy(object)
    follows = heads["follows_concept"].to_numpy(float)
    line: dict[str, object] = {key: heads[key].iloc[0] for key in ("world", "core_model")}
    line |= {
        "heads": len(heads),
        "predictors": heads["predictor"].nunique(),
        "gates_passed": heads["gates_passed"].mean(),
    }
    line |= {kind: int((heads["verdict"] == kind).sum()) for kind in KINDS}
    for name, value_K in (
        ("translators", heads["translator"].to_numpy(bool)),
        ("follows_concept", follows),
    ):
        alone, together = (
            estimate_mean(value_K, names, bounds=SHARE),
            estimate_mean(value_K, names, among, SHARE),
        )
        ends = {
            f"{name}_low": alone.low,
            f"{name}_high": alone.high,
            f"{name}_low_corrected": together.low,
            f"{name}_high_corrected": together.high,
        }
        line |= {name: alone.value} | ends
    found = find_two_modes(follows, names)
    line |= {
        "least": follows.min(),
        "median": float(np.median(follows)),
        "most": follows.max(),
        "two_heaps": found.describe() if found else "",
    }
    figures = [*FIGURES, *UNITS, *family_columns(heads)]
    line |= {
        name: float(value)
        for name, value in zip(
            figures, heads.reindex(columns=figures).astype(float).mean(), strict=True
        )
    }
    return line | {
        "matched": heads.groupby("predictor")["matched"].any().mean(),
        "chosen": bool(heads["chosen"].all()),
    }


def _none_first(values: pd.Series) -> pd.Series:
    return values.where(values != "none", "") if values.name == "prior" else values
