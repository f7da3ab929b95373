"""Compare finished runs.   python -m report runs/priors [runs/more ...]"""

import sys
from pathlib import Path

from refusal import Refusal


def main(names: list[str]) -> None:
    """Prints one table over all finished runs in the folders named."""
    if not names or names[0] in ("-h", "--help"):
        print(__doc__)
        return
    from report.folder import finished_runs
    from report.summary import show

    show(finished_runs([Path(name) for name in names]), each_level=False)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refusal as error:
        sys.exit(f"error: {error}")
