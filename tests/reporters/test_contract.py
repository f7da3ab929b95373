"""The contract of a reporter, for every YAML of configs/reporter; and a check that each test
detects a reporter that breaks it.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bill.prefix_learners import PrefixLearners
from reporters.reporter import (
    ClosedForm,
    Reading,
    Reporter,
    SelfFitted,
    build_single_exit_reading,
    count_units,
    parse_axes,
)
from reporters.stack import map_over_heads, read_stack
from tests.reporters.made import (
    REPORTERS,
    build_reporter,
    count_flops,
    draw_activations,
    draw_lesson,
    draw_stacked_weights,
)

EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(params=REPORTERS)
def reporter(request) -> Reporter:
    return build_reporter(request.param)


def assert_same(first: Reading, second: Reading) -> None:
    for actual, expected in zip(first, second, strict=True):
        torch.testing.assert_close(actual, expected, **EXACT)


def select_episodes(reading: Reading, which: Tensor | slice) -> Reading:
    return reading._replace(log_odds_NT=reading.log_odds_NT[which], halt_NT=reading.halt_NT[which])


def count_whole_head(reporter: Reporter) -> dict[str, int]:
    return count_units(reporter, draw_activations(reporter).shape[1])


def test_parameter_names_give_the_axes(reporter):
    sizes: dict[str, int] = {}
    for name, value in reporter.named_parameters():
        axes = parse_axes(name)
        assert len(axes) == value.dim(), f"{name} has {value.dim()} axes"
        for letter, size in zip(axes, value.shape, strict=True):
            if letter.isdigit():
                assert int(letter) == size
            else:
                assert sizes.setdefault(letter, size) == size, f"{letter} stands for two lengths"


def test_it_has_parameters_and_states_how_many_levels_it_reads(reporter):
    assert reporter.reads in ("one_level", "all_levels")
    assert any(not name.endswith("bias") for name, _ in reporter.named_parameters())


def test_the_halting_probabilities_of_an_episode_sum_to_one(reporter):
    reading = reporter(draw_activations(reporter))
    assert reading.halt_NT.shape == reading.log_odds_NT.shape == (20, len(reading.levels_T))
    assert (reading.halt_NT >= 0).all()
    ones_N = torch.ones(20, dtype=torch.float64)
    torch.testing.assert_close(reading.halt_NT.sum(dim=1), ones_N, **EXACT)


def test_a_later_exit_has_read_and_spent_no_less(reporter):
    z_NLD = draw_activations(reporter)
    levels_T = reporter(z_NLD).levels_T
    flops_T = torch.tensor(reporter.flops(count_whole_head(reporter)))
    assert levels_T.shape == flops_T.shape
    assert (levels_T.diff() >= 0).all()
    assert (flops_T.diff() >= 0).all()
    assert levels_T.min() >= 1
    assert levels_T.max() <= z_NLD.shape[1]


def test_a_head_that_reads_to_the_end_always_stops_at_the_last_exit(reporter):
    """Also one whose weights say loudly that it should stop."""
    weights = {name: 100 * value for name, value in reporter.named_parameters()}
    to_the_end = reporter.read_to_the_end(weights)
    if to_the_end is None:
        pytest.skip("it does not say how it never stops early")
    z_NLD = draw_activations(reporter)
    before, after = (functional_call(reporter, own, (z_NLD,)) for own in (weights, to_the_end))
    torch.testing.assert_close(after.log_odds_NT, before.log_odds_NT)
    assert (after.halt_NT[:, -1] > 1 - 1e-6).all() and (before.halt_NT[:, -1] < 0.9).any()


def test_torch_counts_the_same_flops_for_the_last_exit(reporter):
    counted = count_flops(reporter, draw_activations(reporter, n=1))
    assert reporter.flops(count_whole_head(reporter))[-1] == counted > 0


def test_stacked_heads_read_as_each_does_alone(reporter):
    grid = (2, 3, 2)
    weights = draw_stacked_weights(reporter, grid)
    z_GNLD = torch.stack([draw_activations(reporter, seed=g) for g in range(grid[0])])
    together = read_stack(reporter, weights, z_GNLD)
    for index in itertools.product(*map(range, grid)):
        own_weights = {name: value[index] for name, value in weights.items()}
        alone = functional_call(reporter, own_weights, (z_GNLD[index[0]],))
        assert_same(Reading(*(value[index] for value in together)), alone)


def test_reading_changes_nothing_and_repeats_exactly(reporter):
    state_before = {name: value.clone() for name, value in reporter.state_dict().items()}
    z_NLD = draw_activations(reporter)
    z_before_NLD = z_NLD.clone()
    assert_same(reporter(z_NLD), reporter(z_NLD))
    assert torch.equal(z_NLD, z_before_NLD)
    for name, value in reporter.state_dict().items():
        assert torch.equal(value, state_before[name])


def test_the_reading_of_an_episode_does_not_depend_on_other_episodes(reporter):
    z_NLD = draw_activations(reporter)
    together = reporter(z_NLD)
    order_N = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert_same(reporter(z_NLD[order_N]), select_episodes(together, order_N))
    assert_same(reporter(z_NLD[:3]), select_episodes(together, slice(3)))


def test_a_gradient_reaches_every_parameter_unless_it_is_solved_for(reporter):
    z_NLD = draw_activations(reporter)
    if isinstance(reporter, SelfFitted):
        solution = reporter.fit(draw_lesson(reporter))
        shapes = {name: value.shape for name, value in reporter.named_parameters()}
        assert {name: value.shape for name, value in solution.items()} == shapes
        assert all(value.isfinite().all() for value in solution.values())
        return
    reading = reporter(z_NLD)
    (reading.halt_NT * nn.functional.softplus(reading.log_odds_NT)).sum().backward()
    for parameter in reporter.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_a_solution_is_that_of_each_level_alone_and_few_episodes_may_have_none(reporter):
    if not isinstance(reporter, ClosedForm):
        return
    z_GNLD = torch.stack([draw_activations(reporter, seed=g) for g in range(2)])
    human_N = torch.tensor([1.0, 1.0, 0.0, 1.0] * 5, dtype=torch.float64)
    together = map_over_heads(reporter.solve, (0, None))(z_GNLD, human_N)
    for g, z_NLD in enumerate(z_GNLD):
        for name, value in reporter.solve(z_NLD, human_N).items():
            torch.testing.assert_close(together[name][g], value, **EXACT)
    learners = PrefixLearners(reporter, steps=1, rate=0.1, scale=1.0)
    solutions = learners.fit({}, 3, z_GNLD[0], human_N, [1, 2, 4, 20])
    for solution in solutions:
        for name, value in reporter.named_parameters():
            assert solution[name].shape == (3, *value.shape)
    assert all(value.isfinite().all() for value in solutions[-1].values())


def test_a_fit_repeats_exactly_and_changes_neither_the_reporter_nor_the_lesson(reporter):
    if not isinstance(reporter, SelfFitted):
        return
    lesson = draw_lesson(reporter)
    copies = [value.clone() for value in lesson]
    before = {name: value.clone() for name, value in reporter.state_dict().items()}
    first, second = reporter.fit(lesson), reporter.fit(lesson)
    assert first.keys() == second.keys() == before.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(value.dtype == torch.float64 for value in first.values())
    assert all(torch.equal(value, copy) for value, copy in zip(lesson, copies, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in reporter.state_dict().items())


class Prototypes(ClosedForm):
    """The nearest of four prototypes, which are the episodes with the largest activations."""

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw = flaw
        self.prototype_PD = nn.Parameter(torch.zeros(4, 8, dtype=torch.float64))
        self.vote_1P = nn.Parameter(torch.zeros(1, 4, dtype=torch.float64))

    def forward(self, z_NLD: Tensor) -> Reading:
        similar_PN = self.prototype_PD @ z_NLD.flatten(1).T
        return build_single_exit_reading((self.vote_1P @ similar_PN.softmax(dim=0))[0], 1)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        return [2 * units["P"] * units["D"] + 2 * units["P"]]

    def solve(self, z_NLD: Tensor, human_N: Tensor) -> dict[str, Tensor]:
        z_ND = z_NLD.flatten(1)
        if self.flaw == "takes few episodes for a mistake" and len(z_ND) < 4:
            raise TypeError("four episodes or more")
        if self.flaw == "asks which level it is":
            human_N = human_N * float(z_ND[0, 0])
        place_P = z_ND.square().sum(dim=1).topk(4).indices
        return {"prototype_PD": z_ND[place_P], "vote_1P": 2 * human_N[place_P][None] - 1}


@pytest.mark.parametrize("flaw", ["takes few episodes for a mistake", "asks which level it is"])
def test_a_solution_that_the_training_or_the_bill_cannot_use_is_detected(flaw):
    test_a_solution_is_that_of_each_level_alone_and_few_episodes_may_have_none(Prototypes("none"))
    with pytest.raises((TypeError, RuntimeError)):
        test_a_solution_is_that_of_each_level_alone_and_few_episodes_may_have_none(Prototypes(flaw))


class Broken(Reporter):
    """A linear head on one level that breaks the contract in one way."""

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw = flaw
        self.weight_1D = nn.Parameter(torch.ones(1, 8, dtype=torch.float64))

    def forward(self, z_NLD: Tensor) -> Reading:
        weight_1D = self.weight_1D.detach() if self.flaw == "no gradient" else self.weight_1D
        log_odds_N1 = z_NLD[:, 0] @ weight_1D.T
        if self.flaw == "batch norm":
            log_odds_N1 = log_odds_N1 - log_odds_N1.mean()
        if self.flaw == "changes its state":
            with torch.no_grad():
                self.weight_1D += 1
        levels_T = z_NLD.new_ones(2)
        if self.flaw == "reads fewer levels later":
            levels_T = torch.tensor([2.0, 1.0])
        chance = 1.0 if self.flaw == "halts twice" else 0.5
        halt_NT = torch.full_like(log_odds_N1, chance).expand(-1, 2)
        return Reading(log_odds_N1.expand(-1, 2), halt_NT, levels_T)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        per_edge = 1 if self.flaw == "counts multiply-adds" else 2
        return [per_edge * units["D"]] * 2


@pytest.mark.parametrize(
    ("flaw", "test"),
    [
        ("halts twice", test_the_halting_probabilities_of_an_episode_sum_to_one),
        ("reads fewer levels later", test_a_later_exit_has_read_and_spent_no_less),
        ("counts multiply-adds", test_torch_counts_the_same_flops_for_the_last_exit),
        ("changes its state", test_reading_changes_nothing_and_repeats_exactly),
        ("batch norm", test_the_reading_of_an_episode_does_not_depend_on_other_episodes),
        ("no gradient", test_a_gradient_reaches_every_parameter_unless_it_is_solved_for),
    ],
)
def test_a_broken_contract_is_detected(flaw: str, test: Callable[[Reporter], None]):
    test(Broken("none"))
    with pytest.raises((AssertionError, RuntimeError)):
        test(Broken(flaw))
