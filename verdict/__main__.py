"""Judge the saved heads of finished runs again, on newly drawn episodes; on your own data, on the
episodes of the run.

python -m verdict runs/NAME              one line a head
python -m verdict runs/NAME --head 3     the evidence on head 3 in words
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from console.command_line import run_command
from console.errors import UserError
from console.terminal import open_console

if TYPE_CHECKING:
    from rich.table import Table

    from verdict.verdict import Judgement

EXAMPLE = "python -m verdict runs/NAME"
NOT_PASSED_WIDTH = 12
"""Characters of the last column of the table, at least."""


def main(arguments: list[str]) -> None:
    """Prints the verdicts on the heads of all finished runs in the named folders."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    names, head = parse(arguments)
    from storage.run_folder import find_runs
    from verdict.judge_again import judge_again

    folders = find_runs([Path(name) for name in names])
    for folder in folders:
        check_head(folder, head or 0, len(label_heads(folder)))
    for folder in folders:
        judgement = judge_again(folder)
        if head is None:
            show_table(folder, judgement)
        else:
            show_head(folder, judgement, head)


def parse(arguments: list[str]) -> tuple[list[str], int | None]:
    """Returns the names of folders, and the number of the head or None.

    Raises:
        UserError: an unknown option, or no folder.
    """
    names, head = list(arguments), None
    if "--head" in names:
        position = names.index("--head")
        value = names[position + 1] if position + 1 < len(names) else ""
        if not value.isdecimal():
            raise UserError(
                f"--head: {value or 'nothing'} is not the number of a head. The first is 0:"
                f" {EXAMPLE} --head 0"
            )
        head = int(value)
        del names[position : position + 2]
    for name in names:
        if name.startswith("-"):
            raise UserError(f"{name}: no such option. There is: --head NUMBER.")
    if not names:
        raise UserError(f"no run is named. For example: {EXAMPLE}")
    return names, head


def show_head(folder: Path, judgement: Judgement, head: int) -> None:
    """Prints what is known of one head."""
    console = open_console()
    verdict, label = judgement.verdicts[head], label_heads(folder)[head]
    title = f"{folder}, head {head} ({label}): {verdict.kind}"
    console.print(title, style="bold", highlight=False)
    console.print(verdict.reason, highlight=False)


def show_table(folder: Path, judgement: Judgement) -> None:
    """Prints the verdicts on the heads of one run, with as many figures as the terminal has room
    for.
    """
    from rich.measure import Measurement

    console = open_console()
    unlimited = console.options.update(width=1_000)
    names = list(judgement.headings)
    table = build_table(folder, judgement, names)
    # The measured minimum counts one column of the text that may break over lines.
    most = console.width - NOT_PASSED_WIDTH
    while len(names) > 1 and Measurement.get(console, unlimited, table).minimum > most:
        names.pop()
        table = build_table(folder, judgement, names)
    console.print(table)


def build_table(folder: Path, judgement: Judgement, names: Sequence[str]) -> Table:
    """Returns a table with a line for each head.

    Args:
        names: columns of heads.parquet; the first has its interval.
    """
    from rich import box
    from rich.table import Table

    from verdict.words import format_column

    table = Table(title=str(folder), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("head", justify="right", no_wrap=True)
    table.add_column("which", min_width=12)
    table.add_column("verdict", no_wrap=True)
    for name in names:
        table.add_column(judgement.headings[name], justify="right", no_wrap=True)
    table.add_column("not passed", min_width=NOT_PASSED_WIDTH)
    for k, label in enumerate(label_heads(folder)):
        row = judgement.columns[k]
        figures = []
        for name in names:
            if row[name] is None:
                figures.append("–")
            elif figures:
                figures.append(f"{row[name]:.2f}")
            else:
                figures.append(format_column(name, row))
        failed = [gate.name for gate in judgement.gates[k] if not gate.passed]
        kind = str(judgement.verdicts[k].kind)
        table.add_row(str(k), label, kind, *figures, ", ".join(failed))
    return table


def label_heads(folder: Path) -> list[str]:
    """Returns what tells the heads of a run apart: level, seed and strength, and the seed of the
    predictor where there are several.
    """
    from storage.run_folder import read_heads

    labels = []
    table = read_heads(folder)
    several = table["predictor"].nunique() > 1
    for head in table.itertuples(index=False):
        levels = str(head.levels).replace(" ", "+")
        label = f"level {levels}, seed {head.seed}, strength {head.strength:g}"
        labels.append(f"predictor {head.predictor_seed}, {label}" if several else label)
    return labels


def check_head(folder: Path, head: int, n_heads: int) -> None:
    """Checks that a run has a head of this number.

    Raises:
        UserError: it has not.
    """
    if not 0 <= head < n_heads:
        raise UserError(
            f"--head: {folder} has no head {head}. It has {n_heads}, from 0 to {n_heads - 1}."
        )


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]), "Stopped.")
