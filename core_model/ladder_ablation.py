"""Ablation of a residual network on the ladder: the components of its blocks are switched off one
by one, differentiably, with unchanged weights.

N: episodes, I: bits, C: components, D: width, L: levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from datasets import Dataset
from torch import Tensor

from core_model.ladder_network import LadderBlock, LadderNetwork
from core_model.predictor import AblationKind, check_ablation_kind


class LadderAblation:
    """A frozen network in which the output of component c is mixed with its reference, in the
    proportions gates_C[c] and 1 - gates_C[c].

    The reference depends on `kind`. mean: the mean output over reference episodes. resampled: the
    output for the previous episode of the batch. Both are outputs of the intact network. The gates
    are in the order of the blocks, and within a block as it gives its outputs.

    Args:
        inputs: from episodes to the inputs of `read`: their bits, shape (N, I).
        reference: easy training episodes, for the means.
        levels: the levels to read.
    """

    def __init__(
        self,
        network: LadderNetwork,
        inputs: Callable[[Dataset], Tensor],
        reference: Dataset,
        levels: Sequence[int],
        kind: AblationKind,
    ) -> None:
        check_ablation_kind(kind)
        self.network = network
        self.inputs = inputs
        self.levels = tuple(levels)
        self.kind = kind
        self.blocks: list[LadderBlock] = [*network.blocks]  # type: ignore[list-item]
        self.components = sum(block.components for block in self.blocks)
        self.means = self._compute_means(inputs(reference)) if kind == "mean" else []

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        """Returns z_NLD, differentiable in the gates; `torch.func.vmap` runs it over gates, over
        inputs or over both.
        """
        z_ND = self.network.embedding(inputs_N.to(self._device))
        references = self.means if self.kind == "mean" else self._shift_outputs(z_ND)
        gates_of = gates_C.to(self._device).split([block.components for block in self.blocks])
        z_ND_of = {0: z_ND}
        for i in range(max(self.levels)):
            outputs_CND = self.blocks[i].compute_outputs(z_ND)
            mixed_CND = torch.lerp(references[i], outputs_CND, gates_of[i][:, None, None])
            z_ND = z_ND + mixed_CND.sum(dim=0)
            z_ND_of[i + 1] = z_ND
        return torch.stack([z_ND_of[level] for level in self.levels], dim=1).to(gates_C.device)

    @torch.no_grad()
    def _run_intact(self, z_ND: Tensor) -> list[Tensor]:
        """Returns the outputs of every block, no component switched off."""
        outputs = []
        for block in self.blocks[: max(self.levels)]:
            outputs.append(block.compute_outputs(z_ND))
            z_ND = z_ND + outputs[-1].sum(dim=0)
        return outputs

    def _compute_means(self, inputs_NI: Tensor) -> list[Tensor]:
        """Returns the mean outputs of every block, each of shape (C, 1, D)."""
        with torch.no_grad():
            z_ND = self.network.embedding(inputs_NI.to(self._device))
        return [outputs_CND.mean(dim=1, keepdim=True) for outputs_CND in self._run_intact(z_ND)]

    def _shift_outputs(self, z_ND: Tensor) -> list[Tensor]:
        """Returns the outputs for the previous episode; for the first episode, those for the
        last.
        """
        return [outputs_CND.roll(1, dims=1) for outputs_CND in self._run_intact(z_ND)]

    @property
    def _device(self) -> torch.device:
        return self.network.embedding.weight.device
