"""Heads from pairs of statements and negations: planted truth, and controls that must fail."""

import pytest
import torch

from reporters.contrast import Contrast
from reporters.crc import CRC
from reporters.mean_difference import MeanDifference
from reporters.reporter import SelfFitted
from reporters.ttpd import TTPD, find_truth_direction
from tests.reporters.planted_pairs import WIDTH, draw_pairs, measure_accuracy

HEADS = {
    "crc": CRC(1, WIDTH),
    "contrast": Contrast(1, WIDTH, 1.0),
    "ttpd": TTPD(1, WIDTH, 1.0),
}


@pytest.fixture(params=HEADS)
def head(request) -> SelfFitted:
    return HEADS[request.param]


def test_it_finds_a_planted_truth_beside_a_louder_topic_and_a_not(head):
    lesson, other = draw_pairs()
    weights = head.fit(lesson)
    weight_D = weights["weight_1D"][0]
    assert weight_D[0] > 2 * weight_D[[1, *range(3, WIDTH)]].abs().max()
    assert min(measure_accuracy(weights, other)) > 0.97


def test_without_a_truth_axis_it_finds_none(head):
    lesson, other = draw_pairs(truth=0.0)
    assert max(measure_accuracy(head.fit(lesson), other)) < 0.62


def test_labels_turned_round_turn_the_answers_round(head):
    lesson, _ = draw_pairs()
    first = head.fit(lesson)
    second = head.fit(lesson._replace(human_N=1 - lesson.human_N))
    for name in first:
        torch.testing.assert_close(first[name], -second[name], rtol=1e-3, atol=1e-3)


def test_the_component_of_largest_variance_takes_a_louder_distractor_and_labels_do_not():
    lesson, other = draw_pairs(distractor=5.0)
    assert measure_accuracy(HEADS["crc"].fit(lesson), other)[0] < 0.65
    assert measure_accuracy(HEADS["contrast"].fit(lesson), other)[0] > 0.97


def test_a_coordinate_that_a_not_makes_louder_does_not_hide_the_truth_from_crc():
    lesson, other = draw_pairs()
    for part in (lesson, other):
        part.negated_NLD[:, :, 4] *= 20
    assert measure_accuracy(HEADS["crc"].fit(lesson), other)[0] > 0.97


def test_only_the_head_with_a_polarity_direction_answers_negations_at_its_threshold():
    """Truth moves statements along the first axis, and a "not" moves everything along it too."""
    lesson, other = draw_pairs(negation=0.0)
    for part in (lesson, other):
        part.negated_NLD[:, :, 0] += 3
        part.negated_NLD[:, :, 2] += 3

    def measure_on_negations(head: SelfFitted) -> float:
        weights = head.fit(lesson)
        log_odds_N = other.negated_NLD[:, 0] @ weights["weight_1D"][0] + weights["bias"]
        return ((log_odds_N > 0) == (other.human_N < 0.5)).float().mean().item()

    assert measure_on_negations(HEADS["ttpd"]) > 0.95
    assert measure_on_negations(HEADS["contrast"]) < 0.65
    assert measure_on_negations(MeanDifference(1, WIDTH)) < 0.65


def test_the_truth_direction_is_apart_from_what_truth_means_under_a_not():
    """Statements carry truth on the axes 0 and 1, negations on 0 and, turned round, on 1."""
    rng = torch.Generator().manual_seed(0)
    answer_N, is_statement_N = torch.randint(2, (2, 2000), generator=rng).float()
    truth_N, polarity_N = 2 * answer_N - 1, 2 * is_statement_N - 1
    z_ND = 0.1 * torch.randn(2000, 3, generator=rng)
    z_ND[:, 0] += truth_N
    z_ND[:, 1] += 2 * truth_N * polarity_N
    z_ND[:, 2] += polarity_N
    direction_D = find_truth_direction(z_ND, answer_N)
    torch.testing.assert_close(direction_D, torch.tensor([1.0, 0.0, 0.0]), rtol=0.05, atol=0.05)
