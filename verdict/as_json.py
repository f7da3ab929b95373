"""The heads of finished runs and the verdicts on them, as JSON, for programs that run this checkout
in a process of its own.

python -m verdict.as_json list runs/NAME [--head 3]
python -m verdict.as_json judge runs/NAME
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from console.command_line import run_command


def list_heads(folders: list[Path], head: int | None) -> list[dict[str, Any]]:
    """Returns the name, folder and number of each head, or of the one of that number in each run.

    Raises:
        UserError: there is no such run or head, or a run is not whole.
    """
    from storage.run_folder import check_whole, find_runs
    from verdict.__main__ import check_head, label_heads

    heads = []
    for folder in find_runs(folders):
        check_whole(folder)
        names = label_heads(folder)
        if head is not None:
            check_head(folder, head, len(names))
        for k in range(len(names)) if head is None else [head]:
            name = f"{folder} head {k} ({names[k]})"
            heads.append({"name": name, "folder": str(folder), "head": k})
    return heads


def judge(folder: Path) -> list[dict[str, str]]:
    """Returns the verdict on each head of a run: its kind, and the reason.

    Raises:
        UserError: the run cannot be judged.
    """
    from verdict.judge_again import judge_again

    verdicts = judge_again(folder).verdicts
    return [{"kind": str(verdict.kind), "reason": verdict.reason} for verdict in verdicts]


def main(words: list[str]) -> None:
    """Prints one line of JSON."""
    parser = ArgumentParser("verdict.as_json")
    parser.add_argument("command", choices=["list", "judge"])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--head", type=int)
    options = parser.parse_args(words)
    with redirect_stdout(sys.stderr):
        if options.command == "list":
            answer = list_heads(options.folders, options.head)
        else:
            answer = judge(options.folders[0])
    print(json.dumps(answer))


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), "Stopped.")
