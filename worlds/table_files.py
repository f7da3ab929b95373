"""Reading the files of a table: CSV, TSV, JSON, JSON lines, Parquet, and Hugging Face data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from console.errors import UserError
from storage.data_files import find_data

FILE = "file"
"""The column that is added: from which file a row comes, by its name without its ending."""


def _read_csv(path: Path, separator: str = ",") -> pd.DataFrame:
    # By default pandas takes "NA" and "None", which may be a code or a name, for missing.
    return pd.read_csv(
        path, sep=separator, keep_default_na=False, na_values=[""], encoding="utf-8-sig"
    )


def _read_tsv(path: Path) -> pd.DataFrame:
    return _read_csv(path, "\t")


def _read_json(path: Path) -> pd.DataFrame:
    return _read_json_text(path, lines=False)


def _read_json_lines(path: Path) -> pd.DataFrame:
    return _read_json_text(path, lines=True)


def _read_json_text(path: Path, lines: bool) -> pd.DataFrame:
    with path.open(encoding="utf-8") as text:
        return pd.read_json(text, lines=lines, convert_dates=False, convert_axes=False)


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".parquet": pd.read_parquet,
}


def read_files(names: Sequence[str], download: bool, key: str = "world.files") -> pd.DataFrame:
    """Returns the rows of all files, one after the other, with a column `file`.

    Args:
        names: files, folders that `datasets` has saved, or names of data sets on the hub. A path is
            looked for in the current folder, and then in this checkout.
        download: whether a data set that is not on this machine may be downloaded.
        key: the key of the config, for messages.

    Raises:
        UserError: a file is missing, empty, unreadable or of an unknown type; or two have one name.
    """
    if not names:
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
            tables[stem] = table.assign(**{FILE: stem})
    return pd.concat(tables.values(), ignore_index=True)


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
        return {Path(name).name: loaded.to_pandas()}
    assert isinstance(loaded, DatasetDict)
    return {str(split): part.to_pandas() for split, part in loaded.items()}


def _refuse_unreadable(name: str, error: Exception, key: str) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"{key}: {name} cannot be read ({reason}). Save it again, as UTF-8.")
