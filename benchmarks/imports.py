"""What a run imports before it starts, beside `import torch` alone.

python -m benchmarks.imports
"""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHOWN = 10
"""Packages in the table."""
REPEATS = 3
RUN = "from benchmarks.imports import import_run; import_run()"


def import_run() -> None:
    """Imports what `train.py` imports for a run of the default config."""
    from hydra import compose, initialize_config_dir

    from compute.imports import pause_collection
    from configs.build import build_parts
    from console.command_line import name_runs, to_plain_values

    tree = ast.parse((ROOT / "train.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    with pause_collection():
        for node in imports:
            if getattr(node, "module", None) not in ("__future__", "train"):
                exec(ast.unparse(node), {})
        name_runs()
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            config = compose("train")
        build_parts(to_plain_values(config))


def measure(code: str) -> float:
    """Returns the CPU seconds of a Python process that runs the code: the least of a few."""
    seconds = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def count_by_package(code: str) -> Counter[str]:
    """Returns the seconds that the modules of each package took to load."""
    words = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    seconds: Counter[str] = Counter()
    for microseconds, module in re.findall(r"import time: +(\d+) \|.*\| +(\S+)", done.stderr):
        seconds[module.partition(".")[0]] += int(microseconds) / 1e6
    return seconds


def main() -> None:
    """Prints both figures, their ratio, and the packages that take longest."""
    torch, run = measure("import torch"), measure(RUN)
    print(f"import torch             {torch:.2f} CPU seconds")
    print(f"the imports of a run     {run:.2f} CPU seconds, {run / torch:.2f} times")
    for package, seconds in count_by_package(RUN).most_common(SHOWN):
        print(f"  {package:22} {seconds:.2f} s")


if __name__ == "__main__":
    main()
