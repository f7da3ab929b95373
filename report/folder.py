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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout

from core_model.replacing import replacing
from refusal import Refusal
from report.fingerprint import fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from reporters.reporter import Reporter
    from training.heads import Heads
    from training.watch import Course

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
CHECKPOINT, LOCK = "unfinished.ckpt", ".lock"
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


def matters(config: dict[str, Any]) -> dict[str, Any]:
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
def alone(folder: Path) -> Iterator[None]:
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
        for left in folder.glob(
            f"{Path(CHECKPOINT).stem}*"
        ):  # of the whole population, or of its parts
            left.unlink()
    try:
        (folder / FAILED).unlink(missing_ok=True)
        _write(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
        _write(
            folder / VERSIONS,
            json.dumps(versions() | {"code": fingerprint(config)}, indent=2) + "\n",
        )
    except OSError as error:
        raise Refusal(
            f"hydra.run.dir: {folder} cannot be written ({error.strerror}). Name another folder."
        ) from None


def keep_course(folder: Path, heads: Heads, course: Course) -> None:
    """Writes training.parquet: how the training of each head went, epoch by epoch; no rows for
    heads that were solved for.

    epoch: passes over the training episodes that were done, 0 before any step. l_base: nats an
    episode of easy training episodes against H, with the whole charge. gradient_norm: of that, in
    nats an episode per unit of the trained parameters. l_int: nats an episode against X on
    everything as it comes. l_int_disputed, l_human_disputed: nats an episode against X, and against
    H, on disputed episodes. kept: whether the finished head has this epoch's weights (before edges
    are taken away).
    """
    import pandas as pd

    from report.rows import course_rows

    figures = ("l_base", "gradient_norm", "l_int", "l_int_disputed", "l_human_disputed")
    frame = pd.DataFrame(
        course_rows(heads, course),
        columns=["level", "levels", "seed", "strength", "epoch", *figures, "kept"],
    )
    types = {
        "level": "Int64",
        "levels": "str",
        "seed": "int64",
        "strength": "float64",
        "epoch": "int64",
        "kept": "bool",
    }
    with replacing(folder / TRAINING) as temporary:
        frame.astype(types | dict.fromkeys(figures, "float64")).to_parquet(temporary, index=False)


def finish(
    folder: Path,
    config: dict[str, Any],
    heads: Heads,
    rows: list[dict[str, Any]],
    about: dict[str, Any],
) -> None:
    """Writes the results; heads.parquet comes last, after the hashes of all."""
    import pandas as pd

    from core_model.store import save
    from report.plots import follows_by
    from report.summary import markdown

    frame = pd.DataFrame(rows).astype({"level": "Int64"})
    facts = {
        "levels": heads.levels,
        "seeds": heads.seeds,
        "strengths": heads.strengths,
        "reporter": config["reporter"],
    }
    weights = {f"weights.{name}": value for name, value in heads.weights.items()}
    save(folder / WEIGHTS, {"mean_LD": heads.mean_LD, "std_LD": heads.std_LD} | weights, facts)
    _write(folder / PREDICTOR, json.dumps(about, indent=2) + "\n")
    (folder / PLOTS).mkdir(exist_ok=True)
    follows_by(
        "level" if frame["level"].nunique() > 1 else "strength",
        frame,
        folder / PLOTS / "follows_concept.png",
    )
    _write(folder / SUMMARY, markdown(frame, about))
    with replacing(folder / HEADS) as temporary:
        frame.to_parquet(temporary, index=False)
        seal(folder, temporary)


def seal(folder: Path, heads: Path) -> None:
    """Writes the hashes of a run's files.

    Args:
        heads: what will be its heads.parquet.
    """
    files = {
        name: folder / name
        for name in (CONFIG, VERSIONS, WEIGHTS, TRAINING, PREDICTOR)
        if (folder / name).exists()
    } | {HEADS: heads}
    _write(
        folder / HASHES,
        json.dumps(
            {"format": FORMAT, "sha256": {name: _sha256(path) for name, path in files.items()}},
            indent=2,
        )
        + "\n",
    )


def check_whole(folder: Path) -> None:
    """Raises Refusal where a finished run is of another version, lacks a file, or was changed by
    hand.
    """
    if _format(folder) != FORMAT:
        other = (
            f"another version of this software wrote it (format {_format(folder)}, here {FORMAT}),"
            f" or its {HASHES} is missing"
        )
        raise Refusal(f"{folder}: {other}. Run it again: it is trained anew.")
    for name, digest in _hashes(folder)["sha256"].items():
        if not (folder / name).exists():
            raise Refusal(
                f"{folder}: {name} is missing. Bring it back, or delete the folder and run it"
                " again."
            )
        if _sha256(folder / name) != digest:
            raise Refusal(
                f"{folder}: {name} was changed after the run (its hash differs). Bring it back, or"
                " delete the folder and run it again."
            )


def read(folder: Path) -> pd.DataFrame:
    """Returns the heads of a finished run, one row each, with the folder's name in the column
    `run`.
    """
    import pandas as pd

    return pd.read_parquet(folder / HEADS).assign(run=folder.name)


def saved_config(folder: Path) -> dict[str, Any]:
    """Returns the whole config of a run."""
    return _config(folder)


def saved_heads(folder: Path, make: Callable[[int, int], Reporter]) -> Heads:
    """Returns the finished heads of a run.

    Args:
        make: from a number of levels and a width to a reporter.
    """
    from torch import tensor

    from core_model.store import load
    from training.heads import Heads

    found = load(folder / WEIGHTS)
    if found is None:
        raise Refusal(
            f"{folder}: {WEIGHTS} is damaged. Bring it back, or delete the folder and run it again."
        )
    tensors, facts = found
    weights = {
        name.removeprefix("weights."): value
        for name, value in tensors.items()
        if name.startswith("weights.")
    }
    mean_LD, nll = tensors["mean_LD"], read(folder)["validation_nll"].to_numpy()
    levels, seeds, strengths = (tuple(facts[name]) for name in ("levels", "seeds", "strengths"))
    return Heads(
        make(*mean_LD.shape),
        weights,
        mean_LD,
        tensors["std_LD"],
        levels,
        seeds,
        strengths,
        tensor(nll),
    )


def about(folder: Path) -> dict[str, Any]:
    """Returns what a finished run says of its predictor and its judge."""
    return json.loads((folder / PREDICTOR).read_text())  # type: ignore[no-any-return]


def finished_runs(folders: list[Path]) -> list[Path]:
    """Returns the finished runs in folders, at any depth, but for those set aside.

    Raises:
        Refusal: a folder is not there, or holds none.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise Refusal(
                f"{folder}: there is no such folder. Name a run's folder, or one that holds runs."
            )
        runs = sorted(path.parent for path in folder.rglob(HEADS) if "~" not in path.parent.name)
        if not runs:
            raise Refusal(
                f"{folder}: it holds no finished run ({HEADS}). Train first: python train.py"
            )
        found += runs
    return found


def fail(folder: Path, why: str, where: str = "") -> None:
    """Writes why a run could not be finished: one line, and below it where in the code, if it was
    no user's mistake.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / FAILED, f"{why}\n{where}")


def failures(folders: Iterable[Path]) -> dict[str, str]:
    """Returns those of the runs that could not be finished, by name, each with why in one line."""
    return {
        folder.name: (folder / FAILED).read_text().partition("\n")[0]
        for folder in folders
        if (folder / FAILED).exists()
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results may depend on."""
    known = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known


def _config(folder: Path) -> dict[str, Any]:
    return (
        yaml.load(
            (folder / CONFIG).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        or {}
    )  # ten times as fast in C


def _format(folder: Path) -> int:
    """Returns the format of a finished run's folder; those before the second have no hashes."""
    return int(_hashes(folder)["format"]) if (folder / HASHES).exists() else 1


def _hashes(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / HASHES).read_text())
        return {"format": int(found["format"]), "sha256": dict(found["sha256"])}
    except (ValueError, KeyError, TypeError):
        raise Refusal(
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
    if matters(_config(folder)) != matters(config):
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
