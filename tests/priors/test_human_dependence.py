"""The prior against imitation: by hand on pairs; and heads trained under it leave what only the
human's answer depends on.
"""

import pytest
import torch

from priors.human_dependence import HumanDependence
from priors.none import NoPrior
from priors.prior import Aid, Training
from reporters.linear import Linear
from tests.training.made import planted, population


def charge(weight: list[float], no: list[float], yes: list[float]) -> float:
    """Returns the charge of a linear head for one pair."""
    head, weights = Linear(1, 2), {"weight_1D": torch.tensor([weight]), "bias": torch.tensor(0.5)}
    pairs = torch.tensor([[[no]], [[yes]]])
    reading = torch.func.functional_call(head, weights, (pairs[0],))
    return (
        HumanDependence()
        .charge(
            Training(
                head,
                weights,
                {},
                {},
                weights,
                pairs[0],
                reading,
                torch.zeros(1),
                1.0,
                500,
                Aid(pairs_2PLD=pairs),
            )
        )
        .item()
    )


def test_a_head_that_says_the_same_of_both_is_charged_nothing():
    assert charge([1.0, 0.0], no=[2.0, -1.0], yes=[2.0, 1.0]) == 0


def test_a_head_that_follows_the_human_is_charged_the_covariance_of_its_log_odds_and_probability():
    low, high = torch.sigmoid(torch.tensor([-0.5, 1.5]))  # 0.5 - 1 and 0.5 + 1 nats
    assert charge([1.0, 1.0], no=[0.0, -1.0], yes=[0.0, 1.0]) == pytest.approx(
        2 * (high - low).item() / 2
    )


def test_heads_leave_what_only_the_human_goes_by(trainer, tmp_path):
    """Easy answers are told by two dimensions that agree; in the pairs the human goes by the last,
    and the other stays.
    """

    def agreeing(n: int, seed: int):
        examples = planted(n, inputs=1, width=8, seed=seed)
        examples.z_NLD[:, :, -1] = examples.z_NLD[:, :, 0]
        return examples

    def shares(prior) -> torch.Tensor:
        """Returns each head's weight on the human's dimension over that on both."""
        heads = population(
            trainer,
            tmp_path / "fit",
            Linear,
            prior,
            agreeing(2048, 0),
            agreeing(512, 1),
            seeds=range(4),
            batch_size=256,
        )
        weight_KD = heads.weights["weight_1D"].flatten(0, 3).abs()
        return weight_KD[:, -1] / (weight_KD[:, 0] + weight_KD[:, -1])

    assert (shares(HumanDependence()) < 0.1).all()
    assert (shares(NoPrior()) > 0.3).all()
