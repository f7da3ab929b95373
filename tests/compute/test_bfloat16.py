"""bfloat16 is chosen only where a device has units for it; a number type that is named is kept."""

import pytest
import torch

from compute.bfloat16 import choose_dtype

AVX2 = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        (AVX2, "float32"),
        (AVX2 | {"avx512_f": True}, "float32"),
        (AVX2 | {"avx512_bf16": True}, "bfloat16"),
        (AVX2 | {"amx_bf16": True}, "bfloat16"),
        ({"architecture": "arm64", "neon": True}, "float32"),
        ({"architecture": "arm64", "neon": True, "bf16": True}, "bfloat16"),
    ],
)
def test_a_processor_without_units_computes_in_float32(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_dtype("auto", "cpu") == dtype
    for named in ("float32", "bfloat16"):
        assert choose_dtype(named, "cpu") == named


@pytest.mark.parametrize(("has_units", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_is_asked_for_units_and_not_for_emulation(monkeypatch, has_units, dtype):
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation: including_emulation or has_units,
    )
    assert choose_dtype("auto", "cuda") == dtype
