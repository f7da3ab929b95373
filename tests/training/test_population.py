"""A population: every head has its own level, strength and rate, a head that fails harms no other,
a fit that was killed resumes, and what is planted is learned.
"""

import inspect
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compute.trainer import Trainer
from priors.circuit_size import CircuitSize
from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter, nll
from reporters.stack import group_levels, read_stack
from tests.priors.made import build_prior
from tests.reporters.made import get_maker
from tests.training.made import accuracy, planted, population
from training.best_weights import BestWeights
from training.examples import Examples
from training.find_heads import build_task, train
from training.heads import Heads
from training.population import Population
from training.watch import History, Watch

TINY, TINY_HELD_OUT = (
    planted(n, inputs=2, width=8, levels=3, noise=1.0, seed=seed) for n, seed in ((256, 0), (96, 1))
)
SHORT = {"epochs": 6, "batch_size": 64}


@pytest.fixture
def fit(trainer, tmp_path):
    """Trains heads in a folder of this test."""
    return partial(population, trainer, tmp_path / "fit")


def tiny(fit: Any, make: Any, prior: Prior, **changed: Any) -> Heads:
    return fit(make, prior, TINY, TINY_HELD_OUT, **(SHORT | changed))


def of_level(examples: Examples, level: int) -> Examples:
    return examples._replace(z_NLD=examples.z_NLD[:, [level]])


def same(one: Heads, other: Heads) -> bool:
    alike = [torch.equal(value, other.weights[name]) for name, value in one.weights.items()]
    return all(alike) and torch.equal(one.validation_nll_K, other.validation_nll_K)


# Levels, seeds and strengths.


def test_heads_come_in_the_order_of_the_table(fit):
    examples, held_out = (
        planted(n, inputs=2, width=8, levels=3, at=1, seed=seed) for n, seed in ((512, 0), (256, 1))
    )
    heads = fit(
        Linear, NoPrior(), examples, held_out, levels=[0, 4, 7], seeds=(5, 6), batch_size=64
    )
    right_K = accuracy(heads, held_out)
    assert [levels for levels, _, _ in heads.table] == [(0,), (0,), (4,), (4,), (7,), (7,)]
    assert (right_K[2:4] > 0.9).all()
    assert (right_K[[0, 1, 4, 5]] < 0.65).all()


def test_where_nothing_is_charged_all_strengths_give_the_same_heads(fit):
    heads = tiny(fit, Linear, NoPrior(), seeds=(0, 1), strengths=(0.5, 4.0))
    weight = heads.weights["weight_1D"]
    assert weight.shape == (3, 2, 2, 1, 8)
    assert torch.equal(weight[:, :, 0], weight[:, :, 1])
    assert not torch.equal(weight[:, 0], weight[:, 1])
    assert len(heads.validation_nll_K) == 12


def test_at_strength_zero_a_prior_without_noise_is_no_prior_bit_for_bit(fit):
    free, charged = (
        tiny(fit, Layered, Gaussian(1.0), strengths=(strength,)) for strength in (0.0, 1.0)
    )
    none = tiny(fit, Layered, NoPrior(), strengths=(0.0,))
    assert same(free, none)
    assert not same(charged, none)


@pytest.mark.parametrize(
    "prior",
    [CircuitSize(2.0, prune=True), Simplicity(0.05), Speed(2.0)],
    ids=["circuit_size", "simplicity", "speed"],
)
def test_at_strength_zero_a_prior_with_noise_of_its_own_charges_nothing_and_still_leaves_its_mark(
    prior, fit
):
    free, none = (tiny(fit, Linear, one, strengths=(0.0,)) for one in (prior, NoPrior()))
    assert not same(free, none)
    torch.testing.assert_close(free.validation_nll_K, none.validation_nll_K, rtol=0, atol=0.05)


def test_every_strength_learns_at_its_own_rate(fit):
    run = partial(tiny, fit, Linear, NoPrior(), epochs=3, strengths=(1.0, 1.0, 1.0))
    heads = run(learning_rate=[1e-9, 0.02, 0.1])
    still, alike = run(learning_rate=1e-9), run(learning_rate=0.02)
    moved = (heads.weights["weight_1D"] - still.weights["weight_1D"]).abs().amax(dim=(0, 1, 3, 4))
    assert moved[0] < 1e-6 < moved[1] < moved[2]
    torch.testing.assert_close(
        heads.weights["weight_1D"][:, :, 1],
        alike.weights["weight_1D"][:, :, 1],
        rtol=0,
        atol=1e-5,
    )


def test_learning_rates_fall_along_a_cosine_and_a_priors_own_state_learns_five_times_as_fast(
    fit, monkeypatch
):
    rates = []
    end_epoch = Population.on_train_epoch_end

    def record(self: Population) -> None:
        rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        end_epoch(self)

    monkeypatch.setattr(Population, "on_train_epoch_end", record)
    tiny(fit, Linear, Simplicity(0.05), epochs=4, learning_rate=0.08)
    cosine = [0.04 * (1 + math.cos(math.pi * done / 4)) for done in (1, 2, 3, 4)]
    assert rates == [pytest.approx([rate, 5 * rate], abs=1e-9) for rate in cosine]


def test_the_halting_bonus_keeps_a_speed_prior_from_deciding_too_soon(fit):
    def measure_entropy(heads: Heads) -> dict[str, Tensor]:
        """Returns the entropy of the halting distribution, as a share of the largest possible."""
        halt = read_stack(
            heads.reporter, heads.weights, group_levels(TINY.z_NLD, heads.reporter)
        ).halt_NT
        entropy = -(halt * halt.clamp_min(1e-12).log()).sum(dim=-1).mean(dim=-1) / math.log(3)
        return {"entropy": entropy.flatten()}

    def entropy_after(bonus: float) -> float:
        watch = Watch(measure_entropy)
        changed = {"halting_bonus": bonus, "bonus_from": 0.9, "bonus_to": 1.0, "ramp": 0.0}
        long = {"epochs": 10, "learning_rate": 0.1, "strengths": (1.0, 2.0)}
        tiny(fit, Layered, Speed(2.0), watch=watch, **changed, **long)
        return watch.history.figures["entropy"][-1].mean().item()

    assert entropy_after(10.0) > 0.9
    assert entropy_after(0.0) < 0.7


# Stopping, and the best weights.


def test_a_finished_head_has_the_weights_of_the_least_error_plus_full_charge(fit, monkeypatch):
    # Free, the last epoch is the best; at strength 1, 20 - e + 0.3 e² is least at e = 2, long
    # before the ramp is over.
    evaluate = Population.evaluate

    def evaluate_as_planned(self: Population) -> tuple[Any, Tensor, Tensor]:
        finished, nll_GSM, charge_GSM = evaluate(self)
        epoch = self.current_epoch
        return finished, torch.full_like(nll_GSM, 20 - epoch), 0.3 * epoch**2 + 0 * charge_GSM

    monkeypatch.setattr("training.parts.measure_bytes", lambda *given: 1)
    monkeypatch.setattr(Population, "evaluate", evaluate_as_planned)
    watch = Watch(lambda heads: {"weight": heads.weights["weight_1D"][..., 0, 0].flatten()})
    strengths, ramped = (0.0, 1.0), {"epochs": 8, "ramp": 1.0}
    heads = tiny(fit, Linear, Speed(2.0), strengths=strengths, watch=watch, **ramped)
    assert heads.validation_nll_K.view(3, 2).tolist() == 3 * [[13, 18]]
    assert watch.history.kept_K.view(3, 2).tolist() == 3 * [[8, 3]]
    kept_K = watch.history.figures["weight"].gather(0, watch.history.kept_K[None])[0]
    assert torch.equal(kept_K, heads.weights["weight_1D"][..., 0, 0].flatten())


@pytest.mark.parametrize("n_parts", [1, 2])
def test_a_schedule_that_keeps_the_last_weights_evaluates_none_before_and_stops_no_head(
    n_parts, fit, trainer, monkeypatch
):
    monkeypatch.setattr("training.parts.measure_bytes", lambda *given: 1_000_000)
    monkeypatch.setattr("training.parts.count_parts", lambda *given: n_parts)
    monkeypatch.setattr(Population, "evaluate", None)
    watch = Watch(lambda heads: {"weight": heads.weights["weight_1D"][..., 0, 0].flatten()})
    kept = {"keep": "last", "patience": None, "epochs": 5}
    heads = tiny(fit, Linear, Gaussian(1.0), seeds=(0, 1), watch=watch, **kept)
    history = watch.history
    assert history.epochs == (0, 1, 2, 3, 4, 5) and (history.kept_K == 5).all()
    assert torch.equal(
        history.figures["weight"][-1], heads.weights["weight_1D"][..., 0, 0].flatten()
    )
    error_K = nll(heads.read(TINY_HELD_OUT.z_NLD).log_odds_KN, TINY_HELD_OUT.human_N).mean(dim=1)
    torch.testing.assert_close(heads.validation_nll_K, error_K)


def test_kept_weights_are_the_last_or_the_best_and_patience_counts_for_the_best_alone(fit):
    # One held-out episode in two is answered by a coin, so that heads soon learn too much.
    run = partial(tiny, fit, Linear, NoPrior(), epochs=40, learning_rate=0.1)
    last, best = run(keep="last"), run(keep="best")
    assert same(last, run(keep="last", patience=0))
    assert (best.validation_nll_K < last.validation_nll_K).all()


def test_a_fit_stops_when_its_last_head_is_done(fit, monkeypatch):
    def is_done(self: BestWeights, epoch: int) -> Tensor:
        return torch.tensor([[[epoch >= 1, epoch >= 3]]]).expand(self.nll_GSM.shape)

    monkeypatch.setattr(BestWeights, "is_done", is_done)
    watch = Watch(lambda heads: {})
    tiny(fit, Linear, Speed(2.0), strengths=(0.0, 1.0), watch=watch)
    assert watch.history.epochs == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("make", [Linear, Layered])
def test_the_validation_error_is_that_of_the_finished_head_on_held_out_episodes(make, fit):
    heads = tiny(fit, make, CircuitSize(2.0, prune=False), seeds=(0, 1), strengths=(0.5, 2.0))
    log_odds_KN = heads.read(TINY_HELD_OUT.z_NLD).log_odds_KN
    human_KN = TINY_HELD_OUT.human_N.expand_as(log_odds_KN)
    error_KN = functional.binary_cross_entropy_with_logits(log_odds_KN, human_KN, reduction="none")
    torch.testing.assert_close(heads.validation_nll_K, error_KN.mean(dim=1), rtol=1e-4, atol=1e-5)


def test_heads_choose_on_activations_and_human_answers_alone():
    assert Examples._fields == ("z_NLD", "human_N", "inputs_N")
    hints = {}
    for function in (build_task, train):
        for name, parameter in inspect.signature(function).parameters.items():
            hints[name] = parameter.annotation
    examples = [name for name, hint in hints.items() if "Examples" in str(hint)]
    assert examples == ["examples", "held_out"]
    words = " ".join(map(str, (*hints, *hints.values())))
    forbidden = ("concept", "disputed", "tampered", "Dataset", "Cases")
    assert not any(word in words for word in forbidden)


# One head's trouble is its own.


def planted_nan(make: type[Reporter], sick_seed: int) -> Any:
    """Returns what makes heads as ever, but for one seed, whose head begins with a weight that is
    not a number.
    """

    def sick(n_levels: int, width: int) -> Reporter:
        reporter = make(n_levels, width)
        if torch.initial_seed() == sick_seed:
            next(iter(reporter.parameters())).data.flatten()[0] = torch.nan
        return reporter

    return sick


@pytest.mark.parametrize(
    ("make", "prior"),
    [(Linear, CircuitSize(2.0, prune=False)), (partial(MLP, hidden=4), Simplicity(0.05))],
    ids=["linear", "mlp"],
)
def test_a_head_that_is_not_a_number_leaves_the_others_as_they_are(make, prior, fit):
    well, sick = (
        tiny(fit, planted_nan(make, seed), prior, seeds=(0, 1, 2), strengths=(1.0, 2.0))
        for seed in (-1, 1)
    )
    for name, value in well.weights.items():
        assert torch.equal(sick.weights[name][:, [0, 2]], value[:, [0, 2]])
    for (_, seed, _), one, other in zip(
        well.table, well.validation_nll_K, sick.validation_nll_K, strict=True
    ):
        assert other.isnan() if seed == 1 else one == other


# Killed and started again.


class Killed(Exception):
    """Stands for a machine that went away."""


def killing(patch: pytest.MonkeyPatch, epoch: int) -> None:
    """Makes fits die in the third step of an epoch, or, where they get so far, once the last epoch
    is over.
    """
    step = Population.training_step

    def training_step(self: Population, batch: Any) -> Tensor:
        if self.current_epoch == epoch and self.trainer.global_step % 4 == 2:
            raise Killed
        return step(self, batch)

    def on_train_end(self: Population) -> None:
        raise Killed

    patch.setattr(Population, "training_step", training_step)
    patch.setattr(Population, "on_train_end", on_train_end)


RESUMED = {
    "linear": (Linear, CircuitSize(2.0, prune=False), "shared"),
    "layered": (Layered, build_prior("simplicity_and_speed"), "own"),
}


def run_eight_epochs(reporter: str, checkpoint: Path) -> tuple[Heads, History]:
    """Returns heads of 32 steps and their history, with a checkpoint after every epoch. The steps
    are traced, and what is left of them after a restart only where it is as many as ten.
    """
    make, prior, order = RESUMED[reporter]
    watch = Watch(
        lambda heads: {"held_out": heads.predict_log_odds(TINY_HELD_OUT.z_NLD).mean(dim=1)}
    )
    saving = Trainer(accelerator="cpu", save_every=0, bar=False)
    grid = {"seeds": (0, 1, 2), "strengths": (0.5, 2.0), "measures_gap": True}
    steps = {"epochs": 8, "batch_size": 64, "learning_rate": 0.1, "order": order}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.population.WORTH_TRACING", 10)
        data = (TINY, TINY_HELD_OUT)
        heads = population(saving, checkpoint, make, prior, *data, watch=watch, **grid, **steps)
    return heads, watch.history


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory):
    """The heads and the history of each kind, of a fit that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return {reporter: run_eight_epochs(reporter, folder / reporter) for reporter in RESUMED}


@pytest.mark.parametrize(
    ("reporter", "epoch"), [("linear", 1), ("linear", 8), ("layered", 0), ("layered", 5)]
)
def test_killed_and_started_again_it_gives_the_same_heads_and_history_bit_for_bit(
    reporter, epoch, tmp_path, monkeypatch, whole_runs
):
    checkpoint, steps = tmp_path / "killed", []
    with monkeypatch.context() as patch:
        killing(patch, epoch)
        with pytest.raises(Killed):
            run_eight_epochs(reporter, checkpoint)
    assert checkpoint.exists() == (epoch > 0)
    step = Population.training_step
    monkeypatch.setattr(
        Population, "training_step", lambda self, batch: steps.append(1) or step(self, batch)
    )
    heads, history = run_eight_epochs(reporter, checkpoint)
    whole, whole_history = whole_runs[reporter]
    assert same(heads, whole)
    # Where chance forbids L-BFGS, as many epochs again show how far heads are from their optimum.
    further = 8 * 4 if reporter == "linear" else 0
    assert len(steps) == (8 - epoch) * 4 + further
    assert not checkpoint.exists()
    assert history.epochs == whole_history.epochs == tuple(range(9))
    assert torch.equal(history.kept_K, whole_history.kept_K)
    for name, value_EK in whole_history.figures.items():
        assert torch.equal(history.figures[name], value_EK)


# It learns.


def given(reporter: str, n: int = 4096, at: int = 0) -> list[Examples]:
    """Returns training, held-out and fresh episodes; one of three levels holds the concept, and is
    all that a head that reads one level is given.
    """
    examples = [
        planted(size, inputs=3, levels=3, at=at, seed=seed)
        for size, seed in ((n, 0), (1024, 1), (4000, 2))
    ]
    return examples if reporter == "layered" else [of_level(one, at) for one in examples]


@pytest.mark.parametrize("reporter", ["linear", "layered", "mlp"])
def test_a_planted_concept_is_learned(reporter, fit):
    examples, held_out, fresh = given(reporter, n=8192)
    assert (
        accuracy(
            fit(get_maker(reporter), NoPrior(), examples, held_out, seeds=range(2)), fresh
        ).mean()
        >= 0.97
    )


def test_labels_that_say_nothing_teach_nothing(fit):
    chance = torch.Generator().manual_seed(3)
    examples, held_out, fresh = (
        one._replace(human_N=one.human_N[torch.randperm(len(one.human_N), generator=chance)])
        for one in given("linear")
    )
    heads = fit(Linear, NoPrior(), examples, held_out, seeds=range(2))
    assert (accuracy(heads, fresh) - 0.5).abs().max() < 0.03
    assert (heads.validation_nll_K > math.log(2) - 0.01).all()


def test_speed_reads_deep_where_that_pays_and_not_where_it_costs_more_than_an_answer_is_worth(fit):
    # The concept is two steps deep: at strength 1 that is 2 ln 2 nats, and no answer is worth more
    # than ln 2; at 1/64 it is 0.02.
    examples, held_out, fresh = given("layered", at=2)
    heads = fit(
        Layered,
        Speed(2.0),
        examples,
        held_out,
        seeds=range(4),
        strengths=(1 / 64, 1.0),
        batch_size=256,
    )
    right_SM, level_SM = (
        accuracy(heads, fresh).view(4, 2),
        heads.read(fresh.z_NLD).level_KN.double().mean(dim=1).view(4, 2),
    )
    assert (right_SM[:, 0] > 0.96).all() and (level_SM[:, 0] > 1.9).all()
    assert (right_SM[:, 1] < 0.55).all() and (level_SM[:, 1] < 0.1).all()
