"""A linear layer whose parameters are named after their axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class NamedLinear(nn.Module):
    """An nn.Linear whose parameters are named after their axes.

    Args:
        linear: keeps its parameters; they become this layer's.
        inputs: the letter of its inputs.
        outputs: the letter of its outputs, or their number where they are no units.
    """

    def __init__(self, linear: nn.Linear, inputs: str, outputs: str) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.weight_name, self.bias_name = f"weight_{outputs}{inputs}", f"bias_{outputs}"
        setattr(self, self.weight_name, linear.weight)
        setattr(self, self.bias_name, linear.bias)

    def forward(self, z: Tensor) -> Tensor:
        product = (getattr(self, self.weight_name) @ z.mT).mT
        bias = getattr(self, self.bias_name)
        return product if bias is None else product + bias.to(product)

    def count_flops(self, units: Mapping[str, Any]) -> Any:
        """Returns the FLOPs of its product, for a number of units of each letter."""
        outputs = int(self.outputs) if self.outputs.isdigit() else units[self.outputs]
        return 2 * outputs * units[self.inputs]
