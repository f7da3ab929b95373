"""Questions to a language model, whose answers are its own predictions of X and of H.

B: texts in a batch, V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from console.errors import UserError
from core_model.prompting import Prompting

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEY = "core_model.ask"
EXAMPLE = '{question: " Is it true?", concept: {yes: " Yes", no: " No"}}'
SIDES = ("yes", "no")
SAMPLE = "This is a text."
"""The text before the question, where the tokens of answers are looked up."""


@dataclass(frozen=True)
class Answers:
    """Answers that mean yes, and answers that mean no: each of them one token."""

    yes: tuple[str, ...]
    no: tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """A question that is appended to every text.

    One question gives both predictions where its answers stand for pairs of X and H: with
    `concept: {yes: [A, B], no: [C, D]}` and `human: {yes: [A, C], no: [B, D]}`, A says yes to both.
    """

    question: str
    concept: Answers | None
    """Answers that say that X holds, and that it does not; None where the model is not asked for
    it.
    """
    human: Answers | None
    """The same of H. The model is asked for one of them at least."""


@dataclass(frozen=True)
class AnswerTokens:
    """The tokens of answers that mean yes, and of those that mean no."""

    yes: tuple[int, ...]
    no: tuple[int, ...]

    def compute_log_odds(self, logits_BV: Tensor) -> Tensor:
        """Returns the log-odds of yes against no, in nats, shape (B,), float32: the probabilities
        of all answers that mean the same are added.
        """
        logits_BV = logits_BV.float()
        yes_B = logits_BV[:, list(self.yes)].logsumexp(dim=1)
        return yes_B - logits_BV[:, list(self.no)].logsumexp(dim=1)


@dataclass(frozen=True)
class AskTokens:
    """The answers to a question as tokens of one tokenizer."""

    concept: AnswerTokens | None
    human: AnswerTokens | None

    def compute_log_odds(self, logits_BV: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the log-odds of X, and of H, in nats, shape (B,); those of one stand for both
        where the other is not asked for.
        """
        of_concept, of_human = self.concept or self.human, self.human or self.concept
        assert of_concept and of_human
        return of_concept.compute_log_odds(logits_BV), of_human.compute_log_odds(logits_BV)


def parse_ask(values: Mapping[Any, Any] | None) -> Ask | None:
    """Returns the question that a config describes; None for null.

    The short form `{question, yes, no}` asks for X alone, `{question, human}` for H alone. YAML
    reads an unquoted yes or no as true or false: as keys they are understood, as answers they are
    refused.

    Raises:
        UserError: a key or a value that is wrong or missing.
    """
    if values is None:
        return None
    values = _name_keys(values)
    if "yes" in values or "no" in values:
        if "concept" in values:
            raise UserError(f"{KEY}: yes and no stand beside concept. Write them inside it.")
        values["concept"] = {side: values.pop(side) for side in SIDES if side in values}
    for key in values:
        if key not in ("question", "concept", "human"):
            raise UserError(f"{KEY}.{key}: no such key. Write, for example, {KEY}={EXAMPLE}")
    question = values.get("question")
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{KEY}.question: {question!r} is no question. Give it a text.")
    concept, human = (_parse_side(values, name) for name in ("concept", "human"))
    if concept is None and human is None:
        raise UserError(f"{KEY}.concept: it is missing. Write, for example, {KEY}={EXAMPLE}")
    return Ask(question, concept, human)


def _name_keys(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Returns the values with keys that are text."""
    names = {True: "yes", False: "no"}
    return {
        names[key] if isinstance(key, bool) else str(key): value for key, value in values.items()
    }


def _parse_side(values: Mapping[str, Any], name: str) -> Answers | None:
    answers = values.get(name)
    return None if answers is None else _parse_answers(answers, f"{KEY}.{name}")


def _parse_answers(values: Any, where: str) -> Answers:
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: {values!r} has no answers. Write {{yes: [...], no: [...]}}.")
    values = _name_keys(values)
    if set(values) != set(SIDES):
        given = ", ".join(values) or "nothing"
        raise UserError(f"{where}: it has {given}, and needs yes and no.")
    sides = []
    for side in SIDES:
        answers = values[side] if isinstance(values[side], list | tuple) else [values[side]]
        for answer in answers:
            if not isinstance(answer, str) or not answer:
                raise UserError(f"{where}.{side}: {answer!r} is no text. Write answers in quotes.")
        if not answers:
            raise UserError(f"{where}.{side}: it is empty. Give one answer or more.")
        sides.append(tuple(answers))
    return Answers(*sides)


def find_answer_tokens(
    ask: Ask, tokenizer: PreTrainedTokenizerBase, prompting: Prompting, name: str
) -> AskTokens:
    """Returns the answers as tokens, as they follow the question.

    Raises:
        UserError: an answer is not one token, or is no word of the tokenizer; two answers, one for
            yes and one for no, are the same token.
    """

    def find(answers: Answers | None, where: str) -> AnswerTokens | None:
        if answers is None:
            return None
        sides = []
        for side, texts in (("yes", answers.yes), ("no", answers.no)):
            key = f"{where}.{side}"
            found = [_find_token(text, tokenizer, prompting, name, key) for text in texts]
            sides.append(tuple(dict.fromkeys(found)))
        if set(sides[0]) & set(sides[1]):
            raise UserError(
                f"{where}: an answer of yes and one of no are the same token for {name}. Use"
                " answers that begin differently."
            )
        return AnswerTokens(*sides)

    return AskTokens(find(ask.concept, f"{KEY}.concept"), find(ask.human, f"{KEY}.human"))


def _find_token(
    answer: str, tokenizer: PreTrainedTokenizerBase, prompting: Prompting, name: str, where: str
) -> int:
    before = prompting.tokenize(tokenizer, [SAMPLE])[0]
    after = prompting.tokenize(tokenizer, [SAMPLE], answer)[0]
    added = after[len(before) :]
    cure = "Use an answer of one token; most begin with a blank."
    if after[: len(before)] != before:
        raise UserError(
            f"{where}: {name} joins {answer!r} with the end of the question to one token. {cure}"
        )
    if len(added) != 1:
        raise UserError(f"{where}: {answer!r} is {len(added)} tokens for {name}, not one. {cure}")
    if added[0] == tokenizer.unk_token_id:
        raise UserError(f"{where}: {answer!r} is unknown to the tokenizer of {name}. {cure}")
    return added[0]
