"""How heads are found: which optimizer finds which heads, what is refused, and heads that are one
for all seeds.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from configs.build import build
from console.errors import UserError
from priors.gates import Gates
from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from tests.priors.made import build_prior
from tests.reporters.made import build_reporter, get_maker, load_choice
from tests.training.made import accuracy, optimizer, planted, population, schedule
from training.heads import Heads
from training.margin import REST
from training.optimizers.adamw import AdamW
from training.optimizers.auto import Auto
from training.solve import OF_STEPS, ONE_OPTIMUM, check_optimizer, choose_optimizer
from training.watch import Watch

TO_THE_END = {"keep": "last", "patience": None}
SHORT = {"epochs": 2, "batch_size": 64, "seeds": (0, 1), **TO_THE_END}
TINY, HELD_OUT = (
    planted(n, inputs=2, width=6, levels=2, noise=1.5, seed=seed) for n, seed in ((128, 0), (64, 1))
)
SEPARABLE = planted(128, inputs=2, width=6)

BY_LBFGS = [
    ("linear", "none"),
    ("linear", "gaussian"),
    ("linear", "simplicity"),
    ("layered", "simplicity"),
    ("layered", "speed"),
    ("mlp", "none"),
    ("attention", "gaussian"),
]
BY_ADAMW = [
    ("linear", "speed"),
    ("layered", "circuit_size"),
    ("mlp", "simplicity"),
    ("attention", "explanation_length"),
    ("logic", "gates"),
]


def choose(by: str, reporter: str, prior: str, **changed: object):
    """Returns the optimizer that finds such heads, where this one is given."""
    reporter = build_reporter(reporter)
    n_levels = 3 if reporter.reads == "all_levels" else 1
    method = schedule(**(TO_THE_END | changed))
    return choose_optimizer(optimizer(by), method, build_prior(prior), reporter, n_levels, 8)


@pytest.mark.parametrize(("reporter", "prior"), BY_LBFGS)
def test_heads_that_pay_the_same_at_every_step_are_found_by_lbfgs(reporter, prior):
    assert choose("auto", reporter, prior) == choose("lbfgs", reporter, prior) == optimizer("lbfgs")
    assert isinstance(choose("adamw", reporter, prior), AdamW)


@pytest.mark.parametrize(("reporter", "prior"), BY_ADAMW)
def test_others_are_found_by_adamw_and_lbfgs_is_refused(reporter, prior):
    assert choose("auto", reporter, prior) == optimizer("adamw")
    cure = r"optimizer: L-BFGS cannot train these heads: .*\. Use optimizer=auto or adamw\."
    with pytest.raises(UserError, match=cure):
        choose("lbfgs", reporter, prior)


def test_heads_that_are_stopped_early_are_found_by_adamw_and_lbfgs_is_refused():
    early = {"keep": "best", "patience": 10}
    assert choose("auto", "linear", "gaussian", **early) == optimizer("adamw")
    with pytest.raises(UserError, match=r"training\.keep=best stops heads early"):
        choose("lbfgs", "linear", "gaussian", **early)


def test_heads_whose_products_are_rounded_are_found_by_adamw_and_lbfgs_is_refused():
    rounded = {"precision": "bfloat16"}
    assert choose("auto", "linear", "gaussian", **rounded) == optimizer("adamw")
    with pytest.raises(UserError, match=r"training\.precision=bfloat16 rounds"):
        choose("lbfgs", "linear", "gaussian", **rounded)


def test_defaults_of_the_code_are_those_of_the_yamls():
    assert Auto.by_steps == optimizer("adamw")
    assert Auto.until_settled == optimizer("lbfgs")
    assert build(load_choice("training", "convex"), "training") == ONE_OPTIMUM


def test_only_an_optimizer_that_is_used_is_checked():
    def check(training: str, reporter: str) -> None:
        method = build(load_choice("training", training), "training")
        parts = SimpleNamespace(
            optimizer=optimizer("lbfgs"), training=method, prior=build_prior("speed")
        )
        check_optimizer(parts, build_reporter(reporter), 1, 8)

    check("convex", "linear")
    check("default", "mean_difference")
    with pytest.raises(UserError, match="gates"):
        check("default", "linear")


# Whole heads.


@pytest.fixture
def fit(trainer, tmp_path):
    """Finds heads of noisy examples, if nothing else is given."""

    def run(reporter: str, prior: Prior, data=(TINY, HELD_OUT), **changed) -> Heads:
        make = get_maker(reporter, most=3)
        folder = tmp_path / "fit"
        values = SHORT | {"by": "auto"} | changed
        return population(trainer, folder, make, prior, *data, **values)

    return run


def test_without_a_charge_linear_heads_have_the_largest_margin(fit):
    heads = fit("linear", NoPrior(), (SEPARABLE, SEPARABLE))
    assert (accuracy(heads, SEPARABLE) == 1).all()
    assert heads.settling.settled_K.all()
    torch.testing.assert_close(
        heads.settling.total_K, torch.full((2,), REST).double(), rtol=0.01, atol=0
    )
    decayed = fit("linear", Gaussian(1.0), (SEPARABLE, SEPARABLE), strengths=(1e-6,))
    rows = [found.weights["weight_1D"][0, 0, 0, 0] for found in (heads, decayed)]
    assert torch.cosine_similarity(*rows, dim=0) > 0.999


@pytest.mark.parametrize("prior", [Simplicity(0.05), Gaussian(1.0)])
def test_linear_heads_are_one_for_all_seeds_and_have_no_restarts(prior, fit):
    heads = fit("linear", prior, strengths=(0.5, 2.0))
    assert heads.settling.optimizer == ("convex" if prior.convex else "lbfgs")
    assert not heads.settling.restarts
    assert heads.settling.settled_K.all()
    for value in heads.weights.values():
        assert value.shape[:3] == (2, 2, 2)
        assert torch.equal(value[:, 0], value[:, 1])
        assert not torch.equal(value[:, :, 0], value[:, :, 1])


def test_what_is_recorded_of_them_is_repeated_for_all_seeds(fit):
    watch = Watch(lambda heads: {"first": heads.weights["bias"].flatten()})
    heads = fit("linear", Simplicity(0.05), strengths=(0.5, 2.0), watch=watch)
    figures = watch.history.figures
    assert {"l_base", "first"} <= set(figures)
    for value_EK in figures.values():
        value_EGSM = value_EK.view(-1, 2, 2, 2)
        assert torch.equal(value_EGSM[:, :, 0], value_EGSM[:, :, 1])
    torch.testing.assert_close(figures["first"][-1], heads.weights["bias"].flatten())
    assert watch.history.kept_K.shape == (8,)


def test_other_heads_have_a_restart_for_each_seed(fit):
    heads = fit("layered", Gaussian(1.0))
    assert heads.settling.restarts
    assert not torch.equal(heads.weights["weight_L2D"][:, 0], heads.weights["weight_L2D"][:, 1])
    assert heads.settling.settled_K.all()


def test_how_heads_were_found_is_said(fit):
    assert fit("mean_difference", NoPrior()).settling.optimizer == "closed_form"
    assert fit("linear", Gaussian(1.0), by="adamw").settling.optimizer == "adamw"
    layered = fit("layered", NoPrior(), by="sgd", halting_bonus=0.25).settling
    assert (layered.optimizer, layered.halting_bonus) == ("sgd", 0.25)
    assert math.isnan(fit("linear", Gaussian(1.0), halting_bonus=0.25).settling.halting_bonus)


def test_exact_heads_are_named_and_have_settled(fit, monkeypatch):
    method = build(load_choice("training", "convex"), "training")
    monkeypatch.setattr("tests.training.made.schedule", lambda **_: method)
    settling = fit("linear", Gaussian(1.0)).settling
    assert settling.optimizer == "convex"
    assert settling.settled_K.all()
    assert (settling.gap_K < 0.01).all()
    assert not settling.restarts


def test_a_prior_that_does_not_apply_gives_the_heads_of_no_prior(fit, capsys):
    idle, none = (fit("linear", prior, (SEPARABLE, SEPARABLE)) for prior in (Gates(), NoPrior()))
    assert "Gates does not apply to Linear" in capsys.readouterr().err
    assert idle.settling.optimizer == none.settling.optimizer == "convex"
    for name, value in none.weights.items():
        assert torch.equal(idle.weights[name], value)


def test_values_of_training_that_heads_do_not_use_are_named(fit, capsys):
    default = build(load_choice("training", "default"), "training")
    values = {key: getattr(default, key) for key in ("keep", *OF_STEPS)} | {"patience": None}
    fit("linear", Gaussian(1.0), **values)
    assert "not used" not in capsys.readouterr().err
    fit("linear", Gaussian(1.0), **values | {"epochs": 3, "learning_rate": 0.5})
    assert "training.epochs, training.learning_rate: not used" in capsys.readouterr().err
    fit("linear", Gaussian(1.0), by="adamw", **values | {"epochs": 3})
    assert "not used" not in capsys.readouterr().err
