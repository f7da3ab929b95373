"""A level on disk: what is loaded is what was sealed, bit by bit, or nothing."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from console.errors import UserError
from storage.level_file import LevelFile, is_finite

Z_ND = torch.tensor([[1.0, -2.5], [0.0, 3e4], [7.0, -0.125]])


def make_file(
    folder: Path, dtype: torch.dtype = torch.float32, key: str = "vault 3", n: int = 3
) -> LevelFile:
    return LevelFile(folder / "level_3.safetensors", key, n, 2, dtype)


def seal(folder: Path, dtype: torch.dtype = torch.float32) -> LevelFile:
    """Returns a file that holds Z_ND."""
    file = make_file(folder, dtype)
    file.reserve()
    file.rows().copy_(Z_ND)
    assert file.seal()
    return file


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_sealed_file_is_loaded_and_any_reader_of_safetensors_can_read_it(tmp_path, dtype):
    file = seal(tmp_path, dtype)
    z_ND = file.load()
    assert z_ND.dtype == dtype and torch.equal(z_ND, Z_ND.to(dtype))
    assert list(tmp_path.iterdir()) == [file.path]
    with safe_open(file.path, "pt") as opened:
        assert torch.equal(opened.get_tensor("z_ND"), z_ND)
        assert opened.metadata()["key"] == "vault 3"


def test_a_file_without_rows_is_loaded(tmp_path):
    file = make_file(tmp_path, n=0)
    file.reserve()
    assert file.seal() and file.load().shape == (0, 2)


def test_rows_can_be_filled_in_in_any_order_and_through_several_mappings(tmp_path):
    file = make_file(tmp_path)
    file.reserve()
    for rows in ([2], [1, 0]):
        file.rows()[rows] = Z_ND[rows]
    assert file.seal() and torch.equal(file.load(), Z_ND)


def test_a_file_that_is_not_sealed_is_not_loaded(tmp_path):
    file = make_file(tmp_path)
    assert file.load() is None
    file.reserve()
    file.rows().copy_(Z_ND)
    assert file.load() is None
    file.temporary.rename(file.path)
    assert file.load() is None, "all of its numbers, but no checksum"


def test_a_flipped_bit_is_detected_in_every_byte(tmp_path):
    file = seal(tmp_path)
    whole = file.path.read_bytes()
    for i in range(len(whole)):
        file.path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert file.load() is None, i
    file.path.write_bytes(whole)
    assert torch.equal(file.load(), Z_ND)


def test_a_shorter_or_longer_file_is_detected(tmp_path):
    file = seal(tmp_path)
    whole = file.path.read_bytes()
    for length in range(len(whole)):
        file.path.write_bytes(whole[:length])
        assert file.load() is None, length
    file.path.write_bytes(whole + b"\0")
    assert file.load() is None


@pytest.mark.parametrize("other", [{"key": "vault 2"}, {"n": 2}, {"dtype": torch.float16}])
def test_a_whole_file_of_something_else_is_not_loaded(tmp_path, other):
    seal(tmp_path)
    assert make_file(tmp_path, **other).load() is None


def test_writing_into_a_loaded_tensor_changes_no_file(tmp_path):
    file = seal(tmp_path)
    file.load().zero_()
    assert torch.equal(file.load(), Z_ND)


def test_a_full_disk_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    message = (
        r"activations: 0\.00 GB do not fit into .* \(No space left on device\)\."
        r" Free some space, or set ELK_CACHE to a larger disk\."
    )
    with pytest.raises(UserError, match=message):
        make_file(tmp_path).reserve()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_not_finite_is_found_at_any_position(tmp_path, dtype, value):
    for i in range(130):  # more than a vector register of the processor holds
        z = torch.arange(130.0).to(dtype)
        assert is_finite(z)
        z[i] = value
        assert not is_finite(z), i
    file = make_file(tmp_path, dtype)
    file.reserve()
    file.rows().copy_(Z_ND)
    file.rows()[1, 1] = value
    assert not file.seal() and not file.path.exists()


def test_the_largest_numbers_are_finite():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert is_finite(torch.full((1000,), torch.finfo(dtype).max, dtype=dtype))
        assert is_finite(torch.zeros(0, dtype=dtype))
