"""The folder of a run: its files and their names, whether the run is finished, and whether a file
was changed afterwards.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from console.errors import UserError
from storage.atomic import write_atomically
from storage.data_files import hash_data
from storage.fingerprint import compute_fingerprint, get_data_part

if TYPE_CHECKING:
    import pandas as pd

    from storage.tensors import Tensors

FORMAT = 2
"""The format of a run's folder. Raise it when results that were written before must not be read as
if they had been written now.
"""
CONFIG = "config.yaml"
VERSIONS = "versions.json"
"""Versions of Python and packages, and the fingerprint of the code."""
HEADS = "heads.parquet"
"""One row for each head. The run is finished if this file is there."""
WEIGHTS = "heads.safetensors"
TRAINING = "training.parquet"
"""One row for each head and epoch."""
PREDICTIONS = "predictions.parquet"
"""What planted heads cost, and whom the heads will follow: written before these are trained."""
PREDICTED = "predictions.json"
"""The hash of the predictions, and when they were written."""
PREDICTOR = "predictor.json"
"""Facts about the predictor and about the judge."""
HASHES = "hashes.json"
"""Hashes of all files above: the same run has the same hashes."""
CLOCK = "clock.json"
"""Seconds, which differ from run to run: those of its parts, and those that its heads take."""
CLOCK_KEYS = ("clocked", "seconds")
"""The facts that are kept there."""
SUMMARY = "summary.md"
PLOTS = "plots"
FAILED = "failed.txt"
"""Why a run of a sweep failed: one line, and a traceback unless it was a user's mistake."""
IGNORED_KEYS = ("trainer", "logger")
"""Keys of a config that change no result."""
JOB_RESULTS = (
    *("lookup.parquet", "lookup.png", "map.html", "map.parquet"),
    *("double_descent.parquet", "double_descent.png", "double_descent.svg"),
    *("data_size.parquet", "data_size.png", "data_size.svg"),
)
"""What experiments that are no runs of heads write beside their summary."""
CHECKPOINT = "unfinished.ckpt"
LOCK = ".lock"
UNSEALED = ".heads.parquet.unsealed"
"""The temporary name of heads.parquet."""
PACKAGES = (
    "torch",
    "pytorch-lightning",
    "datasets",
    "omegaconf",
    "hydra-core",
    "numpy",
    "scipy",
    "scikit-learn",
    "transformers",
)
RESTORE = "Restore it, or delete the folder and run it again."


def drop_ignored_keys(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config without the keys that change no result."""
    return {key: value for key, value in config.items() if key not in IGNORED_KEYS}


def is_finished(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the folder holds the results of this config or of its job, written by this code in
    this format; keys that change no result do not count.
    """
    if "job" in config:
        return (folder / SUMMARY).exists() and not _describe_difference(folder, config)
    if not (folder / HEADS).exists() or _read_format(folder) != FORMAT:
        return False
    return not _describe_difference(folder, config)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Waits until no other process works on the folder's run, and makes others wait during the
    block.
    """
    file_lock = FileLock(folder / LOCK)
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder}: waiting for another process that works on this run.", file=sys.stderr)
        file_lock.acquire()
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        file_lock.release()


def begin(folder: Path, config: dict[str, Any]) -> None:
    """Prepares the folder for a run.

    Results of another config, or of other code, move to a folder beside it; checkpoints of another
    run are removed.
    """
    if (folder / HEADS).exists() and _read_format(folder) != FORMAT:
        difference = "an earlier version"
    else:
        difference = _describe_difference(folder, config)
    if difference:
        if (folder / HEADS).exists() or (folder / SUMMARY).exists():
            _set_aside(folder, difference)
        # A fit in several parts has several checkpoints.
        for checkpoint in folder.glob(f"{Path(CHECKPOINT).stem}*"):
            checkpoint.unlink()
        for name in (PREDICTIONS, PREDICTED):
            (folder / name).unlink(missing_ok=True)
    versions = collect_versions() | {"code": compute_fingerprint(config)}
    try:
        (folder / FAILED).unlink(missing_ok=True)
        _write(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
        _write(folder / VERSIONS, json.dumps(versions, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"hydra.run.dir: {folder} is not writable ({error.strerror}). Name another folder."
        ) from None


def save_table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Writes one table, whole or not at all."""
    with write_atomically(folder / name) as temporary:
        frame.to_parquet(temporary, index=False)


def load_or_predict(folder: Path, predict: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Returns the predictions of a run: those that it has already, or new ones, which are written
    with their hash and the time.

    Raises:
        UserError: those that it has are missing, or were changed afterwards.
    """
    from pyarrow.parquet import ParquetFile

    if not (folder / PREDICTED).exists():
        save_table(folder, PREDICTIONS, predict())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"sha256": _hash_file(folder / PREDICTIONS), "written": now}
        _write(folder / PREDICTED, json.dumps(facts, indent=2) + "\n")
    file = folder / PREDICTIONS
    if not file.exists() or _hash_file(file) != read_facts(folder / PREDICTED)["sha256"]:
        raise UserError(
            f"{file}: it is missing, or was changed after it was written (its hash differs)."
            f" {RESTORE}"
        )
    with ParquetFile(file) as opened:
        return opened.read().to_pandas()


def save(
    folder: Path,
    weights: Tensors,
    facts: dict[str, Any],
    heads: pd.DataFrame,
    predictor: dict[str, Any],
) -> None:
    """Writes the results of a run. The run is finished only after `seal`: until then heads.parquet
    has a temporary name.

    Args:
        weights: tensors of the heads, by name.
        facts: plain values that belong to the weights.
        heads: one row for each head.
        predictor: facts about the predictor and about the judge.
    """
    from storage.tensors import save as save_tensors

    clock = {key: predictor[key] for key in CLOCK_KEYS if key in predictor}
    lasting = {key: value for key, value in predictor.items() if key not in clock}
    save_tensors(folder / WEIGHTS, weights, facts)
    _write(folder / PREDICTOR, json.dumps(lasting, indent=2) + "\n")
    _write(folder / CLOCK, json.dumps(clock, indent=2) + "\n")
    save_table(folder, UNSEALED, heads)


def seal(folder: Path) -> None:
    """Writes the hashes of a run's files and gives heads.parquet its name: the run is finished."""
    write_hashes(folder, folder / UNSEALED)
    (folder / UNSEALED).replace(folder / HEADS)


def write_hashes(folder: Path, heads: Path) -> None:
    """Writes the hashes of a run's files.

    Args:
        heads: the file that is, or will become, the run's heads.parquet.
    """
    names = (CONFIG, VERSIONS, WEIGHTS, TRAINING, PREDICTOR, PREDICTIONS)
    files = {name: folder / name for name in names if (folder / name).exists()}
    files[HEADS] = heads
    hashes = {name: _hash_file(path) for name, path in files.items()}
    _write(folder / HASHES, json.dumps({"format": FORMAT, "sha256": hashes}, indent=2) + "\n")


def check_whole(folder: Path) -> None:
    """Checks that a finished run has this format, and that all of its files are there, unchanged.

    Raises:
        UserError: it has another format, lacks a file, or was changed by hand.
    """
    if _read_format(folder) != FORMAT:
        raise UserError(
            f"{folder}: another version of this software wrote it (format {_read_format(folder)},"
            f" here {FORMAT}), or its {HASHES} is missing. Run it again: it is trained again."
        )
    for name, digest in _read_hashes(folder)["sha256"].items():
        if not (folder / name).exists():
            raise UserError(f"{folder}: {name} is missing. {RESTORE}")
        if _hash_file(folder / name) != digest:
            raise UserError(
                f"{folder}: {name} was changed after the run (its hash differs). {RESTORE}"
            )


def check_data(folder: Path) -> None:
    """Checks that the files of data that a run was made from are unchanged.

    Raises:
        UserError: they are not, so that rows that heads were trained on cannot be told from others.
    """
    if get_data_part(_read_versions(folder).get("code", "")) != hash_data(read_config(folder)):
        raise UserError(
            f"{folder}: its files of data differ from those that it was made from, so rows that"
            " heads were trained on cannot be told from others. Restore them, or run it again."
        )


def read_heads(folder: Path) -> pd.DataFrame:
    """Returns the heads of a finished run, one row each, with the folder's name in the column
    `run`.
    """
    # The reader of one file starts five times as fast as that of folders, pandas.read_parquet.
    from pyarrow.parquet import ParquetFile

    with ParquetFile(folder / HEADS) as file:
        return file.read().to_pandas().assign(run=folder.name)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the whole config of a run."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the loader in C is ten times as fast
    return yaml.load((folder / CONFIG).read_text(encoding="utf-8"), Loader=loader) or {}


def read_weights(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """Returns the tensors of a run's heads, and the plain values that belong to them.

    Raises:
        UserError: the file is damaged.
    """
    from storage.tensors import load

    content = load(folder / WEIGHTS)
    if content is None:
        raise UserError(f"{folder}: {WEIGHTS} is damaged. {RESTORE}")
    return content


def read_predictor(folder: Path) -> dict[str, Any]:
    """Returns the facts that a finished run holds about its predictor and its judge, with its
    seconds; older runs hold all of them in one file.
    """
    facts: dict[str, Any] = json.loads((folder / PREDICTOR).read_text(encoding="utf-8"))
    if (folder / CLOCK).exists():
        facts |= json.loads((folder / CLOCK).read_text(encoding="utf-8"))
    return facts


def read_facts(file: Path) -> dict[str, Any]:
    """Returns the content of a JSON file; nothing where there is none."""
    if not file.exists():
        return {}
    facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return facts


def find_runs(folders: list[Path]) -> list[Path]:
    """Returns the finished runs in folders, at any depth, without those that were set aside; a run
    whose own folder is named is among them.

    Raises:
        UserError: a folder does not exist, or holds no finished run.
    """
    runs = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder}: there is no such folder. Name a run's folder, or one that holds runs."
            )
        files = [
            file
            for file in folder.rglob(HEADS)
            if file.parent == folder or not is_set_aside(file.parent)
        ]
        if not files:
            raise UserError(
                f"{folder}: it holds no finished run ({HEADS}). Train first: python train.py"
            )
        runs += sorted(file.parent for file in files)
    return runs


def record_failure(folder: Path, reason: str, traceback: str = "") -> None:
    """Writes why a run failed: one line, and below it the traceback unless it was a user's
    mistake.
    """
    try:
        _write(folder / FAILED, f"{reason}\n{traceback}")
    except UserError as error:
        # On a full disk the other runs of a sweep still have their turn.
        print(f"error: {error}", file=sys.stderr)


def find_failures(folders: Iterable[Path]) -> dict[str, str]:
    """Returns the runs that failed, by name, each with the reason in one line."""
    reasons = {}
    for folder in folders:
        if (folder / FAILED).exists():
            text = (folder / FAILED).read_text(encoding="utf-8")
            reasons[folder.name] = text.partition("\n")[0]
    return reasons


def collect_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results may depend on."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _read_format(folder: Path) -> int:
    """Returns the format of a finished run's folder; folders of format 1 have no hashes."""
    return int(_read_hashes(folder)["format"]) if (folder / HASHES).exists() else 1


def _read_hashes(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        return {"format": int(content["format"]), "sha256": dict(content["sha256"])}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: {HASHES} is damaged. {RESTORE}") from None


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _describe_difference(folder: Path, config: dict[str, Any]) -> str:
    """Returns what the folder's run was made with that differs from this config and this code, in
    words; an empty text where nothing differs, or where there is no run.
    """
    if not (folder / CONFIG).exists():
        return ""
    if drop_ignored_keys(read_config(folder)) != drop_ignored_keys(config):
        return "another config"
    if _read_versions(folder).get("code") != compute_fingerprint(config):
        return "other code or data"
    return ""


def _read_versions(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / VERSIONS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def is_set_aside(folder: Path) -> bool:
    """Whether a folder's name ends with the mark of results that were set aside.

    >>> [is_set_aside(Path(name)) for name in ("run~1", "run~12", "run~v2", "~1", "run~1b", "run~")]
    [True, True, False, False, False, False]
    """
    return re.fullmatch(r".+~[1-9][0-9]*", folder.name) is not None


def _set_aside(folder: Path, difference: str) -> None:
    """Moves the results in a folder to the first free folder of its name with ~1, ~2, ..."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}~{number}")).exists():
        number += 1
    aside.mkdir()
    results = (HEADS, WEIGHTS, TRAINING, PREDICTOR, CLOCK, HASHES, SUMMARY, PLOTS, VERSIONS, CONFIG)
    for name in (*results, PREDICTIONS, PREDICTED, *JOB_RESULTS):
        if (folder / name).exists():
            shutil.move(folder / name, aside / name)
    print(f"{folder} held a run of {difference}; it is kept as {aside}.", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
