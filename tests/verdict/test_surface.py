"""A bag of words finds nothing in balanced words, and finds a planted cue."""

import numpy as np
import pytest
from datasets import Dataset

pytest.importorskip("sklearn")

from verdict.controls import compute_auroc
from verdict.surface import fit_bag_of_words


def score_bag_of_words(train: Dataset, judged: Dataset, column: str) -> float:
    """Returns the AUROC for X on judged episodes of what has learned H from the others."""
    scorer = fit_bag_of_words(train, column)
    return compute_auroc(scorer, judged, np.array(judged["concept"][:], bool))


def build_episodes(text: list[str], answers: list[bool]) -> Dataset:
    return Dataset.from_dict({"text": text, "human": answers, "concept": answers})


def test_it_finds_a_planted_cue():
    text = [f"{word} number {row}" for row in range(20) for word in ("yes", "no")]
    cued = build_episodes(text, [True, False] * 20)
    assert score_bag_of_words(cued.select(range(20)), cued.select(range(20, 40)), "text") == 1.0


def test_a_reversed_cue_scores_zero():
    cued = build_episodes(["yes", "no"] * 10, [True, False] * 10)
    reversed_cue = build_episodes(["yes", "no"] * 10, [False, True] * 10)
    assert score_bag_of_words(cued, reversed_cue, "text") == 0.0


@pytest.mark.parametrize("answers", [[True, False] * 10, [True] * 20])
def test_constant_scores_give_a_half(answers):
    train = build_episodes(["yes", "no"] * 10, answers)
    unknown_words = build_episodes(["alpha", "beta", "gamma"], [True, False, False])
    assert score_bag_of_words(train, unknown_words, "text") == 0.5


@pytest.mark.parametrize("texts", [["+", "->", "?"], [" ", "", "!"]])
def test_texts_without_a_word_give_a_half(texts):
    train = build_episodes(["+", "-"] * 10, [True, False] * 10)
    judged = build_episodes(texts, [True, False, True])
    assert score_bag_of_words(train, judged, "text") == 0.5


def test_where_the_concept_never_changes_no_auroc_is_given():
    train = build_episodes(["yes", "no"], [True, False])
    for judged in (build_episodes(["yes"], [True]), train.select([])):
        assert np.isnan(score_bag_of_words(train, judged, "text"))


def test_the_words_of_statements_on_cities_carry_no_information(cities):
    easy = cities.episodes("easy", 2000, seed=0)
    disputed = cities.episodes("disputed", 1000, seed=0)
    clusters = sorted(set(easy["cluster"]))
    first_half = set(clusters[: len(clusters) // 2])
    train = easy.filter(lambda row: row["cluster"] in first_half)
    held_out = easy.filter(lambda row: row["cluster"] not in first_half)
    assert score_bag_of_words(train, held_out, "text") == pytest.approx(0.5, abs=0.02)
    assert score_bag_of_words(train, disputed, "text") == pytest.approx(0.5, abs=0.02)


def test_a_planted_cue_in_statements_on_cities_is_found(cities):
    def add_cue(row: dict) -> dict[str, str]:
        return {"text": row["text"] + (" Indeed." if row["concept"] else "")}

    cued = cities.episodes("easy", 400, seed=0).map(add_cue)
    assert score_bag_of_words(cued.select(range(200)), cued.select(range(200, 400)), "text") > 0.99
