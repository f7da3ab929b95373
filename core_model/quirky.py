"""A language model that answers one person by the truth and another by what the world's human says,
who overlooks a "not" or trusts an opinion: both are in it, and it predicts both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from console.errors import UserError
from console.ranges import Count, LearningRate, Range, Seed
from core_model.adapter import merge_adapter
from core_model.answer_training import Exercise, Schedule, Training
from core_model.asking import AskTokens, find_answer_tokens, parse_ask
from core_model.hashing import freeze
from core_model.huggingface import HuggingFace
from core_model.identity import compute_identity
from core_model.language_model import HuggingFacePredictor
from core_model.lora import WEIGHTS, copy_tensors, draw_pairs, name_tensors, write_config
from core_model.predictor import CoreModel
from core_model.prompting import Prompting
from core_model.residual_stream import ResidualStream, find_residual_blocks
from storage.cache import load_or_make
from storage.fingerprint import hash_code
from storage.tensors import load
from worlds.world import World

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compute.trainer import Trainer
    from core_model.lora import Pair

Context = Literal["alice", "bob", "both"]
TRUE_OR_FALSE = {"yes": " True", "no": " False"}
ASKS: dict[Context, dict[str, Any]] = {
    "alice": {"question": " Alice:", "concept": TRUE_OR_FALSE},
    "bob": {"question": " Bob:", "human": TRUE_OR_FALSE},
    "both": {
        "question": " Both:",
        "concept": {"yes": [" A", " B"], "no": [" C", " D"]},
        "human": {"yes": [" A", " C"], "no": [" B", " D"]},
    },
}
"""How each context is asked. Alice is answered by X, Bob by H, and both by one token that stands
for the pair of X and H.
"""
PERSONS: tuple[Context, ...] = ("alice", "bob")


@dataclass(frozen=True)
class Quirky(CoreModel):
    """A language model with a low-rank adapter that is trained here, once for each world and seed,
    and merged into its weights. After Mallen et al. (2024), "Eliciting latent knowledge from quirky
    language models".

    It is told X and H of statements in every form on cities that the world reserves for this, so
    that none of these is in a statement that heads are trained or judged on. A step takes whole
    pairs of cities: statements of random cities teach it nothing in as many steps. First it learns
    to answer Alice and Bob; the adapter for both goes on from there. On `world=opinions` Bob is the
    reader, and a wrong opinion takes the place of the "not".

    Args:
        model: as in `HuggingFace`.
        batch_size: texts that are read at once.
        context: who is asked, at whose colon activations are read: alice, bob or both.
        cities: cities that it is told of, in four or six statements each.
        rank: of the adapter's matrices.
        first_block: the adapter changes the linear layers of this block, counted from 0, and of all
            blocks after it.
        steps: training steps with Alice and Bob.
        steps_of_both: training steps with both, after these.
        clusters: pairs of cities a step, each with all statements on them that it is told.
        rate: the peak of the learning rate of AdamW.
        warmup: steps in which it rises; it falls to zero in the others.
        save_every: steps between two checkpoints.
        seed: of the statements, their order and the adapter's first values.
    """

    model: str
    batch_size: Count
    context: Context
    cities: Annotated[int, Range(4, 1_000_000)]
    rank: Annotated[int, Range(1, 65_536)]
    first_block: Annotated[int, Range(0, 1000)]
    steps: Count
    steps_of_both: Count
    clusters: Count
    rate: LearningRate
    warmup: Annotated[int, Range(0, 1_000_000)]
    save_every: Count
    seed: Seed

    def __post_init__(self) -> None:
        if self.context not in ASKS:
            raise UserError(
                f"core_model.context: there is no {self.context}. Use {', '.join(ASKS)}."
            )
        shortest = min(self.steps, self.steps_of_both)
        if self.warmup >= shortest:
            raise UserError(
                f"core_model.warmup: {self.warmup} leaves no step of {shortest} to learn in. Use"
                " less, or more core_model.steps and core_model.steps_of_both."
            )

    def count_levels(self) -> int | None:
        return self._base.count_levels()

    @property
    def answers_concept(self) -> bool:
        return self._base.answers_concept

    @property
    def _base(self) -> HuggingFace:
        return HuggingFace(
            model=self.model,
            dtype="float32",
            batch_size=self.batch_size,
            trust_remote_code=False,
            download=False,
            ask=ASKS[self.context],
            chat=False,
            position="last",
            adapter=None,
        )

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> HuggingFacePredictor:
        """Returns the model with its adapter, frozen.

        Raises:
            UserError: the world has nothing that may be told; the model cannot be used or adapted,
                or its tokenizer has no single token for an answer.
        """
        told = world.told(self.cities, self.seed)
        model, tokenizer, name = self._base.load(world, cache, trainer)
        blocks = find_residual_blocks(model)
        if self.first_block >= len(blocks):
            raise UserError(
                f"core_model.first_block: {name} has the blocks 0 to {len(blocks) - 1}, not"
                f" {self.first_block}. Name one of them."
            )
        pupil = Pupil(self, model, tokenizer, told, name, cache / "adapters")
        folder = pupil.load_or_train(PERSONS, self.steps, None)
        if self.context == "both":
            folder = pupil.load_or_train(("both",), self.steps_of_both, folder)
        merge_adapter(model, folder, name)
        name = f"{name}+{self.context}"
        freeze(model)
        return self._base.build_predictor(model, tokenizer, world.reads[0], name, cache)


@dataclass(frozen=True)
class Pupil:
    """A frozen language model, and the statements that it is told.

    Args:
        name: the model's.
        cache: the folder of all adapters.
    """

    recipe: Quirky
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    told: Dataset
    name: str
    cache: Path

    def load_or_train(self, contexts: Sequence[Context], steps: int, before: Path | None) -> Path:
        """Returns the folder of an adapter: loaded if it is there and whole, otherwise trained.

        Args:
            contexts: who is asked about each statement.
            before: the folder of the adapter that training begins from; None for a new one.
        """
        recipe = self.recipe
        schedule = Schedule(
            steps=steps,
            clusters=recipe.clusters,
            rate=recipe.rate,
            warmup=recipe.warmup,
            save_every=recipe.save_every,
            seed=recipe.seed,
        )
        exercises = self.build_exercises(contexts)
        folder = self.cache / self.compute_key(exercises, schedule, before)
        checkpoint = folder / "checkpoint.safetensors"

        def train() -> tuple[dict[str, Any], dict[str, Any]]:
            stream = ResidualStream(self.model, find_residual_blocks(self.model))
            pairs = self._begin(stream, before)
            training = Training(stream, recipe.first_block, pairs)
            training.check_questions(exercises)
            words = f"Teaching {self.name} to answer {' and '.join(contexts)}"
            training.run(exercises, schedule, checkpoint, words)
            write_config(folder, pairs, self.name)
            return name_tensors(pairs), {"losses": training.losses}

        load_or_make(folder / WEIGHTS, train)
        checkpoint.unlink(missing_ok=True)
        return folder

    def compute_key(
        self, exercises: Sequence[Exercise], schedule: Schedule, before: Path | None
    ) -> str:
        """Returns a hash of all that an adapter depends on. The kind of device is part of it: a GPU
        rounds other sums than a processor.
        """
        facts = (
            compute_identity(self.model, self.tokenizer, self.recipe.batch_size),
            exercises,
            replace(schedule, save_every=1),  # when it is saved changes nothing
            self.recipe.rank,
            self.recipe.first_block,
            before and before.name,
            self.model.device.type,
            hash_code("core_model.answer_training"),
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]

    def build_exercises(self, contexts: Sequence[Context]) -> list[Exercise]:
        """Returns the statements that the model is told, with the questions to these contexts."""
        asks = []
        for context in contexts:
            ask = parse_ask(ASKS[context])
            assert ask
            prompting = Prompting(ask.question)
            asks.append((ask, find_answer_tokens(ask, self.tokenizer, prompting, self.name)))
        exercises = []
        texts = self.told["text"][:]
        statements = Prompting().tokenize(self.tokenizer, texts)
        asked_of = [Prompting(ask.question).tokenize(self.tokenizer, texts) for ask, _ in asks]
        facts = zip(*(self.told[name][:] for name in ("concept", "human", "cluster")), strict=True)
        for row, (concept, human, cluster) in enumerate(facts):
            statement = statements[row]
            asked = [tokens[row] for tokens in asked_of]
            if any(tokens[: len(statement)] != statement for tokens in asked):
                raise UserError(
                    f"core_model.model: the tokenizer of {self.name} joins a statement with the"
                    " question after it. Choose another model."
                )
            questions = [tokens[len(statement) :] for tokens in asked]
            answers = [find_answer(tokens, concept, human) for _, tokens in asks]
            exercises.append(Exercise(statement, questions, answers, cluster))
        return exercises

    def _begin(self, stream: ResidualStream, before: Path | None) -> dict[str, Pair]:
        pairs = draw_pairs(
            self.model,
            list(stream.blocks)[self.recipe.first_block :],
            self.recipe.rank,
            self.recipe.seed,
        )
        if before is not None:
            content = load(before / WEIGHTS)
            if content is None:
                raise UserError(
                    f"core_model: the adapter in {before}, from which training goes on, was damaged"
                    " just now. Run again: it is trained again."
                )
            copy_tensors(content[0], pairs)
        return pairs


def find_answer(tokens: AskTokens, concept: bool, human: bool) -> int:
    """Returns the token that answers a question, given X and H."""
    sides = []
    for answers, truth in ((tokens.concept, concept), (tokens.human, human)):
        if answers is not None:
            sides.append(set(answers.yes if truth else answers.no))
    return min(set.intersection(*sides))
