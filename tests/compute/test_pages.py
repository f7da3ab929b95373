"""Tables in new memory are like any other tables."""

import pytest
import torch

from compute.pages import LARGE, allocate, stack_levels

Z_ND = torch.tensor([[1.0, -2.5], [0.0, 3e4], [7.0, -0.125]])


@pytest.mark.parametrize("n", [1, LARGE // 4])
def test_an_allocated_table_is_like_any_other(n):
    table = allocate(n, 1, 2)
    plain = torch.empty(n, 1, 2)
    assert table.shape == plain.shape and table.dtype == plain.dtype and table.is_contiguous()
    table.fill_(3.0)
    assert table.sum() == 6.0 * n and torch.equal(table.clone(), table)


def test_levels_are_stacked_in_float32():
    half_ND = Z_ND.bfloat16()
    assert torch.equal(stack_levels([Z_ND, half_ND]), torch.stack([Z_ND, half_ND.float()], dim=1))
    assert torch.equal(stack_levels([half_ND]), half_ND.float()[:, None])
    assert stack_levels([half_ND]).dtype == torch.float32


def test_a_single_level_in_float32_is_not_copied():
    assert stack_levels([Z_ND]).shape == (3, 1, 2)
    assert stack_levels([Z_ND]).data_ptr() == Z_ND.data_ptr()
