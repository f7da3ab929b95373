"""Contrast-consistent search: it finds a planted truth beside a louder topic, not where the term of
consistency has the other sign; and a lower loss is not always more truth.
"""

import torch
from torch import Tensor

from reporters import ccs
from reporters.ccs import CCS, compute_loss
from reporters.stack import Weights
from tests.reporters.planted_pairs import WIDTH, draw_pairs, measure_accuracy


def build(seed: int = 0, restarts: int = 4, steps: int = 150) -> CCS:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return CCS(1, WIDTH, restarts, steps, 0.05)


def test_it_finds_a_planted_truth_beside_a_louder_topic_for_every_seed():
    lesson, other = draw_pairs()
    for seed in range(3):
        weights = build(seed).fit(lesson)
        weight_D = weights["weight_1D"][0]
        assert weight_D[0] > 2 * weight_D[1:].abs().max()
        assert min(measure_accuracy(weights, other)) > 0.97


def test_with_the_other_sign_of_consistency_it_does_not(monkeypatch):
    def compute_flipped_loss(weights_K: Weights, statement_ND: Tensor, negation_ND: Tensor):
        weight_KD, bias_K1 = weights_K["weight_KD"], weights_K["bias_K"][:, None]
        yes_KN = torch.sigmoid(weight_KD @ statement_ND.T + bias_K1)
        no_KN = torch.sigmoid(weight_KD @ negation_ND.T + bias_K1)
        confidence_KN = torch.minimum(yes_KN, no_KN).square()
        return ((yes_KN - no_KN).square() + confidence_KN).mean(dim=1)

    lesson, other = draw_pairs()
    monkeypatch.setattr(ccs, "compute_loss", compute_flipped_loss)
    assert min(measure_accuracy(build().fit(lesson), other)) < 0.75


def test_the_labels_give_the_sign_alone():
    lesson, _ = draw_pairs()
    first = build().fit(lesson)
    second = build().fit(lesson._replace(human_N=1 - lesson.human_N))
    for name in first:
        torch.testing.assert_close(first[name], -second[name])
    # A few wrong labels change nothing at all.
    flipped_N = lesson.human_N.clone()
    flipped_N[:40] = 1 - flipped_N[:40]
    third = build().fit(lesson._replace(human_N=flipped_N))
    assert all(torch.equal(first[name], third[name]) for name in first)


def test_a_not_cannot_be_read_because_each_half_is_normalised_by_itself():
    quiet, loud = (build().fit(draw_pairs(negation=size)[0]) for size in (0.0, 40.0))
    torch.testing.assert_close(quiet["weight_1D"], loud["weight_1D"], rtol=1e-3, atol=1e-3)


def test_the_loss_is_that_of_the_paper_at_known_probabilities():
    # Log-odds of ±ln 3 are probabilities of 3/4 and 1/4.
    weights = {"weight_KD": torch.tensor([3.0]).log()[:, None], "bias_K": torch.zeros(1)}
    yes_ND, no_ND = torch.tensor([[1.0], [1.0]]), torch.tensor([[-1.0], [1.0]])
    # consistent: 0 + (1/4)²; both yes: (1/2)² + (3/4)²
    expected = (0.0625 + 0.25 + 0.5625) / 2
    torch.testing.assert_close(compute_loss(weights, yes_ND, no_ND), torch.tensor([expected]))


def test_a_lower_loss_is_not_more_truth():
    """Whatever one half of each pair has and the other lacks is consistent as well."""
    lesson, other = draw_pairs(truth=0.7, distractor=3.0)
    distracted = build().fit(lesson)
    without, _ = draw_pairs(truth=0.7)
    truthful = build().fit(without)

    def measure_loss(weights: dict[str, Tensor]) -> float:
        stack = {"weight_KD": weights["weight_1D"], "bias_K": weights["bias"][None]}
        centred = [z_NLD[:, 0] - z_NLD[:, 0].mean(dim=0) for z_NLD in (other[0], other[4])]
        return compute_loss(stack, *centred).item()

    assert measure_loss(distracted) < 0.5 * measure_loss(truthful)
    assert measure_accuracy(distracted, other)[0] < 0.65
    assert measure_accuracy(truthful, other)[0] > 0.85
