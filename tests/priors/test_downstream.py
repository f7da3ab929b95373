"""The downstream prior: a report that leans on the observation is charged, another is not; and the
observation is found where it was put.
"""

import pytest
import torch
from torch import Tensor

from priors.downstream import Downstream, observation
from priors.prior import Aid, Training
from reporters.linear import Linear

WIDTH = 6


def activations(n: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns z_NLD of two levels, and an opinion that is written along dimension 0 of the first
    and along 1 of the second, both mixed into 2.
    """
    chance = torch.Generator().manual_seed(seed)
    opinion_N = (
        6 * torch.randint(2, (n,), generator=chance) - 3.0 + 0.1 * torch.randn(n, generator=chance)
    )
    z_NLD = torch.randn(n, 2, WIDTH, generator=chance)
    for level in range(2):
        z_NLD[:, level, level] = opinion_N / 3
        z_NLD[:, level, 2] += opinion_N / 3
    return z_NLD, opinion_N


def charge(weight: list[float], scale: float = 1.0) -> float:
    """Returns the charge of a linear head on the first level."""
    z_NLD, opinion_N = activations()
    head = Linear(1, WIDTH)
    weights = {
        "weight_1D": scale * torch.tensor([weight], dtype=torch.float32),
        "bias": torch.tensor(0.0),
    }
    z_NLD = z_NLD[:, :1]
    reading = torch.func.functional_call(head, weights, (z_NLD,))
    aid = Aid(observation_2LD=observation(z_NLD, opinion_N))
    return (
        Downstream()
        .charge(
            Training(head, weights, {}, {}, weights, z_NLD, reading, torch.zeros(1), 1.0, 500, aid)
        )
        .item()
    )


def test_the_observation_is_read_where_it_is_written_at_every_level():
    z_NLD, opinion_N = activations()
    read_LD, write_LD = observation(z_NLD, opinion_N)
    for level in range(2):
        assert read_LD[level].abs().argmax() == level
        assert read_LD[level, level] > 20 * read_LD[level, 3:].abs().max()
        assert write_LD[level, 2] / write_LD[level, level] == pytest.approx(
            1, abs=0.1
        )  # what goes along with it is changed too
    torch.testing.assert_close((read_LD * write_LD).sum(dim=1), torch.ones(2))


def test_after_another_episodes_observation_is_written_it_is_what_is_read_and_all_else_stays():
    z_NLD, opinion_N = activations()
    read_LD, write_LD = observation(z_NLD, opinion_N)
    part_NL = (z_NLD * read_LD).sum(dim=2)
    changed_NLD = z_NLD + (part_NL.roll(1, dims=0) - part_NL)[:, :, None] * write_LD
    torch.testing.assert_close(
        (changed_NLD * read_LD).sum(dim=2), part_NL.roll(1, dims=0), rtol=1e-3, atol=1e-4
    )
    assert (changed_NLD - z_NLD)[:, :, 3:].abs().max() < 0.1


def test_a_head_that_reads_the_observation_is_charged_and_one_that_reads_something_else_is_not():
    assert charge([1, 0, 0, 0, 0, 0]) > 0.2
    assert charge([0, 0, 0, 1, 1, 0]) < 0.01


def test_a_head_that_reads_the_observation_away_again_is_not_charged():
    assert (
        charge([1, 0, -1, 0, 0, 0]) < 0.02
    )  # dimension 2 is the observation and noise: what is left of both is the noise


def test_a_sure_head_is_charged_in_proportion_to_how_sure_it_is():
    # Half of the pairs differ, each by 2 · 20 nats of log-odds and nearly 1 of probability: ½ · 40
    # / 2.
    assert charge([1, 0, 0, 0, 0, 0], scale=20) == pytest.approx(10, rel=0.05)
