"""Ablation of the small transformer: its attention heads and MLPs switched off one by one,
differentiably, its weights as they are.

N: episodes, T: steps, C: symbols a step in inputs, components in gates; Q: steps that are computed
(all, or the last), H: attention heads, V: width of a head, D: width, L: levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F

from console.errors import UserError
from core_model.predictor import KINDS, Kind

if TYPE_CHECKING:
    from core_model.transformer_model import Block, Model

BATCH = 1_000
"""Episodes at once while means are taken: keeps memory bounded."""


class Parts(NamedTuple):
    """What the components of one block say. Heads are kept before the out-projection: it is linear,
    so mixing there is mixing their outputs.
    """

    heads_NTHV: Tensor
    mlp_NTD: Tensor


class Ablated:
    """A frozen transformer in which component c says gates_C[c] of what it says, and 1 - gates_C[c]
    of its reference.

    The reference is by `kind`. mean: what it says at that step on average over reference episodes
    (mean ablation, as in Wang et al. 2023). resampled: what it says of the batch's episode before
    this one (interchange, as in causal scrubbing, Chan et al. 2022, and ACDC, Conmy et al. 2023).
    Either in the intact predictor. A head's output is its part of the out-projection, whose bias is
    always on; an MLP's output includes its bias. The gates are in the order of `names`: block after
    block its heads and then its MLP, counted from 1; level i is what block i leaves.

    Args:
        inputs: from episodes to what `read` takes of them, their symbols, shape (N, T, C).
        reference: easy training episodes, for the means.
        levels: the levels to read, at the last step.
    """

    def __init__(
        self,
        model: Model,
        inputs: Callable[[Dataset], Tensor],
        reference: Dataset,
        levels: Sequence[int],
        kind: Kind,
    ) -> None:
        if kind not in KINDS:
            raise UserError(f"ablation: there is no kind {kind}. Use one of {', '.join(KINDS)}.")
        self.model, self.inputs, self.levels, self.kind = model, inputs, tuple(levels), kind
        self.blocks: list[Block] = [*model.blocks]  # type: ignore[list-item]
        self.names = tuple(
            f"block {b} {part}"
            for b, block in enumerate(self.blocks, start=1)
            for part in (*(f"head {h}" for h in range(1, block.heads + 1)), "mlp")
        )
        self.components = len(self.names)
        self.means = self._means(inputs(reference)) if kind == "mean" else []

    def read(self, inputs_N: Tensor, gates_C: Tensor) -> Tensor:
        """Returns z_NLD at the last step, differentiable in the gates; `torch.func.vmap` runs it
        over gates, over inputs or over both.
        """
        inputs_NTC, gates_BC = (
            inputs_N.to(self._device),
            gates_C.to(self._device).view(len(self.blocks), -1),
        )
        references = self.means if self.kind == "mean" else self._others(inputs_NTC)
        z_NQD = self.model.embed(inputs_NTC)
        found, deepest = {0: z_NQD[:, -1]}, max(self.levels)
        for level, (block, gates, reference) in enumerate(
            zip(self.blocks[:deepest], gates_BC, references, strict=False), start=1
        ):
            z_NQD, _ = through(
                block, z_NQD, 1 if level == deepest else z_NQD.shape[1], gates, reference
            )
            found[level] = z_NQD[:, -1]
        return torch.stack([found[level] for level in self.levels], dim=1).to(gates_C.device)

    @torch.no_grad()
    def _intact(self, inputs_NTC: Tensor) -> list[Parts]:
        """Returns what every component says where none is switched off."""
        z_NTD, said = self.model.embed(inputs_NTC), []
        for block in self.blocks[: max(self.levels)]:
            z_NTD, parts = through(block, z_NTD, z_NTD.shape[1])
            said.append(parts)
        return said

    def _means(self, inputs_NTC: Tensor) -> list[Parts]:
        """Returns what every component says on average at each step, shapes (T, H, V) and (T, D)."""
        sums = [
            [
                Parts(*(part.sum(dim=0) for part in parts))
                for parts in self._intact(batch.to(self._device))
            ]
            for batch in inputs_NTC.split(BATCH)
        ]
        return [
            Parts(*(sum(part) / len(inputs_NTC) for part in zip(*of_block, strict=True)))
            for of_block in zip(*sums, strict=True)
        ]

    def _others(self, inputs_NTC: Tensor) -> list[Parts]:
        """Returns what every component says of the episode before, and of the last for the first."""
        return [
            Parts(*(part.roll(1, dims=0) for part in parts)) for parts in self._intact(inputs_NTC)
        ]

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def through(
    block: Block,
    z_NTD: Tensor,
    last: int,
    gates_C: Tensor | None = None,
    reference: Parts | None = None,
) -> tuple[Tensor, Parts]:
    """Returns the last so many steps of the residual stream after a block, and what its components
    said of themselves.

    Args:
        gates_C: of the block's heads and of its MLP; without them nothing is switched off.
        reference: what stands in for a component, at all steps; with an axis of episodes or
            without.
    """
    heads_NQHV = attended(block, z_NTD, last)
    on_NQHV = heads_NQHV
    if gates_C is not None and reference is not None:
        on_NQHV = torch.lerp(
            reference.heads_NTHV[..., -last:, :, :], heads_NQHV, gates_C[:-1, None]
        )
    z_NQD = z_NTD[:, -last:] + block.out(on_NQHV.flatten(-2))
    mlp_NQD = block.mlp(block.norm_mlp(z_NQD))
    on_NQD = mlp_NQD
    if gates_C is not None and reference is not None:
        on_NQD = torch.lerp(reference.mlp_NTD[..., -last:, :], mlp_NQD, gates_C[-1])
    return z_NQD + on_NQD, Parts(heads_NQHV, mlp_NQD)


def attended(block: Block, z_NTD: Tensor, last: int) -> Tensor:
    """Returns what each attention head gathers for the last so many steps, before the
    out-projection, shape (N, Q, H, V).
    """
    normed_NTD, linear = block.norm_attention(z_NTD), block.query_key_value
    steps, width = z_NTD.shape[1:]
    if last == steps:
        query, key, value = (
            part.unflatten(-1, (block.heads, -1)) for part in linear(normed_NTD).chunk(3, dim=-1)
        )
    else:  # steps that nothing reads ask for nothing
        query = F.linear(
            normed_NTD[:, -last:], linear.weight[:width], linear.bias[:width]
        ).unflatten(-1, (block.heads, -1))
        both = F.linear(normed_NTD, linear.weight[width:], linear.bias[width:])
        key, value = (part.unflatten(-1, (block.heads, -1)) for part in both.chunk(2, dim=-1))
    hidden_QT = torch.ones(last, steps, dtype=torch.bool, device=z_NTD.device).triu(
        steps - last + 1
    )
    scores_NHQT = (query.transpose(1, 2) @ key.permute(0, 2, 3, 1)) * query.shape[-1] ** -0.5
    weights_NHQT = scores_NHQT.masked_fill(hidden_QT, -torch.inf).softmax(dim=-1)
    return (weights_NHQT @ value.transpose(1, 2)).transpose(1, 2)
