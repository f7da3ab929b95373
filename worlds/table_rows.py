"""The rows of a table as episodes: what is read, X, H, which rows are easy, which belong together
and which are twins.

N: rows, P: pairs of twins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from console.errors import UserError
from worlds.expressions import check_values, evaluate, get_column, list_columns, to_truth
from worlds.table_files import FILE, describe_row
from worlds.table_twins import TwinPairs, find_named_twins, find_twins_by_keys
from worlds.templates import fill_template, is_template, read_fields

Bools = NDArray[np.bool_]
LOOKUP = re.compile(r"(?P<label>.+?) of (?P<file>\S+) by (?P<keys>[^()\[\]]+)")
EVERYTHING = (
    "A verdict needs the human's answers, world.human, and rows in which they are not X:"
    " docs/own-data.md."
)
EASY_IN_EIGHT = 5
"""Of groups with easy rows and others, those that are easy, by a hash modulo eight."""


class Spec(NamedTuple):
    """What the keys of the world name, as in `worlds.table.Table`."""

    concept: str
    human: str | None
    easy: str | None
    group: str | None
    family: str | None
    twin: str | None


@dataclass(frozen=True)
class Rows:
    """All rows of a table."""

    text_N: pd.Series
    """What tells rows apart: the texts, or their numbers."""
    concept_N: Bools
    has_human: bool
    """Whether H is known."""
    human_N: Bools
    """H; where it is not known, X on easy rows and its opposite on others."""
    easy_N: Bools
    family_N: NDArray[np.str_]
    cluster_N: NDArray[np.int64]
    trained_N: Bools
    """Whether the group of the row is one that heads may be trained on."""
    twins: TwinPairs
    """Pairs of rows that judge, of which the second has only X, or only H, flipped."""

    def select(self, split: str) -> NDArray[np.int64]:
        """Returns the rows of one split: easy, disputed or amiss."""
        judged_N = ~self.easy_N & ~self.trained_N
        of_split = {
            "easy": self.easy_N & self.trained_N,
            "disputed": judged_N & (self.concept_N != self.human_N),
            "amiss": judged_N & (self.concept_N == self.human_N),
        }[split]
        return np.flatnonzero(of_split)


class Lookup(NamedTuple):
    """H is the label in the row of one file that has the same values in the key columns."""

    label: str
    file: str
    keys: list[str]


def read_rows(table: pd.DataFrame, texts: pd.Series, spec: Spec) -> Rows:
    """Returns the rows of a table.

    Args:
        texts: what tells rows apart: the texts, or their numbers.

    Raises:
        UserError: a column is missing, labels are no truth values, or the rows contradict each
            other.
    """
    concept_N = read_truth(spec.concept, table, "world.concept")
    check_both_answers(concept_N, "world.concept", "rows")
    check_duplicates(texts, concept_N, table)
    lookup = read_lookup(spec.human)
    easy_N, human_N = read_human(spec, lookup, table, concept_N, texts)
    groups = read_groups(spec, lookup, table, texts)
    check_groups(texts, groups, table)
    trained_N = choose_trained(groups, easy_N)
    twins = read_twins(spec, lookup, table, concept_N, human_N, texts, groups)
    rows = Rows(
        text_N=texts,
        concept_N=concept_N,
        has_human=spec.human is not None,
        human_N=human_N,
        easy_N=easy_N,
        family_N=read_families(spec, table, easy_N),
        cluster_N=groups.map(hash_group).to_numpy(np.int64),
        trained_N=trained_N,
        twins={flips: pair_P2[~trained_N[pair_P2].any(axis=1)] for flips, pair_P2 in twins.items()},
    )
    check_both_answers(concept_N[rows.select("easy")], "world.easy", "easy rows")
    return rows


def read_values(expression: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns a column or an expression, in which no value is missing."""
    values = evaluate(expression, table, key)
    check_values(values, expression, table, key)
    return values


def read_truth(expression: str, table: pd.DataFrame, key: str) -> Bools:
    """Returns a column or an expression as truth values."""
    return to_truth(read_values(expression, table, key), table, key)


def read_texts(text: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns the texts of a column or of a template."""
    if is_template(text) and text not in table.columns:
        texts = fill_template(text, table, key)
    else:
        values = get_column(text, table, key)
        check_values(values, text, table, key)
        texts = values.astype(str)
    empty = texts.str.strip() == ""
    if empty.any():
        raise UserError(
            f"{key}: {empty.sum()} of {len(texts)} texts are empty, such as that of"
            f" {describe_row(table, int(np.flatnonzero(empty)[0]))}. Leave these rows out."
        )
    return texts


def wrap(prompt: str, texts: pd.Series) -> pd.Series:
    """Returns texts within a prompt."""
    key = "world.prompt"
    fields = [field for _, field in read_fields(prompt, key) if field is not None]
    if fields != ["text"]:
        raise UserError(
            f"{key}: {prompt!r} must have the field {{text}} once, and no other. For example:"
            " {text} Is that true?"
        )
    return fill_template(prompt, pd.DataFrame({"text": texts}), key)


def check_both_answers(answer_N: Bools, key: str, what: str) -> None:
    """Raises UserError where there are no rows, or all have one answer."""
    if not len(answer_N):
        raise UserError(f"{key}: there are no {what} to train on. Name some, or use more groups.")
    if answer_N.all() or not answer_N.any():
        value = "yes" if answer_N.all() else "no"
        raise UserError(
            f"{key}: X is {value} in all {len(answer_N)} {what}, and a head needs both answers. Add"
            " rows with the other one."
        )


def check_duplicates(texts: pd.Series, concept_N: Bools, table: pd.DataFrame) -> None:
    """Raises UserError where one text has both labels."""
    labels = pd.Series(concept_N, index=texts.index)
    count, example = find_contradictions(texts, labels, table)
    if count:
        raise UserError(
            f"world.concept: {count} texts stand in the table with both labels, such as {example}."
            " Correct or remove one of each."
        )


def check_groups(texts: pd.Series, groups: pd.Series, table: pd.DataFrame) -> None:
    """Raises UserError where one text is in two groups, and so might be trained on and judged."""
    count, example = find_contradictions(texts, groups, table)
    if count:
        raise UserError(
            f"world.group: {count} texts are in several groups, such as {example}, and might be"
            " trained on and judged. Use one group for each."
        )


def find_contradictions(
    texts: pd.Series, values: pd.Series, table: pd.DataFrame
) -> tuple[int, str]:
    """Returns how many texts have several values, and one of them with two of its rows."""
    counts = values.groupby(texts).nunique()
    several = counts[counts > 1]
    if not len(several):
        return 0, ""
    text = several.index[0]
    positions = np.flatnonzero(texts == text)
    value_N = values.to_numpy()
    first = positions[0]
    second = positions[value_N[positions] != value_N[first]][0]
    rows = f"{describe_row(table, first)} and {describe_row(table, second)}"
    return len(several), f"{text!r} in {rows}"


def read_lookup(human: str | None) -> Lookup | None:
    """Returns which file H is looked up in; None where it is not.

    >>> read_lookup("label of cities by city, country")
    Lookup(label='label', file='cities', keys=['city', 'country'])
    >>> read_lookup("label == 'good'")
    """
    found = LOOKUP.fullmatch(human or "")
    if not found:
        return None
    keys = [key.strip() for key in found["keys"].split(",")]
    return Lookup(found["label"].strip(), found["file"], keys)


def read_human(
    spec: Spec,
    lookup: Lookup | None,
    table: pd.DataFrame,
    concept_N: Bools,
    texts: pd.Series,
) -> tuple[Bools, Bools]:
    """Returns which rows are easy, and H."""
    easy_N = np.ones(len(table), bool)
    if spec.easy is not None:
        easy_N = read_truth(spec.easy, table, "world.easy")
    if spec.human is None:
        return easy_N, np.where(easy_N, concept_N, ~concept_N)
    if lookup is None:
        human_N = read_truth(spec.human, table, "world.human")
    else:
        human_N = look_up(lookup, table, texts)
    differs_N = concept_N != human_N
    if spec.easy is None:
        if lookup is not None:
            return (table[FILE] == lookup.file).to_numpy() & ~differs_N, human_N
        return ~differs_N & (read_family_names(spec, table) == "none"), human_N
    wrong = np.flatnonzero(easy_N & differs_N)
    if len(wrong):
        raise UserError(
            f"world.easy: {len(wrong)} of {easy_N.sum()} easy rows have X ≠ H, such as"
            f" {texts.iloc[wrong[0]]!r} in {describe_row(table, wrong[0])}. Heads learn H there, so"
            " let no such row be easy."
        )
    return easy_N, human_N


def look_up(lookup: Lookup, table: pd.DataFrame, texts: pd.Series) -> Bools:
    """Returns the label of the row of a file that has the same values in the key columns."""
    key = "world.human"
    for column in lookup.keys:
        check_values(get_column(column, table, key), column, table, key)
    source_N = (table[FILE] == lookup.file).to_numpy()
    if not source_N.any():
        files = list_columns(list(table[FILE].unique()))
        raise UserError(f"{key}: there is no file {lookup.file} in world.files. {files}")
    label_N = read_truth(lookup.label, table[source_N], key)
    names = table[lookup.keys].agg("\0".join, axis=1)
    answers = pd.Series(label_N, index=names[source_N])
    counts = answers.groupby(level=0).nunique()
    if (counts > 1).any():
        example = str(counts[counts > 1].index[0]).replace("\0", ", ")
        raise UserError(
            f"{key}: {(counts > 1).sum()} rows of {lookup.file} have both labels for the same"
            f" {', '.join(lookup.keys)}, such as {example}. Name more columns after by."
        )
    human = names.map(answers[~answers.index.duplicated()])
    missing = human.isna().to_numpy()
    if missing.any():
        raise UserError(
            f"{key}: {missing.sum()} of {len(table)} rows have no row of {lookup.file} with the"
            f" same {', '.join(lookup.keys)}, such as {texts[missing].iloc[0]!r} in"
            f" {describe_row(table, int(np.flatnonzero(missing)[0]))}. Add it, or leave these rows"
            " out."
        )
    return human.to_numpy(dtype=bool)


def read_labels(expression: str, table: pd.DataFrame, key: str) -> pd.Series:
    """Returns a column, an expression or a template as texts; empty where a column has no value."""
    if expression not in table.columns and is_template(expression):
        return fill_template(expression, table, key)
    return evaluate(expression, table, key).map(lambda value: "" if pd.isna(value) else str(value))


def read_groups(
    spec: Spec, lookup: Lookup | None, table: pd.DataFrame, texts: pd.Series
) -> pd.Series:
    """Returns the name of each row's group; rows without one are groups by themselves."""
    if spec.group is not None:
        groups = read_labels(spec.group, table, "world.group")
    elif spec.twin is not None:
        groups = read_labels(spec.twin, table, "world.twin")
    elif lookup is not None:
        groups = table[lookup.keys[0]]
    else:
        return texts
    return groups.where(groups != "", texts)


def hash_group(group: str) -> int:
    """Returns a number of 63 bits, the same on any machine."""
    return int(sha256(group.encode()).hexdigest()[:16], 16) >> 1


def choose_trained(groups: pd.Series, easy_N: Bools) -> Bools:
    """Returns the rows of groups that heads may be trained on: of groups with easy rows alone, and
    of five in eight of those with easy rows and others.
    """
    easy = pd.Series(easy_N, index=groups.index).groupby(groups)
    has_easy_N, only_easy_N = easy.transform("any"), easy.transform("all")
    drawn_N = groups.map(lambda group: hash_group(f"easy {group}") % 8 < EASY_IN_EIGHT)
    return (has_easy_N & (only_easy_N | drawn_N)).to_numpy(bool)


def read_family_names(spec: Spec, table: pd.DataFrame) -> NDArray[np.object_]:
    """Returns the family that the table names for each row, none by default."""
    if spec.family is None:
        return np.full(len(table), "none", object)
    names = read_labels(spec.family, table, "world.family")
    return names.where(names != "", "none").to_numpy(object)


def read_families(spec: Spec, table: pd.DataFrame, easy_N: Bools) -> NDArray[np.str_]:
    """Returns the family of each row: none for easy rows, and never for others."""
    other = "hard" if spec.human is None else "not_easy"
    names_N = read_family_names(spec, table)
    family_N = np.where(easy_N, "none", np.where(names_N == "none", other, names_N))
    return family_N.astype(str)


def read_twins(
    spec: Spec,
    lookup: Lookup | None,
    table: pd.DataFrame,
    concept_N: Bools,
    human_N: Bools,
    texts: pd.Series,
    groups: pd.Series,
) -> TwinPairs:
    """Returns the pairs of rows that differ in X alone, and in H alone; the first has X = H."""
    if spec.twin is not None and spec.human is None:
        raise UserError("world.twin: twins flip X or H alone, and H is not known. Set world.human.")
    if spec.twin is not None:
        names = read_labels(spec.twin, table, "world.twin")
        twins = find_named_twins(names, concept_N, human_N, texts)
        check_twins(spec.twin, twins, groups)
        return twins
    if lookup is not None:
        keys = table[lookup.keys]
        is_source_N = (table[FILE] == lookup.file).to_numpy()
        return find_twins_by_keys(keys, groups, is_source_N, concept_N, human_N, texts)
    return {"concept": np.empty((0, 2), np.int64), "human": np.empty((0, 2), np.int64)}


def check_twins(twin: str, twins: TwinPairs, groups: pd.Series) -> None:
    """Raises UserError where a table names twins and has none, or twins are of different groups."""
    if not any(map(len, twins.values())):
        raise UserError(
            f"world.twin: no two rows with the same {twin} differ in X alone, or in H alone, with"
            " X = H in one of them. Name another column, or use world.twin=null."
        )
    for pair_P2 in twins.values():
        first_P, second_P = groups.to_numpy()[pair_P2].T
        apart = np.flatnonzero(first_P != second_P)
        if len(apart):
            raise UserError(
                f"world.twin: {len(apart)} pairs of twins are of two groups, such as"
                f" {first_P[apart[0]]} and {second_P[apart[0]]}. Use the same group for both."
            )
