"""A frozen language model as a predictor: reads the residual stream at any level, and returns the
likelihood of a text.

N: episodes, B: episodes in a batch, T: tokens, L: levels read, D: width, V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.hooks import RemovableHandle

from console.errors import UserError
from core_model.predictor import Opinions, Portion, Predictor, read_portions, show_progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Batch(NamedTuple):
    """Texts of similar length, padded on the right."""

    ids_BT: Tensor
    mask_BT: Tensor


class DeepestLevelRead(Exception):
    """Ends a forward pass: no block beyond the deepest level is computed."""


@dataclass(frozen=True, eq=False)
class HuggingFacePredictor(Predictor):
    """A frozen language model. The residual stream is read before the final norm.

    It cannot write back: its only opinion is the likelihood of the words after the prompt, and
    these words do not come after the last token, where activations are read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    blocks: nn.ModuleList
    column: str
    batch_size: int
    name: str
    n_levels: int
    width: int
    identity: str
    dtype: torch.dtype
    can_write: bool = field(default=False, init=False)

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        """Returns z_NLD on the CPU, in the model's dtype. Position -1 is the last token of each
        text, 0 the first.
        """
        portions = self.portions(episodes, levels, position)
        return read_portions(portions, len(episodes), len(levels), self.width, self.dtype)

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        tokens = self.tokenize(episodes[self.column])
        self._check(tokens, levels, position)
        portions = []
        for rows in self._group_by_length(tokens):
            read = partial(self._read, [tokens[row] for row in rows], levels, position)
            portions.append(Portion(torch.tensor(rows), read))
        return portions

    @torch.no_grad()
    def opinions(
        self,
        episodes: Dataset,
        level: int | None = None,
        z_ND: Tensor | None = None,
        position: int = -1,
    ) -> Opinions:
        """Returns log P(text after the column `prompt` | prompt), in nats, as its score of X and of
        H alike.

        The likelihood of the words is the only thing that a language model predicts about a
        statement. That a statement is true raises this score (X), and that it would be true to a
        reader who overlooks the "not" raises it too (H); the verdict measures which of the two the
        score follows.
        """
        if level is not None or z_ND is not None:
            raise UserError(
                f"opinions: {self.name} cannot run on from an activation that was written back."
                " Leave out interchange for language models."
            )
        if "prompt" not in episodes.column_names:
            raise UserError(
                "opinions: the episodes have no column prompt, and so no words whose likelihood"
                " could be an opinion."
            )
        tokens = self.tokenize(episodes[self.column])
        prompts = self.tokenize(episodes["prompt"])
        pairs = zip(prompts, tokens, strict=True)
        start_N = torch.tensor([count_common_tokenize(prompt, text) for prompt, text in pairs])
        score_N = torch.zeros(len(tokens))
        for rows in show_progress(self._group_by_length(tokens), f"{self.name} judges"):
            batch = self._pad([tokens[row] for row in rows])
            score_N[rows] = self._score(batch, start_N[rows]).cpu()
        return Opinions(score_N, score_N.clone())

    def flops(self, episodes: Dataset) -> Tensor:
        """Counts 2 FLOPs for each weight of a block's matrices and each token, and 4 T² for each
        dimension of the attention heads (scores and their sum).

        This is correct for blocks in which every token goes through every matrix. Embeddings, norms
        and activation functions are not counted.
        """
        tokens = self.tokenize(episodes[self.column])
        length_N = torch.tensor([len(text) for text in tokens], dtype=torch.float64)
        config = self.model.config.get_text_config()
        n_heads = config.num_attention_heads
        head_width = getattr(config, "head_dim", None) or config.hidden_size // n_heads
        flops = [torch.zeros((), dtype=torch.float64)]
        for block in self.blocks:
            weights = sum(weight.numel() for weight in block.parameters() if weight.ndim == 2)
            products_N = 2 * weights * length_N
            attention_N = 4 * (n_heads * head_width) * length_N**2
            flops.append((products_N + attention_N).mean())
        return torch.stack(flops).cumsum(0)

    def _check(self, tokens: list[list[int]], levels: Sequence[int], position: int) -> None:
        """Checks that the levels exist, and that every text has the position."""
        missing = [level for level in levels if not 0 <= level < self.n_levels]
        if missing or not levels:
            raise UserError(
                f"levels: {self.name} has the levels 0 to {self.n_levels - 1}, not {missing}. Name"
                " at least one of them."
            )
        shortest = min(map(len, tokens), default=None)
        if shortest is not None and not -shortest <= position < shortest:
            raise UserError(
                f"position: the shortest text has {shortest} tokens, and so no position {position}."
            )

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token numbers of each text, with the special tokens of the tokenizer."""
        tokens = self.tokenizer(list(texts))["input_ids"] if len(texts) else []
        config = self.model.config.get_text_config()
        longest = getattr(config, "max_position_embeddings", None) or float("inf")
        for row, text in enumerate(tokens):
            if not 0 < len(text) <= longest:
                raise UserError(
                    f"{self.column}: row {row} has {len(text)} tokens, and {self.name} reads 1 to"
                    f" {longest}."
                )
        return tokens

    def _group_by_length(self, tokens: list[list[int]]) -> list[list[int]]:
        """Returns the rows of the texts, sorted by length, in groups of `batch_size`."""
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        starts = range(0, len(tokens), self.batch_size)
        return [by_length[start : start + self.batch_size] for start in starts]

    def _pad(self, texts: list[list[int]]) -> Batch:
        ids_BT = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
        length_B = torch.tensor([len(text) for text in texts])
        mask_BT = (torch.arange(ids_BT.shape[1]) < length_B[:, None]).long()
        return Batch(ids_BT.to(self.model.device), mask_BT.to(self.model.device))

    @torch.no_grad()
    def _read(self, texts: list[list[int]], levels: Sequence[int], position: int) -> Tensor:
        """Returns z_BLD of one batch of texts, on the CPU."""
        batch = self._pad(texts)
        position_B = position if position >= 0 else batch.mask_BT.sum(1) + position
        z_BD_of = self.run(batch, set(levels), position_B)
        return torch.stack([z_BD_of[level] for level in levels], dim=1).cpu()

    def run(self, batch: Batch, levels: set[int], position_B: Tensor | int) -> dict[int, Tensor]:
        """Returns the residual stream z_BD at one position of each text, by level; runs no block
        beyond the deepest level.
        """
        z_BD_of: dict[int, Tensor] = {}

        def keep(level: int, z_BTD: Tensor) -> None:
            z_BD_of[level] = z_BTD[torch.arange(len(z_BTD), device=z_BTD.device), position_B]
            if level == max(levels):
                raise DeepestLevelRead

        handles = [add_hook(self.blocks, level, keep) for level in levels]
        try:
            with suppress(DeepestLevelRead):
                self.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return z_BD_of

    def _score(self, batch: Batch, start_B: Tensor) -> Tensor:
        """Returns the log-likelihood of each text from token `start_B` on, in nats."""
        position_T = torch.arange(1, batch.ids_BT.shape[1])
        is_after_start_BT = (position_T >= start_B[:, None]).to(batch.mask_BT.device)
        is_scored_BT = batch.mask_BT[:, 1:].bool() & is_after_start_BT
        logits_BTV = self.model(
            input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False
        ).logits[:, :-1]
        nats_BT = torch.zeros(is_scored_BT.shape, device=is_scored_BT.device)
        nats_BT[is_scored_BT] = -cross_entropy(
            logits_BTV[is_scored_BT].float(), batch.ids_BT[:, 1:][is_scored_BT], reduction="none"
        )
        return nats_BT.sum(1)


def find_residual_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Returns the blocks of the decoder: the only list of modules that is as long as the model is
    deep.

    Raises:
        UserError: there is no such list, or more than one.
    """
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = [
        module for module in model.get_decoder().modules() if isinstance(module, nn.ModuleList)
    ]
    blocks = [modules for modules in lists if len(modules) == depth]
    if len(blocks) != 1:
        raise UserError(
            f"core_model.model: {type(model).__name__} has {len(blocks)} lists of {depth} blocks,"
            " not one. Choose another model."
        )
    return blocks[0]


def add_hook(
    blocks: nn.ModuleList, level: int, keep: Callable[[int, Tensor], None]
) -> RemovableHandle:
    """Adds a hook that calls `keep` with a level and its residual stream z_BTD: the input of the
    first block, or the output of block `level`.
    """

    def keep_input(block: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        keep(0, inputs[0] if inputs else named["hidden_states"])

    def keep_output(block: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        keep(level, output if isinstance(output, Tensor) else output[0])

    if level == 0:
        return blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)
    return blocks[level - 1].register_forward_hook(keep_output)


def count_common_tokenize(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns the length of the common beginning of two texts.

    >>> count_common_tokenize([5, 6, 7, 2], [5, 6, 7, 8, 2])
    3
    """
    for i, (token, other) in enumerate(zip(first, second, strict=False)):
        if token != other:
            return i
    return min(len(first), len(second))
