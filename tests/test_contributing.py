"""CONTRIBUTING.md, followed to the letter in a copy of the project: its files are written, its
commands are run.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from storage.run_folder import HEADS
from tests.test_train import ROOT, TINY

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
LINES = re.findall(
    r"^At the end of `([\w/.]+)`:\n\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL
)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python")
]
VAULT_ONLY = ("world.",)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The project with the page's files and lines in it; nothing else is changed."""
    folder = tmp_path_factory.mktemp("project") / "copy"
    shutil.copytree(
        ROOT,
        folder,
        ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache"),
    )
    for name, text in FILES:
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    for name, text in LINES:
        (folder / name).write_text((folder / name).read_text() + text)
    return folder


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_page_adds_a_reporter_a_prior_and_a_world_by_one_file_and_one_yaml_each():
    assert [name for name, _ in FILES if not name.startswith("bill/")] == [
        *("reporters/gated.py", "configs/reporter/gated.yaml"),
        *("priors/confidence.py", "configs/prior/confidence.yaml"),
        *("worlds/lamp.py", "configs/world/lamp.yaml"),
    ]


def test_the_page_adds_a_measure_by_one_file_and_one_line():
    assert [name for name, _ in FILES if name.startswith("bill/")] == ["bill/margin.py"]
    assert [(name, text.count("\n")) for name, text in LINES] == [("configs/bill/full.yaml", 1)]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_run(copy, command):
    words = shlex.split(command)[1:]
    tiny = [word for word in TINY if not ("world=" in command and word.startswith(VAULT_ONLY))]
    printed = python(copy, *words, *tiny).stdout
    assert "heads judged" in printed
    if "bill.measures.margin" in command:
        table = pd.read_parquet(Path(printed.splitlines()[-1]) / HEADS)
        assert (table["margin"] > 0).all()


def test_the_contract_tests_find_the_new_parts(copy):
    folders = [
        f"tests/{part}/test_contract.py" for part in ("reporters", "priors", "worlds", "bill")
    ]
    said = python(
        copy, "-m", "pytest", *folders, "-k", "gated or confidence or lamp or margin", "-rp"
    ).stdout
    for name in ("gated", "confidence", "lamp", "margin"):
        assert re.search(rf"PASSED .*\[.*{name}", said), said


def test_the_new_files_pass_the_checks(copy):
    written = [name for name, _ in FILES if name.endswith(".py")]
    python(copy, "-m", "ruff", "check", *written)
    python(copy, "-m", "ruff", "format", "--check", *written)
    python(copy, "-m", "mypy", *written)
