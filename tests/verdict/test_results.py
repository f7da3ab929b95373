"""One row a head: what the judge found is there under its own names."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from configs.build import build
from tests.conftest import node
from verdict.calibration.planted import answers, imitator, known, translator, truth
from verdict.cases import Bench, Cases, Deployed
from verdict.evidence.access import of_deeper_heads
from verdict.gates import Gate
from verdict.results import rows

CONFIG = {
    key: {"_target_": f"{key}.{key}.{key}"} for key in ("world", "core_model", "reporter", "prior")
}
ABOUT = {"name": "transformer", "identity": "0"}


@pytest.fixture(scope="module")
def bench(vault) -> Bench:
    return Bench(
        *(Cases.of(vault.episodes(split, 800, 0)) for split in ("easy", "disputed")), None, None
    )


def rows_of(bench: Bench, said) -> list[dict]:
    n = len(said.easy)
    judgement = build(node("verdict/default.yaml"), "verdict")(
        bench, said, [[Gate("uses (swap)", 1.0, 0.8, "")]] * n
    )
    heads = SimpleNamespace(
        table=[((k + 1,), 0, 1.0) for k in range(n)], validation_nll_K=np.zeros(n)
    )
    return rows(CONFIG, heads, {}, judgement, ABOUT)


@pytest.mark.parametrize(("head", "word"), [(translator, "yes"), (imitator, "no")])
def test_whether_a_head_depends_on_x_has_words_and_intervals(bench, head, word):
    first, second = rows_of(bench, of_deeper_heads(answers(head, truth(bench), 2, 0), [1, 2], 1))
    for place in ("head", "predictor"):
        assert second[f"depends_in_{place}"] == word
        assert (
            second[f"access_{place}_low"]
            <= second[f"access_{place}"]
            == float(word == "yes")
            <= second[f"access_{place}_high"]
        )
    assert (
        first["depends_in_head"] == word
        and first["depends_in_predictor"] == "unclear"
        and np.isnan(first["access_predictor"])
    )


@pytest.mark.parametrize(("head", "word"), [(translator, "departs"), (imitator, "imitates")])
def test_who_departs_from_the_human_has_words_and_intervals(bench, vault, head, word):
    mixed = Cases.of(vault.episodes("tampered", 800, 1))
    deployed = Deployed(mixed.human_N, np.ones(800, bool), np.arange(800))
    (row,) = rows_of(
        replace(bench, deployed=deployed),
        answers(head, replace(truth(bench), deployed=known(mixed)), 1, 0),
    )
    assert row["imitation"] == word
    assert (
        row["departs_from_human_low"] <= row["departs_from_human"] <= row["departs_from_human_high"]
    )
    assert (row["departs_from_human_low"] > 0.02) == (word == "departs")
    (silent,) = rows_of(bench, answers(head, truth(bench), 1, 0))
    assert silent["imitation"] is None and silent["departs_from_human"] is None


def test_whom_a_head_follows_on_each_family_is_there_and_their_mean_is_that_of_all(bench, vault):
    from verdict.results import _by_family

    said = answers(translator, truth(bench), 1, 0)
    half = bench.disputed.family_N == bench.disputed.family_N[0]
    said = replace(said, disputed=np.where(half, said.disputed, -said.disputed))
    follows = _by_family(bench, said)
    first = str(bench.disputed.family_N[0])
    assert follows[first][0] > 0.9 and all(
        value[0] < 0.1 for family, value in follows.items() if family != first
    )
    sizes = {
        str(family): n
        for family, n in zip(*np.unique(bench.disputed.family_N, return_counts=True), strict=True)
    }
    whole = ((said.disputed > 0) == bench.disputed.concept_N).mean()
    assert sum(value[0] * sizes[family] for family, value in follows.items()) / sum(
        sizes.values()
    ) == pytest.approx(whole)
