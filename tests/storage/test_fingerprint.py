"""A run knows the code that its results depend on: a change of this code changes the fingerprint,
a change of other code does not.
"""

import shutil

import pytest

from storage import fingerprint as module
from storage.fingerprint import ROOT, START, compute_fingerprint, get_shared_part

LINEAR = {"reporter": {"_target_": "reporters.linear.Linear"}, "seeds": 2}
MLP = {"reporter": {"_target_": "reporters.mlp.MLP"}, "seeds": 2}
PROJECT = {
    "train.py": "def run():\n    from training.fit import fit\n    from report import plots\n",
    "training/fit.py": '"""A fit."""\n\nimport worlds.vault\n\nEPOCHS = 5\n',
    "worlds/vault.py": "STEPS = 8\n",
    "verdict/results.py": "ROWS = 1\n",
    "report/plots.py": "WIDTH = 3\n",
    "reporters/linear.py": "from reporters.stack import Stack\n\nclass Linear: ...\n",
    "reporters/mlp.py": "class MLP: ...\n",
    "reporters/stack.py": "class Stack: ...\n",
}
"""A small project: its runs depend on everything but report/ and the reporters."""


@pytest.fixture
def change(tmp_path, monkeypatch):
    """Makes the small project the one that fingerprints are taken of; returns a function that
    changes a file of it.
    """

    def change(file: str, old: str, new: str) -> None:
        path = tmp_path / file
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(old, new, 1))
        module._hash_modules.cache_clear()

    for file, text in PROJECT.items():
        change(file, "", text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    yield change
    module._hash_modules.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("train.py", "def run", "SEED = 1\n\n\ndef run"),
        ("training/fit.py", "EPOCHS = 5", "EPOCHS = 6"),
        ("worlds/vault.py", "STEPS = 8", "STEPS = 9"),
        ("verdict/results.py", "ROWS = 1", "ROWS = 2"),
        ("reporters/linear.py", "class Linear", "NEW = 1\n\n\nclass Linear"),
        ("reporters/stack.py", "class Stack", "NEW = 1\n\n\nclass Stack"),
    ],
)
def test_changed_code_changes_the_fingerprint(change, file, old, new):
    before = compute_fingerprint(LINEAR)
    change(file, old, new)
    assert compute_fingerprint(LINEAR) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/fit.py", '"""A fit', '"""Another fit'),
        ("training/fit.py", "EPOCHS = 5\n", "EPOCHS = 5  # a comment\n"),
        ("report/plots.py", "WIDTH = 3", "WIDTH = 4"),
        ("reporters/mlp.py", "class MLP", "NEW = 1\n\n\nclass MLP"),
        ("reporters/new.py", "", "class New: ..."),
    ],
)
def test_docstrings_comments_plots_and_unused_parts_do_not_change_it(change, file, old, new):
    before = compute_fingerprint(LINEAR)
    change(file, old, new)
    assert compute_fingerprint(LINEAR) == before


def test_a_changed_reporter_changes_only_the_fingerprints_of_configs_that_name_it(change):
    linear, mlp = compute_fingerprint(LINEAR), compute_fingerprint(MLP)
    change("reporters/mlp.py", "class MLP", "NEW = 1\n\n\nclass MLP")
    assert compute_fingerprint(LINEAR) == linear
    assert compute_fingerprint(MLP) != mlp


def test_runs_with_different_parts_share_the_code_that_all_depend_on(change):
    before = compute_fingerprint(LINEAR)
    assert before != compute_fingerprint(MLP)
    assert get_shared_part(before) == get_shared_part(compute_fingerprint(MLP))
    change("training/fit.py", "EPOCHS = 5", "EPOCHS = 6")
    assert get_shared_part(compute_fingerprint(LINEAR)) != get_shared_part(before)


def test_classes_in_lists_and_in_parts_of_parts_count():
    config = {"parts": [{"_target_": "a.A", "inner": {"_target_": "b.B"}}], "x": 1}
    assert list(module._find_targets(config)) == ["a.A", "b.B"]


def test_every_folder_that_decides_results_counts_and_report_does_not():
    modules = set(module._collect_code(START, module._can_decide_results))
    assert {"train", "verdict.results", "training.find_heads", "storage.run_folder"} <= modules
    assert {"bill.finished", "core_model.predictor", "worlds.world", "console.errors"} <= modules
    assert not [name for name in modules if name.startswith(("report.", "tests."))]
    assert "report" not in modules and "reporters.linear" not in modules


def test_the_same_code_has_the_same_fingerprint_in_another_folder(tmp_path, monkeypatch):
    expected = compute_fingerprint(LINEAR)
    for package in ROOT.glob("*/__init__.py"):
        if package.parent.name not in ("tests", "benchmarks"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package.parent, tmp_path / package.parent.name, ignore=ignored)
    shutil.copy(ROOT / "train.py", tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._hash_modules.cache_clear()
    assert compute_fingerprint(LINEAR) == expected
    train = (tmp_path / "train.py").read_text()
    (tmp_path / "train.py").write_text(train.replace("name_runs()\n", "name_runs()\nNEW = 1\n", 1))
    module._hash_modules.cache_clear()
    assert compute_fingerprint(LINEAR) != expected
    module._hash_modules.cache_clear()
