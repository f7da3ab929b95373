"""Compare finished runs: a table here, and a page, plots and tables in files.

python -m report runs/priors [runs/more ...]      every prior and strength; writes comparison.html
                                                  beside the runs
python -m report runs/priors --to out             writes it into the folder out
python -m report runs/priors --matched            every prior at matched accuracy, in every unit;
                                                  writes nothing
python -m report --compare runs/a runs/b          two sweeps side by side; writes nothing
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from console.command_line import run_command
from console.errors import UserError

OPTIONS = ("--to", "--matched", "--compare", "--help")


def main(words: list[str]) -> None:
    """Runs what the command line asks for.

    Raises:
        UserError: an option that does not exist, or a folder too few or too many.
    """
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return
    _check_options(words)
    words, to = _take_destination(words)
    folders = [Path(word) for word in words if not word.startswith("-")]
    if "--compare" in words:
        _compare_two(folders)
    elif not folders:
        raise UserError("No folder is named. Name a folder of runs: python -m report runs/priors")
    elif "--matched" in words:
        _show_matched(folders)
    else:
        from report.write import summarise

        summarise(folders, to or folders[0])


def _check_options(words: list[str]) -> None:
    for word in words:
        if word.startswith("-") and word not in OPTIONS:
            near = difflib.get_close_matches(word, OPTIONS, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            options = ", ".join(OPTIONS)
            raise UserError(f"{word}: no such option.{hint} The options are: {options}.")


def _take_destination(words: list[str]) -> tuple[list[str], Path | None]:
    """Returns the words without --to and its folder, and that folder."""
    if "--to" not in words:
        return words, None
    at = words.index("--to")
    if at + 1 == len(words) or words[at + 1].startswith("-"):
        raise UserError("--to: no folder is named. Name the folder to write into: --to out")
    return words[:at] + words[at + 2 :], Path(words[at + 1])


def _show_matched(folders: list[Path]) -> None:
    from report import matched
    from report.runs import find
    from report.settings import describe_several_settings, group_by_setting
    from report.summary import show_notices

    runs = find(folders)
    parts = group_by_setting(runs.runs)
    for setting in parts:
        matched.show(setting.heads)
    show_notices([*describe_several_settings(parts), *runs.notices()])


def _compare_two(folders: list[Path]) -> None:
    if len(folders) != 2:
        raise UserError(
            f"--compare: it needs two folders, and {len(folders)} are named. Use: python -m report"
            " --compare runs/a runs/b"
        )
    from report import two_sweeps
    from report.runs import find

    two_sweeps.show(find(folders[:1]), find(folders[1:]))


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), "Stopped.")
