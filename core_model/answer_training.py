"""Training of a low-rank adapter, until a language model answers questions about statements.

The questions about one statement share its tokens: they stand one after the other, numbered as if
each followed the statement directly, and none sees another. Blocks below the adapter are run once.

N: statements, Q: questions, B: statements of a batch, T: tokens, P: answers of a batch, V:
vocabulary, D: width.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from console.errors import UserError
from console.progress import line
from core_model.lora import Pair, attach, copy_tensors, name_tensors
from core_model.residual_stream import UNFIT, Batch, ResidualStream, Start, pad
from storage.tensors import load, save

READ_AT_ONCE = 64
"""Statements that are read at once below the adapter."""
CHECKED = 4
"""Statements on which it is checked that questions can share them."""
TOLERANCE = 1e-4
"""The largest norm of differences, as a share of the norm of logits, that counts as rounding."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of every tensor, beside its number of steps."""


@dataclass(frozen=True)
class Exercise:
    """A statement, questions about it, and the answer to each, in tokens."""

    statement: list[int]
    questions: list[list[int]]
    answers: list[int]
    cluster: int = 0
    """Statements of one cluster differ in little but their answers."""

    def __len__(self) -> int:
        return len(self.statement) + sum(map(len, self.questions))

    @property
    def places(self) -> list[int]:
        """The place of the last token of each question, after which the answer stands."""
        ends = np.cumsum([len(question) for question in self.questions])
        return [len(self.statement) + int(end) - 1 for end in ends]


@dataclass(frozen=True)
class Schedule:
    """How an adapter is trained, with AdamW.

    Args:
        steps: steps of training.
        clusters: clusters a step, each with all its statements. Random statements teach nothing
            in as many steps: their answers are then lost in all else that differs between them.
        rate: the largest learning rate.
        warmup: steps in which it rises linearly; it falls linearly to zero in the others.
        save_every: steps between two checkpoints.
        seed: of the order of the statements.
    """

    steps: int
    clusters: int
    rate: float
    warmup: int
    save_every: int
    seed: int

    def compute_rate(self, step: int) -> float:
        """Returns the learning rate of a step; the first has the number 0.

        >>> schedule = Schedule(6, clusters=1, rate=1.0, warmup=2, save_every=1, seed=0)
        >>> [schedule.compute_rate(step) for step in range(6)]
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
        """
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return self.rate * (self.steps - step) / (self.steps - self.warmup)

    def choose_clusters(self, step: int, n: int) -> list[int]:
        """Returns the numbers of a step's clusters: all n are used once before any is used
        again.
        """
        chosen = []
        for place in range(step * self.clusters, (step + 1) * self.clusters):
            order_N = np.random.default_rng([self.seed, place // n]).permutation(n)
            chosen.append(int(order_N[place % n]))
        return chosen


@dataclass
class Training:
    """An adapter in training.

    Args:
        stream: of the frozen model.
        level: the adapter changes blocks above it alone.
        pairs: the adapter, which is changed in place.
    """

    stream: ResidualStream
    level: int
    pairs: Mapping[str, Pair]
    losses: list[float] = field(default_factory=list)
    """Of every step: the mean cross-entropy of the answers, in nats."""

    def run(
        self, exercises: Sequence[Exercise], schedule: Schedule, checkpoint: Path, words: str
    ) -> None:
        """Trains the adapter, from the checkpoint on if there is a whole one.

        Args:
            words: the text of the progress line.
        """
        with line(f"{words}: reading the statements", len(exercises)) as bar:
            z_TD_of = []
            for start in range(0, len(exercises), READ_AT_ONCE):
                z_TD_of += self._read_below(exercises[start : start + READ_AT_ONCE])
                bar.move_to(len(z_TD_of))
        values = [value for pair in self.pairs.values() for value in pair]
        optimizer = torch.optim.AdamW(values, lr=schedule.rate)
        rows_of: dict[int, list[int]] = {}
        for row, exercise in enumerate(exercises):
            rows_of.setdefault(exercise.cluster, []).append(row)
        clusters = list(rows_of.values())
        self.losses = load_checkpoint(checkpoint, self.pairs, optimizer)
        with (
            line(words, schedule.steps, len(self.losses)) as bar,
            attach(self.stream.model, self.pairs),
        ):
            for step in range(len(self.losses), schedule.steps):
                numbers = schedule.choose_clusters(step, len(clusters))
                rows = [row for number in numbers for row in clusters[number]]
                chosen = [exercises[row] for row in rows]
                optimizer.param_groups[0]["lr"] = schedule.compute_rate(step)
                loss = self._compute_loss(chosen, [z_TD_of[row] for row in rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.losses.append(float(loss.detach()))
                bar.move_to(step + 1)
                if (step + 1) % schedule.save_every == 0 and step + 1 < schedule.steps:
                    save_checkpoint(checkpoint, self.pairs, optimizer, self.losses)

    @torch.no_grad()
    def check_questions(self, exercises: Sequence[Exercise]) -> None:
        """Checks on a few statements that the questions that share one are answered as if each
        stood alone.

        Raises:
            UserError: the model has no readout or cannot be run above the adapter, or it ignores
                the mask, or the position numbers, by which questions are kept apart.
        """
        exercises = exercises[:CHECKED]
        alone_PV = self._ask_alone(exercises)
        name = type(self.stream.model).__name__
        cannot = f"core_model.model: {name} cannot be taught several questions about one statement"
        try:
            together_PV = self._compute_logits(exercises, self._read_below(exercises))
        except (*UNFIT, AssertionError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{cannot} ({reason}). Choose another model.") from error
        difference = float((together_PV - alone_PV).norm() / alone_PV.norm())
        if not difference <= TOLERANCE:
            raise UserError(
                f"{cannot}: it ignores 4-d attention masks or position numbers, and its logits are"
                f" off by {difference:.1g} of their norm. Choose another model."
            )

    def _ask_alone(self, exercises: Sequence[Exercise]) -> Tensor:
        """Returns the logits after each question, shape (P, V), each asked in a text of its own."""
        logits = []
        for exercise in exercises:
            for question in exercise.questions:
                batch = pad([exercise.statement + question], self.stream.model.device)
                last_1 = batch.mask_BT.sum(dim=1) - 1
                logits.append(self.stream.compute_logits(batch, last_1))
        return torch.cat(logits).float()

    def _read_below(self, exercises: Sequence[Exercise]) -> list[Tensor]:
        """Returns the residual stream of each exercise where the adapter begins, z_TD."""
        batch = self._build_batch(exercises)
        z_BTD = self.stream.read(batch, [self.level], lambda z_BTD: z_BTD)[self.level]
        return [
            z_TD[: len(exercise)].clone() for z_TD, exercise in zip(z_BTD, exercises, strict=True)
        ]

    def _compute_loss(self, exercises: Sequence[Exercise], z_TD_of: Sequence[Tensor]) -> Tensor:
        """Returns the mean cross-entropy of the answers to one batch, in nats."""
        logits_PV = self._compute_logits(exercises, z_TD_of)
        answers = [answer for exercise in exercises for answer in exercise.answers]
        return cross_entropy(logits_PV, torch.tensor(answers, device=logits_PV.device))

    def _compute_logits(self, exercises: Sequence[Exercise], z_TD_of: Sequence[Tensor]) -> Tensor:
        """Returns the logits after each question of one batch, shape (P, V), float32."""
        z_BTD = torch.nn.utils.rnn.pad_sequence(list(z_TD_of), batch_first=True)
        rows, places = [], []
        for row, exercise in enumerate(exercises):
            rows += [row] * len(exercise.questions)
            places += exercise.places
        row_P, place_P = (torch.tensor(values, device=z_BTD.device) for values in (rows, places))
        batch = self._build_batch(exercises)
        return self.stream.run_on(batch, Start(self.level, z_BTD), row_P, place_P).float()

    def _build_batch(self, exercises: Sequence[Exercise]) -> Batch:
        model = self.stream.model
        return build_batch(exercises, model.dtype, model.device)


def build_batch(
    exercises: Sequence[Exercise], dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Batch:
    """Returns exercises as a batch: a token sees those before it in the statement and in its own
    question, and is numbered as if no other question were there.
    """
    ids, positions, questions = [], [], []
    for exercise in exercises:
        n = len(exercise.statement)
        tokens, numbers, question_of = [*exercise.statement], [*range(n)], [0] * n
        for number, question in enumerate(exercise.questions, start=1):
            tokens += question
            numbers += range(n, n + len(question))
            question_of += [number] * len(question)
        ids.append(torch.tensor(tokens))
        positions.append(torch.tensor(numbers))
        questions.append(torch.tensor(question_of))
    ids_BT, position_BT, question_BT = (
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        for rows in (ids, positions, questions)
    )
    n_tokens = ids_BT.shape[1]
    is_before_TT = torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()
    is_shared_BTT = question_BT[:, None, :] == 0
    is_same_BTT = question_BT[:, :, None] == question_BT[:, None, :]
    sees_BTT = is_before_TT & (is_shared_BTT | is_same_BTT)
    mask_BTT = torch.zeros(sees_BTT.shape, dtype=dtype)
    mask_BTT = mask_BTT.masked_fill(~sees_BTT, torch.finfo(dtype).min)
    return Batch(ids_BT.to(device), mask_BTT[:, None].to(device), position_BT.to(device))


def save_checkpoint(
    path: Path,
    pairs: Mapping[str, Pair],
    optimizer: torch.optim.Optimizer,
    losses: Sequence[float],
) -> None:
    """Writes an adapter in training and the state of its optimizer, whole or not at all."""
    tensors = name_tensors(pairs)
    for name, value in list(tensors.items()):
        for moment in MOMENTS:
            tensors[f"{name}:{moment}"] = optimizer.state[value][moment]
    save(path, tensors, {"losses": list(losses)})


def load_checkpoint(
    path: Path, pairs: Mapping[str, Pair], optimizer: torch.optim.Optimizer
) -> list[float]:
    """Copies a checkpoint into an adapter and its optimizer; returns the losses of the steps before
    it. A checkpoint that is damaged, or of another adapter, is not used, and a line says so.
    """
    content = load(path)
    own = name_tensors(pairs)
    if content is None or not own.keys() <= content[0].keys():
        if path.exists():
            print(f"{path} is damaged: training begins at the first step.", file=sys.stderr)
        return []
    tensors, facts = content
    losses: list[float] = facts["losses"]
    copy_tensors(tensors, pairs)
    for name, value in own.items():
        state: dict[str, Any] = {"step": torch.tensor(float(len(losses)))}
        for moment in MOMENTS:
            state[moment] = tensors[f"{name}:{moment}"].clone().to(value.device)
        optimizer.state[value] = state
    return losses
