"""The commands of this checkout, from any folder.

elk train ...        python train.py ...
elk report ...       python -m report ...
elk verdict ...      python -m verdict ...
elk calibrate ...    python -m verdict.calibration ...

Each shows its own help: elk train --help
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MODULES = {
    "train": "train",
    "report": "report",
    "verdict": "verdict",
    "calibrate": "verdict.calibration",
}


def main() -> None:
    """Runs the command that the first word names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        show_help()
        return
    if name not in MODULES:
        sys.exit(f"error: {name}: no such command. There are: {', '.join(MODULES)}.")
    if not (ROOT / "train.py").exists():
        sys.exit("error: elk runs from its checkout alone. In it, type: pip install -e .")
    sys.argv = [f"elk {name}", *words]
    put_checkout_first()
    runpy.run_module(MODULES[name], run_name="__main__", alter_sys=True)


def show_help() -> None:
    """Prints how the commands are used."""
    try:
        print(__doc__, flush=True)
    except BrokenPipeError:  # as after `| head -3`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def put_checkout_first() -> None:
    """Lets imports find this checkout before the current folder, which may have a `configs` or a
    `train.py` of its own: here and in the processes that a run starts.
    """
    sys.path.insert(0, str(ROOT))
    os.environ |= make_environment()


def make_environment() -> dict[str, str]:
    """Returns the variables with which a Python process imports from this checkout first."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


if __name__ == "__main__":
    main()
