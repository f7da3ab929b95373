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

from tests.running import ROOT, TINY

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python")
]
VAULT_ONLY = ("world.",)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The project with the page's files in it; nothing that was there is changed."""
    folder = tmp_path_factory.mktemp("project") / "copy"
    shutil.copytree(
        ROOT,
        folder,
        ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache"),
    )
    for name, text in FILES:
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    return folder


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_page_adds_each_part_by_one_file_and_one_yaml():
    assert [name for name, _ in FILES] == [
        *("reporters/gated.py", "configs/reporter/gated.yaml"),
        *("priors/confidence.py", "configs/prior/confidence.yaml"),
        *("worlds/lamp.py", "configs/world/lamp.yaml"),
        *("verdict/evidence/noise.py", "configs/verdict/noise.yaml"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_run(copy, command):
    words = shlex.split(command)[1:]
    tiny = [word for word in TINY if not ("world=" in command and word.startswith(VAULT_ONLY))]
    printed = python(copy, *words, *tiny).stdout
    assert "heads judged" in printed
    if "verdict=noise" in command:
        heads = pd.read_parquet(copy / printed.splitlines()[-1] / "heads.parquet")
        assert heads["noise_changes"].notna().all()
        assert heads["reason"].str.contains(r"noise changes \d").all()


def test_the_contract_tests_find_the_new_parts(copy):
    parts = ("reporters", "priors", "worlds", "verdict/evidence")
    folders = [f"tests/{part}/test_contract.py" for part in parts]
    names = ("gated", "confidence", "lamp", "noise")
    said = python(copy, "-m", "pytest", *folders, "-k", " or ".join(names), "-rp").stdout
    for name in names:
        assert re.search(rf"PASSED .*\[.*{name}", said), said


def test_the_new_files_pass_the_checks(copy):
    written = [name for name, _ in FILES if name.endswith(".py")]
    python(copy, "-m", "ruff", "check", *written)
    python(copy, "-m", "ruff", "format", "--check", *written)


@pytest.mark.slow
def test_the_new_files_pass_the_type_check(copy):
    written = [name for name, _ in FILES if name.endswith(".py")]
    python(copy, "-m", "mypy", *written)
