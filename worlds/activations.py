"""Activations that others have extracted, and a table of what is known of each row.

python train.py experiment=own_activations

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
from torch import Tensor

from console.errors import UserError
from storage.extracted import load_extracted
from worlds.row_world import ROW, RowWorld
from worlds.table_files import list_names, read_files
from worlds.table_rows import Rows, Spec, read_rows, read_texts

NO_MODEL = (
    "The activations come without the model, so whether it uses what it knows of X, and where,"
    " cannot be measured. For verdicts, read the model itself: world=table."
)


@dataclass(frozen=True)
class Activations(RowWorld):
    """Rows of files as episodes, as in `RowWorld`, with the activations of each row. The predictor
    is core_model=stored; level 0 is the first level of the file.

    No verdict is given, because the model cannot be asked what it uses; behaviour, twins and
    controls are measured.

    Args:
        activations: safetensors or npy, of shape (rows, levels, width) or (rows, width), in the
            order of the rows of the table.
        files: the table, as in `worlds.table.Table`.
        download: whether a table of the hub may be downloaded.
        text: the text of each row, a column or a template, for controls; null where it is not
            known.
        concept: X, as the keys below: a column or an expression, as in `Table`.
        human: H.
        easy: rows that heads are trained on.
        group: rows that belong together. By default, those with the same text.
        family: how the human's view fails, in the rows that are not easy.
        twin: rows with the same value are twins of each other.
    """

    activations: str
    files: str | list[str]
    download: bool
    text: str | None
    concept: str
    human: str | None
    easy: str | None
    group: str | None
    family: str | None
    twin: str | None

    name: ClassVar[str] = "activations"
    reads: ClassVar[tuple[str, ...]] = (ROW,)

    def __post_init__(self) -> None:
        n_rows, n_activations = len(self.rows.text_N), len(self.z_NLD)
        if n_rows != n_activations:
            raise UserError(
                f"world.activations: {self.activations} has {n_activations} rows, and the table has"
                f" {n_rows}. Save one row of activations for each row of the table."
            )

    @property
    def surface(self) -> str | None:  # type: ignore[override]
        return None if self.text is None else "text"

    @property
    def undecidable(self) -> str | None:
        return super().undecidable or NO_MODEL

    @cached_property
    def z_NLD(self) -> Tensor:
        """The activations of all rows."""
        return load_extracted(self.activations, "world.activations")

    @cached_property
    def rows(self) -> Rows:
        """What is known of all rows."""
        table = read_files(list_names(self.files), self.download)
        texts = pd.Series(table.index.astype(str), index=table.index)
        if self.text is not None:
            texts = read_texts(self.text, table, "world.text")
        spec = Spec(self.concept, self.human, self.easy, self.group, self.family, self.twin)
        return read_rows(table, texts, spec)

    def read_columns(self, chosen: NDArray[np.int64]) -> dict[str, Sequence[Any]]:
        """Returns the numbers of the rows, and their texts where they are known."""
        columns: dict[str, Sequence[Any]] = {ROW: chosen.tolist()}
        if self.text is not None:
            columns["text"] = self.rows.text_N.iloc[chosen].tolist()
        return columns
