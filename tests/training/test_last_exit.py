"""Heads that read to their last exit: linear in their parameters where a layered head is not, and
the reporter itself says the same once it never stops early.
"""

import pytest
import torch
from torch.func import functional_call

from reporters.attention import Attention
from reporters.layered import Layered
from reporters.linear import Linear
from training.convex import is_linear
from training.expected import unflatten
from training.last_exit import LastExit


@pytest.fixture
def z_NLD() -> torch.Tensor:
    return torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(0))


def test_its_log_odds_are_those_of_the_last_exit_and_linear_in_its_parameters(z_NLD):
    reporter = Layered(3, 5)
    last = LastExit(reporter)
    torch.testing.assert_close(last(z_NLD).log_odds_NT[:, 0], reporter(z_NLD).log_odds_NT[:, -1])
    assert is_linear(last, z_NLD) and not is_linear(reporter, z_NLD)


def test_a_reporter_that_never_stops_early_says_what_it_says_and_else_another_thing(z_NLD):
    reporter = Layered(3, 5)
    last, sizes = LastExit(reporter), {n: v.shape for n, v in reporter.named_parameters()}
    n_parameters = sum(size.numel() for size in sizes.values())
    theta_KW = torch.randn(4, n_parameters, generator=torch.Generator().manual_seed(1))
    changed_KW = last.never_stop_early(theta_KW)
    for theta_W, changed_W in zip(theta_KW, changed_KW, strict=True):
        own = {f"reporter.{name}": value for name, value in unflatten(theta_W, sizes).items()}
        expected_N = functional_call(last, own, (z_NLD,)).log_odds_N
        told = functional_call(reporter, unflatten(changed_W, sizes), (z_NLD,))
        torch.testing.assert_close(told.log_odds_N, expected_N)
        before = functional_call(reporter, unflatten(theta_W, sizes), (z_NLD,))
        assert not torch.allclose(before.log_odds_N, expected_N)


@pytest.mark.parametrize(
    ("reporter", "is_known"),
    [(Layered(3, 5), True), (Linear(3, 5), False), (Attention(3, 5, 4, 2), False)],
)
def test_not_every_reporter_says_how_it_never_stops_early(reporter, is_known):
    assert LastExit(reporter).is_known == is_known
