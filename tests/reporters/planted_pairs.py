"""Pairs of statements and negations with a planted truth axis beside louder ones.   Not a test.

N: pairs, D: width. Axis 0 is the truth, axis 1 the topic, axis 2 the "not", axis 3 a distractor.
"""

import torch
from torch import Tensor

from reporters.reporter import Lesson

WIDTH = 12


def draw_pairs(
    n: int = 400,
    truth: float = 1.5,
    topic: float = 6.0,
    negation: float = 4.0,
    distractor: float = 0.0,
    noise: float = 0.5,
    seed: int = 0,
) -> tuple[Lesson, Lesson]:
    """Returns a lesson, and another one that judges; the human's answers are the truth of the
    statements.

    Args:
        truth: what a true statement adds to the first axis; a false one takes it off.
        topic: what a topic, the same in both halves of a pair, adds to the second axis.
        negation: what a "not" adds to the third axis.
        distractor: what one half of each pair adds to the fourth axis, and the other takes off,
            whatever its truth is.
    """
    rng = torch.Generator().manual_seed(seed)
    lessons = []
    for _ in range(2):
        truth_N, topic_N, distractor_N = 2.0 * torch.randint(2, (3, n), generator=rng) - 1
        statement_ND, negation_ND = noise * torch.randn(2, n, WIDTH, generator=rng)
        statement_ND[:, 0] += truth * truth_N
        negation_ND[:, 0] -= truth * truth_N
        statement_ND[:, 1] += topic * topic_N
        negation_ND[:, 1] += topic * topic_N
        negation_ND[:, 2] += negation
        statement_ND[:, 3] += distractor * distractor_N
        negation_ND[:, 3] -= distractor * distractor_N
        human_N = (truth_N > 0).float()
        zero_LD = torch.zeros(1, WIDTH)
        z_NLD, negated_NLD = statement_ND[:, None], negation_ND[:, None]
        lessons.append(Lesson(z_NLD, human_N, zero_LD, zero_LD + 1, negated_NLD))
    return lessons[0], lessons[1]


def measure_accuracy(weights: dict[str, Tensor], lesson: Lesson) -> tuple[float, float]:
    """Returns the share of right answers on statements, and the share of pairs whose true half is
    given the larger log-odds.
    """
    assert lesson.negated_NLD is not None
    log_odds_N = lesson.z_NLD[:, 0] @ weights["weight_1D"][0] + weights["bias"]
    negated_N = lesson.negated_NLD[:, 0] @ weights["weight_1D"][0] + weights["bias"]
    centred_N = (log_odds_N - log_odds_N.mean()) - (negated_N - negated_N.mean())
    is_true_N = lesson.human_N > 0.5
    right_N = (log_odds_N > 0) == is_true_N
    ranked_N = (centred_N > 0) == is_true_N
    return right_N.float().mean().item(), ranked_N.float().mean().item()
