"""A table: people's own episodes, from files, with the columns that a YAML names.

python train.py experiment=own_labels world.files=docs/data/larger.csv world.text=text

N: rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from worlds.row_world import RowWorld
from worlds.table_files import list_names, read_files
from worlds.table_rows import Rows, Spec, read_rows, read_texts, wrap


@dataclass(frozen=True)
class Table(RowWorld):
    """Rows of files as episodes, as in `RowWorld`.

    Each of `concept`, `human`, `easy`, `group`, `family` and `twin` is a column, or an expression
    over columns: `abs_diff >= 10`, `label == "good" and file != "old"` (see `worlds.expressions`).

    Args:
        files: csv, tsv, json, jsonl or parquet, one or several; a folder that
            `datasets.save_to_disk` has written; or a data set on the hub. A column `file` is added:
            the file's name without its ending.
        download: whether a data set of the hub may be downloaded.
        text: what the predictor reads: a column, or a template such as "The city of {city} is in
            {country}."
        concept: X, a truth value.
        human: H, a truth value; or `label of cities by city,country`: H is `label` in the row of
            the file `cities` that has the same city and country. null where it is not known.
        easy: rows that heads are trained on; there X = H. By default, those with X = H of family
            "none"; with `by` in `human`, of the file that it names.
        group: rows that belong together, such as those on one city. By default, the text; with `by`
            in `human`, the first of its columns.
        family: how the human's view fails, in the rows that are not easy.
        twin: rows with the same value are twins of each other. By default, with `by` in `human`,
            those that name the same values (X flips) or all but one (H flips).
        prompt: a template around the text, such as "{text} Is that true?"
    """

    files: str | list[str]
    download: bool
    text: str
    concept: str
    human: str | None
    easy: str | None
    group: str | None
    family: str | None
    twin: str | None
    prompt: str

    name: ClassVar[str] = "table"
    reads: ClassVar[tuple[str, ...]] = ("text",)
    surface: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        _ = self.wrapped  # what is wrong with the table is said before anything is made

    @cached_property
    def rows(self) -> Rows:
        """The rows of the files."""
        table = read_files(list_names(self.files), self.download)
        texts = read_texts(self.text, table, "world.text")
        spec = Spec(self.concept, self.human, self.easy, self.group, self.family, self.twin)
        return read_rows(table, texts, spec)

    @cached_property
    def wrapped(self) -> pd.Series:
        """The texts with what is put around them."""
        return wrap(self.prompt, self.rows.text_N)

    def read_columns(self, chosen: NDArray[np.int64]) -> dict[str, Sequence[Any]]:
        """Returns the texts, and the first word of each: the opinion of a language model is its
        likelihood of the others.
        """
        texts = self.wrapped.iloc[chosen]
        return {"text": texts.tolist(), "prompt": texts.str.split(n=1).str[0].tolist()}
