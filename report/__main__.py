"""Compare finished runs.

python -m report runs/priors [runs/more ...]      every prior and strength
python -m report runs/priors --matched            every prior at matched accuracy, in every unit
"""

import sys
from pathlib import Path

from refusal import Refusal


def main(names: list[str]) -> None:
    """Prints one table over all finished runs in the folders named."""
    if not names or names[0] in ("-h", "--help"):
        print(__doc__)
        return
    from report import matched, summary
    from report.folder import finished_runs

    known = [name for name in names if name.startswith("-")]
    if known not in ([], ["--matched"]):
        raise Refusal(f"{known[0]}: no such option. There is: --matched.")
    folders = finished_runs([Path(name) for name in names if not name.startswith("-")])
    if known:
        matched.show(folders)
    else:
        summary.show(folders, each_level=False)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refusal as error:
        sys.exit(f"error: {error}")
