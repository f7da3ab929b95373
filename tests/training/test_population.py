"""A population: every head as it would be alone, with its own stopping and its own best weights,
killed or not; and it learns what is planted.
"""

import inspect
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compute.trainer import Trainer
from console.errors import UserError
from priors.circuit_size import CircuitSize
from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Aid, Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mean_difference import MeanDifference
from reporters.mlp import MLP
from reporters.reporter import Reporter
from reporters.stack import grouped, stacked
from tests.priors.made import PRIORS, prior_of
from tests.reporters.made import REPORTERS, recipe
from tests.training.made import accuracy, planted, population, schedule
from training.examples import Examples
from training.heads import Heads
from training.population import Population, train

TINY, TINY_HELD_OUT = (
    planted(n, inputs=2, width=8, levels=3, noise=1.0, seed=seed) for n, seed in ((256, 0), (96, 1))
)
SHORT = {"epochs": 6, "batch_size": 64}
TRAINED = [name for name in REPORTERS if name != "mean_difference"]


@pytest.fixture
def fit(trainer, tmp_path):
    """Trains on the tiny examples, or on what it is told."""
    return partial(population, trainer, tmp_path / "fit")


def tiny(fit: Any, make: Any, prior: Prior, **changed: Any) -> Heads:
    return fit(make, prior, TINY, TINY_HELD_OUT, **(SHORT | changed))


def of_level(examples: Examples, level: int) -> Examples:
    return examples._replace(z_NLD=examples.z_NLD[:, [level]])


def unpruned(name: str) -> Prior:
    """Returns a prior without pruning: which of two edges that matter as little leaves first is
    decided by the last digit of a number.
    """
    prior = prior_of(name)
    if hasattr(prior, "prune"):
        prior.prune = False
    return prior


def same(one: Heads, other: Heads) -> bool:
    alike = [torch.equal(value, other.weights[name]) for name, value in one.weights.items()]
    return all(alike) and torch.equal(one.validation_nll_K, other.validation_nll_K)


# Alone and in company.


@pytest.mark.parametrize("order", ["own", "shared"])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("reporter", TRAINED)
def test_a_head_alone_is_the_same_head_in_company(reporter, prior, order, fit):
    make, one_level = (
        recipe(reporter, most=4),
        recipe(reporter)(n_levels=1, width=8).reads == "one_level",
    )
    prior = unpruned(prior)
    company = tiny(fit, make, prior, seeds=(0, 1, 2), strengths=(0.25, 1.0), order=order)
    given = [of_level(examples, 1) if one_level else examples for examples in (TINY, TINY_HELD_OUT)]
    alone = fit(
        make,
        prior,
        *given,
        levels=[1] if one_level else None,
        seeds=(2,),
        strengths=(1.0,),
        order=order,
        **SHORT,
    )
    place = (1 if one_level else 0), 2, 1
    k = company.table.index(alone.table[0])
    # Float32: products over another number of heads are summed in another order, which over these
    # 24 steps came to 1e-7.
    for name, value in alone.weights.items():
        torch.testing.assert_close(value[0, 0, 0], company.weights[name][place], rtol=0, atol=1e-5)
        assert (
            value.dim() == 3
            or (company.weights[name][place[0], 1, 1] - value[0, 0, 0]).abs().max() > 1e-3
        )  # another seed's head is another head
    torch.testing.assert_close(
        alone.validation_nll_K[0], company.validation_nll_K[k], rtol=0, atol=1e-5
    )


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
    assert torch.equal(weight[:, :, 0], weight[:, :, 1]) and not torch.equal(
        weight[:, 0], weight[:, 1]
    )
    assert len(heads.validation_nll_K) == 12


def test_a_closed_form_is_solved_for_once_whatever_the_prior_and_the_seed(fit):
    heads = tiny(fit, MeanDifference, Simplicity(0.05), seeds=(0, 1), strengths=(0.5, 4.0))
    weight = heads.weights["weight_1D"]
    assert weight.shape == (3, 2, 2, 1, 8)
    assert (weight == weight[:, :1, :1]).all()
    for level in range(3):
        standard = (TINY.z_NLD[:, [level]] - heads.mean_LD[[level]]) / heads.std_LD[[level]]
        torch.testing.assert_close(
            weight[level, 0, 0],
            MeanDifference(1, 8).solve(standard, TINY.human_N)["weight_1D"],
            rtol=1e-4,
            atol=1e-5,
        )
    assert heads.validation_nll_K.isfinite().all()


def test_at_strength_zero_a_prior_without_noise_is_no_prior_bit_for_bit(fit):
    assert same(
        tiny(fit, Layered, Gaussian(1.0), strengths=(0.0,)),
        tiny(fit, Layered, NoPrior(), strengths=(0.0,)),
    )
    assert not same(
        tiny(fit, Layered, Gaussian(1.0), strengths=(1.0,)),
        tiny(fit, Layered, NoPrior(), strengths=(1.0,)),
    )


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


def test_a_head_is_charged_for_the_level_it_reads_and_for_its_own_flops():
    reach_L, whole = torch.tensor([0.0, 1000.0, 5000.0]), Speed(log_alpha=30.0)
    heads = Population(
        [Linear(1, 8)],
        whole,
        TINY,
        TINY_HELD_OUT,
        reach_L,
        1000.0,
        (0,),
        (1.0,),
        (0.02,),
        schedule(),
        Aid(),
        None,
    )
    weights, state = (
        {name: value.detach() for name, value in one.items()}
        for one in (heads.weights, heads.state)
    )
    _, charge_GSM = heads._held_out(weights, state, weights)
    torch.testing.assert_close(
        charge_GSM.flatten(), math.log(2) * torch.tensor([0.016, 1.016, 5.016])
    )


# Schedules.


def test_the_charge_rises_in_a_straight_line_to_full_strength():
    ramped = schedule(ramp=0.4)
    assert [
        ramped.strength_share(progress) for progress in (0.0, 0.1, 0.2, 0.4, 0.9)
    ] == pytest.approx([0, 0.25, 0.5, 1, 1])
    assert schedule(ramp=0.0).strength_share(0.0) == 1


def test_the_halting_bonus_holds_and_then_falls_in_a_straight_line():
    bonus = schedule(halting_bonus=0.3, bonus_from=0.4, bonus_to=0.8).bonus
    assert [bonus(progress) for progress in (0.0, 0.4, 0.5, 0.6, 0.8, 1.0)] == pytest.approx(
        [0.3, 0.3, 0.225, 0.15, 0, 0]
    )


def test_a_bonus_that_ends_where_it_begins_to_fall_ends_at_once():
    bonus = schedule(halting_bonus=0.3, bonus_from=0.5, bonus_to=0.5).bonus
    assert [bonus(progress) for progress in (0.0, 0.49, 0.5, 1.0)] == pytest.approx(
        [0.3, 0.3, 0, 0]
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("clip", 0.0),
        ("ramp", 1.5),
        ("bonus_from", 0.9),
        ("bonus_to", 1.1),
        ("patience", -1),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(key, value):
    with pytest.raises(UserError, match=f"training.{key}"):
        schedule(**{key: value})


def test_learning_rates_fall_along_a_cosine_and_a_priors_own_state_learns_five_times_as_fast(
    fit, monkeypatch
):
    held_out, rates = Population._held_out, []

    def noted(self: Population, *given: Any) -> tuple[Tensor, Tensor]:
        if self._trainer is None:  # a rehearsal, to see what memory a head needs
            return held_out(self, *given)
        rates.append([group["lr"] for group in self.trainer.optimizers[0].param_groups])
        return held_out(self, *given)

    monkeypatch.setattr(Population, "_held_out", noted)
    tiny(fit, Linear, Simplicity(0.05), epochs=4, learning_rate=0.08)
    cosine = [0.04 * (1 + math.cos(math.pi * done / 4)) for done in (1, 2, 3, 4)]
    assert rates == [pytest.approx([rate, 5 * rate], abs=1e-9) for rate in cosine]


def test_the_halting_bonus_keeps_a_speed_prior_from_deciding_too_soon(scripted):
    def entropy(bonus: float) -> float:
        """Returns the entropy of the halting distribution after training, as a share of the largest
        there can be.
        """
        changed = {
            "halting_bonus": bonus,
            "bonus_from": 0.9,
            "bonus_to": 1.0,
            "learning_rate": 0.1,
            "epochs": 10,
        }
        heads, _ = scripted(
            lambda epoch: two(-epoch, -epoch), make=Layered, strengths=(1.0, 2.0), **changed
        )
        halt = stacked(heads.reporter, heads.weights, grouped(TINY.z_NLD, heads.reporter)).halt_NT
        return -(halt * halt.clamp_min(1e-12).log()).sum(dim=-1).mean().item() / math.log(3)

    assert entropy(10.0) > 0.9
    assert entropy(0.0) < 0.7


# Stopping, and the best weights.


@pytest.fixture
def scripted(monkeypatch, fit):
    """Trains heads whose held-out errors and charges follow a script; returns the heads, and the
    weights that each had after every epoch.
    """

    def run(
        nll: Any,
        charge: Any = lambda epoch: torch.zeros(()),
        make: Any = Linear,
        strengths: Any = (0.0, 1.0),
        **changed: Any,
    ):
        after: dict[int, Tensor] = {}
        as_ever = Population._held_out

        def held_out(
            self: Population, weights: Any, state: Any, finished: Any
        ) -> tuple[Tensor, Tensor]:
            if self._trainer is None:  # a rehearsal, to see what memory a head needs
                return as_ever(self, weights, state, finished)
            after[self.current_epoch] = next(
                value.clone() for name, value in finished.items() if "weight" in name
            )
            return tuple(
                value(self.current_epoch).expand(self.best_GSM.shape).clone()
                for value in (nll, charge)
            )

        monkeypatch.setattr(Population, "_held_out", held_out)
        given = (
            (of_level(TINY, 0), of_level(TINY_HELD_OUT, 0))
            if make is Linear
            else (TINY, TINY_HELD_OUT)
        )
        return (
            fit(
                make,
                Speed(2.0),
                *given,
                strengths=strengths,
                **({"epochs": 20, "batch_size": 64, "ramp": 0.0} | changed),
            ),
            after,
        )

    return run


def two(first: float, second: float) -> Tensor:
    """Returns one number for each of two heads."""
    return torch.tensor([float(first), float(second)])


def test_every_head_stops_by_itself(scripted):
    # Epochs count from 0. The first head is best after epoch 3 and, two epochs without improvement
    # later, done: epoch 10 comes too late.
    # The second improves until epoch 12.
    heads, after = scripted(
        lambda epoch: two(-1 if epoch >= 10 else abs(epoch - 3), 100 - min(epoch, 12)), patience=2
    )
    assert heads.validation_nll_K.tolist() == [0, 88]
    assert torch.equal(heads.weights["weight_1D"][0, 0, 0], after[3][0, 0, 0])
    assert torch.equal(heads.weights["weight_1D"][0, 0, 1], after[12][0, 0, 1])
    assert 14 <= max(after) <= 15


def test_a_head_waits_as_long_as_its_patience_and_no_longer(scripted):
    heads, _ = scripted(
        lambda epoch: two(0 if epoch == 4 else 1, 0 if epoch == 5 else 1), patience=4
    )
    assert heads.validation_nll_K.tolist() == [
        0,
        1,
    ]  # both were best after epoch 0: epoch 4 comes in time, epoch 5 does not


@pytest.mark.parametrize(
    ("make", "changed", "settled"),
    [
        (
            Linear,
            {"ramp": 0.5, "bonus_to": 0.9},
            10,
        ),  # a head without exits has no bonus to wait for
        (Layered, {"ramp": 0.5, "bonus_to": 0.75}, 15),
        (Layered, {"ramp": 0.9, "bonus_to": 0.75}, 18),
    ],
)
def test_no_head_is_done_before_charge_and_bonus_have_settled(make, changed, settled, scripted):
    _, after = scripted(lambda epoch: two(epoch, epoch), make=make, patience=1, **changed)
    assert settled <= max(after) <= settled + 2


def test_an_improvement_after_a_long_wait_counts_where_the_charge_had_not_settled(scripted):
    heads, after = scripted(
        lambda epoch: two(0 if epoch == 1 else 1, -1 if epoch == 10 else 0), ramp=0.5, patience=1
    )
    assert heads.validation_nll_K.tolist() == [0, -1]
    assert torch.equal(heads.weights["weight_1D"][0, 0, 1], after[10][0, 0, 1])


def test_the_best_weights_are_those_of_the_least_error_plus_full_charge(scripted):
    # Free, the last epoch is the best; at strength 1, 20 - e + 0.3 e² is least at e = 2, long
    # before the ramp is over.
    heads, after = scripted(
        lambda epoch: torch.tensor(20.0 - epoch),
        lambda epoch: torch.tensor(0.3 * epoch**2),
        epochs=8,
        ramp=1.0,
    )
    assert heads.validation_nll_K.tolist() == [13, 18]
    assert torch.equal(heads.weights["weight_1D"][0, 0, 0], after[7][0, 0, 0])
    assert torch.equal(heads.weights["weight_1D"][0, 0, 1], after[2][0, 0, 1])


@pytest.mark.parametrize("make", [Linear, Layered])
def test_the_validation_error_is_that_of_the_finished_head_on_held_out_episodes(make, fit):
    heads = tiny(fit, make, CircuitSize(2.0, prune=False), seeds=(0, 1), strengths=(0.5, 2.0))
    log_odds_KN = heads.read(TINY_HELD_OUT.z_NLD).log_odds_KN
    nll_K = torch.nn.functional.binary_cross_entropy_with_logits(
        log_odds_KN, TINY_HELD_OUT.human_N.expand_as(log_odds_KN), reduction="none"
    ).mean(dim=1)
    torch.testing.assert_close(heads.validation_nll_K, nll_K, rtol=1e-4, atol=1e-5)


def test_heads_choose_on_activations_and_human_answers_alone():
    assert Examples._fields == ("z_NLD", "human_N", "inputs_N")
    hints = {
        name: parameter.annotation
        for name, parameter in inspect.signature(train).parameters.items()
    }
    assert [name for name, hint in hints.items() if "Examples" in str(hint)] == [
        "examples",
        "held_out",
    ]
    assert not any(
        word in " ".join(map(str, (*hints, *hints.values())))
        for word in ("concept", "disputed", "tampered", "Dataset", "Cases")
    )


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
    "prior",
    [NoPrior(), CircuitSize(2.0, prune=False), Simplicity(0.05)],
    ids=["none", "circuit_size", "simplicity"],
)
@pytest.mark.parametrize(
    "make", [Linear, Layered, partial(MLP, hidden=4)], ids=["linear", "layered", "mlp"]
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


@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize(
    ("make", "prior", "order"),
    [
        (Linear, CircuitSize(2.0, prune=False), "shared"),
        (Layered, prior_of("simplicity_and_speed"), "own"),
    ],
)
def test_killed_and_started_again_it_gives_the_same_heads_bit_for_bit(
    make, prior, order, epoch, tmp_path, monkeypatch
):
    saving = Trainer(accelerator="cpu", save_every=0, bar=False)
    steps = []
    monkeypatch.setattr(
        "training.population.WORTH_TRACING", 10
    )  # 32 steps are traced, and what is left of them only where it is as many

    def run(checkpoint: Path) -> Heads:
        data = {
            "examples": TINY,
            "held_out": TINY_HELD_OUT,
            "seeds": (0, 1, 2),
            "strengths": (0.5, 2.0),
        }
        return population(
            saving,
            checkpoint,
            make,
            prior,
            **data,
            epochs=8,
            batch_size=64,
            learning_rate=0.1,
            order=order,
        )

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        killing(patch, epoch)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    assert (tmp_path / "killed").exists() == (epoch > 0)
    step = Population.training_step
    monkeypatch.setattr(
        Population, "training_step", lambda self, batch: steps.append(1) or step(self, batch)
    )
    assert same(run(tmp_path / "killed"), whole)
    assert len(steps) == (8 - epoch) * 4
    assert not (tmp_path / "killed").exists()


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
        accuracy(fit(recipe(reporter), NoPrior(), examples, held_out, seeds=range(2)), fresh).mean()
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
