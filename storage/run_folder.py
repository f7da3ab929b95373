"""A run's folder: written once whole, read by everything that reports.

config.yaml, versions.json, heads.parquet (one row a head; its presence says that the run is
finished), heads.safetensors, training.parquet (one row a head and epoch), predictor.json,
hashes.json (of all these), summary.md, plots/.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from console.errors import UserError
from storage.atomic import replacing
from storage.fingerprint import fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from storage.tensors import Tensors

FORMAT = 2
"""Of a run's folder. Raise it when results that were written before must not be read as if they had
been written now.
"""
CONFIG, VERSIONS, HEADS, WEIGHTS, TRAINING, PREDICTOR, HASHES, SUMMARY, PLOTS = (
    "config.yaml",
    "versions.json",
    "heads.parquet",
    "heads.safetensors",
    "training.parquet",
    "predictor.json",
    "hashes.json",
    "summary.md",
    "plots",
)
FAILED = "failed.txt"
"""Why a run of a sweep could not be finished: one line, and where, if it was no user's mistake."""
NOT_DECIDING = ("trainer", "logger")
"""Keys of a config that change no result."""
JOBS = ("lookup.parquet", "lookup.png")
"""What experiments that are no runs of heads leave beside their summary."""
CHECKPOINT, LOCK, UNSEALED = "unfinished.ckpt", ".lock", ".heads.parquet.unsealed"
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


def drop_undeciding(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config without what changes no result."""
    return {key: value for key, value in config.items() if key not in NOT_DECIDING}


def is_finished(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the folder holds the results of this config or of its job, by this code, of this
    format; what changes no result does not count.
    """
    if "job" in config:
        return (folder / SUMMARY).exists() and not _differs(folder, config)
    return (folder / HEADS).exists() and _format(folder) == FORMAT and not _differs(folder, config)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Waits until no other process is at work on the folder's run, and keeps others waiting
    meanwhile.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder}: another process is at work on this run; waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def begin(folder: Path, config: dict[str, Any]) -> None:
    """Makes the folder ready for a run. Results of another config, or by other code, move to a
    folder beside it; what an unfinished run of another left is removed.
    """
    differs = (
        "an earlier version"
        if (folder / HEADS).exists() and _format(folder) != FORMAT
        else _differs(folder, config)
    )
    if differs:
        if (folder / HEADS).exists() or (folder / SUMMARY).exists():
            _set_aside(folder, differs)
        # Checkpoints of the whole population, or of its parts.
        for checkpoint in folder.glob(f"{Path(CHECKPOINT).stem}*"):
            checkpoint.unlink()
    try:
        (folder / FAILED).unlink(missing_ok=True)
        _write(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
        _write(
            folder / VERSIONS,
            json.dumps(collect_versions() | {"code": fingerprint(config)}, indent=2) + "\n",
        )
    except OSError as error:
        raise UserError(
            f"hydra.run.dir: {folder} cannot be written ({error.strerror}). Name another folder."
        ) from None


def save_table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    """Writes one table, whole or not at all."""
    with replacing(folder / name) as temporary:
        frame.to_parquet(temporary, index=False)


def save(
    folder: Path,
    weights: Tensors,
    facts: dict[str, Any],
    heads: pd.DataFrame,
    predictor: dict[str, Any],
) -> None:
    """Writes a run's results. The run counts as finished after `seal` alone: until then the table
    of its heads has a temporary name.

    Args:
        weights: tensors of the heads, by name.
        facts: plain values that belong to the weights.
        heads: one row a head.
        predictor: what is known of the predictor and of the judge.
    """
    from storage.tensors import save as save_tensors

    save_tensors(folder / WEIGHTS, weights, facts)
    _write(folder / PREDICTOR, json.dumps(predictor, indent=2) + "\n")
    heads.to_parquet(folder / UNSEALED, index=False)


def seal(folder: Path) -> None:
    """Writes the hashes of a run's files and gives the table of its heads its name, which says that
    the run is finished.
    """
    write_hashes(folder, folder / UNSEALED)
    (folder / UNSEALED).replace(folder / HEADS)


def write_hashes(folder: Path, heads: Path) -> None:
    """Writes the hashes of a run's files.

    Args:
        heads: the file that is, or will be, its heads.parquet.
    """
    names = (CONFIG, VERSIONS, WEIGHTS, TRAINING, PREDICTOR)
    files = {name: folder / name for name in names if (folder / name).exists()} | {HEADS: heads}
    hashes = {name: _sha256(path) for name, path in files.items()}
    _write(folder / HASHES, json.dumps({"format": FORMAT, "sha256": hashes}, indent=2) + "\n")


def check_whole(folder: Path) -> None:
    """Raises UserError where a finished run is of another version, lacks a file, or was changed by
    hand.
    """
    if _format(folder) != FORMAT:
        other = (
            f"another version of this software wrote it (format {_format(folder)}, here {FORMAT}),"
            f" or its {HASHES} is missing"
        )
        raise UserError(f"{folder}: {other}. Run it again: it is trained anew.")
    for name, digest in _hashes(folder)["sha256"].items():
        if not (folder / name).exists():
            raise UserError(
                f"{folder}: {name} is missing. Bring it back, or delete the folder and run it"
                " again."
            )
        if _sha256(folder / name) != digest:
            raise UserError(
                f"{folder}: {name} was changed after the run (its hash differs). Bring it back, or"
                " delete the folder and run it again."
            )


def read_heads(folder: Path) -> pd.DataFrame:
    """Returns the heads of a finished run, one row each, with the folder's name in the column
    `run`.
    """
    import pandas as pd

    return pd.read_parquet(folder / HEADS).assign(run=folder.name)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the whole config of a run."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast in C
    return yaml.load((folder / CONFIG).read_text(), Loader=loader) or {}


def read_weights(folder: Path) -> tuple[Tensors, dict[str, Any]]:
    """Returns the tensors of a run's heads, and the plain values that belong to them.

    Raises:
        UserError: the file is damaged.
    """
    from storage.tensors import load

    found = load(folder / WEIGHTS)
    if found is None:
        raise UserError(
            f"{folder}: {WEIGHTS} is damaged. Bring it back, or delete the folder and run it again."
        )
    return found


def read_predictor(folder: Path) -> dict[str, Any]:
    """Returns what a finished run says of its predictor and its judge."""
    return json.loads((folder / PREDICTOR).read_text())  # type: ignore[no-any-return]


def find_runs(folders: list[Path]) -> list[Path]:
    """Returns the finished runs in folders, at any depth, but for those set aside.

    Raises:
        UserError: a folder is not there, or holds none.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder}: there is no such folder. Name a run's folder, or one that holds runs."
            )
        runs = sorted(path.parent for path in folder.rglob(HEADS) if "~" not in path.parent.name)
        if not runs:
            raise UserError(
                f"{folder}: it holds no finished run ({HEADS}). Train first: python train.py"
            )
        found += runs
    return found


def record_failure(folder: Path, why: str, where: str = "") -> None:
    """Writes why a run could not be finished: one line, and below it where in the code, if it was
    no user's mistake.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / FAILED, f"{why}\n{where}")


def find_failures(folders: Iterable[Path]) -> dict[str, str]:
    """Returns those of the runs that could not be finished, by name, each with why in one line."""
    return {
        folder.name: (folder / FAILED).read_text().partition("\n")[0]
        for folder in folders
        if (folder / FAILED).exists()
    }


def collect_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results may depend on."""
    known = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known


def _format(folder: Path) -> int:
    """Returns the format of a finished run's folder; those before the second have no hashes."""
    return int(_hashes(folder)["format"]) if (folder / HASHES).exists() else 1


def _hashes(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / HASHES).read_text())
        return {"format": int(found["format"]), "sha256": dict(found["sha256"])}
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder}: {HASHES} is damaged. Bring it back, or delete the folder and run it again."
        ) from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _differs(folder: Path, config: dict[str, Any]) -> str:
    """Returns in what a folder's run differs from one of this config by this code, in words;
    nothing where it does not, or where there is none.
    """
    if not (folder / CONFIG).exists():
        return ""
    if drop_undeciding(read_config(folder)) != drop_undeciding(config):
        return "another config"
    return "" if _versions(folder).get("code") == fingerprint(config) else "other code"


def _versions(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / VERSIONS).read_text()))
    except (OSError, ValueError):
        return {}


def _set_aside(folder: Path, what: str) -> None:
    number = next(
        i for i in range(1, 10_000) if not folder.with_name(f"{folder.name}~{i}").exists()
    )
    aside = folder.with_name(f"{folder.name}~{number}")
    aside.mkdir()
    for name in (
        HEADS,
        WEIGHTS,
        TRAINING,
        PREDICTOR,
        HASHES,
        SUMMARY,
        PLOTS,
        VERSIONS,
        CONFIG,
        *JOBS,
    ):
        if (folder / name).exists():
            shutil.move(folder / name, aside / name)
    print(f"{folder} held a run of {what}; it is kept as {aside}.", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)
