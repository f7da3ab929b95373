"""A predictor whose ablated activations are standardised as heads are trained on them."""

from __future__ import annotations

from dataclasses import dataclass

from datasets import Dataset
from torch import Tensor

from core_model.predictor import Ablation


@dataclass
class StandardisedAblation:
    """A predictor whose ablated activations are standardised as heads are trained on them."""

    ablation: Ablation
    mean_LD: Tensor
    std_LD: Tensor

    def __post_init__(self) -> None:
        self.components = self.ablation.components

    def inputs(self, episodes: Dataset) -> Tensor:
        return self.ablation.inputs(episodes)

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        z_NLD = self.ablation.read(inputs_N, gates_C)
        return (z_NLD - self.mean_LD.to(z_NLD)) / self.std_LD.to(z_NLD)
