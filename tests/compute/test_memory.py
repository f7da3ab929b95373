"""How many heads fit into memory at once: counted, and in a process of its own measured by the
system.
"""

import math
import os
import subprocess
import sys

import pytest
import torch

from compute.memory import (
    PHASES_OVERHEAD,
    choose_part_size,
    measure_free_memory,
    measure_peak_memory,
)


def allocate(k: int, common: int = 1000, each: int = 100) -> None:
    """Allocates `common` bytes and `each` bytes for each of k at one time, and before that once
    only the latter.
    """
    before = torch.zeros(k * each, dtype=torch.uint8)
    del before
    _ = torch.zeros(common, dtype=torch.uint8), torch.zeros(k * each, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(0, 1), (1100, 1), (1299, 2), (1300, 3), (1999, 9), (2000, 10), (1e9, 10), (math.inf, 10)],
)
def test_as_many_heads_as_fit_are_worked_on_at_once(budget, expected):
    assert choose_part_size(10, allocate, PHASES_OVERHEAD * budget) == expected


def test_the_peak_is_what_is_allocated_at_one_time():
    assert measure_peak_memory(lambda: allocate(3)) == (1300, None)
    assert measure_peak_memory(lambda: torch.zeros(7, dtype=torch.uint8).sum().item()) == (7 + 8, 0)


def test_nothing_is_measured_if_the_answer_is_known():
    def fail(k: int) -> None:
        raise AssertionError

    assert choose_part_size(10, fail, math.inf) == 10
    assert choose_part_size(1, fail, 0) == 1
    assert choose_part_size(0, fail, 0) == 0


def test_free_memory_is_no_more_than_a_container_may_still_use(monkeypatch):
    monkeypatch.setattr("compute.memory._measure_free_in_container", lambda: [5.0, 3.0])
    assert measure_free_memory("cpu") == 3.0
    monkeypatch.setattr("compute.memory._measure_free_in_container", list)
    assert measure_free_memory("cpu") > 1e6


MEASURED = """
import re, sys, torch
from pathlib import Path
from bill.bill import Meter
from bill.edges import Edges
from bill.finished import FinishedHeads, Stops
from bill.two_part import TwoPart
from reporters.mlp import MLP
from compute.allocation import keep_freed_memory
from training import edge_fits, prune
STATUS = Path("/proc/self/status")
torch.set_num_threads(1)
keep_freed_memory()
# Fewer steps take as much memory.
edge_fits.ADAM_STEPS = edge_fits.REFIT_STEPS = 2
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", STATUS.read_text())[1]) * 1024
rng = torch.Generator().manual_seed(0)
z_NLD, N, budget = torch.randn(1024, 1, 32, generator=rng), 1024, float(sys.argv[2])
human_N = (z_NLD[:, 0, :2].sum(dim=1) > 0).float()
mlp = MLP(1, 32, 32)
def run(heads, budget):
    weights = {
        name: torch.randn(1, heads, 1, *value.shape, generator=rng) * 0.1
        for name, value in mlp.named_parameters()
    }
    if sys.argv[1] == "prune":
        z_GNRD, price_M = z_NLD.movedim(1, 0)[:, :, None], torch.tensor([300.0])
        return prune.prune_edges(mlp, weights, z_GNRD, human_N, price_M, budget)
    nothing = torch.zeros(heads, N, dtype=torch.long)
    stops = {"train": Stops(nothing, nothing)}
    finished = FinishedHeads(mlp, weights, z_NLD, human_N, stops, (0.0,))
    return Meter({"two_part": TwoPart(), "edges": Edges()})(finished, budget)
run(2, 1e6)
for most in (budget, float("inf")):
    before = peak()
    run(int(sys.argv[3]), most)
    print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc says what a process has taken at most"
)
@pytest.mark.parametrize(("what", "heads"), [("prune", 96), ("bill", 768)])
def test_pruning_and_billing_take_no_more_than_their_room(what, heads):
    room = 300e6
    command = [sys.executable, "-c", MEASURED, what, str(room), str(heads)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    within, more = map(
        int, done.stdout.split()
    )  # what room was enough for, and how much more it takes without
    assert 0 < within < room < within + more
