"""Compare finished runs: a table here, and a page, plots and tables in files.

python -m report runs/priors [runs/more ...]      every prior and strength; writes comparison.html
beside the runs python -m report runs/priors --to out             writes it there python -m report
runs/priors --matched            every prior at matched accuracy, in every unit; writes nothing
python -m report --compare runs/a runs/b          two sweeps side by side; writes nothing
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from console.errors import UserError
from report.sweep import summarise

OPTIONS = ("--to", "--matched", "--compare", "--help")


def main(words: list[str]) -> None:
    """Does what the command line asks for."""
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return
    for word in words:
        if word.startswith("-") and word not in OPTIONS:
            near = difflib.get_close_matches(word, OPTIONS, n=1, cutoff=0.4)
            raise UserError(
                f"{word}: no such option.{f' Did you mean {near[0]}?' if near else ''} There are:"
                f" {', '.join(OPTIONS)}."
            )
    words, to = _to(words)
    folders = [Path(word) for word in words if not word.startswith("-")]
    if "--compare" in words:
        _two(folders)
    elif not folders:
        raise UserError("No folder is named. Name a folder of runs: python -m report runs/priors")
    elif "--matched" in words:
        _matched(folders)
    else:
        summarise(folders, to or folders[0])


def _to(words: list[str]) -> tuple[list[str], Path | None]:
    if "--to" not in words:
        return words, None
    at = words.index("--to")
    if at + 1 == len(words) or words[at + 1].startswith("-"):
        raise UserError("--to: no folder is named. Name the folder to write into: --to out")
    return words[:at] + words[at + 2 :], Path(words[at + 1])


def _matched(folders: list[Path]) -> None:
    from report import matched
    from report.runs import find
    from report.settings import describe_several_settings, group_by_setting
    from report.summary import show_notices

    found = find(folders)
    parts = group_by_setting(found.runs)
    for setting in parts:
        matched.show(setting.heads)
    show_notices([*describe_several_settings(parts), *found.notices()])


def _two(folders: list[Path]) -> None:
    if len(folders) != 2:
        raise UserError(
            f"--compare: it takes two folders, and {len(folders)} are named. Use: python -m report"
            " --compare runs/a runs/b"
        )
    from report import two_sweeps as against
    from report.runs import find

    against.show(find(folders[:1]), find(folders[1:]))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
