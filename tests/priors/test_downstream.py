"""The downstream prior: it charges a report that depends on the observation, and no other; and the
observation is found where it was planted.
"""

import pytest
import torch
from torch import Tensor

from priors.downstream import Downstream, find_observation
from priors.prior import Aid
from reporters.linear import Linear
from tests.priors.made import build_finished

WIDTH = 6


def draw_activations(n: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns z_NLD of two levels, and an opinion that is written along dimension 0 of the first
    level and dimension 1 of the second, and added to dimension 2 of both.
    """
    rng = torch.Generator().manual_seed(seed)
    sign_N = 2 * torch.randint(2, (n,), generator=rng) - 1
    opinion_N = 3.0 * sign_N + 0.1 * torch.randn(n, generator=rng)
    z_NLD = torch.randn(n, 2, WIDTH, generator=rng)
    for level in range(2):
        z_NLD[:, level, level] = opinion_N / 3
        z_NLD[:, level, 2] += opinion_N / 3
    return z_NLD, opinion_N


def compute_charge(*weight: float) -> float:
    """Returns the charge of a linear head on the first level."""
    z_NLD, opinion_N = draw_activations()
    z_NLD = z_NLD[:, :1]
    weights = {"weight_1D": torch.tensor([weight]), "bias": torch.tensor(0.0)}
    aid = Aid(observation_2LD=find_observation(z_NLD, opinion_N[:, None]))
    return Downstream().charge(build_finished(Linear(1, WIDTH), weights, z_NLD, aid)).item()


def test_the_observation_is_read_where_it_is_written_at_every_level():
    z_NLD, opinion_N = draw_activations()
    read_LD, write_LD = find_observation(z_NLD, opinion_N[:, None])
    for level in range(2):
        assert read_LD[level].abs().argmax() == level
        assert read_LD[level, level] > 20 * read_LD[level, 3:].abs().max()
        # Dimensions that correlate with the observation are changed with it.
        assert write_LD[level, 2] / write_LD[level, level] == pytest.approx(1, abs=0.1)
    torch.testing.assert_close((read_LD * write_LD).sum(dim=1), torch.ones(2))


def test_writing_another_observation_changes_what_is_read_and_nothing_else():
    z_NLD, opinion_N = draw_activations()
    read_LD, write_LD = find_observation(z_NLD, opinion_N[:, None])
    part_NL = (z_NLD * read_LD).sum(dim=2)
    other_NL = part_NL.roll(1, dims=0)
    changed_NLD = z_NLD + (other_NL - part_NL)[:, :, None] * write_LD
    read_again_NL = (changed_NLD * read_LD).sum(dim=2)
    torch.testing.assert_close(read_again_NL, other_NL, rtol=1e-3, atol=1e-4)
    assert (changed_NLD - z_NLD)[:, :, 3:].abs().max() < 0.1


def test_only_a_head_that_reads_the_observation_is_charged():
    assert compute_charge(1.0, 0, 0, 0, 0, 0) > 0.2
    assert compute_charge(0.0, 0, 0, 1, 1, 0) < 0.01


def test_a_head_that_cancels_the_observation_is_not_charged():
    # Dimension 2 is the observation plus noise, so the difference of both is the noise.
    assert compute_charge(1.0, 0, -1, 0, 0, 0) < 0.02


def test_a_confident_head_is_charged_in_proportion_to_its_confidence():
    # Half of the pairs differ, each by 2 · 20 nats of log-odds and nearly 1 of probability: ½ · 40
    # / 2.
    assert compute_charge(20.0, 0, 0, 0, 0, 0) == pytest.approx(10, rel=0.05)
