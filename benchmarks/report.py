"""How long the comparison of ten thousand heads takes on one core, and how large its page is.

python -m benchmarks.report [FOLDER] [HEADS] [HEADS_OF_A_RUN]

Copies the runs of a folder until there are enough heads. Each copy of a run has another predictor,
other shares and valid hashes, and at most HEADS_OF_A_RUN heads (14 gives 715 small runs). Prints
the seconds from the command to the finished page, the megabytes of the page and the peak of memory.
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


def main(
    folder: str = "runs/priors", heads: str = "10000", heads_of_a_run: str = "1000000"
) -> None:
    """Copies the runs, compares them, and prints the costs."""
    with tempfile.TemporaryDirectory() as copies:
        n = copy_runs(Path(folder), Path(copies), int(heads), int(heads_of_a_run))
        seconds = time_comparison(copies)
        size = (Path(copies) / PAGE).stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(
        f"{n:,} heads: {seconds:.1f} s (bar: 20), page {size:.2f} MB (bar: 3), {memory:.2f} GB of"
        " memory"
    )


def time_comparison(folder: str) -> float:
    """Returns the seconds that the comparison of a folder takes on one core."""
    command = [sys.executable, "-m", "report", folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start


def copy_runs(folder: Path, target: Path, least: int, most_of_a_run: int) -> int:
    """Copies runs until there are at least `least` heads, and returns the number of heads."""
    rng = np.random.default_rng(0)
    n = n_copies = 0
    while n < least:
        for run in find_runs([folder]):
            if n >= least:
                break
            copy = target / f"{run.name}-{n_copies}"
            shutil.copytree(run, copy)
            n += change_predictor(copy, n_copies, most_of_a_run, rng)
        n_copies += 1
    return n


def change_predictor(run: Path, number: int, most_heads: int, rng: np.random.Generator) -> int:
    """Turns a copy of a run into a run of another predictor with its first heads, and returns their
    number.
    """
    frame = pd.read_parquet(run / HEADS).head(most_heads)
    config = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    config["core_model"]["seed"] += 100 * number
    (run / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    frame["predictor_seed"] += 100 * number
    frame["predictor"] = frame["predictor"] + f"-{number}"
    noise = rng.normal(0, 0.03, len(frame))
    frame["follows_concept"] = (frame["follows_concept"] + noise).clip(0, 1)
    digits = [rng.integers(100, 999) for _ in range(len(frame))]
    frame["reason"] = [
        reason.replace("0.5", f"0.{three}", 1)
        for reason, three in zip(frame["reason"], digits, strict=True)
    ]
    frame.to_parquet(run / HEADS, index=False)
    write_hashes(run, run / HEADS)
    return len(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
