"""A level on disk: what comes back is what was sealed, bit by bit, or nothing."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from compute.pages import LARGE, fresh, joined
from console.errors import UserError
from storage.level_file import LevelFile, is_finite

Z_ND = torch.tensor([[1.0, -2.5], [0.0, 3e4], [7.0, -0.125]])


def level_file(
    folder: Path, dtype: torch.dtype = torch.float32, key: str = "vault 3", n: int = 3
) -> LevelFile:
    return LevelFile(folder / "level_3.safetensors", key, n, 2, dtype)


def sealed(folder: Path, dtype: torch.dtype = torch.float32) -> LevelFile:
    file = level_file(folder, dtype)
    file.reserve()
    file.rows().copy_(Z_ND)
    assert file.seal()
    return file


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_was_sealed_comes_back_and_any_reader_of_safetensors_can_read_it(tmp_path, dtype):
    file = sealed(tmp_path, dtype)
    z_ND = file.load()
    assert (
        z_ND.dtype == dtype
        and torch.equal(z_ND, Z_ND.to(dtype))
        and list(tmp_path.iterdir()) == [file.path]
    )
    with safe_open(file.path, "pt") as opened:
        assert (
            torch.equal(opened.get_tensor("z_ND"), z_ND) and opened.metadata()["key"] == "vault 3"
        )


def test_no_rows_come_back_too(tmp_path):
    file = level_file(tmp_path, n=0)
    file.reserve()
    assert file.seal() and file.load().shape == (0, 2)


def test_rows_can_be_filled_in_in_any_order_and_through_several_mappings(tmp_path):
    file = level_file(tmp_path)
    file.reserve()
    for rows in ([2], [1, 0]):
        file.rows()[rows] = Z_ND[rows]
    assert file.seal() and torch.equal(file.load(), Z_ND)


def test_until_it_is_sealed_there_is_no_file(tmp_path):
    file = level_file(tmp_path)
    assert file.load() is None
    file.reserve()
    file.rows().copy_(Z_ND)
    assert file.load() is None
    file.temporary.rename(file.path)
    assert file.load() is None, "all of its numbers, but no checksum"


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path):
    file = sealed(tmp_path)
    whole = file.path.read_bytes()
    for place in range(len(whole)):
        file.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert file.load() is None, place
    file.path.write_bytes(whole)
    assert torch.equal(file.load(), Z_ND)


def test_a_file_that_is_shorter_or_longer_is_noticed(tmp_path):
    file = sealed(tmp_path)
    whole = file.path.read_bytes()
    for length in range(len(whole)):
        file.path.write_bytes(whole[:length])
        assert file.load() is None, length
    file.path.write_bytes(whole + b"\0")
    assert file.load() is None


@pytest.mark.parametrize("other", [{"key": "vault 2"}, {"n": 2}, {"dtype": torch.float16}])
def test_a_whole_file_of_something_else_is_not_used(tmp_path, other):
    sealed(tmp_path)
    assert level_file(tmp_path, **other).load() is None


def test_who_writes_into_what_was_loaded_changes_no_file(tmp_path):
    file = sealed(tmp_path)
    file.load().zero_()
    assert torch.equal(file.load(), Z_ND)


def test_a_full_disk_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(
        UserError,
        match=(
            r"activations: 0\.00 GB cannot be kept in .* \(No space left on device\)\. Make room,"
            r" or set ELK_CACHE"
        ),
    ):
        level_file(tmp_path).reserve()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_that_is_none_is_found_wherever_it_stands(tmp_path, dtype, value):
    for place in range(130):  # more than a vector of the processor holds
        z = torch.arange(130.0).to(dtype)
        assert is_finite(z)
        z[place] = value
        assert not is_finite(z), place
    file = level_file(tmp_path, dtype)
    file.reserve()
    file.rows().copy_(Z_ND)
    file.rows()[1, 1] = value
    assert not file.seal() and not file.path.exists()


def test_the_largest_numbers_are_finite():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert is_finite(torch.full((1000,), torch.finfo(dtype).max, dtype=dtype)) and is_finite(
            torch.zeros(0, dtype=dtype)
        )


@pytest.mark.parametrize("n", [1, LARGE // 4])
def test_fresh_memory_is_a_table_like_any_other(n):
    table, plain = fresh(n, 1, 2), torch.empty(n, 1, 2)
    assert table.shape == plain.shape and table.dtype == plain.dtype and table.is_contiguous()
    table.fill_(3.0)
    assert table.sum() == 6.0 * n and torch.equal(table.clone(), table)


def test_levels_are_joined_in_float32_and_one_of_that_kind_is_not_copied():
    half = Z_ND.bfloat16()
    assert torch.equal(joined([Z_ND, half]), torch.stack([Z_ND, half.float()], dim=1))
    assert torch.equal(joined([half])[:, 0], half.float()) and joined([half]).dtype == torch.float32
    assert joined([Z_ND]).data_ptr() == Z_ND.data_ptr()
