"""A YAML file that cannot be read is named with its line and the cause, in runs and in sweeps."""

from pathlib import Path

import pytest

from console import yaml_files
from console.yaml_files import find_fault
from tests.running import ROOT, train

UNREADABLE = {
    b"_target_: a\nscale:\t1\n\tb: 2\n": "line 2: found character '\\t' that cannot start any",
    b"a: 1\na: 2\n": "line 2: found duplicate key a. Correct",
    b"a: 1\n# caf\xe9\n": "line 2: it is not UTF-8. Save",
    b"# A list\n\n- a\n- b\n": "line 3: the file holds no keys. Write",
    b"3\n": "line 1: the file holds no keys.",
    b"a: 1\nb: \x01\n": "line 2: special characters are not allowed. Remove",
    b"a: 1\nb: ${foo\n": "line 2: no viable alternative at input '${foo'. Correct",
    b"a: *x\n": "line 1: found undefined alias 'x'.",
    b"a: !!python/object:os.x {}\n": "line 1: could not determine a constructor for the tag",
    b"a: 1\n---\nb: 2\n": "line 2: but found another document.",
    b"a: [1\n": "line 2: expected ',' or ']', but got '<stream end>'.",
    b"? [a, b]\n: 1\n": "line 1: found unhashable key.",
    b"a: 1\nnull: 1\n": "line 2: Incompatible key type 'NoneType'.",
    b"# @package\na: 1\n": "line 1: such a line has one word after it: # @package _global_",
}


@pytest.mark.parametrize("content", UNREADABLE, ids=UNREADABLE.values())
def test_a_fault_is_named_with_its_line(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert str(find_fault(path)).startswith(f"{path}, {UNREADABLE[content]}")


@pytest.mark.parametrize("content", [b"a: 1\n", b"", b"# @package _global_\na: ${b}\n", b"1: 2\n"])
def test_a_readable_file_has_no_fault(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert find_fault(path) is None


def test_every_file_of_this_project_is_readable():
    assert [
        find_fault(path) for path in (ROOT / "configs").rglob("*.yaml") if find_fault(path)
    ] == []


def name_own_prior(folder: Path, content: bytes) -> list[str]:
    """Returns the words that choose a prior of the user's own, in a folder of the user's own."""
    (folder / "prior").mkdir()
    (folder / "prior" / "mine.yaml").write_bytes(content)
    return ["--config-dir", str(folder)]


@pytest.mark.parametrize("content", UNREADABLE, ids=UNREADABLE.values())
def test_a_run_and_a_sweep_name_the_file_in_one_line(content, tmp_path):
    words = name_own_prior(tmp_path, content)
    start = f"error: {tmp_path / 'prior' / 'mine.yaml'}, {UNREADABLE[content]}"
    run = train(*words, "prior=mine", folder=tmp_path / "run")
    sweep = train(*words, "-m", "prior=none,mine", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    for done in (run, sweep):
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(start)
    assert sweep.stderr.endswith("(the run prior=mine; nothing was run)\n")
    assert not (tmp_path / "run").exists() and not (tmp_path / "sweep").exists()


def test_a_choice_of_every_group_of_a_run_is_known():
    assert yaml_files.read_choices()["prior"] == "none"
    assert yaml_files.read_choices()["training"] == "default"
