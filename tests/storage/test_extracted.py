"""Extracted activations are read from two types of files, and nothing else is."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from console.errors import UserError
from storage.extracted import load_extracted

Z = torch.arange(24.0).view(4, 3, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_safetensors_keep_their_numbers_and_their_type(dtype, tmp_path):
    save_file({"z": Z.to(dtype)}, tmp_path / "z.safetensors")
    loaded = load_extracted(str(tmp_path / "z.safetensors"), "key")
    assert loaded.dtype == dtype and torch.equal(loaded.float(), Z)


def test_one_of_several_tensors_is_chosen_by_its_name(tmp_path):
    save_file({"labels": Z + 1, "activations": Z}, tmp_path / "z.safetensors")
    assert torch.equal(load_extracted(str(tmp_path / "z.safetensors"), "key"), Z)


def test_npy_without_levels_has_one(tmp_path):
    np.save(tmp_path / "z.npy", Z[:, 0].numpy())
    assert torch.equal(load_extracted(str(tmp_path / "z.npy"), "key"), Z[:, :1])


def test_what_is_changed_in_memory_does_not_change_the_file(tmp_path):
    np.save(tmp_path / "z.npy", Z.numpy())
    load_extracted(str(tmp_path / "z.npy"), "key")[:] = 0
    assert torch.equal(load_extracted(str(tmp_path / "z.npy"), "key"), Z)


def save_pickle(path) -> None:
    path.write_bytes(pickle.dumps(Z))


@pytest.mark.parametrize(
    ("name", "save", "message"),
    [
        ("none.npy", lambda path: None, "does not exist"),
        (
            "z.pt",
            lambda path: torch.save(Z, path),
            "is of no known type. It must end in .safetenso",
        ),
        ("z.npy", save_pickle, "cannot be read"),
        ("z.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True), "cannot be read"),
        ("z.npy", lambda path: path.write_bytes(b""), "cannot be read"),
        ("z.safetensors", lambda path: path.write_bytes(b"broken"), "cannot be read"),
        ("z.npy", lambda path: np.save(path, np.zeros((4, 2), int)), "holds numbers of type int64"),
        ("z.npy", lambda path: np.save(path, np.zeros(4)), "has shape (4,)"),
        ("z.npy", lambda path: np.save(path, np.zeros((0, 2))), "has shape (0, 2)"),
        (
            "z.safetensors",
            lambda path: save_file({"a": Z, "b": Z + 1}, path),
            "has the tensors a, b. Call the one that is meant activations.",
        ),
    ],
)
def test_other_files_are_refused_in_one_line(name, save, message, tmp_path):
    save(tmp_path / name)
    with pytest.raises(UserError) as refused:
        load_extracted(str(tmp_path / name), "world.activations")
    text = str(refused.value)
    assert text.startswith("world.activations: ") and message in text and "\n" not in text


def test_an_empty_name_is_refused():
    with pytest.raises(UserError, match=r"^world.activations: no file is named\. For example: "):
        load_extracted("", "world.activations")
