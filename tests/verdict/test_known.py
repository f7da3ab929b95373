"""Only what the predictor knows judges it: clusters with a statement that it answers wrongly
without a "not" are left out, and nothing disputed is looked at.
"""

import numpy as np
import pytest
import torch

from console.errors import UserError
from core_model.predictor import Opinions
from core_model.reader import ActivationReader
from tests.core_model.small_models import WORLD
from tests.verdict.test_gates import PlantedPredictor
from verdict.draw_evaluation import build_evaluation
from verdict.known import select_known
from worlds.vault import Vault


class KnowsSomeCities(PlantedPredictor):
    """It answers by X and H, but on cities whose name begins with an early letter it errs on every
    statement without a "not", and on no other. It keeps what it was asked.
    """

    def __init__(self, errs_below: str = "") -> None:
        super().__init__(knows=True, uses=True)
        self.errs_below, self.identity = errs_below, f"errs below {errs_below}"
        self.asked: list[str] = []

    def opinions(self, episodes, level=None, z_ND=None, position=-1):
        if z_ND is not None:
            return super().opinions(episodes, level, z_ND, position)
        self.asked += episodes["text"][:]
        signs = []
        for row in episodes:
            is_wrong = row["city"] < self.errs_below and row["family"] == "none"
            sign = torch.tensor([row["concept"], row["human"]]) * 2.0 - 1
            signs.append(-sign if is_wrong else sign)
        return Opinions(*torch.stack(signs).unbind(1))


class AskedForXAlone(KnowsSomeCities):
    predicts_human = False


def make_reader(predictor, cache) -> ActivationReader:
    return ActivationReader(predictor, WORLD.reads, (0,), cache)


@pytest.mark.parametrize("split", ["easy", "disputed", "amiss"])
def test_the_easy_form_of_a_statement_has_no_not_and_its_truth_is_x_and_h(split):
    episodes = WORLD.episodes(split, 40, 0)
    affirmed = WORLD.affirm(episodes)
    for before, after in zip(episodes, affirmed, strict=True):
        assert after["text"] == before["text"].replace(" is not in", " is in").replace(
            " is NOT in", " is in"
        )
        assert after["text"].startswith(after["prompt"])
        is_negated = before["family"] != "none"
        assert after["concept"] == after["human"] == (before["concept"] != is_negated)
        assert after["family"] == "none" and after["cluster"] == before["cluster"]
    easy = WORLD.episodes("easy", 40, 0)
    assert WORLD.affirm(easy).to_dict() == easy.to_dict()


@pytest.mark.parametrize("kind", [KnowsSomeCities, AskedForXAlone])
def test_clusters_with_an_error_are_left_out_whole_and_nothing_disputed_is_asked(kind, tmp_path):
    predictor = kind(errs_below="C")
    disputed = WORLD.episodes("disputed", 200, 0)
    (kept,) = select_known(make_reader(predictor, tmp_path), WORLD, [disputed], "disputed")
    errs = {row["cluster"] for row in disputed if row["city"] < "C"}
    assert 0 < len(errs) < len(set(disputed["cluster"]))
    assert set(kept["cluster"]) == set(disputed["cluster"]) - errs
    assert len(kept) == 4 * len(set(kept["cluster"]))
    assert np.mean(kept["concept"][:]) == 0.5
    assert predictor.asked and not any(" not " in text.lower() for text in predictor.asked)


def test_a_predictor_that_knows_everything_keeps_every_row(tmp_path):
    disputed = WORLD.episodes("disputed", 80, 0)
    reader = make_reader(KnowsSomeCities(), tmp_path)
    (kept,) = select_known(reader, WORLD, [disputed], "disputed")
    assert kept.to_dict() == disputed.to_dict()


def test_twins_stay_together(tmp_path):
    reader = make_reader(KnowsSomeCities(errs_below="C"), tmp_path)
    twins = WORLD.twins("human", 60, 0)
    first, second = select_known(reader, WORLD, twins, "twins")
    assert 0 < len(first) == len(second) < 60
    assert first["city"][:] == second["city"][:] and first["cluster"][:] == second["cluster"][:]


def test_an_evaluation_of_what_is_known_counts_what_is_left_out_in_one_line(tmp_path, capsys):
    easy, probe = WORLD.episodes("easy", 80, 0), WORLD.episodes("easy", 120, 1)
    for errs_below in ("", "C"):
        reader = make_reader(KnowsSomeCities(errs_below), tmp_path)
        arguments = (WORLD, reader, easy, probe, 160, 60, 0, 0.8)
        everything, known = (build_evaluation(*arguments, only) for only in (False, True))
        assert everything.known == ()
        line = capsys.readouterr().err.strip()
        assert line.startswith("data.known: planted knows") and "\n" not in line
        counts = {what: (drawn, kept) for what, drawn, kept in known.known}
        assert counts["disputed"] == (160, len(known.episodes.disputed))
        assert counts["human twins"] == (60, len(known.episodes.human_twins.first))
        assert known.probe.n_easy == counts["easy probe"][1]
        left_out = [drawn > kept for drawn, kept in counts.values()]
        assert len(left_out) == 8 and all(left_out) == any(left_out) == bool(errs_below)


def test_what_cannot_be_filtered_is_refused_with_the_cure(tmp_path):
    disputed = WORLD.episodes("disputed", 40, 0)
    with pytest.raises(UserError, match=r"^data\.known: planted knows 0 of 40 disputed\. Use"):
        select_known(make_reader(KnowsSomeCities("ZZZ"), tmp_path), WORLD, [disputed], "disputed")
    not_asked = KnowsSomeCities()
    not_asked.opinions_are_log_odds = False
    with pytest.raises(UserError, match=r"^data\.known: planted is not asked"):
        select_known(make_reader(not_asked, tmp_path), WORLD, [disputed], "disputed")
    vault = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    with pytest.raises(UserError, match=r"^data\.known: vault has no form"):
        vault.affirm(vault.episodes("easy", 4, 0))
