"""Judge the saved heads of finished runs afresh, on episodes drawn anew.

python -m verdict runs/NAME              a line a head
python -m verdict runs/NAME --head 3     the evidence on head 3 in words
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from console.errors import UserError

if TYPE_CHECKING:
    from verdict.statistics import Estimate
    from verdict.verdict import Judgement


def main(words: list[str]) -> None:
    """Prints the verdicts on the heads of all finished runs in the folders named."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return
    head = None
    if "--head" in words:
        place = words.index("--head")
        named = words[place + 1] if place + 1 < len(words) else ""
        if not named.isdecimal():
            raise UserError(
                f"--head: {named or 'nothing'} is no head's number. The first is 0: python -m"
                " verdict runs/NAME --head 0"
            )
        head, words = int(named), words[:place] + words[place + 2 :]
    unknown = next((word for word in words if word.startswith("-")), None)
    if unknown:
        raise UserError(f"{unknown}: no such option. There is: --head NUMBER.")
    if not words:
        raise UserError("no run is named. For example: python -m verdict runs/NAME")
    from storage.run_folder import find_runs
    from verdict.judge_again import judge_again

    folders = find_runs([Path(word) for word in words])
    for folder in folders:
        check_head(folder, head or 0, len(labels(folder)))
    for folder in folders:
        show(folder, judge_again(folder), head)


def show(folder: Path, judgement: Judgement, head: int | None) -> None:
    """Prints the verdicts on the heads of one run, or all that is known of one of them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console, names = Console(width=None if Console().is_terminal else 160), labels(folder)
    if head is not None:
        console.print(
            f"{folder}, head {head} ({names[head]}): {judgement.verdicts[head].kind}",
            style="bold",
            highlight=False,
        )
        console.print(judgement.verdicts[head].reason, highlight=False)
        return
    table = Table(title=str(folder), box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (
        "head",
        "which",
        "verdict",
        "follows X",
        "NDE",
        "NIE",
        "swap X",
        "swap H",
        "not passed",
    ):
        table.add_column(
            heading,
            justify="left" if heading in ("which", "verdict", "not passed") else "right",
            no_wrap=heading != "not passed",
        )
    found = judgement.evidence
    twins = (found.effects.nde, found.effects.nie) if found.effects else (None, None)
    swaps = (
        (found.interchange.concept, found.interchange.human) if found.interchange else (None, None)
    )
    for k, (name, verdict) in enumerate(zip(names, judgement.verdicts, strict=True)):
        figures = [
            _figure(found.behaviour.follows_concept, k),
            *(_value(estimate, k) for estimate in (*twins, *swaps)),
        ]
        table.add_row(
            str(k),
            name,
            str(verdict.kind),
            *figures,
            ", ".join(gate.name for gate in judgement.gates[k] if not gate.passed),
        )
    console.print(table)


def labels(folder: Path) -> list[str]:
    """Returns what tells the heads of a run apart: level, seed and strength."""
    from storage.run_folder import read_heads

    columns = read_heads(folder)[["levels", "seed", "strength"]].itertuples(index=False)
    return [
        f"level {levels.replace(' ', '+')}, seed {seed}, strength {strength:g}"
        for levels, seed, strength in columns
    ]


def check_head(folder: Path, head: int, heads: int) -> None:
    """Raises UserError where a run has no head of that number."""
    if not 0 <= head < heads:
        raise UserError(
            f"--head: {folder} has no head {head}. It has {heads}, from 0 to {heads - 1}."
        )


def _figure(estimate: Estimate, k: int) -> str:
    return f"{estimate.value[k]:.2f} [{estimate.low[k]:.2f}, {estimate.high[k]:.2f}]"


def _value(estimate: Estimate | None, k: int) -> str:
    return f"{estimate.value[k]:.2f}" if estimate else "–"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
