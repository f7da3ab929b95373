"""Imports point down: each folder imports only itself, the folders to its left, and what stands
below all of them.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "worlds",
    "core_model",
    "reporters",
    "priors",
    "training",
    "verdict",
    "report",
    "experiments",
)
BELOW = {"progress", "refusal"}
OURS = {*ORDER, *BELOW, "configs", "train", "sweeps"}
COMMANDS = {"verdict/__main__.py", "verdict/door.py", "verdict/calibrate.py"}
"""What a user calls beside train.py: no part of anything, so it may call everything, and nothing
imports it.
"""
FILES = [
    path
    for folder in ORDER
    for path in (ROOT / folder).rglob("*.py")
    if str(path.relative_to(ROOT)) not in COMMANDS
]


def imported(path: Path) -> set[str]:
    """Returns which of this project's top-level names a file imports, wherever in the file it does."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names} & OURS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_its_own_folder_and_those_to_its_left(path):
    left = set(ORDER[: ORDER.index(path.relative_to(ROOT).parts[0]) + 1])
    assert imported(path) <= left | BELOW


def test_the_check_would_notice_an_import_that_points_up(tmp_path):
    (tmp_path / "wrong.py").write_text("def f():\n    from report.compare import lines\n")
    assert imported(tmp_path / "wrong.py") == {"report"}


def test_configs_import_no_part():
    assert imported(ROOT / "configs" / "__init__.py") == {"refusal"}


def test_no_file_of_the_project_loads_pickles_or_trusts_remote_code_unasked():
    for path in (*FILES, ROOT / "train.py"):
        text = path.read_text()
        assert "import pickle" not in text
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*", text))
        assert "trust_remote_code=True" not in text
