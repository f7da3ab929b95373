"""A run knows the code that its results depend on: changed code is other code, and what no result
depends on is not.
"""

import shutil

import pytest

from storage import fingerprint as module
from storage.fingerprint import ROOT, fingerprint, shared

FOLDERS = (
    "worlds",
    "core_model",
    "reporters",
    "priors",
    "training",
    "verdict",
    "report",
    "configs",
    "experiments",
)
LINEAR, MLP = (
    {"reporter": {"_target_": f"reporters.{name}"}, "prior": {"_target_": "priors.none.NoPrior"}}
    for name in ("linear.Linear", "mlp.MLP")
)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the code that can be changed; returns what changes it."""
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ROOT.glob("*.py"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def change(file: str, old: str, new: str) -> None:
        text = (tmp_path / file).read_text() if (tmp_path / file).exists() else ""
        assert old in text
        (tmp_path / file).write_text(text.replace(old, new, 1))
        module._hashed.cache_clear()

    module._hashed.cache_clear()
    yield change
    module._hashed.cache_clear()


def test_the_same_code_has_the_same_fingerprint_wherever_it_lies(copy, monkeypatch):
    here = fingerprint(LINEAR)
    monkeypatch.setattr(module, "ROOT", ROOT)
    module._hashed.cache_clear()
    assert fingerprint(LINEAR) == here


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/population.py", "STATE_PACE = 5", "STATE_PACE = 6"),
        ("reporters/linear.py", "class Linear", "NEW = 1\n\n\nclass Linear"),
        ("train.py", "APART, AFRESH = 1_000_003", "APART, AFRESH = 1_000_033"),
        ("bill/two_part_code.py", "import torch\n", "import torch\n\nNEW = 1\n"),
        ("verdict/results.py", "import numpy as np\n", "import numpy as np\n\nNEW = 1\n"),
    ],
)
def test_changed_code_is_other_code(copy, file, old, new):
    before = fingerprint(LINEAR)
    copy(file, old, new)
    assert fingerprint(LINEAR) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/population.py", '"""', '"""Words. '),
        ("training/population.py", "STATE_PACE = 5\n", "STATE_PACE = 5  # quick\n"),
        ("report/plots.py", "import numpy as np\n", "import numpy as np\n\nNEW = 1\n"),
        ("reporters/mine.py", "", "class Mine: ..."),
    ],
)
def test_words_pictures_and_parts_that_a_config_does_not_name_are_no_other_code(
    copy, file, old, new
):
    before = fingerprint(LINEAR)
    copy(file, old, new)
    assert fingerprint(LINEAR) == before


def test_a_changed_reporter_is_other_code_only_for_those_who_name_it(copy):
    linear, mlp = fingerprint(LINEAR), fingerprint(MLP)
    copy("reporters/mlp.py", "class MLP", "NEW = 1\n\n\nclass MLP")
    assert (fingerprint(LINEAR) == linear, fingerprint(MLP) == mlp) == (True, False)


def test_classes_of_a_list_and_of_parts_within_parts_count():
    assert list(
        module._targets({"parts": [{"_target_": "a.A", "one": {"_target_": "b.B"}}], "x": 1})
    ) == ["a.A", "b.B"]


def test_runs_of_other_parts_share_the_code_that_all_depend_on(copy):
    before = fingerprint(LINEAR)
    assert shared(before) == shared(fingerprint(MLP)) != before
    copy("training/population.py", "STATE_PACE = 5", "STATE_PACE = 6")
    assert shared(fingerprint(LINEAR)) != shared(before)
