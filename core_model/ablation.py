"""Ablation of the small transformer: its attention heads and MLPs are switched off one by one,
differentiably, with unchanged weights.

N: episodes, T: steps, Q: steps that are computed (all, or the last), C: columns of symbols in
inputs, components in gates, A: attention heads, E: width of an attention head, D: width, L: levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F

from core_model.predictor import AblationKind, check_ablation_kind

if TYPE_CHECKING:
    from core_model.transformer_model import Block, Model

BATCH = 1_000
"""Episodes at once while means are taken, to limit memory."""


class Outputs(NamedTuple):
    """The outputs of the components of one block. Those of attention heads are taken before the
    out-projection: it is linear, so mixing before it is the same as mixing after it.
    """

    heads_NTAE: Tensor
    mlp_NTD: Tensor


class Ablated:
    """A frozen transformer in which the output of component c is mixed with its reference, in the
    proportions gates_C[c] and 1 - gates_C[c].

    The reference depends on `kind`. mean: the mean output at that step over reference episodes
    (mean ablation, as in Wang et al. 2023). resampled: the output for the previous episode of the
    batch (interchange, as in causal scrubbing, Chan et al. 2022, and ACDC, Conmy et al. 2023). Both
    are outputs of the intact predictor. A head's output is its part of the out-projection, whose
    bias is always on; an MLP's output includes its bias. The gates are in the order of `names`:
    block by block the heads and then the MLP, counted from 1; level i is the output of block i.

    Args:
        inputs: from episodes to the inputs of `read`: their symbols, shape (N, T, C).
        reference: easy training episodes, for the means.
        levels: the levels to read, at the last step.
    """

    def __init__(
        self,
        model: Model,
        inputs: Callable[[Dataset], Tensor],
        reference: Dataset,
        levels: Sequence[int],
        kind: AblationKind,
    ) -> None:
        check_ablation_kind(kind)
        self.model = model
        self.inputs = inputs
        self.levels = tuple(levels)
        self.kind = kind
        self.blocks: list[Block] = [*model.blocks]  # type: ignore[list-item]
        self.names = _name_components(self.blocks)
        self.components = len(self.names)
        self.means = self._compute_means(inputs(reference)) if kind == "mean" else []

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        """Returns z_NLD at the last step, differentiable in the gates; `torch.func.vmap` runs it
        over gates, over inputs or over both.
        """
        inputs_NTC = inputs_N.to(self._device)
        gates_BC = gates_C.to(self._device).view(len(self.blocks), -1)  # B: blocks
        references = self.means if self.kind == "mean" else self._shift_outputs(inputs_NTC)
        deepest = max(self.levels)
        z_NQD = self.model.embed(inputs_NTC)
        z_ND_of = {0: z_NQD[:, -1]}
        for level in range(1, deepest + 1):
            n_steps = 1 if level == deepest else z_NQD.shape[1]
            i = level - 1
            z_NQD, _ = run_block(self.blocks[i], z_NQD, n_steps, gates_BC[i], references[i])
            z_ND_of[level] = z_NQD[:, -1]
        return torch.stack([z_ND_of[level] for level in self.levels], dim=1).to(gates_C.device)

    @torch.no_grad()
    def _run_intact(self, inputs_NTC: Tensor) -> list[Outputs]:
        """Returns the outputs of every block, no component switched off."""
        z_NTD = self.model.embed(inputs_NTC)
        outputs_of_blocks = []
        for block in self.blocks[: max(self.levels)]:
            z_NTD, outputs = run_block(block, z_NTD, z_NTD.shape[1])
            outputs_of_blocks.append(outputs)
        return outputs_of_blocks

    def _compute_means(self, inputs_NTC: Tensor) -> list[Outputs]:
        """Returns the mean outputs of every block at each step, shapes (T, A, E) and (T, D)."""
        sums = []
        for batch in inputs_NTC.split(BATCH):
            outputs_of_blocks = self._run_intact(batch.to(self._device))
            sums.append([(heads.sum(dim=0), mlp.sum(dim=0)) for heads, mlp in outputs_of_blocks])
        means = []
        for sums_of_block in zip(*sums, strict=True):
            heads_TAE, mlp_TD = (sum(parts) for parts in zip(*sums_of_block, strict=True))
            means.append(Outputs(heads_TAE / len(inputs_NTC), mlp_TD / len(inputs_NTC)))
        return means

    def _shift_outputs(self, inputs_NTC: Tensor) -> list[Outputs]:
        """Returns the outputs for the previous episode; for the first episode, those for the
        last.
        """
        shifted = []
        for heads_NTAE, mlp_NTD in self._run_intact(inputs_NTC):
            shifted.append(Outputs(heads_NTAE.roll(1, dims=0), mlp_NTD.roll(1, dims=0)))
        return shifted

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def run_block(
    block: Block,
    z_NTD: Tensor,
    n_steps: int,
    gates_C: Tensor | None = None,
    reference: Outputs | None = None,
) -> tuple[Tensor, Outputs]:
    """Returns the last steps of the residual stream after a block, and the outputs of the block's
    own components.

    Args:
        n_steps: the number of steps, from the end, that are computed.
        gates_C: of the block's heads and of its MLP; without them no component is switched off.
        reference: replaces the outputs, at all steps; with an axis of episodes or without.
    """
    heads_NQAE = attend(block, z_NTD, n_steps)
    mixed_NQAE = heads_NQAE
    if gates_C is not None and reference is not None:
        reference_heads = reference.heads_NTAE[..., -n_steps:, :, :]
        mixed_NQAE = torch.lerp(reference_heads, heads_NQAE, gates_C[:-1, None])
    z_NQD = z_NTD[:, -n_steps:] + block.out(mixed_NQAE.flatten(-2))

    mlp_NQD = block.mlp(block.norm_mlp(z_NQD))
    mixed_NQD = mlp_NQD
    if gates_C is not None and reference is not None:
        mixed_NQD = torch.lerp(reference.mlp_NTD[..., -n_steps:, :], mlp_NQD, gates_C[-1])
    return z_NQD + mixed_NQD, Outputs(heads_NQAE, mlp_NQD)


def attend(block: Block, z_NTD: Tensor, n_steps: int) -> Tensor:
    """Returns the output of each attention head for the last steps, before the out-projection,
    shape (N, Q, A, E).
    """
    normed_NTD = block.norm_attention(z_NTD)
    linear = block.query_key_value
    steps, width = z_NTD.shape[1:]
    if n_steps == steps:
        query, key, value = linear(normed_NTD).chunk(3, dim=-1)
    else:  # only the last steps need queries
        query = F.linear(normed_NTD[:, -n_steps:], linear.weight[:width], linear.bias[:width])
        key, value = F.linear(normed_NTD, linear.weight[width:], linear.bias[width:]).chunk(2, -1)
    query_NQAE, key_NTAE, value_NTAE = (
        part.unflatten(-1, (block.heads, -1)) for part in (query, key, value)
    )
    scores_NAQT = query_NQAE.transpose(1, 2) @ key_NTAE.permute(0, 2, 3, 1)
    scores_NAQT = scores_NAQT * query_NQAE.shape[-1] ** -0.5
    ones_QT = torch.ones(n_steps, steps, dtype=torch.bool, device=z_NTD.device)
    is_later_QT = ones_QT.triu(steps - n_steps + 1)
    weights_NAQT = scores_NAQT.masked_fill(is_later_QT, -torch.inf).softmax(dim=-1)
    return (weights_NAQT @ value_NTAE.transpose(1, 2)).transpose(1, 2)


def _name_components(blocks: Sequence[Block]) -> tuple[str, ...]:
    """Returns the names of all components, in the order of their gates."""
    names = []
    for i, block in enumerate(blocks, start=1):
        names += [f"block {i} head {head}" for head in range(1, block.heads + 1)]
        names.append(f"block {i} mlp")
    return tuple(names)
