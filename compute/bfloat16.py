"""Whether a device computes in bfloat16 faster than in float32."""

from __future__ import annotations

from typing import Literal

import torch

UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Processor features, as PyTorch names them, that multiply numbers in bfloat16."""


def choose_dtype(dtype: str, device: str) -> Literal["bfloat16", "float32"]:
    """Returns the number type of this name; for auto, bfloat16 where the device has units for it,
    and otherwise float32.

    >>> choose_dtype("bfloat16", "cpu")
    'bfloat16'
    """
    if dtype == "auto":
        return "bfloat16" if has_bfloat16_units(device) else "float32"
    assert dtype in ("bfloat16", "float32")
    return dtype  # type: ignore[return-value]


def has_bfloat16_units(device: str) -> bool:
    """Whether a GPU, or this processor, multiplies numbers in bfloat16 itself. Without such units,
    bfloat16 is five to seven times as slow as float32.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit, False) for unit in UNITS)
