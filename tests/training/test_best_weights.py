"""Best weights: every head keeps its own, for as long as its own patience lasts."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.best_weights import BestWeights

Values = Callable[[int], tuple[float, float]]


def follow(
    nll: Values,
    charge: Values = lambda epoch: (0.0, 0.0),
    n_epochs: int = 20,
    settled: int = 0,
    patience: int = 10,
) -> tuple[BestWeights, int]:
    """Returns the best weights of two heads whose errors and charges are known, and the epoch after
    which both are done. Their weight is the number of the epoch.
    """
    best = BestWeights({"weight": torch.full((1, 1, 2, 3), -1.0)}, settled, patience)
    for epoch in range(n_epochs):
        weights = {"weight": torch.full((1, 1, 2, 3), float(epoch))}
        best.update(weights, pair(nll(epoch)), pair(charge(epoch)), epoch)
        if best.is_done(epoch).all():
            break
    return best, epoch


def pair(values: tuple[float, float]) -> Tensor:
    return torch.tensor(values).float().view(1, 1, 2)


def kept(best: BestWeights) -> list[float]:
    """Returns the epoch of each head's weights, and checks that everything is of that epoch."""
    weight_M3 = best.weights["weight"][0, 0]
    assert (weight_M3 == weight_M3[:, :1]).all()
    assert best.epoch_GSM[0, 0].tolist() == weight_M3[:, 0].tolist()
    return weight_M3[:, 0].tolist()


def test_every_head_stops_by_itself():
    # Epochs count from 0. The first head is best after epoch 3 and, two epochs without improvement
    # later, done: epoch 10 comes too late. The second improves until epoch 12.
    best, last = follow(
        lambda epoch: (-1 if epoch >= 10 else abs(epoch - 3), 100 - min(epoch, 12)), patience=2
    )
    assert kept(best) == [3, 12]
    assert best.nll_GSM.flatten().tolist() == [0, 88]
    assert last == 15


def test_a_head_waits_as_long_as_its_patience_and_no_longer():
    # Both are best after epoch 0: epoch 4 comes in time, epoch 5 does not.
    best, _ = follow(lambda epoch: (int(epoch != 4), int(epoch != 5)), patience=4)
    assert kept(best) == [4, 0]


@pytest.mark.parametrize("settled", [10, 15])
def test_no_head_is_done_before_charge_and_bonus_have_settled(settled):
    best, last = follow(lambda epoch: (epoch, epoch), settled=settled, patience=1)
    assert last == settled + 2
    assert kept(best) == [0, 0]


def test_an_improvement_after_a_long_wait_counts_where_the_charge_had_not_settled():
    best, _ = follow(lambda epoch: (int(epoch != 1), -int(epoch == 10)), settled=10, patience=1)
    assert kept(best) == [1, 10]


def test_the_best_weights_are_those_of_the_least_error_plus_full_charge():
    # Free, the last epoch is the best; charged, 20 - e + 0.3 e² is least at e = 2.
    best, _ = follow(
        lambda epoch: (20 - epoch, 20 - epoch), lambda epoch: (0, 0.3 * epoch**2), n_epochs=8
    )
    assert kept(best) == [7, 2]
    assert best.nll_GSM.flatten().tolist() == [13, 18]


def test_a_head_that_is_not_a_number_keeps_the_weights_that_it_started_with():
    best, _ = follow(lambda epoch: (torch.nan, 1), n_epochs=3)
    assert best.weights["weight"][0, 0, :, 0].tolist() == [-1, 0]
    assert best.nll_GSM.flatten().isnan().tolist() == [True, False]
