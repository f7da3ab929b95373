"""Compare finished runs: a table here, and a page, plots and tables in files.

python -m report runs/priors [runs/more ...]      every prior and strength; writes comparison.html
                                                  beside the runs
python -m report runs/priors --to out             writes it into the folder out
python -m report runs/priors --matched            every prior at matched accuracy, in every unit;
                                                  writes nothing
python -m report --compare runs/a runs/b          two sweeps side by side; writes nothing
python -m report --power runs/priors              how many predictors detect a difference between
                                                  two arms, from how much those at hand differ;
                                                  writes nothing

Heads that read one level are compared at the level of least error on held-out easy episodes.
--level 3 compares them at level 3; --level all also prints each level by itself.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from console.command_line import run_command
from console.errors import UserError

OPTIONS = ("--to", "--matched", "--compare", "--power", "--level", "--help")
EACH_LEVEL = "all"
LEVEL_CURE = "Name a level, or all of them: --level 3, --level all"


def main(words: list[str]) -> None:
    """Runs what the command line asks for.

    Raises:
        UserError: an option that does not exist, or a folder too few or too many.
    """
    if not words or "--help" in words or "-h" in words:
        print(__doc__)
        return
    _check_options(words)
    words, to = _take_value(words, "--to", "Name the folder to write into: --to out")
    words, level = _take_value(words, "--level", LEVEL_CURE)
    each_level = level == EACH_LEVEL
    number = _read_level(level) if level and not each_level else None
    folders = [Path(word) for word in words if not word.startswith("-")]
    if "--compare" in words:
        _compare_two(folders, number)
    elif not folders:
        raise UserError("No folder is named. Name a folder of runs: python -m report runs/priors")
    elif "--power" in words:
        _show_power(folders, number)
    elif "--matched" in words:
        _show_matched(folders, number)
    else:
        from report.write import summarise

        summarise(folders, Path(to) if to else folders[0], number, each_level)


def _check_options(words: list[str]) -> None:
    for word in words:
        if word.startswith("-") and word not in OPTIONS:
            near = difflib.get_close_matches(word, OPTIONS, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            options = ", ".join(OPTIONS)
            raise UserError(f"{word}: no such option.{hint} The options are: {options}.")


def _take_value(words: list[str], option: str, cure: str) -> tuple[list[str], str]:
    """Returns the words without an option and its value, and that value; empty without it."""
    if option not in words:
        return words, ""
    at = words.index(option)
    if at + 1 == len(words) or words[at + 1].startswith("-"):
        raise UserError(f"{option}: its value is missing. {cure}")
    return words[:at] + words[at + 2 :], words[at + 1]


def _read_level(word: str) -> int:
    if not word.isdecimal():
        raise UserError(f"--level {word}: it is no level. {LEVEL_CURE}")
    return int(word)


def _show_matched(folders: list[Path], level: int | None) -> None:
    from report import matched
    from report.comparison import compare
    from report.runs import find
    from report.settings import describe_several_settings, group_by_setting
    from report.settling import describe_settled
    from report.summary import show_notices

    runs = find(folders)
    settings = group_by_setting(runs.runs)
    for setting in settings:
        part = compare(setting, level=level)
        matched.show(part.heads)
        print(" ".join(filter(None, [describe_settled(part.heads), part.level])))
    show_notices([*describe_several_settings(settings), *runs.notices()])


def _show_power(folders: list[Path], level: int | None) -> None:
    from report import power_table
    from report.runs import find

    power_table.show(find(folders), level)


def _compare_two(folders: list[Path], level: int | None) -> None:
    if len(folders) != 2:
        raise UserError(
            f"--compare: it needs two folders, and {len(folders)} are named. Use: python -m report"
            " --compare runs/a runs/b"
        )
    from report import two_sweeps
    from report.runs import find

    two_sweeps.show(find(folders[:1]), find(folders[1:]), level)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), "Stopped.")
