"""The modules of the small causal transformer, and the tables that it reads.

B: episodes of a batch, N: episodes, T: steps, C: columns of symbols in inputs, classes in logits,
D: width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Causal self-attention and an MLP, each added to the residual stream."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        hidden = mlp_ratio * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, z_BTD: Tensor) -> Tensor:
        """Returns z_BTD after the block."""
        batch, steps, width = z_BTD.shape
        qkv = self.query_key_value(self.norm_attention(z_BTD))
        qkv = qkv.view(batch, steps, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        z_BTD = z_BTD + self.out(heads.transpose(1, 2).reshape(batch, steps, width))
        return z_BTD + self.mlp(self.norm_mlp(z_BTD))


class Model(nn.Module):
    """Embeddings of each symbol and of the step, blocks, and one linear readout for all predicted
    symbols.

    Args:
        reads: the columns that are read, each with its number of classes.
        predicts: the columns that are predicted, each with its number of classes.
        steps: steps of an episode.
        width: width of the residual stream.
        heads: attention heads of a block.
        mlp_ratio: hidden units of a block's MLP, as a multiple of the width.
    """

    def __init__(
        self,
        reads: dict[str, int],
        predicts: dict[str, int],
        steps: int,
        width: int,
        heads: int,
        blocks: int,
        mlp_ratio: int,
    ) -> None:
        super().__init__()
        self.predicts = predicts
        self.mlp_width = mlp_ratio * width
        self.symbols = nn.ModuleList(nn.Embedding(size, width) for size in reads.values())
        self.step = nn.Embedding(steps, width)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, sum(predicts.values()))

    def embed(self, reads_BTC: Tensor) -> Tensor:
        """Returns level 0, z_BTD."""
        steps_T = torch.arange(reads_BTC.shape[1], device=reads_BTC.device)
        of_symbols = sum(embed(reads_BTC[..., i]) for i, embed in enumerate(self.symbols))
        return self.step(steps_T) + of_symbols

    def predictions(self, z_BTD: Tensor) -> dict[str, Tensor]:
        """Returns the logits of each predicted column, from the last level."""
        logits = self.readout(self.norm(z_BTD))
        logits_of_columns = logits.split(list(self.predicts.values()), dim=-1)
        return dict(zip(self.predicts, logits_of_columns, strict=True))

    def forward(self, reads_BTC: Tensor) -> dict[str, Tensor]:
        """Returns the logits of each predicted column, from the symbols that are read."""
        z_BTD = self.embed(reads_BTC)
        for block in self.blocks:
            z_BTD = block(z_BTD)
        return self.predictions(z_BTD)


def count_classes(episodes: Dataset, columns: Sequence[str]) -> dict[str, int]:
    """Returns the number of classes of each column of symbols."""
    return {column: episodes.features[column].feature.num_classes for column in columns}


def stack_symbols(episodes: Dataset, columns: Sequence[str]) -> Tensor:
    """Returns the columns of symbols as one integer tensor, shape (N, T, C)."""
    table = episodes.select_columns(list(columns)).with_format("arrow")[:]
    arrays = []
    for column in columns:
        values = table[column].combine_chunks().flatten().to_numpy()
        arrays.append(values.reshape(len(episodes), episodes.features[column].length))
    return torch.from_numpy(np.stack(arrays, axis=-1)).long()


def compute_log_odds(logits_NC: Tensor, which: int) -> Tensor:
    """Returns the log-odds of one class against all others, in nats, shape (N,)."""
    log_p_NC = logits_NC.log_softmax(dim=-1)
    others_NC = log_p_NC.clone()
    others_NC[:, which] = -torch.inf
    return (log_p_NC[:, which] - others_NC.logsumexp(dim=-1)).cpu()
