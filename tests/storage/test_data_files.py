"""A run knows the files of data that it was made from: a changed file is another run."""

import hashlib
import os

import pytest

from storage.data_files import ROOT, find_data, hash_data, hash_file
from storage.fingerprint import compute_fingerprint


def name(*files: str) -> dict:
    return {"world": {"_target_": "worlds.table.Table", "files": list(files)}}


def test_a_hash_depends_on_content_and_on_names(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("x", encoding="utf-8")
    second.write_text("x", encoding="utf-8")
    before = hash_data(name(str(first)))
    assert (
        before
        == hash_data(name(str(first)))
        == hash_data({"world": {"_target_": "worlds.table.Table", "files": str(first)}})
    )
    assert before != hash_data(name(str(second)))
    first.write_text("y", encoding="utf-8")
    assert before != hash_data(name(str(first)))


def test_files_in_a_folder_count(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "part.arrow").write_text("x", encoding="utf-8")
    before = hash_data(name(str(tmp_path)))
    (tmp_path / "inner" / "part.arrow").write_text("y", encoding="utf-8")
    assert before != hash_data(name(str(tmp_path)))


@pytest.mark.parametrize("config", [{}, {"world": {"_target_": "a.B"}}, {"files": ["x"]}])
def test_a_config_without_files_has_no_hash_and_the_fingerprint_that_it_had(config):
    assert hash_data(config) == ""
    assert compute_fingerprint(config).count("-") == 1


def test_the_fingerprint_of_a_run_changes_with_its_data(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("x", encoding="utf-8")
    before = compute_fingerprint(name(str(file)))
    file.write_text("y", encoding="utf-8")
    assert compute_fingerprint(name(str(file))) != before


def test_files_are_found_in_the_current_folder_before_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_data("README.md") == ROOT / "README.md"
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    assert find_data("README.md").read_text(encoding="utf-8") == "mine"
    assert find_data("none.csv") is None


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    file, reads = tmp_path / "z.npy", []
    compute = hashlib.file_digest

    def count(opened, name):
        reads.append(name)
        return compute(opened, name)

    monkeypatch.setattr("hashlib.file_digest", count)
    file.write_bytes(b"x")
    os.utime(file, ns=(0, 10**18))
    assert hash_file(file) == hash_file(file) == hashlib.sha256(b"x").hexdigest()
    assert len(reads) == 1
    file.write_bytes(b"y")
    os.utime(file, ns=(0, 10**18 + 1))
    assert hash_file(file) == hashlib.sha256(b"y").hexdigest()
    assert len(reads) == 2


def test_a_file_that_was_just_written_is_hashed_again(tmp_path):
    """Two writes may come so close together that the file's time stays the same."""
    file = tmp_path / "a.csv"
    file.write_bytes(b"x")
    facts, before = file.stat(), hash_file(file)
    file.write_bytes(b"y")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert hash_file(file) != before


def test_an_empty_name_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_data("") is None
    before = hash_data(name(""))
    (tmp_path / "other.csv").write_text("x", encoding="utf-8")
    assert hash_data(name("")) == before
