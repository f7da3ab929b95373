"""Reading the files of a table: CSV, TSV, JSON, JSON lines, Parquet, and Hugging Face data sets.
Every value is a text, as the file writes it: expressions read numbers and truth values from texts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from console.errors import UserError
from storage.data_files import find_data

FILE = "file"
"""The column that is added: from which file a row comes, by its name without its ending."""


LONGEST_FIELD = 2**31 - 1
"""Characters; the default of Python's csv module is 131,072."""
NESTED = (list, tuple, dict, np.ndarray)
"""Values of which a field may hold several."""


def _read_csv(path: Path, separator: str = ",") -> pd.DataFrame:
    """Returns the fields of a file, of which an empty one is a missing value. Columns without a
    name, such as the index that pandas writes, are left out.
    """
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=separator, strict=True)
        try:
            names, *rows = [fields for fields in reader if fields] or [[]]
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from None
    _check_fields(names, rows)
    table = pd.DataFrame(rows, columns=names, dtype=str)
    table = table[[name for name in names if name]]
    return table.where(table != "")


def _check_fields(names: list[str], rows: list[list[str]]) -> None:
    """Raises ValueError where two columns have one name, or a row has more or fewer fields."""
    for name in names:
        if name and names.count(name) > 1:
            raise ValueError(f"{names.count(name)} columns are named {name}")
    for number, fields in enumerate(rows, start=1):
        if len(fields) != len(names):
            raise ValueError(
                f"row {number} has {len(fields)} fields, and the header names {len(names)} columns;"
                " a field that holds the separator needs quotes"
            )


def _read_tsv(path: Path) -> pd.DataFrame:
    return _read_csv(path, "\t")


def _read_json(path: Path) -> pd.DataFrame:
    return pd.DataFrame(_parse_json(path.read_text(encoding="utf-8-sig")))


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows = []
    with path.open(encoding="utf-8-sig") as text:
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            try:
                rows.append(_parse_json(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    return pd.DataFrame(rows)


def _parse_json(text: str) -> Any:
    """Returns what a text of JSON stands for, with numbers as they are written there."""
    return json.loads(text, parse_int=str, parse_float=str)


def _read_parquet(path: Path) -> pd.DataFrame:
    # By default whole numbers become fractions, 7 becomes 7.0, where one of them is missing.
    options = {"integer_object_nulls": True}
    return pd.read_parquet(path, engine="pyarrow", to_pandas_kwargs=options)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}


def read_files(names: Sequence[str], download: bool, key: str = "world.files") -> pd.DataFrame:
    """Returns the rows of all files, one after the other, as texts, with a column `file`; lists
    and the like stay what they are.

    Args:
        names: files, folders that `datasets` has saved, or names of data sets on the hub. A path is
            looked for in the current folder, and then in this checkout.
        download: whether a data set that is not on this machine may be downloaded.
        key: the key of the config, for messages.

    Raises:
        UserError: a file is missing, empty, unreadable or of an unknown type; or two have one name.
    """
    if not names or "" in names:
        raise UserError(f"{key}: no file is named. For example: {key}=mine.csv")
    tables: dict[str, pd.DataFrame] = {}
    for name in names:
        for stem, table in _read_source(name, download, key).items():
            if stem in tables:
                raise UserError(f"{key}: two files are named {stem}. Rename one of them.")
            if FILE in table.columns:
                raise UserError(
                    f"{key}: {name} has a column {FILE}, the name of the column that is added."
                    " Rename it."
                )
            if table.empty:
                raise UserError(f"{key}: {name} has no rows. Name a file that has some.")
            tables[stem] = table.apply(_to_texts).assign(**{FILE: stem})
    return pd.concat(tables.values(), ignore_index=True)


def describe_row(table: pd.DataFrame, position: int) -> str:
    """Returns in words which row of which file a row of the table is; the first is row 1.

    >>> describe_row(pd.DataFrame({"file": ["old", "new", "new"]}), 2)
    'row 2 (file new)'
    """
    file_N = table[FILE].to_numpy()
    name = file_N[position]
    return f"row {np.count_nonzero(file_N[:position] == name) + 1} (file {name})"


def is_nested(values: pd.Series) -> pd.Series:
    """Returns where a column holds lists and the like."""
    return values.map(lambda value: isinstance(value, NESTED))


def _to_texts(values: pd.Series) -> pd.Series:
    """Returns the values of a column as texts; missing ones are missing."""
    if values.dtype == object and is_nested(values).any():
        return values
    return values.astype(str)


def list_names(files: str | Sequence[str]) -> list[str]:
    """Returns the names of one or several files as a list."""
    return [files] if isinstance(files, str) else list(files)


def _read_source(name: str, download: bool, key: str) -> dict[str, pd.DataFrame]:
    """Returns the tables that a name stands for, by what the column `file` calls them."""
    path = find_data(name)
    if path is None and (Path(name).suffix in READERS or name.startswith((".", "/", "~"))):
        raise UserError(f"{key}: {name} does not exist. Name a file that does.")
    if path is None or path.is_dir():
        return _read_dataset(name, path, download, key)
    if path.suffix not in READERS:
        raise UserError(
            f"{key}: {name} is of no known type. It must end in {', '.join(READERS)}, or be a"
            " folder that datasets.save_to_disk has written."
        )
    if not path.stat().st_size:
        raise UserError(f"{key}: {name} is empty. Name a file that has rows.")
    try:
        return {path.stem: READERS[path.suffix](path)}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise _refuse_unreadable(name, error, key) from None


def _read_dataset(name: str, path: Path | None, download: bool, key: str) -> dict[str, Any]:
    """Returns the splits of a Hugging Face data set."""
    if path is None and not download:
        raise UserError(
            f"{key}: {name} is neither a file nor a folder here. Set world.download=true if it is a"
            " data set on the hub."
        )
    try:
        loaded = load_dataset(name) if path is None else load_from_disk(str(path))
    except Exception as error:
        raise _refuse_unreadable(name, error, key) from None
    if isinstance(loaded, Dataset):
        return {Path(name).name: _read_arrow(loaded)}
    assert isinstance(loaded, DatasetDict)
    return {str(split): _read_arrow(part) for split, part in loaded.items()}


def _read_arrow(rows: Dataset) -> pd.DataFrame:
    table: pd.DataFrame = rows.with_format("arrow")[:].to_pandas(integer_object_nulls=True)
    return table


def _refuse_unreadable(name: str, error: Exception, key: str) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(
        f"{key}: {name} cannot be read ({reason}). Correct it, or save it again, as UTF-8."
    )
