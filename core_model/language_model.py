"""A frozen language model as a predictor: reads the residual stream at any level, and says how
likely it finds a text.

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
from core_model.predictor import Opinions, Portion, Predictor, gathered, shown

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Batch(NamedTuple):
    """Texts of like length, padded on the right."""

    ids_BT: Tensor
    mask_BT: Tensor


class Reached(Exception):
    """The deepest level asked for has been read; nothing beyond it is to be computed."""


@dataclass(frozen=True, eq=False)
class HuggingFacePredictor(Predictor):
    """A frozen language model. The residual stream is read before the final norm.

    It cannot write back: its one opinion is how likely it finds the words after the prompt, and
    these do not come after the last token, where activations are read.
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
        """Returns z_NLD on the CPU, in the model's dtype. Position -1 is each text's last token,
        whatever its length; 0 is its first.
        """
        return gathered(
            self.portions(episodes, levels, position),
            len(episodes),
            len(levels),
            self.width,
            self.dtype,
        )

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        tokens = self._tokens(episodes[self.column])
        wrong = [level for level in levels if not 0 <= level < self.n_levels]
        if wrong or not levels:
            raise UserError(
                f"levels: {self.name} has the levels 0 to {self.n_levels - 1}, not {wrong}. Ask for"
                " at least one of them."
            )
        if tokens and not -min(map(len, tokens)) <= position < min(map(len, tokens)):
            raise UserError(
                f"position: the shortest text has {min(map(len, tokens))} tokens, and so no"
                f" position {position}."
            )
        alike = self._alike(tokens)
        return [
            Portion(
                torch.tensor(rows),
                partial(self._read, [tokens[row] for row in rows], levels, position),
            )
            for rows in alike
        ]

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

        How likely it finds the words is all that a language model predicts about a statement. That
        it is true raises this score (X), and that it would be true to a reader who overlooks the
        "not" raises it too (H); which of the two the score follows is for the verdict to measure.
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
        tokens = self._tokens(episodes[self.column])
        pairs = zip(self._tokens(episodes["prompt"]), tokens, strict=True)
        start_N = torch.tensor([common_prefix(prompt, text) for prompt, text in pairs])
        score_N = torch.zeros(len(tokens))
        for rows in shown(self._alike(tokens), f"{self.name} judges"):
            batch = self._batch([tokens[row] for row in rows])
            place_T = torch.arange(1, batch.ids_BT.shape[1])
            asked_BT = batch.mask_BT[:, 1:].bool() & (place_T >= start_N[rows, None]).to(
                batch.mask_BT.device
            )
            logits_BTV = self.model(
                input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False
            ).logits[:, :-1]
            nats_BT = torch.zeros(asked_BT.shape, device=asked_BT.device)
            nats_BT[asked_BT] = -cross_entropy(
                logits_BTV[asked_BT].float(), batch.ids_BT[:, 1:][asked_BT], reduction="none"
            )
            score_N[rows] = nats_BT.sum(1).cpu()
        return Opinions(score_N, score_N.clone())

    def flops(self, episodes: Dataset) -> Tensor:
        """Counts 2 FLOPs for each weight of a block's matrices and each token, and 4 T² for each of
        the heads' dimensions (scores and their sum).

        That is right for blocks in which every token goes through every matrix. Looking up the
        embedding, norms and activations count as nothing.
        """
        length_N = torch.tensor(
            [len(text) for text in self._tokens(episodes[self.column])], dtype=torch.float64
        )
        config = self.model.config.get_text_config()
        heads_width = config.num_attention_heads * (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        weights = [
            sum(weight.numel() for weight in block.parameters() if weight.ndim == 2)
            for block in self.blocks
        ]
        spent = [(2 * n * length_N + 4 * heads_width * length_N**2).mean() for n in weights]
        return torch.stack([torch.zeros((), dtype=torch.float64), *spent]).cumsum(0)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns each text's token numbers, with what the model's tokenizer puts before and after."""
        tokens = self.tokenizer(list(texts))["input_ids"] if len(texts) else []
        longest = getattr(
            self.model.config.get_text_config(), "max_position_embeddings", None
        ) or float("inf")
        for row, text in enumerate(tokens):
            if not 0 < len(text) <= longest:
                raise UserError(
                    f"{self.column}: row {row} has {len(text)} tokens, and {self.name} reads 1 to"
                    f" {longest}."
                )
        return tokens

    def _alike(self, tokens: list[list[int]]) -> list[list[int]]:
        """Returns the rows of the texts sorted by length, `batch_size` at once."""
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        return [
            by_length[start : start + self.batch_size]
            for start in range(0, len(tokens), self.batch_size)
        ]

    def _batch(self, texts: list[list[int]]) -> Batch:
        ids_BT = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
        length_B = torch.tensor([len(text) for text in texts])
        mask_BT = (torch.arange(ids_BT.shape[1]) < length_B[:, None]).long()
        return Batch(ids_BT.to(self.model.device), mask_BT.to(self.model.device))

    @torch.no_grad()
    def _read(self, texts: list[list[int]], levels: Sequence[int], position: int) -> Tensor:
        """Returns z_BLD on the CPU, of texts that are read at once."""
        batch = self._batch(texts)
        z_of = self._streams(
            batch, set(levels), position if position >= 0 else batch.mask_BT.sum(1) + position
        )
        return torch.stack([z_of[level] for level in levels], dim=1).cpu()

    def _streams(self, batch: Batch, levels: set[int], place_B: Tensor | int) -> dict[int, Tensor]:
        """Returns the residual stream z_BD at one place of each text, by level; runs no block
        beyond the deepest level.
        """
        z_of: dict[int, Tensor] = {}

        def keep(level: int, h_BTD: Tensor) -> None:
            z_of[level] = h_BTD[torch.arange(len(h_BTD), device=h_BTD.device), place_B]
            if level == max(levels):
                raise Reached

        handles = [listen(self.blocks, level, keep) for level in levels]
        try:
            with suppress(Reached):
                self.model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return z_of


def residual_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Returns the decoder's blocks: the one list of modules in it that is as long as the model is
    deep.

    Raises:
        UserError: there is no such list, or more than one.
    """
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    found = [
        module
        for module in model.get_decoder().modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]
    if len(found) != 1:
        raise UserError(
            f"core_model.model: found {len(found)} lists of {depth} blocks in"
            f" {type(model).__name__}, not one. Choose another model."
        )
    return found[0]


def listen(
    blocks: nn.ModuleList, level: int, keep: Callable[[int, Tensor], None]
) -> RemovableHandle:
    """Has the residual stream h_BTD handed to `keep` when it reaches a level: what enters the first
    block, or what leaves block `level`.
    """
    if level == 0:
        return blocks[0].register_forward_pre_hook(
            lambda block, inputs, named: keep(0, inputs[0] if inputs else named["hidden_states"]),
            with_kwargs=True,
        )
    return blocks[level - 1].register_forward_hook(
        lambda block, inputs, output: keep(
            level, output if isinstance(output, Tensor) else output[0]
        )
    )


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns how many tokens two texts begin with alike.

    >>> common_prefix([5, 6, 7, 2], [5, 6, 7, 8, 2])
    3
    """
    return next(
        (
            place
            for place, (one, other) in enumerate(zip(first, second, strict=False))
            if one != other
        ),
        min(len(first), len(second)),
    )
