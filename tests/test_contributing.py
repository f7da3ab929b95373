"""CONTRIBUTING.md, followed to the letter in a copy of the project: its files are written, its
commands are run.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from storage.run_folder import HEADS
from tests.running import ROOT, TINY

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FLAGS = re.MULTILINE | re.DOTALL
FILES = re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", PAGE, flags=FLAGS)
LINES = re.findall(r"^At the end of `([\w/.]+)`:\n\n```\w+\n(.*?)^```", PAGE, flags=FLAGS)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python")
]
VAULT_ONLY = ("world.",)
PARTS = {
    "reporters": "gated",
    "priors": "confidence",
    "worlds": "lamp",
    "bill": "margin",
    "verdict/evidence": "noise",
}
"""The folders that have a contract test, and the parts that the page adds to them."""
RUN_ALL = """
import json
import sys
from dataclasses import replace
from tests.running import train
from training.optimizers.auto import Auto
Auto.until_settled = replace(Auto.until_settled, steps=100)
printed = []
for words in json.loads(sys.argv[1]):
    done = train(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    printed.append(done.stdout)
print(json.dumps(printed))
"""
"""Runs train.py with each list of words, in few steps as in few epochs, and prints what they
print.
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The project with the page's files and lines in it; nothing else is changed."""
    folder = tmp_path_factory.mktemp("project") / "copy"
    ignored = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".[pr]*_cache")
    shutil.copytree(ROOT, folder, ignore=ignored)
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


def test_the_page_adds_each_part_by_one_file_and_one_yaml_or_one_line_of_it():
    assert [name for name, _ in FILES] == [
        *("reporters/gated.py", "configs/reporter/gated.yaml"),
        *("priors/confidence.py", "configs/prior/confidence.yaml"),
        "bill/margin.py",
        *("worlds/lamp.py", "configs/world/lamp.yaml"),
        *("verdict/evidence/noise.py", "configs/verdict/noise.yaml"),
    ]
    assert [(name, text.count("\n")) for name, text in LINES] == [("configs/bill/full.yaml", 1)]


def list_words(command: str) -> list[str]:
    """Returns the words of a command of train.py that is to make a tiny run."""
    program, *words = shlex.split(command)[1:]
    assert program == "train.py"
    tiny = [word for word in TINY if not ("world=" in command and word.startswith(VAULT_ONLY))]
    return [*words, *tiny, "levels=[2]"]


@pytest.mark.slow
def test_its_commands_run(copy):
    """They run in one process, which imports everything once."""
    all_words = [list_words(command) for command in COMMANDS]
    done = python(copy, "-c", RUN_ALL, json.dumps(all_words))
    all_printed = json.loads(done.stdout.splitlines()[-1])
    heads = {}
    for command, printed in zip(COMMANDS, all_printed, strict=True):
        assert "heads judged" in printed, command
        folder = copy / printed.splitlines()[-1]
        if (folder / HEADS).exists():
            heads[command] = pd.read_parquet(folder / HEADS)
    (margin,) = (table for command, table in heads.items() if "bill.measures.margin" in command)
    assert (margin["margin"] > 0).all()
    (noise,) = (table for command, table in heads.items() if "verdict=noise" in command)
    assert noise["noise_changes"].notna().all()
    assert noise["reason"].str.contains(r"noise changes \d").all()
    assert len(heads) == len(COMMANDS) - 1, "one is a sweep"


@pytest.mark.slow
def test_the_contract_tests_find_the_new_parts(copy):
    files = [f"tests/{folder}/test_contract.py" for folder in PARTS]
    # Names of other tests hold the word noise too.
    new = " or ".join(PARTS.values()).replace("noise", "(evidence and noise)")
    options = ["-k", new, "-m", "not slow", "-p", "no:randomly", "-rp"]
    printed = python(copy, "-m", "pytest", *files, *options).stdout
    for name in PARTS.values():
        assert re.search(rf"PASSED .*\[.*{name}", printed), printed


def test_the_new_files_pass_the_checks(copy):
    written = [name for name, _ in FILES if name.endswith(".py")]
    python(copy, "-m", "ruff", "check", *written)
    python(copy, "-m", "ruff", "format", "--check", *written)


@pytest.mark.slow
def test_the_new_files_pass_the_type_check(copy):
    written = [name for name, _ in FILES if name.endswith(".py")]
    python(copy, "-m", "mypy", *written)
