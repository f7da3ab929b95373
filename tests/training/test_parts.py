"""A population in parts: the same heads and the same history as at once, resumed in as many parts,
and heads take the memory that is predicted.
"""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compute.memory import GIB
from compute.trainer import Trainer
from console.errors import UserError
from reporters.layered import Layered
from reporters.linear import Linear
from tests.training.made import planted, population, unpruned
from tests.training.test_population import Killed, killing, same
from training.heads import Heads
from training.parts import count_parts, divide
from training.watch import Watch

TINY, HELD_OUT = (
    planted(n, inputs=2, width=6, levels=2, noise=1.0, seed=seed) for n, seed in ((128, 0), (64, 1))
)
GRID: dict[str, Any] = {"seeds": range(8), "strengths": (0.5, 2.0)}
SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 32}


def limit(trainer: Trainer, monkeypatch: Any, n: int) -> Trainer:
    """Returns a trainer whose memory is enough for one of n parts of 8 seeds and 2 strengths,
    whatever a head needs.
    """
    monkeypatch.setattr("training.parts.measure_bytes", lambda *given: 1_000_000)
    return replace(trainer, memory=8 / n * 2 * 1_000_100 / GIB)


def count_fits(monkeypatch: Any) -> list[int]:
    """Returns a list that grows by the number of heads of each fit."""
    fits: list[int] = []
    run = Trainer.__call__

    def counting_run(self: Trainer, module: Any, *rest: Any) -> None:
        fits.append(module.n_heads)
        run(self, module, *rest)

    monkeypatch.setattr(Trainer, "__call__", counting_run)
    return fits


def measure_size(heads: Heads) -> dict[str, torch.Tensor]:
    size_GSM = heads.weights["weight_L2D"].square().sum(dim=(3, 4, 5))
    return {"size": size_GSM.flatten()}


@pytest.mark.parametrize("n", [1, 4, 16])
def test_a_budget_that_needs_n_parts_makes_n_and_the_same_heads_and_history(
    n, trainer, tmp_path, monkeypatch, capfd
):
    def run(trainer: Trainer, name: str) -> tuple[Heads, Watch]:
        watch = Watch(measure_size)
        prior, data = unpruned("simplicity"), (TINY, HELD_OUT)
        checkpoint = tmp_path / name
        heads = population(trainer, checkpoint, Layered, prior, *data, watch=watch, **GRID, **SHORT)
        return heads, watch

    whole, whole_watch = run(trainer, "whole.ckpt")
    fits = count_fits(monkeypatch)
    heads, watch = run(limit(trainer, monkeypatch, n), "parts.ckpt")
    assert fits == [16 // n] * n
    assert (f"in {n} parts" in capfd.readouterr().err) == (n > 1)
    for name, value in whole.weights.items():
        torch.testing.assert_close(heads.weights[name], value, rtol=0, atol=1e-5)
    torch.testing.assert_close(heads.validation_nll_K, whole.validation_nll_K, rtol=0, atol=1e-5)
    assert heads.table == whole.table
    assert not list(tmp_path.glob("parts*"))
    assert watch.history.epochs == whole_watch.history.epochs == (0, 1, 2, 3)
    assert torch.equal(watch.history.kept_K, whole_watch.history.kept_K)
    for name, value_EK in whole_watch.history.figures.items():
        torch.testing.assert_close(watch.history.figures[name], value_EK, rtol=1e-4, atol=1e-5)


def test_parts_that_were_stopped_resume_bit_for_bit_and_in_as_many_parts(
    trainer, tmp_path, monkeypatch
):
    saving = replace(limit(trainer, monkeypatch, 4), save_every=0)

    def run(name: str, trainer: Trainer) -> Heads:
        prior, data = unpruned("speed"), (TINY, HELD_OUT)
        changed = SHORT | {"epochs": 4, "learning_rate": [0.02, 0.1], "measures_gap": True}
        return population(trainer, tmp_path / name, Linear, prior, *data, **GRID, **changed)

    whole = run("whole.ckpt", saving)
    with monkeypatch.context() as patch:
        killing(patch, 2)
        with pytest.raises(Killed):
            run("killed.ckpt", saving)
    fits = count_fits(monkeypatch)
    more_memory = replace(saving, memory=1000.0)
    assert same(run("killed.ckpt", more_memory), whole)
    # Each part is trained, and trained further to see how far it is from its optimum.
    assert len(fits) == 8
    assert not list(tmp_path.glob("killed*"))


def test_too_little_memory_for_one_head_is_refused_by_name(trainer, tmp_path):
    little, prior = replace(trainer, memory=1e-6), unpruned("none")
    with pytest.raises(
        UserError,
        match=(
            r"trainer.memory: .* GiB are too few for the heads of one seed and one strength, which"
            r" need"
        ),
    ):
        population(little, tmp_path / "fit", Linear, prior, TINY, HELD_OUT, **SHORT)
    with pytest.raises(UserError, match=r"trainer.memory: 0 GiB is too little"):
        replace(trainer, memory=0)


def test_every_head_is_in_one_part_and_no_part_is_larger_than_it_must_be():
    for n in range(1, 30):
        parts = divide(7, 3, n)
        places = [(s, m) for part in parts for s in part.seeds for m in part.strengths]
        assert sorted(places) == [(s, m) for s in range(7) for m in range(3)]
        largest = max(len(part.seeds) * len(part.strengths) for part in parts)
        assert largest <= max(1, 3 * math.ceil(7 / n) if n <= 7 else math.ceil(3 / (n // 7)))


def test_there_are_as_many_parts_as_the_budget_requires():
    assert count_parts(8, 2, 100, 1600) == 1
    assert count_parts(8, 2, 100, 400) == 4
    assert count_parts(8, 2, 100, 100) == 16


MEASURED = """
import re, sys, torch
from functools import partial
from pathlib import Path
from compute.trainer import Trainer
from reporters.mlp import MLP
from tests.priors.made import build_prior
from tests.training.made import planted, population
from training import parts
torch.set_num_threads(1)

def peak():  # ru_maxrss starts with the parent's
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) * 1024

def run(n_seeds):
    data = planted(1024, 2, noise=1.0), planted(512, 2, noise=1.0, seed=1)
    prior, steps = build_prior("simplicity"), {"epochs": 2, "batch_size": 256}
    make = partial(MLP, hidden=32)
    trainer = Trainer("cpu", 1e9, False)
    folder = Path(sys.argv[1])
    population(trainer, folder / "fit", make, prior, *data, seeds=range(n_seeds), **steps)

measure, bytes_each = parts.measure_bytes, []
parts.measure_bytes = lambda *given: bytes_each.append(measure(*given)) or bytes_each[0]
run(2)
before = peak()
run(400)
print(bytes_each[0] * 400, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc says what a process has taken at most"
)
def test_heads_take_the_memory_that_is_predicted(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    predicted, taken = map(int, done.stdout.split()[-2:])
    assert 0.4 * predicted < taken < predicted
