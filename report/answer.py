"""The answer in words: which prior finds translators more often than which, at what cost, how sure,
and what is not decided.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from report.bimodality import heaps
from report.columns import UNITS
from report.intervals import Mean, by_prior, mean
from report.pairs import Pair, pairs, stopped

COSTS = ("prequential_bits", "flops", "edges")
"""Columns of the bill that the answer compares; the page has all."""


@dataclass(frozen=True)
class Answer:
    """What heads at matched accuracy say."""

    headline: str
    """The answer to the question in one sentence."""
    more: tuple[str, ...]
    """Sentences: what follows X more, what it costs, which heads are two heaps, what was stopped."""
    reach: str
    """How far this reaches: predictors, heads, correction."""
    pairs: tuple[Pair, ...]


def answer(heads: pd.DataFrame) -> Answer:
    """Returns the answer that heads at matched accuracy give; a claim only where its corrected
    interval excludes 0.
    """
    found, gone = pairs(heads), stopped(heads)
    more = [_follows(found), _costs(heads, found), *_heaps(heads), *_stopped(gone)]
    return Answer(
        _headline(heads, found, gone), tuple(filter(None, more)), _reach(heads, found), tuple(found)
    )


def name(reporter: str, prior: str, several: bool) -> str:
    """Returns a prior in words, with its reporter where there are several."""
    plain = "no prior" if prior == "none" else prior
    return f"{plain} ({reporter})" if several else plain


def written(value: Mean) -> str:
    """Returns a mean with its interval.

    >>> written(Mean(0.25, 0.125, 0.5, 4, 128)), written(Mean(0.25, float("nan"), float("nan"), 1, 1)), written(Mean(0.1, 0.0021, 0.2, 4, 128))
    ('0.25 [0.12, 0.50]', '0.25 [not known]', '0.10 [0.002, 0.20]')
    """
    near = value.decided and 0 < min(abs(value.low), abs(value.high)) < 0.005
    low, high = (
        f"{end:.1g}" if near and abs(end) < 0.005 else f"{end:.2f}"
        for end in (value.low, value.high)
    )
    ends = "not known" if pd.isna(value.low) else f"{low}, {high}"
    return (
        f"{value.value:.2f} [{ends}]".replace("-0.00 ", "0.00 ")
        .replace("-0.00]", "0.00]")
        .replace("-0.00,", "0.00,")
        .replace("-", "−")
    )


def translators(heads: pd.DataFrame) -> dict[tuple[str, str], Mean]:
    """Returns of each reporter and prior the share of its heads that are translators; intervals
    hold for all of them together.
    """
    groups = by_prior(heads)
    return {
        key: mean(
            group["translator"].to_numpy(bool),
            group["predictor"].to_numpy(object),
            len(groups),
            (0.0, 1.0),
        )
        for key, group in groups
    }


def _headline(heads: pd.DataFrame, found: list[Pair], gone: dict[tuple[str, str], str]) -> str:
    shares = {key: value for key, value in translators(heads).items() if key not in gone}
    if not shares:
        return "Not decided: " + _failed(heads)
    several = heads["reporter"].nunique() > 1
    best = max(shares, key=lambda key: (shares[key].value, key))
    of_pairs = (
        "the difference may be chance"
        if len(found) == 1
        else f"none of the {len(found)} differences is beyond chance"
    )
    sure = [pair for pair in found if pair.translators.decided]
    if sure:
        return " ".join(_beats(sure, several))
    most = (
        f"{name(*best, several)} has most, {shares[best].value:.0%} of its heads"
        f" [{shares[best].low:.0%}, {shares[best].high:.0%}]"
    )
    if len(shares) == 1:
        return _alone(heads, best, shares[best])
    if shares[best].value == 0:
        return "At matched accuracy no head of any prior is shown to be a translator."
    if not found:
        return f"No two priors share a predictor and a seed, so they are not compared: {most}."
    return f"No prior is shown to find translators more often than another: {most}; {of_pairs}."


def _alone(heads: pd.DataFrame, key: tuple[str, str], share: Mean) -> str:
    """Returns what is found of one prior, where there is no other to compare it with."""
    own = heads[(heads["reporter"] == key[0]) & (heads["prior"] == key[1])]
    follows = mean(
        own["follows_concept"].to_numpy(float), own["predictor"].to_numpy(object), bounds=(0.0, 1.0)
    )
    who = "Without a prior" if key[1] == "none" else f"Under {key[1]}"
    said = (
        f"{who}, heads follow X on {written(follows)} of disputed episodes, and {written(share)} of"
        " them are translators"
    )
    return f"{said}; there is no other prior to compare."


def _beats(sure: list[Pair], several: bool) -> list[str]:
    """Returns a sentence for each prior that finds translators more often than others, the one that
    beats most of them first.
    """
    by_winner: dict[tuple[str, str], list[Pair]] = {}
    for pair in sure:
        winning = pair if pair.translators.value > 0 else pair.turned()
        by_winner.setdefault((winning.reporter, winning.first), []).append(winning)
    ordered = sorted(
        by_winner.items(),
        key=lambda item: (-len(item[1]), -max(pair.translators.value for pair in item[1])),
    )
    return [
        f"{name(*key, several)} finds translators more often than "
        + _listed(
            [
                f"{name(pair.reporter, pair.second, False)} by {written(pair.translators)}"
                for pair in won
            ]
        )
        + "."
        for key, won in ordered[:3]
    ]


def _follows(found: list[Pair]) -> str:
    """Returns the sentence about whom heads follow, which can be sure where the verdicts are too
    few.
    """
    sure = [
        pair if pair.follows.value > 0 else pair.turned() for pair in found if pair.follows.decided
    ]
    if not sure:
        return (
            "Nor do heads follow X more under one prior than under another: all"
            f" {len(found)} corrected intervals hold 0."
            if found
            else ""
        )
    several = len({pair.reporter for pair in found}) > 1
    wins = Counter((pair.reporter, pair.first) for pair in sure)
    best = max(
        wins,
        key=lambda key: (
            wins[key],
            max(pair.follows.value for pair in sure if (pair.reporter, pair.first) == key),
        ),
    )
    won = sorted(
        (pair for pair in sure if (pair.reporter, pair.first) == best),
        key=lambda pair: -pair.follows.value,
    )
    said = _listed(
        [f"{name(pair.reporter, pair.second, False)} by {written(pair.follows)}" for pair in won]
    )
    open_ = [
        pair
        for pair in found
        if not pair.follows.decided
        and best in ((pair.reporter, pair.first), (pair.reporter, pair.second))
    ]
    others = [
        name(pair.reporter, pair.second if pair.first == best[1] else pair.first, False)
        for pair in open_
    ]
    rest = f" Against {_listed(others)} it is not decided." if others else ""
    return (
        f"Heads of {name(*best, several)} follow X on a larger share of disputed episodes than"
        f" those of {said}.{rest}"
    )


def _costs(heads: pd.DataFrame, found: list[Pair]) -> str:
    """Returns what the heads of the prior in the answer cost beside those without a prior."""
    if not found:
        return ""
    leading = next(
        (pair for pair in found if pair.translators.decided),
        next((pair for pair in found if pair.follows.decided), None),
    )
    if leading is None:
        return ""
    best = (
        leading
        if (leading.translators.value, leading.follows.value) >= (0, 0)
        else leading.turned()
    )
    of = heads[heads["reporter"] == best.reporter].groupby("prior")
    means = {prior: group.reindex(columns=COSTS).astype(float).mean() for prior, group in of}
    if "none" not in means or best.first == "none":
        return ""
    said = [
        f"{means[best.first][unit] * UNITS[unit][1]:.3g} {UNITS[unit][0]} (without a prior"
        f" {means['none'][unit] * UNITS[unit][1]:.3g})"
        for unit in COSTS
        if pd.notna(means[best.first][unit])
    ]
    return (
        f"A head of {name(best.reporter, best.first, heads['reporter'].nunique() > 1)} costs"
        f" {_listed(said)}."
        if said
        else ""
    )


def _heaps(heads: pd.DataFrame) -> list[str]:
    several = heads["reporter"].nunique() > 1
    found = {
        key: heaps(group["follows_concept"].to_numpy(float), group["predictor"].to_numpy(object))
        for key, group in by_prior(heads)
    }
    return [
        f"Heads of {name(*key, several)} are {two.words()}: their mean describes neither."
        for key, two in found.items()
        if two
    ]


def _stopped(gone: dict[tuple[str, str], str]) -> list[str]:
    return [f"Nothing is said of {name(*key, True)}: {why}." for key, why in gone.items()]


def _failed(heads: pd.DataFrame) -> str:
    gates = (
        heads.loc[heads["failed_gates"] != "", "failed_gates"]
        .str.split(", ")
        .explode()
        .value_counts()
    )
    said = _listed([f"{gate} stopped {n:,}" for gate, n in gates.items()])
    return (
        "of no prior have half of the heads passed the gates, so nothing is claimed of whom they"
        f" follow. Of {len(heads):,} heads, {said}."
    )


def _reach(heads: pd.DataFrame, found: list[Pair]) -> str:
    predictors, seeds = heads["predictor"].nunique(), heads["seed"].nunique()
    who = (
        "one predictor: the intervals are over its head seeds and say nothing of other predictors"
        if predictors == 1
        else f"{predictors} predictors"
    )
    corrected = (
        f"; intervals hold at 95% for all {len(found)} pairs together" if len(found) > 1 else ""
    )
    return (
        f"{len(heads):,} heads at matched accuracy, {seeds} head seed{'s' * (seeds > 1)},"
        f" {who}{corrected}."
    )


def _listed(words: list[str]) -> str:
    """Returns words as a list in a sentence.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
