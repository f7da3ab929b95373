"""A run's folder: written once whole, read by everything that reports.

config.yaml, versions.json, heads.parquet (one row a head; its presence says that the run is finished), heads.safetensors, training.parquet (one
row a head and epoch), predictor.json, hashes.json (of all these), summary.md, plots/.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from refusal import Refusal

if TYPE_CHECKING:
    import pandas as pd

    from reporters.reporter import Reporter
    from training.heads import Heads
    from training.watch import Course

FORMAT = 2
"""Of a run's folder. Raise it when results that were written before must not be read as if they had been written now."""
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
JOBS = ("lookup.parquet", "lookup.png")
"""What experiments that are no runs of heads leave beside their summary."""
CHECKPOINT = "unfinished.ckpt"
PACKAGES = ("torch", "pytorch-lightning", "datasets", "omegaconf", "hydra-core", "numpy", "scipy", "scikit-learn", "transformers")


def is_finished(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the folder holds the results of this config, of this format; how Lightning runs a fit does not count."""
    return (folder / HEADS).exists() and _format(folder) == FORMAT and _deciding(_config(folder)) == _deciding(config)


def is_done(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the folder holds the results of this config's job."""
    return (folder / SUMMARY).exists() and _deciding(_config(folder)) == _deciding(config)


def begin(folder: Path, config: dict[str, Any]) -> None:
    """Makes the folder ready for a run. Results of another config move to a folder beside it; what an unfinished run of another left is removed."""
    is_old = (folder / HEADS).exists() and _format(folder) != FORMAT
    if is_old or ((folder / CONFIG).exists() and _deciding(_config(folder)) != _deciding(config)):
        if (folder / HEADS).exists() or (folder / SUMMARY).exists():
            _set_aside(folder)
        for left in folder.glob(f"{Path(CHECKPOINT).stem}*"):  # of the whole population, or of its parts
            left.unlink()
    try:
        _write(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
        _write(folder / VERSIONS, json.dumps(versions(), indent=2) + "\n")
    except OSError as error:
        raise Refusal(f"hydra.run.dir: {folder} cannot be written ({error.strerror}). Name another folder.") from None


def keep_course(folder: Path, heads: Heads, course: Course) -> None:
    """Writes training.parquet: how the training of each head went, epoch by epoch; no rows for heads that were solved for.

    epoch: passes over the training episodes that were done, 0 before any step. l_base: nats an episode of easy training episodes against H, with the
    whole charge. gradient_norm: of that, in nats an episode per unit of the trained parameters. l_int: nats an episode against X on everything as
    it comes. l_int_disputed, l_human_disputed: nats an episode against X, and against H, on disputed episodes. kept: whether the finished head has
    this epoch's weights (before edges are taken away).
    """
    import pandas as pd

    from core_model.store import replacing
    from report.rows import course_rows

    figures = ("l_base", "gradient_norm", "l_int", "l_int_disputed", "l_human_disputed")
    frame = pd.DataFrame(course_rows(heads, course), columns=["level", "levels", "seed", "strength", "epoch", *figures, "kept"])
    types = {"level": "Int64", "levels": "str", "seed": "int64", "strength": "float64", "epoch": "int64", "kept": "bool"}
    with replacing(folder / TRAINING) as temporary:
        frame.astype(types | dict.fromkeys(figures, "float64")).to_parquet(temporary, index=False)


def finish(folder: Path, config: dict[str, Any], heads: Heads, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Writes the results; heads.parquet comes last, after the hashes of all."""
    import pandas as pd

    from core_model.store import replacing, save
    from report.plots import follows_by
    from report.summary import markdown

    frame = pd.DataFrame(rows).astype({"level": "Int64"})
    facts = {"levels": heads.levels, "seeds": heads.seeds, "strengths": heads.strengths, "reporter": config["reporter"]}
    weights = {f"weights.{name}": value for name, value in heads.weights.items()}
    save(folder / WEIGHTS, {"mean_LD": heads.mean_LD, "std_LD": heads.std_LD} | weights, facts)
    _write(folder / PREDICTOR, json.dumps(about, indent=2) + "\n")
    (folder / PLOTS).mkdir(exist_ok=True)
    follows_by("level" if frame["level"].nunique() > 1 else "strength", frame, folder / PLOTS / "follows_concept.png")
    _write(folder / SUMMARY, markdown(frame, about))
    with replacing(folder / HEADS) as temporary:
        frame.to_parquet(temporary, index=False)
        seal(folder, temporary)


def seal(folder: Path, heads: Path) -> None:
    """Writes the hashes of a run's files.

    Args:
        heads: what will be its heads.parquet.
    """
    files = {name: folder / name for name in (CONFIG, VERSIONS, WEIGHTS, TRAINING, PREDICTOR) if (folder / name).exists()} | {HEADS: heads}
    _write(folder / HASHES, json.dumps({"format": FORMAT, "sha256": {name: _sha256(path) for name, path in files.items()}}, indent=2) + "\n")


def check_whole(folder: Path) -> None:
    """Raises Refusal where a finished run is of another version, lacks a file, or was changed by hand."""
    if _format(folder) != FORMAT:
        other = f"another version of this software wrote it (format {_format(folder)}, here {FORMAT}), or its {HASHES} is missing"
        raise Refusal(f"{folder}: {other}. Run it again: it is trained anew.")
    for name, digest in _hashes(folder)["sha256"].items():
        if not (folder / name).exists():
            raise Refusal(f"{folder}: {name} is missing. Bring it back, or delete the folder and run it again.")
        if _sha256(folder / name) != digest:
            raise Refusal(f"{folder}: {name} was changed after the run (its hash differs). Bring it back, or delete the folder and run it again.")


def read(folder: Path) -> pd.DataFrame:
    """Returns the heads of a finished run, one row each, with the folder's name in the column `run`."""
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
        raise Refusal(f"{folder}: {WEIGHTS} is damaged. Bring it back, or delete the folder and run it again.")
    tensors, facts = found
    weights = {name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")}
    mean_LD, nll = tensors["mean_LD"], read(folder)["validation_nll"].to_numpy()
    levels, seeds, strengths = (tuple(facts[name]) for name in ("levels", "seeds", "strengths"))
    return Heads(make(*mean_LD.shape), weights, mean_LD, tensors["std_LD"], levels, seeds, strengths, tensor(nll))


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
            raise Refusal(f"{folder}: there is no such folder. Name a run's folder, or one that holds runs.")
        runs = sorted(path.parent for path in folder.rglob(HEADS) if "~" not in path.parent.name)
        if not runs:
            raise Refusal(f"{folder}: it holds no finished run ({HEADS}). Train first: python train.py")
        found += runs
    return found


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
    return yaml.safe_load((folder / CONFIG).read_text()) or {}


def _format(folder: Path) -> int:
    """Returns the format of a finished run's folder; those before the second have no hashes."""
    return int(_hashes(folder)["format"]) if (folder / HASHES).exists() else 1


def _hashes(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / HASHES).read_text())
        return {"format": int(found["format"]), "sha256": dict(found["sha256"])}
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{folder}: {HASHES} is damaged. Bring it back, or delete the folder and run it again.") from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _deciding(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "trainer"}


def _set_aside(folder: Path) -> None:
    number = next(i for i in range(1, 10_000) if not folder.with_name(f"{folder.name}~{i}").exists())
    aside = folder.with_name(f"{folder.name}~{number}")
    aside.mkdir()
    for name in (HEADS, WEIGHTS, TRAINING, PREDICTOR, HASHES, SUMMARY, PLOTS, VERSIONS, CONFIG, *JOBS):
        if (folder / name).exists():
            shutil.move(folder / name, aside / name)
    print(f"{folder} held a run of another config; it is kept as {aside}.", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    from core_model.store import replacing

    with replacing(path) as temporary:
        temporary.write_text(text)
