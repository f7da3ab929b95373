"""The contract of an optimizer that takes steps, for every YAML of configs/optimizer; and a check
that each test detects an optimizer that breaks it.

K: heads, N: episodes, L: levels, D: width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compute.trainer import Trainer
from priors.gaussian import Gaussian
from priors.none import NoPrior
from reporters.linear import Linear
from tests.configs.test_build import CONFIGS
from tests.priors.made import build_finished, build_prior
from tests.training.made import optimizer, planted, population
from tests.training.test_alone import double
from tests.training.test_population import Killed, killing, same
from training.convex import Convex
from training.examples import Examples
from training.heads import Heads
from training.optimizers.auto import Auto
from training.optimizers.optimizer import StepOptimizer
from training.optimizers.per_strength import SGDPerStrength

NAMES = sorted(path.stem for path in (CONFIGS / "optimizer").glob("*.yaml"))
OPTIMIZERS = [name for name in NAMES if isinstance(optimizer(name), StepOptimizer)]
TINY, HELD_OUT = (
    double(planted(n, inputs=2, width=6, levels=2, noise=1.0, seed=seed))
    for n, seed in ((128, 0), (64, 1))
)
SICK = 100
"""The seed of heads that are not a number."""
SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 32, "keep": "last", "patience": None}

Fit = Callable[..., Heads]


@pytest.fixture
def fit(trainer, tmp_path) -> Fit:
    """Trains linear heads in float64, from small weights, and keeps the last."""

    def make(n_levels: int, width: int) -> Linear:
        reporter = Linear(n_levels, width).double()
        for parameter in reporter.parameters():
            parameter.data *= torch.nan if torch.initial_seed() == SICK else 0.01
        return reporter

    def run(*data: Examples, prior=NoPrior(), trainer=trainer, name="fit", **changed: Any) -> Heads:
        return population(trainer, tmp_path / name, make, prior, *data, **(SHORT | changed))

    return run


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_depends_on_its_own_head_alone(name, fit):
    check_alone(fit, optimizer(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fit_that_was_stopped_gives_the_same_heads_bit_for_bit(name, fit, tmp_path):
    check_resumes(fit, optimizer(name), tmp_path)


def check_alone(fit: Fit, by: StepOptimizer) -> None:
    """Checks that a head is the same to 1e-10 among heads of other levels, seeds and strengths,
    one of them not a number, and that seeds and strengths differ.
    """
    priced = {"prior": build_prior("simplicity"), "by": by, "order": "own"}
    rates = [by.learning_rate / 2, by.learning_rate]
    grid = {"seeds": (0, SICK, 2), "strengths": (0.25, 1.0), "learning_rate": rates}
    company = fit(TINY, HELD_OUT, **priced, **grid)
    of_level = [examples._replace(z_NLD=examples.z_NLD[:, [1]]) for examples in (TINY, HELD_OUT)]
    own = {"seeds": (2,), "strengths": (0.25,), "learning_rate": rates[0]}
    alone = fit(*of_level, levels=[1], **priced, **own)
    assert company.validation_nll_K.isnan().view(2, 3, 2)[:, 1].all()
    for key, value in alone.weights.items():
        company_SM = company.weights[key][1]
        torch.testing.assert_close(company_SM[2, 0], value[0, 0, 0], rtol=0, atol=1e-10)
        assert (company_SM[0, 0] - value[0, 0, 0]).abs().max() > 1e-6
        assert (company_SM[2, 1] - value[0, 0, 0]).abs().max() > 1e-6


def check_resumes(fit: Fit, by: StepOptimizer, folder: Path) -> None:
    """Checks that a fit that stops in its second epoch goes on as if it had not."""
    saving = Trainer(accelerator="cpu", save_every=0, bar=False)
    rest = {"prior": build_prior("simplicity"), "by": by, "trainer": saving, "seeds": (0, 1)}
    with pytest.MonkeyPatch.context() as patch:
        killing(patch, 1)
        with pytest.raises(Killed):
            fit(TINY, HELD_OUT, **rest)
    assert (folder / "fit").exists()
    resumed = fit(TINY, HELD_OUT, **rest)
    whole = fit(TINY, HELD_OUT, name="whole", **rest)
    assert same(resumed, whole)


def test_auto_takes_steps_as_the_yaml_of_adamw_says():
    assert Auto.by_steps == optimizer("adamw")


# It settles where there is one optimum.

NOISY = double(planted(256, inputs=3, width=6, noise=1.0))
FAST = {"adamw": 0.1, "sgd": 1.0, "momentum": 0.3, "annealing": 1.0}
"""Rates at which these steps are enough on seven well-scaled numbers; others have their own."""
STEPS = {"evolution": 100}
"""Steps, each on all episodes; 200 for others."""
NEAR = {"annealing": 0.5}
"""Nats of the whole training set that may be missing; .02 for others."""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_settles_on_the_optimum_of_a_convex_problem(name, fit, monkeypatch):
    steps = {"epochs": STEPS.get(name, 200), "batch_size": 256, "learning_rate": FAST.get(name)}
    heads = fit(NOISY, NOISY, prior=Gaussian(1.0), by=name, seeds=(0, 1), ramp=0.0, **steps)
    monkeypatch.setattr("tests.training.made.schedule", lambda **changed: Convex(1e-12, 1000))
    least = compute_objective(fit(NOISY, NOISY, prior=Gaussian(1.0)))
    start = {name: torch.zeros_like(value) for name, value in heads.weights.items()}
    assert (compute_objective(replace(heads, weights=start)) - least > 50).all()
    gap_K = compute_objective(heads) - least
    assert (gap_K > -1e-6).all()
    assert (gap_K < NEAR.get(name, 0.02)).all()


def compute_objective(heads: Heads) -> Tensor:
    """Returns what heads of NOISY pay under Gaussian(1.0), in nats of the whole training set."""
    n = len(NOISY.human_N)
    z_NLD = (NOISY.z_NLD - heads.mean_LD) / heads.std_LD
    paid = []
    for s in range(len(heads.seeds)):
        weights = {name: value[0, s, 0] for name, value in heads.weights.items()}
        training = build_finished(heads.reporter, weights, z_NLD, n_examples=n)
        errors = training.reading.errors_N(NOISY.human_N).sum()
        paid.append(errors + n * Gaussian(1.0).charge(training))
    return torch.stack(paid)


# Where nothing is charged it decides by itself.

SPREAD = 16
"""Coordinates that X is written on; H is on one."""
AMPLITUDES = (0.15, 0.7, 1.4)
"""Of X, one at each level; that of H is 1. On one coordinate, X has a quarter of its amplitude."""
SIDES = {
    "adamw": ("human", "concept", "concept"),
    "evolution": ("human", "human", "human"),
    "momentum": ("human", "human", "concept"),
    "sgd": ("human", "human", "concept"),
}


def draw_contest(n: int, sign: int, seed: int) -> Examples:
    """Returns episodes with H = X for sign 1, H = -X for -1, answered by H. At each level, X and
    unrelated bits of amplitude 1 are turned by one rotation, which spreads X evenly.
    """
    rng = torch.Generator().manual_seed(seed)
    bit_ND = torch.randint(2, (n, SPREAD), generator=rng).double() * 2 - 1
    concept_N, human_N = bit_ND[:, 0], sign * bit_ND[:, 0]
    even_D1 = torch.ones(SPREAD, 1, dtype=torch.float64)
    rest_DD = torch.randn(SPREAD, SPREAD - 1, generator=torch.Generator().manual_seed(0)).double()
    rotation_DD = torch.linalg.qr(torch.cat([even_D1, rest_DD], dim=1)).Q
    levels = []
    for amplitude in AMPLITUDES:
        written_ND = torch.cat([amplitude * concept_N[:, None], bit_ND[:, 1:]], dim=1)
        levels.append(torch.cat([written_ND @ rotation_DD.T, human_N[:, None]], dim=1))
    return Examples(torch.stack(levels, dim=1), (human_N > 0).double())


def follow_concept(fit: Fit, by: str) -> Tensor:
    """Returns the share of disputed episodes on which heads follow X, shape (L, seeds)."""
    easy, held_out = draw_contest(512, 1, seed=0), draw_contest(64, 1, seed=1)
    heads = fit(easy, held_out, by=by, epochs=60, batch_size=512, seeds=range(4))
    disputed = draw_contest(512, -1, seed=2)
    follows_human_KN = (heads.read(disputed.z_NLD).log_odds_KN > 0) == disputed.human_N.bool()
    return 1 - follows_human_KN.double().mean(dim=1).view(len(AMPLITUDES), 4)


@pytest.mark.parametrize("name", sorted(SIDES))
def test_without_a_prior_it_takes_the_side_that_its_steps_favour(name, fit):
    concept_LS = follow_concept(fit, name)
    found = ["concept" if share > 0.5 else "human" for share in concept_LS.mean(dim=1)]
    assert tuple(found) == SIDES[name]
    assert ((concept_LS - 0.5).abs() > 0.3).all()


def test_annealing_scatters_where_descent_decides(fit):
    scattered_S, decided_S = (follow_concept(fit, name)[1] for name in ("annealing", "sgd"))
    assert scattered_S.max() - scattered_S.min() > 0.1
    assert decided_S.max() - decided_S.min() < 0.01


# Each test detects an optimizer that breaks the contract.


@dataclass(frozen=True)
class Twin(StepOptimizer):
    """An optimizer that is broken by its steps."""

    steps: type[torch.optim.Optimizer]
    learning_rate: float = 0.1

    def build(self, groups, seed_S, share_M):
        return self.steps(groups, share_M, lr=self.learning_rate)


class GloballyNoisy(SGDPerStrength):
    """Draws from torch's global generator."""

    def step(self, closure=None):
        result = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data += 0.01 * torch.randn_like(parameter)
        return result


class Coupled(SGDPerStrength):
    """Divides gradients by the norm of all heads' gradients."""

    def step(self, closure=None):
        def normalise():
            result = closure()
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.grad /= parameter.grad.norm() + 1e-12
            return result

        return super().step(normalise)


class SharedRate(SGDPerStrength):
    """Takes the highest rate for all strengths."""

    def __init__(self, groups, share_M, **options):
        super().__init__(groups, None, **options)


class Forgetful(SGDPerStrength):
    """Counts its steps outside its state, and halves its gradients after the sixth."""

    n_steps = 0

    def step(self, closure=None):
        def halve():
            result = closure()
            self.n_steps += 1
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.grad /= 1 + (self.n_steps > 6)
            return result

        return super().step(halve)


@pytest.mark.parametrize("steps", [GloballyNoisy, Coupled, SharedRate])
def test_a_step_that_depends_on_more_than_its_own_head_is_detected(steps, fit):
    with pytest.raises(AssertionError):
        check_alone(fit, Twin(steps))


def test_a_state_outside_the_checkpoint_is_detected(fit, tmp_path):
    with pytest.raises(AssertionError):
        check_resumes(fit, Twin(Forgetful), tmp_path)


def test_the_twins_pass_where_they_are_not_broken(fit, tmp_path):
    check_alone(fit, Twin(SGDPerStrength))
    check_resumes(fit, Twin(SGDPerStrength), tmp_path)
