"""The answer in words: which prior finds translators more often than others, at what cost, how
certain that is, and what is not decided.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from report.arms import is_without_prior
from report.bimodality import find_differing_predictors, find_two_modes
from report.columns import find_column
from report.intervals import N_CLAIMS, Mean, estimate_column, group_by_prior
from report.pairs import Pair, compare_priors, find_stopped_priors
from report.settling import describe_settled, describe_unsettled, keep_settled
from report.ties import describe_ties

COSTS = ("prequential_bits", "flops", "edges")
"""Columns of the bill that the answer compares; the page has all."""
FEW_PREDICTORS = 8
"""Number of predictors below which differences that all of them show may still be chance."""
ENOUGH_PREDICTORS = 16
"""Number of predictors that a claim should stand on."""
Key = tuple[str, str]
"""A reporter and a prior."""


@dataclass(frozen=True)
class Answer:
    """What heads at matched accuracy show."""

    headline: str
    """The answer to the question in one sentence."""
    details: tuple[str, ...]
    """Sentences: under which prior heads follow X more, what they cost, under which priors they
    have two modes or predictors differ, and which priors do not pass a gate.
    """
    scope: str
    """How many predictors, heads and head seeds there are, and which correction the intervals have.
    """
    pairs: tuple[Pair, ...]


def compose_answer(heads: pd.DataFrame) -> Answer:
    """Returns the answer from settled heads at matched accuracy. It claims a difference only where
    the corrected interval excludes 0.

    Args:
        heads: those that `comparison.choose_heads` selects.
    """
    matched, shown = heads[heads["matched"]], heads[heads["shown"]]
    if matched.empty:
        return Answer(describe_settled(heads), (), "", ())
    pairs = compare_priors(matched)
    stopped = find_stopped_priors(matched)
    details = [_describe_following(pairs), _describe_costs(matched, pairs)]
    details += [*_describe_modes(matched), _describe_differing_predictors(matched)]
    details += describe_ties(shown)
    if len(stopped) < len(group_by_prior(matched)):  # else the headline says so
        details += _describe_stopped_priors(stopped)
    details.append(_describe_unsettled_priors(shown))
    headline = _write_headline(matched, pairs, stopped)
    if matched["predictor"].nunique() == 1:
        headline = f"On one predictor: {headline}"
    scope = _describe_scope(matched, pairs)
    return Answer(headline, tuple(filter(None, details)), scope, tuple(pairs))


def format_prior(reporter: str, prior: str, several: bool) -> str:
    """Returns a prior in words, with its reporter where there are several."""
    words = prior.replace("none", "no prior", 1) if is_without_prior(prior) else prior
    return f"{words} ({reporter})" if several else words


def format_mean(mean: Mean) -> str:
    """Returns a mean with its interval.

    >>> format_mean(Mean(0.25, 0.125, 0.5, 4, 128))
    '0.25 [0.12, 0.50]'
    >>> format_mean(Mean(0.1, 0.0021, 0.2, 4, 128))
    '0.10 [0.002, 0.20]'
    >>> format_mean(Mean(0.25, float("nan"), float("nan"), 1, 1))
    '0.25 [not known]'
    >>> format_mean(Mean(float("nan"), float("nan"), float("nan"), 0, 0))
    '–'
    """
    if pd.isna(mean.value):
        return "–"
    is_near_zero = mean.decided and 0 < min(abs(mean.low), abs(mean.high)) < 0.005
    low, high = _format_limit(mean.low, is_near_zero), _format_limit(mean.high, is_near_zero)
    limits = "not known" if pd.isna(mean.low) else f"{low}, {high}"
    return f"{_format_number(mean.value)} [{limits}]"


def compute_translator_shares(heads: pd.DataFrame) -> dict[Key, Mean]:
    """Returns the share of translators among the settled heads of each reporter and prior. The
    intervals hold for all of them together, and for how often heads follow X.
    """
    groups = group_by_prior(keep_settled(heads))
    n_shares = N_CLAIMS * len(groups)
    return {key: estimate_column(group, "translator", n_shares) for key, group in groups}


def _write_headline(
    heads: pd.DataFrame, pairs: list[Pair], stopped: dict[Key, pd.DataFrame]
) -> str:
    shares = compute_translator_shares(heads)
    shares = {key: share for key, share in shares.items() if key not in stopped}
    if not shares:
        return (
            "Not decided: under no prior have half of the heads passed the gates, so no claim is"
            f" made about whom they follow. Of {_describe_failed_gates(heads)}."
        )
    several = heads["reporter"].nunique() > 1
    decided = [pair for pair in pairs if pair.translators.decided]
    if decided:
        return " ".join(_describe_winners(decided, several))
    best = max(shares, key=lambda key: (shares[key].value, key))
    share = shares[best]
    if len(shares) == 1:
        return _describe_single_prior(heads, best, share)
    if share.value == 0:
        highest = max(share.high for share in shares.values())
        return (
            "At matched accuracy, no head of any prior is judged to be a translator; the intervals"
            f" allow shares of up to {highest:.0%}."
        )
    most = (
        f"{_format_subject(*best, several)} has the most, {share.value:.0%} of its heads"
        f" [{share.low:.0%}, {share.high:.0%}]"
    )
    if not pairs:
        return f"No two priors share a predictor and a seed, so they are not compared: {most}."
    if len(pairs) == 1:
        significance = "the difference is not significant"
    else:
        significance = f"none of the {len(pairs)} differences is significant"
    return f"No prior is shown to find translators more often than another: {most}; {significance}."


def _describe_single_prior(heads: pd.DataFrame, key: Key, share: Mean) -> str:
    """Returns the result of one prior where there is no other prior to compare it with."""
    reporter, prior = key
    own_heads = heads[(heads["reporter"] == reporter) & (heads["prior"] == prior)]
    follows = format_mean(estimate_column(own_heads, "follows_concept", N_CLAIMS))
    condition = _format_condition(reporter, prior, False)
    condition = (
        f"Under {prior}" if condition.startswith("of ") else condition.replace("without", "Without")
    )
    return (
        f"{condition}, the share of disputed episodes on which heads follow X is {follows}, and the"
        f" share of translators is {format_mean(share)}. No other prior is compared."
    )


def _describe_winners(decided: list[Pair], several: bool) -> list[str]:
    """Returns a sentence for each of the three priors that find translators more often than most
    other priors do.
    """
    wins: dict[Key, list[Pair]] = {}
    for pair in decided:
        wins.setdefault((pair.reporter, pair.first), []).append(pair)

    def rank(item: tuple[Key, list[Pair]]) -> tuple[int, float]:
        return -len(item[1]), -max(pair.translators.value for pair in item[1])

    sentences = []
    for key, pairs in sorted(wins.items(), key=rank)[:3]:
        others = [f"{_format_second(pair)} by {format_mean(pair.translators)}" for pair in pairs]
        winner = _capitalise_phrase(_format_subject(*key, several))
        sentences.append(f"{winner} finds translators more often than {join_words(others)}.")
    return sentences


def _describe_following(pairs: list[Pair]) -> str:
    """Returns the sentence about how often heads follow X, which can be certain where the verdicts
    are too few.
    """
    decided = [_put_follower_first(pair) for pair in pairs if pair.follows.decided]
    if not decided:
        return _describe_no_difference(pairs)
    several = len({pair.reporter for pair in pairs}) > 1
    best = _find_best_follower(decided)
    won = [pair for pair in decided if (pair.reporter, pair.first) == best]
    won = sorted(won, key=lambda pair: -pair.follows.value)
    others = [f"{_format_second(pair)} by {format_mean(pair.follows)}" for pair in won]
    sentence = (
        f"Heads {_format_condition(*best, several)} follow X on a larger share of disputed episodes"
        f" than those of {join_words(others)}."
    )
    undecided = []
    for pair in pairs:
        opponents = [prior for prior in (pair.first, pair.second) if prior != best[1]]
        if pair.reporter == best[0] and len(opponents) == 1 and not pair.follows.decided:
            undecided.append(format_prior(pair.reporter, opponents[0], False))
    if undecided:
        sentence += f" The comparison with {join_words(undecided)} is not decided."
    return sentence


def _describe_no_difference(pairs: list[Pair]) -> str:
    if not pairs:
        return ""
    intervals = (
        f"all {len(pairs)} corrected intervals contain"
        if len(pairs) > 1
        else "the corrected interval contains"
    )
    largest = max(max(abs(pair.follows.low), abs(pair.follows.high)) for pair in pairs)
    bound = "" if pd.isna(largest) else f", and they allow differences of up to {largest:.2f}"
    if len(pairs) == 1:
        bound = bound.replace("they allow", "it allows")
    return (
        "Heads do not follow X significantly more often under one prior than under another:"
        f" {intervals} 0{bound}."
    )


def _put_follower_first(pair: Pair) -> Pair:
    return pair if pair.follows.value > 0 else pair.swap()


def _find_best_follower(decided: list[Pair]) -> Key:
    """Returns the reporter and prior that win most of these pairs; of equals, that with the largest
    difference.
    """
    wins = Counter((pair.reporter, pair.first) for pair in decided)
    largest: dict[Key, float] = {}
    for pair in decided:
        key = (pair.reporter, pair.first)
        largest[key] = max(pair.follows.value, largest.get(key, pair.follows.value))
    return max(wins, key=lambda key: (wins[key], largest[key]))


def _describe_costs(heads: pd.DataFrame, pairs: list[Pair]) -> str:
    """Returns the costs of the heads of the leading prior and of heads without a prior."""
    leading = [pair for pair in pairs if pair.translators.decided]
    leading += [pair for pair in pairs if pair.follows.decided]
    if not leading:
        return ""
    reporter, prior = leading[0].reporter, leading[0].first
    groups = heads[heads["reporter"] == reporter].groupby("prior")
    means = {name: group.reindex(columns=COSTS).astype(float).mean() for name, group in groups}
    plain = [name for name in means if is_without_prior(str(name))]
    if len(plain) != 1 or prior in plain:
        return ""
    costs = []
    for column in COSTS:
        heading, scale = find_column(column).heading, find_column(column).scale
        cost, plain_cost = means[prior][column], means[plain[0]][column]
        if pd.notna(cost):
            costs.append(f"{cost * scale:.3g} {heading} (without a prior {plain_cost * scale:.3g})")
    name = format_prior(reporter, prior, heads["reporter"].nunique() > 1)
    return f"On average, a head of {name} costs {join_words(costs)}." if costs else ""


def _describe_modes(heads: pd.DataFrame) -> list[str]:
    """Returns a sentence for each reporter and prior whose heads have two modes."""
    several = heads["reporter"].nunique() > 1
    sentences = []
    for key, group in group_by_prior(heads):
        predictor_K = group["predictor"].to_numpy(object)
        modes = find_two_modes(group["follows_concept"].to_numpy(float), predictor_K)
        if modes:
            condition = _format_condition(*key, several)
            sentences.append(
                f"Heads {condition} have {modes.describe()}: their mean describes neither."
            )
    return sentences


def _describe_differing_predictors(heads: pd.DataFrame) -> str:
    """Returns a sentence with the reporters and priors under which predictors differ."""
    several = heads["reporter"].nunique() > 1
    differing = []
    for key, group in group_by_prior(heads):
        predictor_K = group["predictor"].to_numpy(object)
        found = find_differing_predictors(group["follows_concept"].to_numpy(float), predictor_K)
        if found:
            differing.append(f"{format_prior(*key, several)} ({found.describe()})")
    if not differing:
        return ""
    return (
        "Predictors differ, more than seeds of heads explain, in how often heads follow X under"
        f" {join_words(differing)}: a mean over predictors describes none of them."
    )


def _describe_stopped_priors(stopped: dict[Key, pd.DataFrame]) -> list[str]:
    sentences = []
    for key, heads in stopped.items():
        condition, gates = _format_condition(*key, True), _describe_failed_gates(heads)
        sentences.append(f"No claim is made about heads {condition}: of {gates}.")
    return sentences


def _describe_unsettled_priors(shown: pd.DataFrame) -> str:
    """Returns the sentence about priors of which no head has settled."""
    several = shown["reporter"].nunique() > 1
    unsettled = []
    for key, group in group_by_prior(shown):
        if not group["settled"].any():
            unsettled.append(f"{_format_condition(*key, several)}, {describe_unsettled(group)}")
    return f"No claim is made about heads {'; '.join(unsettled)}." if unsettled else ""


def _describe_failed_gates(heads: pd.DataFrame) -> str:
    """Returns how many of these heads failed which gates, the most frequent gates first."""
    return f"{count(len(heads), 'head')}, {join_words(list_failed_gates(heads))}"


def list_failed_gates(heads: pd.DataFrame) -> list[str]:
    """Returns how many heads failed which gates, the most frequent first: '8 failed the gates
    "knows" and "uses"'. Empty where all gates are passed.
    """
    failed = heads.loc[heads["failed_gates"] != "", "failed_gates"]
    counts = failed.str.split(", ").explode().value_counts()
    lines = []
    for n in counts.unique():
        names = [f'"{gate}"' for gate in counts.index[counts == n]]
        lines.append(f"{n:,} failed the gate{'s' * (len(names) > 1)} {join_words(names)}")
    return lines


def _describe_scope(heads: pd.DataFrame, pairs: list[Pair]) -> str:
    n_predictors = heads["predictor"].nunique()
    seeds = count(heads["seed"].nunique(), "head seed")
    if n_predictors == 1:
        predictors = (
            "one predictor: the intervals cover its head seeds and do not generalise to other"
            " predictors"
        )
    else:
        predictors = f"{n_predictors} predictors"
    correction = ""
    if pairs:
        n = N_CLAIMS * len(pairs)
        correction = (
            f"; the 95% intervals hold for all {n} differences together (translators and follows X,"
            f" {count(len(pairs), 'pair')} of priors)"
        )
    caution = ""
    if 1 < n_predictors < FEW_PREDICTORS:
        caution = (
            f" Fewer than {FEW_PREDICTORS} predictors can agree by chance: repeat what is claimed"
            f" on {ENOUGH_PREDICTORS}."
        )
    n_heads = count(len(heads), "settled head")
    return f"{n_heads} at matched accuracy, {seeds}, {predictors}{correction}.{caution}"


def _format_subject(reporter: str, prior: str, several: bool) -> str:
    """Returns a prior as the subject of a sentence, where "no prior finds" would be ambiguous."""
    words = format_prior(reporter, prior, several)
    return words.replace("no prior", "training without a prior", 1)


def _format_condition(reporter: str, prior: str, several: bool) -> str:
    """Returns a prior as it follows the word "heads"."""
    words = format_prior(reporter, prior, several)
    if is_without_prior(prior):
        return words.replace("no prior", "without a prior", 1)
    return f"of {words}"


def _format_second(pair: Pair) -> str:
    return format_prior(pair.reporter, pair.second, False)


def _capitalise_phrase(words: str) -> str:
    """Returns words with a capital where they do not start with the name of a prior."""
    return words.replace("training without", "Training without", 1)


def _format_limit(limit: float, is_near_zero: bool) -> str:
    if is_near_zero and abs(limit) < 0.005:
        return f"{limit:.1g}".replace("-", "−")
    return _format_number(limit)


def _format_number(number: float) -> str:
    words = f"{number:.2f}"
    return "0.00" if words == "-0.00" else words.replace("-", "−")


def count(n: int, noun: str) -> str:
    """Returns a number with its noun.

    >>> count(1, "head"), count(1200, "head")
    ('1 head', '1,200 heads')
    """
    return f"1 {noun}" if n == 1 else f"{n:,} {noun}s"


def join_words(words: list[str]) -> str:
    """Returns words as a list in a sentence.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
