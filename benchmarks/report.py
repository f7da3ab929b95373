"""How long the comparison of ten thousand heads takes on one core, and what its page weighs.
python -m benchmarks.report [FOLDER] [HEADS]

Grows a folder of real runs to the number of heads that is asked for: each copy of a run gets a
predictor and shares of its own, and hashes that are right. Prints the seconds from the command to
the written page, the page's megabytes, and the most memory that was taken.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from report.write import PAGE
from storage.run_folder import CONFIG, HEADS, find_runs, write_hashes


def main(folder: str = "runs/every_prior", heads: str = "10000") -> None:
    """Grows, compares, and prints what it took."""
    with tempfile.TemporaryDirectory() as where:
        n = grow(Path(folder), Path(where), int(heads))
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "report", where],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        seconds = time.perf_counter() - begun
        size = (Path(where) / PAGE).stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(
        f"{n:,} heads: {seconds:.1f} s (bar: 20), page {size:.2f} MB (bar: 3), {memory:.2f} GB of"
        " memory"
    )


def grow(folder: Path, into: Path, least: int) -> int:
    """Copies runs until there are enough heads, with other predictors and seeds, and returns how
    many there are.
    """
    chance, n, copy = np.random.default_rng(0), 0, 0
    while n < least:
        for run in find_runs([folder]):
            there = into / f"{run.name}-{copy}"
            shutil.copytree(run, there)
            n += _other(there, copy, chance)
        copy += 1
    return n


def _other(run: Path, copy: int, chance: np.random.Generator) -> int:
    """Makes a copy of a run one of another predictor."""
    frame = pd.read_parquet(run / HEADS)
    config = yaml.safe_load((run / CONFIG).read_text())
    config["core_model"]["seed"] += 100 * copy
    (run / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
    frame["core_model_seed"] += 100 * copy
    frame["predictor"] = frame["predictor"] + f"-{copy}"
    frame["follows_concept"] = (frame["follows_concept"] + chance.normal(0, 0.03, len(frame))).clip(
        0, 1
    )
    frame["reason"] = [
        reason.replace("0.5", f"0.{chance.integers(100, 999)}", 1) for reason in frame["reason"]
    ]
    frame.to_parquet(run / HEADS, index=False)
    write_hashes(run, run / HEADS)
    return len(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
