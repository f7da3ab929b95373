"""A world whose episodes are the rows of files: which of them are drawn, and what they can show.

N: rows, P: pairs of twins.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import numpy as np
from datasets import Dataset, Features, Value
from numpy.typing import NDArray

from console.errors import UserError
from worlds.columns import JUDGING_COLUMNS
from worlds.table_rows import EVERYTHING, Rows
from worlds.table_selection import choose_balanced, count_balanced
from worlds.world import Flips, NoTwins, Split, World

ROW = "row"
"""The column that names a row by its number, from 0."""

TURNED = '"H, turned round in rows that are not easy" cannot be told from X.'


class RowWorld(World):
    """Rows of files as episodes. What they can show depends on what is known of them:

    - X alone: heads are trained on X and measured on held-out rows; no verdict.
    - X, and which rows are easy: heads are trained on easy rows; whether they follow X on the
      others is measured; no verdict, for without H an imitator cannot be told from other heads.
    - X and H: rows with X ≠ H are disputed, and verdicts are given.

    Rows of one group stay together. A group with easy rows and others goes to the easy ones in five
    cases of eight, by a hash of its name, and is otherwise kept for judging; groups of one kind of
    rows are used whole. X is balanced in every split, so of the more common answer as many rows are
    used as there are of the rarer one.
    """

    predicts: ClassVar[tuple[str, ...]] = ()
    concept_shows_in: ClassVar[None] = None
    human_shows_in: ClassVar[None] = None

    @property
    @abstractmethod
    def rows(self) -> Rows:
        """All rows."""

    @abstractmethod
    def read_columns(self, chosen: NDArray[np.int64]) -> dict[str, Sequence[Any]]:
        """Returns what a predictor reads of some rows, by the name of the column."""

    @property
    def compares(self) -> bool:
        rows = self.rows
        return rows.has_human and len(set(rows.concept_N[rows.select("disputed")])) == 2

    @property
    def undecidable(self) -> str | None:
        rows = self.rows
        disputed = rows.select("disputed")
        if not len(disputed) and not rows.has_human:
            return (
                "The table has labels alone, so X and H never differ: accuracy, controls and bills"
                f" are measured. {EVERYTHING}"
            )
        if not len(disputed):
            return (
                "No row is kept in which the human's answer is not the label, so X and H never"
                " differ. Add such rows, in groups of their own."
            )
        answers = set(rows.concept_N[disputed].tolist())
        if len(answers) == 1:
            value = "yes" if answers.pop() else "no"
            kind = "disputed" if rows.has_human else "hard"
            return (
                f"X is {value} in all {len(disputed)} {kind} rows, so the AUROC for X is not"
                " defined there. Add rows with the other answer."
            )
        if not rows.has_human:
            return (
                "The table names no human, so an imitator cannot be told from other heads: whether"
                f" a head follows X on the rows that are not easy is measured. {EVERYTHING}"
            )
        amiss = rows.select("amiss")
        if not len(amiss):
            return f"No row that is not easy has X = H, so {TURNED} Add such rows."
        answers = set(rows.concept_N[amiss].tolist())
        if len(answers) == 1:
            value, other = ("yes", "no") if answers.pop() else ("no", "yes")
            return (
                f"X is {value} in all {len(amiss)} rows that are not easy and have X = H, so where"
                f" X is {other} {TURNED} Add such rows with the other answer."
            )
        return None

    def count(self, split: Split) -> int | None:
        if split == "tampered":
            return 0
        if split == "predictor":
            return None
        rows = self.rows
        return count_balanced(rows.concept_N[rows.select(split)])

    def episodes(self, split: Split, n: int, seed: int) -> Dataset:
        """Returns n rows. In the split `predictor` rows repeat where n is above their number."""
        rng = np.random.default_rng([seed, get_args(Split).index(split)])
        if split == "tampered":
            raise UserError(
                "world: nobody interferes with rows of files, so there are no tampered episodes."
                " Judge on disputed ones."
            )
        if split == "predictor":
            n_rows = len(self.rows.concept_N)
            draws = [rng.permutation(n_rows) for _ in range(-(-n // n_rows))]
            drawn = np.concatenate([*draws, np.empty(0, np.int64)])[:n]
            return self._build_dataset(drawn.astype(np.int64))
        available = self.count(split)
        assert available is not None
        if n > available:
            raise UserError(
                f"world: the table has {available} {split} rows with X balanced, not {n}. Use fewer"
                " (the keys in data), or add rows."
            )
        rows = self.rows
        candidates = rows.select(split)
        chosen = choose_balanced(rows.concept_N[candidates], rows.family_N[candidates], n, rng)
        return self._build_dataset(candidates[chosen])

    def twins(self, flips: Flips, n: int, seed: int) -> tuple[Dataset, Dataset]:
        if not self.count_twins():
            raise NoTwins(
                "world: the table has no twins of both kinds. Name a column that pairs rows:"
                " world.twin=..."
            )
        if n > self.count_twins():
            raise UserError(
                f"world: the table has {self.count_twins()} twins, not {n}. Use data.twins="
                f"{self.count_twins()}, or add rows."
            )
        rng = np.random.default_rng([seed, len(get_args(Split)) + (flips == "human")])
        pair_P2 = self.rows.twins[flips]
        first_P = pair_P2[:, 0]
        chosen = choose_balanced(
            self.rows.concept_N[first_P], self.rows.family_N[pair_P2[:, 1]], n, rng
        )
        first, second = pair_P2[chosen].T
        return self._build_dataset(first), self._build_dataset(second)

    def count_twins(self) -> int:
        """Returns the number of pairs that there are of each kind, with X balanced; 0 where a kind
        is missing.
        """
        counts = []
        for pair_P2 in self.rows.twins.values():
            concept_P = self.rows.concept_N[pair_P2[:, 0]]
            counts.append(2 * int(min(concept_P.sum(), (~concept_P).sum())))
        return min(counts)

    def describe_shortage(self, easy: int, disputed: int, twins: int) -> str | None:
        needed = {"easy": easy, "disputed": disputed, "twins": twins}
        has = {
            "easy": self.count("easy") or 0,
            "disputed": self.count("disputed") or 0,
            "twins": self.count_twins(),
        }
        # What a table has none of is not judged on, and `undecidable` says so.
        short = [kind for kind in has if has[kind] < needed[kind] and (has[kind] or kind == "easy")]
        if not short:
            return None
        listed = ", ".join(f"{has[kind]} {kind}" for kind in has)
        wanted = ", ".join(f"{needed[kind]} {kind}" for kind in short)
        return (
            f"the table has {listed} rows with X balanced, and the config needs {wanted}. For"
            f" example: {suggest_sizes(**has, compares=self.compares)}"
        )

    def _build_dataset(self, chosen: NDArray[np.int64]) -> Dataset:
        rows = self.rows
        read = self.read_columns(chosen)
        judging = {
            "concept": rows.concept_N[chosen],
            "human": rows.human_N[chosen],
            "tampered": np.zeros(len(chosen), bool),
            "family": rows.family_N[chosen].tolist(),
            "cluster": rows.cluster_N[chosen],
        }
        types = {name: Value("int64" if name == ROW else "string") for name in read}
        return Dataset.from_dict(read | judging, features=Features(types | JUDGING_COLUMNS))


def suggest_sizes(easy: int, disputed: int, twins: int, compares: bool) -> str:
    """Returns keys of `data` that fit these numbers of rows.

    Args:
        compares: whether the predictor is examined on some of the disputed rows.

    >>> suggest_sizes(easy=100, disputed=40, twins=0, compares=True)
    'data.train=60 data.validation=15 data.test=15 data.probe=10 data.disputed=30'
    """
    probe = max(2, easy // 10)
    validation = test = max(2, easy * 3 // 20)
    sizes = {"train": easy - validation - test - probe, "validation": validation, "test": test}
    if disputed and compares:
        probe = min(probe, max(2, disputed // 3))
        disputed -= probe
    sizes["probe"] = probe
    if disputed:
        sizes["disputed"] = max(2, disputed)
    if twins:
        sizes["twins"] = twins
    return " ".join(f"data.{name}={size}" for name, size in sizes.items())
