"""The prior against imitation: by hand on pairs; and heads that are trained under it ignore what
only the human's answer depends on.
"""

import pytest
import torch

from priors.human_dependence import HumanDependence
from priors.none import NoPrior
from priors.prior import Aid
from reporters.linear import Linear
from tests.priors.made import build_finished
from tests.training.made import planted, population
from training.examples import Examples


def compute_charge(weight: list[float], no: list[float], yes: list[float]) -> float:
    """Returns the charge of a linear head for one pair."""
    weights = {"weight_1D": torch.tensor([weight]), "bias": torch.tensor(0.5)}
    pairs = torch.tensor([[[no]], [[yes]]])
    training = build_finished(Linear(1, 2), weights, pairs[0], Aid(pairs_2PLD=pairs))
    return HumanDependence().charge(training).item()


def test_a_head_with_the_same_report_on_both_is_charged_nothing():
    assert compute_charge([1.0, 0.0], no=[2.0, -1.0], yes=[2.0, 1.0]) == 0


def test_a_head_that_follows_the_human_is_charged_the_covariance_of_log_odds_and_probability():
    low, high = torch.sigmoid(torch.tensor([-0.5, 1.5]))  # log-odds 0.5 - 1 and 0.5 + 1
    by_hand = 2 * (high - low).item() / 2
    assert compute_charge([1.0, 1.0], no=[0.0, -1.0], yes=[0.0, 1.0]) == pytest.approx(by_hand)


def test_heads_ignore_what_only_the_human_depends_on(trainer, tmp_path):
    """On easy episodes two equal dimensions give the answer; in the pairs the human depends on the
    last one, and the other does not change.
    """

    def draw_examples(n: int, seed: int) -> Examples:
        examples = planted(n, inputs=1, width=8, seed=seed)
        examples.z_NLD[:, :, -1] = examples.z_NLD[:, :, 0]
        return examples

    examples, held_out = draw_examples(2048, 0), draw_examples(512, 1)
    values = {"seeds": range(4), "batch_size": 256}

    def measure_share(prior) -> torch.Tensor:
        """Returns each head's weight on the human's dimension over that on both."""
        checkpoint = tmp_path / "fit"
        heads = population(trainer, checkpoint, Linear, prior, examples, held_out, **values)
        weight_KD = heads.weights["weight_1D"].flatten(0, 3).abs()
        return weight_KD[:, -1] / (weight_KD[:, 0] + weight_KD[:, -1])

    assert (measure_share(HumanDependence()) < 0.1).all()
    assert (measure_share(NoPrior()) > 0.3).all()
