"""The terminal that tables and sentences are printed to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160
"""Columns of what is printed into a file, unless COLUMNS says otherwise."""


def open_console() -> Console:
    """Returns a terminal that prints square brackets and colons as they are: rich would read
    "[not known]" as markup and print nothing.
    """
    from rich.console import Console

    is_sized = Console().is_terminal or "COLUMNS" in os.environ
    return Console(width=None if is_sized else WIDTH, markup=False, emoji=False)
