"""A head in a population of hundreds is the head it would be alone, in float64 to 1e-10, with a
head that is no number among them; and in parts.
"""

import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from compute.memory import GIB
from compute.trainer import Trainer
from console.errors import UserError
from priors.prior import Prior
from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from tests.priors.made import prior_of
from tests.training.made import planted, population, schedule
from tests.training.test_population import Killed, killing, same
from training.heads import Heads
from training.parts import layout, needed
from training.watch import Watch

MADE = {"linear": Linear, "layered": Layered, "mlp": partial(MLP, hidden=3)}
SICK, LAST = 100, 239
TINY, HELD_OUT = (
    planted(n, inputs=2, width=6, levels=2, noise=1.0, seed=seed) for n, seed in ((128, 0), (64, 1))
)
SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 32}


def doubled(make: Any, n_levels: int, width: int) -> Reporter:
    """Returns a head in float64; that of one seed begins with a weight that is no number."""
    reporter = make(n_levels=n_levels, width=width).double()
    if torch.initial_seed() == SICK:
        next(iter(reporter.parameters())).data.flatten()[0] = torch.nan
    return reporter


def unpruned(name: str) -> Prior:
    prior = prior_of(name)
    if hasattr(prior, "prune"):
        prior.prune = False
    return prior


@pytest.mark.parametrize("rates", [0.02, [0.01, 0.04]], ids=["one rate", "own rates"])
@pytest.mark.parametrize("prior", ["none", "simplicity", "speed", "circuit_size"])
@pytest.mark.parametrize("reporter", MADE)
def test_a_head_among_960_is_the_head_that_it_would_be_alone(
    reporter, prior, rates, trainer, tmp_path
):
    double = [
        one._replace(z_NLD=one.z_NLD.double(), human_N=one.human_N.double())
        for one in (TINY, HELD_OUT)
    ]
    make, prior = partial(doubled, MADE[reporter]), unpruned(prior)
    fit = partial(population, trainer, tmp_path / "fit", make, prior)
    company = fit(
        *double, seeds=range(LAST + 1), strengths=(0.5, 2.0), learning_rate=rates, **SHORT
    )
    assert len(company.table) == (960 if company.reporter.reads == "one_level" else 480)
    rate = rates[1] if isinstance(rates, list) else rates
    alone = fit(*double, seeds=(LAST,), strengths=(2.0,), learning_rate=rate, **SHORT)
    for name, value in alone.weights.items():
        torch.testing.assert_close(
            company.weights[name][:, LAST, 1], value[:, 0, 0], rtol=0, atol=1e-10
        )
    well = [seed != SICK for _, seed, _ in company.table]
    assert torch.equal(company.validation_nll_K.isfinite(), torch.tensor(well))


def test_every_strength_learns_at_its_own_rate_and_a_wrong_number_of_rates_is_refused(
    trainer, tmp_path
):
    fit = partial(
        population,
        trainer,
        tmp_path / "fit",
        Linear,
        unpruned("none"),
        TINY,
        HELD_OUT,
        strengths=(1.0, 1.0, 1.0),
        **SHORT,
    )
    heads = fit(learning_rate=[1e-9, 0.02, 0.1])
    moved = (
        (heads.weights["weight_1D"] - fit(learning_rate=1e-9).weights["weight_1D"])
        .abs()
        .amax(dim=(0, 1, 3, 4))
    )
    assert moved[0] < 1e-6 < moved[1] < moved[2]
    torch.testing.assert_close(
        heads.weights["weight_1D"][:, :, 1],
        fit(learning_rate=0.02).weights["weight_1D"][:, :, 1],
        rtol=0,
        atol=1e-5,
    )
    with pytest.raises(
        UserError, match=r"training.learning_rate: \[0.1, 0.2\] are 2 for 3 strengths"
    ):
        fit(learning_rate=[0.1, 0.2])
    with pytest.raises(UserError, match=r"training.learning_rate"):
        schedule(learning_rate=[0.1, 0.0])


# Parts.


def each(trainer: Trainer, monkeypatch: Any, n: int) -> Trainer:
    """Returns a trainer whose memory is enough for a part of so many in 8 seeds, whatever a head
    needs.
    """
    monkeypatch.setattr("training.task.Task.bytes_each", lambda self, seed: 1_000_000)
    return replace(trainer, memory=8 / n * 2 * 1_000_100 / GIB)


@pytest.mark.parametrize(("n", "found"), [(1, 1), (4, 4), (8, 8), (16, 16)])
def test_a_budget_that_needs_four_parts_makes_four_and_the_same_heads(
    n, found, trainer, tmp_path, monkeypatch, capfd
):
    run = partial(
        population,
        make=Layered,
        prior=unpruned("simplicity"),
        examples=TINY,
        held_out=HELD_OUT,
        seeds=range(8),
        strengths=(0.5, 2.0),
        **SHORT,
    )
    whole = run(trainer, tmp_path / "whole")
    calls: list[int] = []
    fit = Trainer.__call__
    monkeypatch.setattr(
        Trainer,
        "__call__",
        lambda self, module, *rest: calls.append(module.n_heads) or fit(self, module, *rest),
    )
    heads = run(each(trainer, monkeypatch, n), tmp_path / "parts.ckpt")
    assert calls == [16 // found] * found
    assert (f"in {n} parts" in capfd.readouterr().err) == (n > 1)
    for name, value in whole.weights.items():
        torch.testing.assert_close(heads.weights[name], value, rtol=0, atol=1e-5)
    torch.testing.assert_close(heads.validation_nll_K, whole.validation_nll_K, rtol=0, atol=1e-5)
    assert heads.table == whole.table and not list(tmp_path.glob("parts*"))


def test_parts_that_were_stopped_go_on_bit_for_bit_and_in_as_many_parts(
    trainer, tmp_path, monkeypatch
):
    saving = replace(each(trainer, monkeypatch, 4), save_every=0)

    def run(name: str, trainer: Trainer = saving) -> Heads:
        given = {"examples": TINY, "held_out": HELD_OUT, "seeds": range(8), "strengths": (0.5, 2.0)}
        return population(
            trainer,
            tmp_path / name,
            Linear,
            unpruned("speed"),
            **given,
            epochs=4,
            batch_size=32,
            learning_rate=[0.02, 0.1],
        )

    whole, fits = run("whole.ckpt"), []
    fit = Trainer.__call__
    with monkeypatch.context() as patch:
        killing(patch, 2)
        with pytest.raises(Killed):
            run("killed.ckpt")
    monkeypatch.setattr(
        Trainer, "__call__", lambda self, *given: fits.append(1) or fit(self, *given)
    )
    again = run("killed.ckpt", replace(saving, memory=1000.0))  # there is more memory now
    assert same(again, whole) and len(fits) == 4
    assert not list(tmp_path.glob("killed*"))


def test_too_little_memory_for_one_head_is_refused_by_name(trainer, tmp_path):
    little = replace(trainer, memory=1e-6)
    with pytest.raises(
        UserError,
        match=(
            r"trainer.memory: .* GiB are too few for the heads of one seed and one strength, which"
            r" need"
        ),
    ):
        population(little, tmp_path / "fit", Linear, unpruned("none"), TINY, HELD_OUT, **SHORT)
    with pytest.raises(UserError, match=r"trainer.memory: 0 GiB is too little"):
        replace(trainer, memory=0)


def test_every_head_is_in_one_part():
    for n in range(1, 30):
        places = [(s, m) for part in layout(7, 3, n) for s in part.seeds for m in part.strengths]
        assert sorted(places) == [(s, m) for s in range(7) for m in range(3)]
        assert max(len(part.seeds) * len(part.strengths) for part in layout(7, 3, n)) <= max(
            1, 3 * math.ceil(7 / n) if n <= 7 else math.ceil(3 / (n // 7))
        )
    assert (
        needed(8, 2, 100, 1600) == 1
        and needed(8, 2, 100, 400) == 4
        and needed(8, 2, 100, 100) == 16
    )


MEASURED = """
import re, sys, torch
from pathlib import Path
from compute.trainer import Trainer
from reporters.mlp import MLP
from tests.priors.made import prior_of
from tests.training.made import planted, population
from training.task import Task
torch.set_num_threads(1)
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # ru_maxrss starts with the parent's
run = lambda seeds: population(Trainer("cpu", 1e9, False), Path(sys.argv[1]) / "fit", lambda n_levels, width: MLP(n_levels, width, 32),
    prior_of("simplicity"), planted(1024, 2, noise=1.0), planted(512, 2, noise=1.0, seed=1), seeds=range(seeds), epochs=2, batch_size=256)
each, as_ever = [], Task.bytes_each
Task.bytes_each = lambda self, seed: each.append(as_ever(self, seed)) or each[0]
run(2)
before = peak()
run(400)
print(each[0] * 400, peak() - before)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc says what a process has taken at most"
)
def test_what_heads_are_said_to_need_is_what_they_take(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    said, taken = map(int, done.stdout.split()[-2:])
    assert 0.4 * said < taken < said


def test_a_watch_sees_all_heads_of_all_parts(trainer, tmp_path, monkeypatch):
    def watched(trainer: Trainer, name: str) -> Watch:
        watch = Watch(
            lambda heads: {"size": heads.weights["weight_1D"].square().sum(dim=(3, 4)).flatten()}
        )
        given = {"examples": TINY, "held_out": HELD_OUT, "seeds": range(8), "strengths": (0.5, 2.0)}
        population(
            trainer, tmp_path / name, Linear, unpruned("gaussian"), **given, watch=watch, **SHORT
        )
        return watch

    whole, parted = (
        watched(trainer, "whole").course,
        watched(each(trainer, monkeypatch, 4), "parts").course,
    )
    assert parted.epochs == whole.epochs == (0, 1, 2, 3)
    assert torch.equal(parted.kept_K, whole.kept_K)
    for name, value in whole.figures.items():
        torch.testing.assert_close(parted.figures[name], value, rtol=1e-4, atol=1e-5)
