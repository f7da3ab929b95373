"""The promise of a reporter, over every YAML of configs/reporter; and that each test of it would
notice one that breaks it.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reporters.reporter import ClosedForm, Reading, Reporter, axes, units
from reporters.stack import stacked
from tests.reporters.made import REPORTERS, activations, made

EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=REPORTERS)
def reporter(request) -> Reporter:
    return made(request.param)


def same(one: Reading, other: Reading) -> None:
    for first, second in zip(one, other, strict=True):
        torch.testing.assert_close(first, second, **EXACT)


def of_episodes(reading: Reading, which: Tensor | slice) -> Reading:
    return reading._replace(log_odds_NT=reading.log_odds_NT[which], halt_NT=reading.halt_NT[which])


def whole(reporter: Reporter) -> dict[str, int]:
    return units(reporter, activations(reporter).shape[1])


def test_the_names_of_its_parameters_say_their_axes(reporter):
    sizes: dict[str, int] = {}
    for name, value in reporter.named_parameters():
        assert len(axes(name)) == value.dim(), f"{name} has {value.dim()} axes"
        for letter, size in zip(axes(name), value.shape, strict=True):
            assert sizes.setdefault(letter, size) == size or letter.isdigit(), (
                f"{letter} stands for two lengths"
            )
            assert not letter.isdigit() or int(letter) == size


def test_it_has_parameters_and_says_how_many_levels_it_reads(reporter):
    assert reporter.reads in ("one_level", "all_levels")
    assert any(not name.endswith("bias") for name, _ in reporter.named_parameters())


def test_the_halting_probabilities_of_an_episode_sum_to_one(reporter):
    reading = reporter(activations(reporter))
    assert reading.halt_NT.shape == reading.log_odds_NT.shape == (20, len(reading.levels_T))
    assert (reading.halt_NT >= 0).all()
    torch.testing.assert_close(
        reading.halt_NT.sum(dim=1), torch.ones(20, dtype=torch.float64), **EXACT
    )


def test_a_later_exit_has_read_and_spent_no_less(reporter):
    reading, flops_T = (
        reporter(activations(reporter)),
        torch.tensor(reporter.flops(whole(reporter))),
    )
    assert reading.levels_T.shape == flops_T.shape
    assert (reading.levels_T.diff() >= 0).all() and (flops_T.diff() >= 0).all()
    assert reading.levels_T.min() >= 1 and reading.levels_T.max() <= activations(reporter).shape[1]


def test_the_flops_of_the_last_exit_are_those_that_torch_counts(reporter):
    z_NLD = activations(reporter, n=1)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        reporter(z_NLD)
    assert reporter.flops(whole(reporter))[-1] == counter.get_total_flops() > 0


def test_stacked_heads_read_as_each_does_alone(reporter):
    grid = (2, 3, 2)
    chance = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(*grid, *value.shape, generator=chance, dtype=torch.float64)
        for name, value in reporter.named_parameters()
    }
    z_GNLD = torch.stack([activations(reporter, seed=g) for g in range(grid[0])])
    together = stacked(reporter, weights, z_GNLD)
    for place in itertools.product(*map(range, grid)):
        alone = functional_call(
            reporter, {name: value[place] for name, value in weights.items()}, (z_GNLD[place[0]],)
        )
        same(Reading(*(value[place] for value in together)), alone)


def test_reading_changes_nothing_and_says_the_same_again(reporter):
    before, z_NLD = (
        {name: value.clone() for name, value in reporter.state_dict().items()},
        activations(reporter),
    )
    given = z_NLD.clone()
    same(reporter(z_NLD), reporter(z_NLD))
    assert torch.equal(z_NLD, given)
    assert all(torch.equal(value, before[name]) for name, value in reporter.state_dict().items())


def test_what_it_says_of_an_episode_does_not_depend_on_the_others(reporter):
    z_NLD = activations(reporter)
    together, order_N = (
        reporter(z_NLD),
        torch.randperm(20, generator=torch.Generator().manual_seed(0)),
    )
    same(reporter(z_NLD[order_N]), of_episodes(together, order_N))
    same(reporter(z_NLD[:3]), of_episodes(together, slice(3)))


def test_a_gradient_reaches_every_parameter_unless_it_is_solved_for(reporter):
    z_NLD, human_N = activations(reporter), torch.arange(20, dtype=torch.float64) % 2
    if isinstance(reporter, ClosedForm):
        solved = reporter.solve(z_NLD, human_N)
        assert {name: value.shape for name, value in solved.items()} == {
            name: value.shape for name, value in reporter.named_parameters()
        }
        assert all(value.isfinite().all() for value in solved.values())
        return
    reading = reporter(z_NLD)
    (reading.halt_NT * nn.functional.softplus(reading.log_odds_NT)).sum().backward()
    for parameter in reporter.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()


class Broken(Reporter):
    """A linear head on one level, and one way to break the promise."""

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw = flaw
        self.weight_1D = nn.Parameter(torch.ones(1, 8, dtype=torch.float64))

    def forward(self, z_NLD: Tensor) -> Reading:
        weight_1D = self.weight_1D.detach() if self.flaw == "no gradient" else self.weight_1D
        log_odds_N1 = z_NLD[:, 0] @ weight_1D.T
        ones_2 = z_NLD.new_ones(2)
        if self.flaw == "batch norm":
            log_odds_N1 = log_odds_N1 - log_odds_N1.mean()
        if self.flaw == "remembers":
            with torch.no_grad():
                self.weight_1D += 1
        levels_T = torch.tensor([2.0, 1.0]) if self.flaw == "goes back" else ones_2
        halt_NT = torch.full_like(log_odds_N1, 1.0 if self.flaw == "halts twice" else 0.5).expand(
            -1, 2
        )
        return Reading(log_odds_N1.expand(-1, 2), halt_NT, levels_T)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [units["D"] * (1 if self.flaw == "counts multiply-adds" else 2)] * 2


@pytest.mark.parametrize(
    ("flaw", "notices"),
    [
        ("halts twice", test_the_halting_probabilities_of_an_episode_sum_to_one),
        ("goes back", test_a_later_exit_has_read_and_spent_no_less),
        ("counts multiply-adds", test_the_flops_of_the_last_exit_are_those_that_torch_counts),
        ("remembers", test_reading_changes_nothing_and_says_the_same_again),
        ("batch norm", test_what_it_says_of_an_episode_does_not_depend_on_the_others),
        ("no gradient", test_a_gradient_reaches_every_parameter_unless_it_is_solved_for),
    ],
)
def test_a_broken_promise_is_noticed(flaw: str, notices: Callable[[Reporter], None]):
    notices(Broken("none"))
    with pytest.raises((AssertionError, RuntimeError)):
        notices(Broken(flaw))
