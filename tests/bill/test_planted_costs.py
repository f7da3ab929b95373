"""Planted costs: what a translator and an imitator pay is the least that the objective allows, and
the cheaper of the two is predicted.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar

from configs.build import build
from configs.plan import Plan, Sizes
from console.errors import UserError
from core_model.reader import ActivationReader
from priors.prior import Prior
from storage.run_folder import read_heads
from tests.conftest import node
from tests.running import train
from training.material import draw_decoupled, find_correct, read_decoupled
from training.planted_errors import compute_entropy
from worlds.ladder import Ladder
from worlds.parts import split_by_cluster


def load_prior(name: str, **changed: object) -> Prior:
    return build(node(f"prior/{name}.yaml", **changed), "prior")


N = 400
TWO_BITS_WORLD = {"bits": 2, "concept_level": 0, "human_level": 0}
TWO_BITS = [
    "world=ladder",
    *(f"world.{key}={value}" for key, value in TWO_BITS_WORLD.items()),
    "core_model=constructed",
    "prior=gaussian",
    "planted_costs=true",
    "levels=[0]",
    "seeds=1",
    f"data.train={N}",
    "data.validation=100",
    "data.test=100",
    "data.disputed=100",
    "data.twins=60",
    "data.probe=60",
    "trainer.bar=false",
    *(f"bill.measures.{name}=null" for name in ("prequential", "variational", "seconds")),
]
"""One bit is X, the other H, and a linear head reads both."""


PLAN = Plan(0, 1, 1, True, [1.0], None, Sizes(400, 100, 100, 100, 60, 60))


@pytest.fixture
def reader(tiny_predictor, vault, cache) -> ActivationReader:
    return ActivationReader(tiny_predictor, vault.reads, (2,), cache)


def compute_cost(amplitude: float, strength: float, errors: float = 0.0) -> float:
    """Returns what a head that reads one bit of this amplitude pays at the least, in nats an
    episode: its errors, and half the square of its weight for the whole training set.

    Args:
        errors: share of the labels that the bit is not.
    """

    def pay(weight: float) -> float:
        log_odds = amplitude * weight
        right, wrong = np.log1p(np.exp(-log_odds)), np.log1p(np.exp(log_odds))
        return float((1 - errors) * right + errors * wrong + strength * weight**2 / (2 * N))

    return float(
        minimize_scalar(pay, bounds=(0, 100), options={"xatol": 1e-9}, method="bounded").fun
    )


@pytest.mark.parametrize(
    ("concept", "human", "predicted"),
    [(2.0, 1.0, "direct_translator"), (1.0, 2.0, "human_imitator"), (1.0, 1.0, "tie")],
)
def test_the_louder_of_two_bits_costs_less_under_weight_decay(concept, human, predicted, tmp_path):
    """Costs are those of a head of one weight, but for how evenly 400 episodes are drawn."""
    amplitudes = [f"core_model.concept_amplitude={concept}", f"core_model.human_amplitude={human}"]
    done = train(*TWO_BITS, *amplitudes, "strengths=[0.5,2]", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    heads = read_heads(tmp_path / "run")
    assert heads["costs_settled"].all() and heads["settled"].all()
    assert set(heads["predicts"]) == {predicted}
    for _, head in heads.iterrows():
        strength = head["strength"]
        assert head["cost_translator"] == pytest.approx(compute_cost(concept, strength), rel=5e-3)
        assert head["cost_imitator"] == pytest.approx(compute_cost(human, strength), rel=5e-3)
    cheaper = heads[["cost_translator", "cost_imitator"]].min(axis=1)
    assert (heads["cost_found"] < cheaper).all(), "a mixture shares the weight, and pays less"
    follows = {"direct_translator": 1.0, "human_imitator": 0.0}
    if predicted in follows:
        assert (heads["follows_concept"] == follows[predicted]).all()
    planted = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert (planted["translator_edges"] > 0).all() and (planted["imitator_edges"] > 0).all()
    assert len(planted) == len(heads) == 2


@pytest.mark.parametrize("training", ["from_start", "after_settling"])
def test_a_translator_pays_for_the_human_errors_and_an_imitator_does_not(training, tmp_path):
    """X is twice as loud, and wrong on a tenth of the labels. Planted heads are the same where the
    heads of the contest meet the errors later.
    """
    world = build(node("world/ladder.yaml", **TWO_BITS_WORLD, human_errors=0.1), "world")
    labels = split_by_cluster(world.episodes("easy", N + 260, 0), (N, 260))[0]
    errors = 1 - len(find_correct(labels)) / N
    assert 0.06 < errors < 0.14 and errors != 0.1, "few episodes have another share than the world"
    strength = 1.0
    words = ["core_model.concept_amplitude=2", "world.human_errors=0.1"]
    words += [f"strengths=[{strength}]", f"training.errors={training}"]
    done = train(*TWO_BITS, *words, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (head,) = read_heads(tmp_path / "run").to_dict("records")
    translator = compute_cost(2.0, strength, errors)
    assert head["cost_translator"] == pytest.approx(translator, rel=5e-3)
    assert head["cost_imitator"] == pytest.approx(compute_cost(1.0, strength), rel=5e-3)
    assert head["errors_nats"] == pytest.approx(compute_entropy(errors))
    clean = compute_cost(2.0, strength)
    assert translator < clean + compute_entropy(errors), "one that is less sure pays less"
    assert clean < compute_cost(1.0, strength) < translator
    assert head["predicts"] == "human_imitator" and head["follows_concept"] == 0


def test_a_run_without_planted_costs_predicts_nothing(tiny_run):
    assert "predicts" not in read_heads(tiny_run)
    assert not (tiny_run / "predictions.parquet").exists()


@pytest.mark.parametrize(
    ("prior", "is_known"),
    [
        (load_prior("gaussian"), True),
        (load_prior("circuit_size"), True),
        (load_prior("explanation_length"), False),
        (load_prior("explanation_length", prune=False), True),
    ],
)
def test_nothing_is_predicted_where_what_finished_heads_pay_is_not_known(prior, is_known):
    assert prior.leaves_totals_known == is_known


@pytest.mark.slow
def test_a_run_of_joint_length_trains_no_planted_heads(tmp_path):
    words = [word for word in TWO_BITS if word != "prior=gaussian"]
    words += ["prior=explanation_length", "training.epochs=1"]
    done = train(*words, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "predicts" not in read_heads(tmp_path / "run")
    assert not (tmp_path / "run" / "predictions.parquet").exists()


def test_x_and_h_are_independent_where_planted_heads_are_trained(vault, reader):
    sizes = PLAN.sizes
    decoupled = draw_decoupled(vault, sizes.train + sizes.validation, PLAN.seed)
    for answers in ("concept", "human"):
        material = read_decoupled(reader, decoupled, sizes.train, answers)
        table = material.train.to_pandas()
        counts = pd.crosstab(table["concept"], table["human"]).to_numpy() / len(table)
        assert np.abs(counts - 0.25).max() < 0.06
        assert (material.examples.human_N.bool().numpy() == table[answers]).all()
        assert len(table) == sizes.train


def test_answers_are_flipped_as_often_in_each_combination_of_x_and_h(vault, reader):
    sizes, share = PLAN.sizes, 0.1
    decoupled = draw_decoupled(vault, sizes.train + sizes.validation, PLAN.seed)
    right, wrong, again, other = (
        read_decoupled(reader, decoupled, sizes.train, "concept", errors, seed)
        for errors, seed in ((0.0, 0), (share, 0), (share, 0), (share, 1))
    )
    for part, episodes in (("examples", wrong.train), ("held_out", wrong.validation)):
        answers = [getattr(each, part).human_N for each in (right, wrong, again, other)]
        flipped_N = answers[0] != answers[1]
        assert flipped_N.sum() == share * len(flipped_N)
        table = episodes.to_pandas().assign(flipped=flipped_N.numpy())
        counts = table.groupby(["concept", "human"])["flipped"].agg(["sum", "size"])
        assert (counts["sum"] - share * counts["size"]).abs().max() <= 1
        assert torch.equal(answers[1], answers[2])
        assert not torch.equal(answers[1], answers[3])


def test_a_world_that_cannot_part_x_from_h_is_refused():
    class Honest(Ladder):
        def episodes(self, split, n, seed):
            if split == "disputed":
                raise UserError("world: it makes no disputed episodes")
            return super().episodes(split, n, seed)

    values = {key: value for key, value in node("world/ladder.yaml").items() if key != "_target_"}
    world = Honest(**values)
    with pytest.raises(UserError, match=r"planted_costs: ladder cannot make \d+ .*planted_costs=f"):
        draw_decoupled(world, 100, 0)
