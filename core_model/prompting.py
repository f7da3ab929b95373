"""How a text is put to a language model: the question after it, the chat template around it, and
where in it activations are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LAST, MEAN = "last", "mean"
"""Positions that are no token: the last token, and the mean over all tokens but special ones."""


@dataclass(frozen=True)
class Prompting:
    """How texts are put to a language model.

    Args:
        question: what is appended to each text.
        chat: whether text and question are a user's turn in the model's chat template, after which
            the model answers.
        position: where activations are read and written: `last`, `mean`, or a token, of which the
            last occurrence counts.
    """

    question: str = ""
    chat: bool = False
    position: str = LAST

    def tokenize(
        self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], answer: str = ""
    ) -> list[list[int]]:
        """Returns the token numbers of texts, with the special tokens of the tokenizer.

        Where the model is to answer, no token that ends a text stands at its end.

        Args:
            answer: what follows the question.
        """
        if not len(texts):
            return []
        if not self.chat:
            asked = [f"{text}{self.question}{answer}" for text in texts]
            tokens = tokenizer(asked)["input_ids"]
            return [_drop_end(ids, tokenizer) for ids in tokens] if self.question else tokens
        turns = [f"{wrap_in_chat(tokenizer, text + self.question)}{answer}" for text in texts]
        return tokenizer(turns, add_special_tokens=False)["input_ids"]

    def find_token(
        self, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[Sequence[int]], column: str
    ) -> list[int]:
        """Returns the place of the last occurrence of the token in each text.

        Raises:
            UserError: a text does not have it.
        """
        sought = self.position.strip()
        is_sought: dict[int, bool] = {}
        places = []
        for row, ids in enumerate(tokens):
            for token in set(ids) - is_sought.keys():
                is_sought[token] = str(tokenizer.decode([token])).strip() == sought
            found = [place for place, token in enumerate(ids) if is_sought[token]]
            if not found:
                raise UserError(
                    f"core_model.position: row {row} of {column} has no token {self.position!r}."
                    " Name a token of every text, last, or mean."
                )
            places.append(found[-1])
        return places


def wrap_in_chat(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Returns the text as a user's turn, up to where the model's turn begins."""
    turns: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    return str(turns)


def check_chat(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Checks that a tokenizer has a chat template.

    Raises:
        UserError: it has none, or it has one that cannot wrap a single turn.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"core_model.chat: the tokenizer of {name} has no chat template. Use"
            " core_model.chat=false."
        )
    try:
        wrapped = wrap_in_chat(tokenizer, "text")
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"core_model.chat: the chat template of {name} cannot be used ({reason}). Use"
            " core_model.chat=false."
        ) from error
    if "text" not in wrapped:
        raise UserError(
            f"core_model.chat: the chat template of {name} leaves out the user's turn. Use"
            " core_model.chat=false."
        )


def _drop_end(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Returns the tokens without those that the tokenizer puts at the end of a text."""
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    if len(ids) > 1 and ids[-1] in ends:
        return ids[:-1]
    return ids
