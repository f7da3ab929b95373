"""A table: people's own episodes, from files, with the columns that a YAML names.

python train.py experiment=own_labels world.files=docs/data/larger.csv world.text=text

N: rows, P: pairs of twins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, get_args

import numpy as np
from datasets import Dataset, Features, Value

from console.errors import UserError
from worlds.columns import JUDGING_COLUMNS
from worlds.table_rows import EVERYTHING, Rows, Spec, read_rows
from worlds.table_selection import choose_balanced, count_balanced
from worlds.world import Flips, NoTwins, Split, World

Pool = Literal["easy", "disputed", "amiss"]


@dataclass(frozen=True)
class Table(World):
    """Rows of files as episodes.

    Each of `concept`, `human`, `easy`, `group`, `family` and `twin` is a column, or an expression
    over columns: `abs_diff >= 10`, `label == "good" and file != "old"` (see
    `worlds.expressions`). What the table can show depends on which of them are there:

    - concept alone: heads are trained on X and measured on held-out rows; no verdict.
    - concept and easy: heads are trained on easy rows; whether they follow X on the others is
      measured; no verdict, for without H an imitator cannot be told from other heads.
    - concept and human: rows with X ≠ H are disputed, and verdicts are given.

    Rows of one group stay together. A group with easy rows and others goes to the easy ones in five
    cases of eight, by a hash of its name, and is otherwise kept for judging; groups of one kind of
    rows are used whole.

    X is balanced in every split, so of the more common answer as many rows are used as there are of
    the rarer one.

    Args:
        files: csv, tsv, json, jsonl or parquet, one or several; a folder that
            `datasets.save_to_disk` has written; or a data set on the hub. A column `file` is added:
            the file's name without its ending.
        download: whether a data set of the hub may be downloaded.
        text: what the predictor reads: a column, or a template such as "The city of {city} is in
            {country}."
        concept: X, a truth value.
        human: H, a truth value; or `label of cities by city,country`: H is `label` in the row of
            the file `cities` that has the same city and country. null where it is not known.
        easy: rows that heads are trained on; there X = H. By default, those with X = H of family
            "none"; with `by` in `human`, of the file that it names.
        group: rows that belong together, such as those on one city. By default, the text; with `by`
            in `human`, the first of its columns.
        family: how the human's view fails, in the rows that are not easy.
        twin: rows with the same value are twins of each other. By default, with `by` in `human`,
            those that name the same values (X flips) or all but one (H flips).
        prompt: a template around the text, such as "{text} Is that true?"
    """

    files: str | list[str]
    download: bool
    text: str
    concept: str
    human: str | None
    easy: str | None
    group: str | None
    family: str | None
    twin: str | None
    prompt: str

    name: ClassVar[str] = "table"
    reads: ClassVar[tuple[str, ...]] = ("text",)
    predicts: ClassVar[tuple[str, ...]] = ()
    concept_shows_in: ClassVar[None] = None
    human_shows_in: ClassVar[None] = None
    surface: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        _ = self.rows  # what is wrong with the table is said before anything is made

    @cached_property
    def rows(self) -> Rows:
        """The rows of the files."""
        files = [self.files] if isinstance(self.files, str) else list(self.files)
        spec = Spec(
            text=self.text,
            concept=self.concept,
            human=self.human,
            easy=self.easy,
            group=self.group,
            family=self.family,
            twin=self.twin,
            prompt=self.prompt,
        )
        return read_rows(files, self.download, spec)

    @property
    def compares(self) -> bool:
        rows = self.rows
        return self.human is not None and len(set(rows.concept_N[rows.select("disputed")])) == 2

    @property
    def undecidable(self) -> str | None:
        rows = self.rows
        disputed = rows.select("disputed")
        if not len(disputed) and self.human is None:
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
            kind = "disputed" if self.human else "hard"
            return (
                f"X is {value} in all {len(disputed)} {kind} rows, so the AUROC for X is not"
                " defined there. Add rows with the other answer."
            )
        if self.human is None:
            return (
                "The table names no human, so an imitator cannot be told from other heads: whether"
                f" a head follows X on the rows that are not easy is measured. {EVERYTHING}"
            )
        if not len(rows.select("amiss")):
            return (
                'No row that is not easy has X = H, so "H, turned round in rows that are not easy"'
                " cannot be told from X. Add such rows."
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
                "world: nobody interferes in a table, so it has no tampered episodes. Judge on"
                " disputed ones."
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
            f" example: {suggest_sizes(**has)}"
        )

    def _build_dataset(self, chosen: np.ndarray) -> Dataset:
        rows = self.rows
        columns = {
            "text": rows.text_N[chosen].tolist(),
            "prompt": rows.prompt_N[chosen].tolist(),
            "concept": rows.concept_N[chosen],
            "human": rows.human_N[chosen],
            "tampered": np.zeros(len(chosen), bool),
            "family": rows.family_N[chosen].tolist(),
            "cluster": rows.cluster_N[chosen],
        }
        texts = dict.fromkeys(("text", "prompt"), Value("string"))
        return Dataset.from_dict(columns, features=Features(texts | JUDGING_COLUMNS))


def suggest_sizes(easy: int, disputed: int, twins: int) -> str:
    """Returns keys of `data` that fit these numbers of rows.

    >>> suggest_sizes(easy=100, disputed=40, twins=0)
    'data.train=60 data.validation=15 data.test=15 data.probe=10 data.disputed=30'
    """
    probe = max(2, easy // 10)
    validation = test = max(2, easy * 3 // 20)
    sizes = {"train": easy - validation - test - probe, "validation": validation, "test": test}
    sizes["probe"] = probe
    if disputed:
        sizes["probe"] = min(probe, max(2, disputed // 3))
        sizes["disputed"] = max(2, disputed - sizes["probe"])
    if twins:
        sizes["twins"] = twins
    return " ".join(f"data.{name}={size}" for name, size in sizes.items())
