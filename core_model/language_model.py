"""A frozen language model as a predictor: reads the residual stream at any level, writes it back,
and returns the likelihood of a text, or the model's own answers to a question about it.

N: episodes, B: episodes in a batch, T: tokens, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from console.errors import UserError
from core_model.asking import AskTokens
from core_model.kept_streams import KeptStreams
from core_model.lm_flops import count_block_flops
from core_model.predictor import Opinions, Portion, Predictor, read_portions, show_progress
from core_model.prompting import LAST, MEAN, Prompting
from core_model.residual_stream import Batch, ResidualStream, Start, Write, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONTEXT_KEYS = ("max_position_embeddings", "max_seq_len", "context_length")
"""Under one of these names, a config says how many tokens the model reads."""


@dataclass(frozen=True, eq=False)
class HuggingFacePredictor(Predictor):
    """A frozen language model. The residual stream is read before the final norm.

    Without a question, its only opinion is the likelihood of the words after the prompt, and these
    words do not come after the last token, where activations are read: writing there changes
    nothing of it. With a question, it answers after the last token.

    Args:
        resumes: whether the blocks above a level can be run on their own, from the residual stream
            of all tokens at that level; otherwise a write takes a whole forward pass.
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
    prompting: Prompting = field(default_factory=Prompting)
    ask: AskTokens | None = None
    resumes: bool = False
    can_write: bool = field(init=False)
    opinions_are_log_odds: bool = field(init=False)
    predicts_concept: bool = field(init=False)
    predicts_human: bool = field(init=False)

    def __post_init__(self) -> None:
        can_write = self.ask is not None and self.prompting.position != MEAN
        object.__setattr__(self, "can_write", can_write)
        object.__setattr__(self, "opinions_are_log_odds", self.ask is not None)
        predicts_concept = self.ask is None or self.ask.concept is not None
        object.__setattr__(self, "predicts_concept", predicts_concept)
        predicts_human = self.ask is None or self.ask.human is not None
        object.__setattr__(self, "predicts_human", predicts_human)

    @cached_property
    def stream(self) -> ResidualStream:
        """The residual stream of the model."""
        return ResidualStream(self.model, self.blocks)

    @cached_property
    def _kept(self) -> KeptStreams:
        return KeptStreams()

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        """Returns z_NLD on the CPU, in the model's dtype. Position -1 is the place of `prompting`,
        the last token of each text unless it says otherwise; another number is an index of a token.
        """
        portions = self.portions(episodes, levels, position)
        return read_portions(portions, len(episodes), len(levels), self.width, self.dtype)

    def portions(
        self, episodes: Dataset, levels: Sequence[int], position: int = -1
    ) -> Sequence[Portion]:
        tokens = self.tokenize(episodes[self.column])
        self._check_levels(levels)
        places = self._find_places(tokens, position)
        portions = []
        for rows in self._group_by_length(tokens):
            read = partial(self._read, [tokens[row] for row in rows], levels, places, rows)
            portions.append(Portion(torch.tensor(rows), read))
        return portions

    def read_on(
        self, episodes: Dataset, levels: Sequence[int], level: int, z_ND: Tensor, position: int = -1
    ) -> Tensor:
        """Returns what `read` returns after z_ND was written at one level and position."""
        tokens = self.tokenize(episodes[self.column])
        self._check_levels([*levels, level])
        places = self._find_places_to_write(tokens, position)
        z_NLD = torch.empty(len(tokens), len(levels), self.width, dtype=self.dtype)
        for rows in self._group_by_length(tokens):
            write = Write(level, self._to_device([places[row] for row in rows]), z_ND[rows])
            texts = [tokens[row] for row in rows]
            z_NLD[rows] = self._read(texts, levels, places, rows, [write])
        return z_NLD

    def opinions(
        self,
        episodes: Dataset,
        level: int | None = None,
        z_ND: Tensor | None = None,
        position: int = -1,
    ) -> Opinions:
        """Returns the model's own log-odds that X holds, and that H holds, in nats: of its answers
        after the last token of text and question. If it is not asked for X, or for H, the log-odds
        of the other stand for both.

        Without a question, returns log P(text after the column `prompt` | prompt), in nats, as its
        score of X and of H alike. The likelihood of the words is then the only thing that a
        language model predicts about a statement. That a statement is true raises this score (X),
        and that it would be true to a reader who overlooks the "not" raises it too (H); the verdict
        measures which of the two the score follows.
        """
        if self.ask is None:
            if level is not None or z_ND is not None:
                raise UserError(
                    f"opinions: without a question, {self.name} predicts nothing after the token"
                    " that was written back. Set core_model.ask, or leave out interchange."
                )
            return self._score_texts(episodes)
        tokens = self.tokenize(episodes[self.column])
        places: list[int] = []
        if level is not None:
            self._check_levels([level])
            places = self._find_places_to_write(tokens, position)
        concept_N, human_N = torch.zeros(len(tokens)), torch.zeros(len(tokens))
        for rows in show_progress(self._group_by_length(tokens), f"{self.name} answers"):
            texts = [tokens[row] for row in rows]
            write = None
            if level is not None and z_ND is not None:
                write = Write(level, self._to_device([places[row] for row in rows]), z_ND[rows])
            logits_BV = self._compute_logits(texts, write)
            concept_B, human_B = self.ask.compute_log_odds(logits_BV)
            concept_N[rows], human_N[rows] = concept_B.cpu(), human_B.cpu()
        return Opinions(concept_N, human_N)

    def compute_log_perplexity(self, episodes: Dataset) -> Tensor:
        """Returns the mean negative log-likelihood of the tokens of each text after its first one,
        without the question; 0 for a text of one token.
        """
        tokens = self._check_lengths(Prompting().tokenize(self.tokenizer, episodes[self.column]))
        nats_N = torch.zeros(len(tokens))
        for rows in show_progress(self._group_by_length(tokens), f"{self.name} weighs its words"):
            batch = self.pad([tokens[row] for row in rows])
            first_B = torch.ones(len(rows), dtype=torch.long)
            n_B = (batch.mask_BT.sum(dim=1) - 1).clamp_min(1)
            nats_N[rows] = -(self._score(batch, first_B) / n_B).cpu()
        return nats_N

    @torch.enable_grad()
    def find_answer_direction(self) -> Tensor:
        """Returns the difference of the unembeddings of its answers yes and no, scaled by the
        weights of the final norm, up to a factor: the gradient of its log-odds that X holds where
        the last level is 0. There a norm is linear, whatever its kind.
        """
        if self.ask is None or self.ask.concept is None:
            return super().find_answer_direction()
        batch = self.pad([[0]])
        z_1D = torch.zeros(1, self.width, device=self.model.device, requires_grad=True)
        start = Start(self.n_levels - 1, z_1D[:, None].to(self.dtype))
        place_1 = torch.zeros(1, dtype=torch.long, device=self.model.device)
        logits_1V = self.stream.run_on(batch, start, place_1, place_1)
        (direction_1D,) = torch.autograd.grad(self.ask.concept.compute_log_odds(logits_1V), z_1D)
        return direction_1D[0].cpu()

    def flops(self, episodes: Dataset) -> Tensor:
        """Returns the FLOPs an episode to reach each level; core_model/lm_flops.py says what is
        counted.
        """
        tokens = self.tokenize(episodes[self.column])
        length_N = torch.tensor([len(text) for text in tokens], dtype=torch.float64)
        config = self.model.config.get_text_config()
        flops = [torch.zeros((), dtype=torch.float64)]
        for block in self.blocks:
            flops.append(count_block_flops(block, config, length_N).mean())
        return torch.stack(flops).cumsum(0)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token numbers of each text as the model reads it: with the question, and in
        the chat template, if there is one.

        Raises:
            UserError: a text has no token, or more than the model reads. None is cut.
        """
        return self._check_lengths(self.prompting.tokenize(self.tokenizer, texts))

    def pad(self, texts: Sequence[list[int]]) -> Batch:
        """Returns texts as a batch on the model's device."""
        return pad(texts, self.model.device)

    def _check_lengths(self, tokens: list[list[int]]) -> list[list[int]]:
        config = self.model.config.get_text_config()
        limits = [getattr(config, key, None) for key in CONTEXT_KEYS]
        longest = next((limit for limit in limits if limit), float("inf"))
        wrong = [row for row, text in enumerate(tokens) if not 0 < len(text) <= longest]
        if wrong:
            others = f" ({len(wrong)} of {len(tokens)} rows do not fit)" if len(wrong) > 1 else ""
            raise UserError(
                f"{self.column}: row {wrong[0]} has {len(tokens[wrong[0]])} tokens, and {self.name}"
                f" reads 1 to {longest}{others}."
            )
        return tokens

    def _check_levels(self, levels: Sequence[int]) -> None:
        missing = [level for level in levels if not 0 <= level < self.n_levels]
        if missing or not levels:
            raise UserError(
                f"levels: {self.name} has the levels 0 to {self.n_levels - 1}, not {missing}. Name"
                " at least one of them."
            )

    def _find_places(self, tokens: Sequence[list[int]], position: int) -> list[int] | None:
        """Returns the index of the token that is read in each text; None for the mean."""
        own = self.prompting.position
        if position == -1 and own == MEAN:
            return None
        if position == -1 and own != LAST:
            return self.prompting.find_token(self.tokenizer, tokens, self.column)
        shortest = min(map(len, tokens), default=None)
        if shortest is not None and not -shortest <= position < shortest:
            raise UserError(
                f"position: the shortest text has {shortest} tokens, and so no position {position}."
            )
        return [position if position >= 0 else len(text) + position for text in tokens]

    def _find_places_to_write(self, tokens: Sequence[list[int]], position: int) -> list[int]:
        places = self._find_places(tokens, position)
        if places is None:
            raise UserError(
                "core_model.position: a mean over tokens cannot be written back. Use last or a"
                " token, or leave out interchange."
            )
        return places

    def _group_by_length(self, tokens: Sequence[list[int]]) -> list[list[int]]:
        """Returns the rows of the texts, sorted by length, in groups of `batch_size`."""
        by_length = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        starts = range(0, len(tokens), self.batch_size)
        return [by_length[start : start + self.batch_size] for start in starts]

    def _to_device(self, places: Sequence[int]) -> Tensor:
        return torch.tensor(places, device=self.model.device)

    def _read(
        self,
        texts: list[list[int]],
        levels: Sequence[int],
        places: list[int] | None,
        rows: Sequence[int],
        writes: Sequence[Write] = (),
    ) -> Tensor:
        """Returns z_BLD of one batch of texts, on the CPU.

        Args:
            places: the index of the token that is read, of every text; None for the mean.
            rows: those of the batch among all texts.
        """
        batch = self.pad(texts)
        if places is None:
            take = partial(take_mean, weight_BT=self._weigh_tokens(batch))
        else:
            take = partial(take_at, position_B=self._to_device([places[row] for row in rows]))
        z_BD_of = self.stream.read(batch, set(levels), take, writes)
        return torch.stack([z_BD_of[level] for level in levels], dim=1).cpu()

    def _weigh_tokens(self, batch: Batch) -> Tensor:
        """Returns the weight of each token in the mean: special tokens have none, except in a text
        that has no others.
        """
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        special_S = torch.tensor(sorted(special), device=batch.ids_BT.device, dtype=torch.long)
        weight_BT = batch.mask_BT * ~torch.isin(batch.ids_BT, special_S)
        weight_BT = torch.where(weight_BT.any(dim=1, keepdim=True), weight_BT, batch.mask_BT)
        return weight_BT / weight_BT.sum(dim=1, keepdim=True)

    def _compute_logits(self, texts: list[list[int]], write: Write | None) -> Tensor:
        """Returns the logits after the last token of each text."""
        batch = self.pad(texts)
        last_B = batch.mask_BT.sum(dim=1) - 1
        if write is None:
            return self.stream.compute_logits(batch, last_B)
        start = None
        if self.resumes and write.level > 0:
            start = Start(write.level, self._kept.load_or_read(self.stream, texts, write.level))
        return self.stream.compute_logits(batch, last_B, [write], start)

    def _score_texts(self, episodes: Dataset) -> Opinions:
        if "prompt" not in episodes.column_names:
            raise UserError(
                "opinions: the episodes have no column prompt, and so no words whose likelihood"
                " could be an opinion."
            )
        plain = Prompting()
        tokens = self._check_lengths(plain.tokenize(self.tokenizer, episodes[self.column]))
        prompts = plain.tokenize(self.tokenizer, episodes["prompt"])
        pairs = zip(prompts, tokens, strict=True)
        start_N = torch.tensor([count_common_tokens(prompt, text) for prompt, text in pairs])
        score_N = torch.zeros(len(tokens))
        for rows in show_progress(self._group_by_length(tokens), f"{self.name} judges"):
            batch = self.pad([tokens[row] for row in rows])
            score_N[rows] = self._score(batch, start_N[rows]).cpu()
        return Opinions(score_N, score_N.clone())

    @torch.no_grad()
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


def take_at(z_BTD: Tensor, position_B: Tensor) -> Tensor:
    """Returns z_BD at one position of each text."""
    return z_BTD[torch.arange(len(z_BTD), device=z_BTD.device), position_B]


def take_mean(z_BTD: Tensor, weight_BT: Tensor) -> Tensor:
    """Returns the weighted mean of each text, z_BD, summed in float32."""
    return (z_BTD.float() * weight_BT[:, :, None]).sum(dim=1).to(z_BTD.dtype)


def count_common_tokens(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns the length of the common beginning of two texts.

    >>> count_common_tokens([5, 6, 7, 2], [5, 6, 7, 8, 2])
    3
    """
    for i, (token, other) in enumerate(zip(first, second, strict=False)):
        if token != other:
            return i
    return min(len(first), len(second))
