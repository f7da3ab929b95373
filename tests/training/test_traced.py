"""A traced step is the step: the same heads to the last bit, whatever the reporter and the prior;
and what is written down is run.
"""

from pathlib import Path

import pytest
import torch

from compute.trainer import Trainer
from priors.none import NoPrior
from reporters.linear import Linear
from tests.priors.made import PRIORS, prior_of
from tests.reporters.made import REPORTERS, recipe
from tests.training.made import planted, population
from training import population as module
from training.traced import Traced


def test_what_was_written_down_is_run_and_the_function_no_more():
    calls = []

    def function(given: dict[str, torch.Tensor], weight: torch.Tensor) -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"sum": torch.func.vmap(lambda x: x * weight)(given["x"]).sum()}

    traced = Traced(function)
    for x, weight in ((1.0, 2.0), (3.0, 5.0), (7.0, -1.0)):
        assert (
            float(traced({"x": torch.full((4,), x)}, torch.tensor(weight))["sum"]) == 4 * x * weight
        )
    assert len(calls) == 1


PAIRS = [(reporter, prior) for reporter in ("linear", "layered") for prior in PRIORS]
PAIRS += [
    (reporter, "simplicity_and_speed")
    for reporter in REPORTERS
    if reporter not in ("linear", "layered", "mean_difference")
]


def heads(
    reporter: str,
    prior: str,
    traced: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    **changed: object,
) -> dict[str, torch.Tensor]:
    """Returns the weights of four heads after six steps, none of them pruned: that has no part in a
    step.
    """
    examples, held_out = (
        planted(n, inputs=2, width=8, levels=3, noise=1.0, seed=seed)
        for n, seed in ((96, 0), (32, 1))
    )
    kind = prior_of(prior)
    if hasattr(kind, "prune"):
        kind.prune = False
    monkeypatch.setattr(module, "WORTH_TRACING", 1 if traced else 1_000)
    data = {
        "examples": examples,
        "held_out": held_out,
        "seeds": (0, 1),
        "strengths": (0.5, 2.0),
        "epochs": 3,
        "batch_size": 48,
    }
    make = recipe(reporter, most=2 if reporter == "attention" else 4)
    return population(
        Trainer("cpu", 1e9, False), folder / "fit", make, kind, **data, **changed
    ).weights


@pytest.mark.parametrize(("reporter", "prior"), PAIRS)
def test_heads_that_are_traced_are_the_same_to_the_last_bit(reporter, prior, tmp_path, monkeypatch):
    plain, traced = (heads(reporter, prior, how, tmp_path, monkeypatch) for how in (False, True))
    assert all(torch.equal(traced[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    "changed",
    [{"order": "own"}, {"precision": "bfloat16"}, {"learning_rate": [0.02, 0.01]}, {"clip": 0.01}],
    ids=str,
)
def test_they_are_so_however_they_are_trained(changed, tmp_path, monkeypatch):
    plain, traced = (
        heads("layered", "simplicity_and_speed", how, tmp_path, monkeypatch, **changed)
        for how in (False, True)
    )
    as_ever = heads("layered", "simplicity_and_speed", True, tmp_path, monkeypatch)
    assert all(
        torch.equal(traced[name], value) and not torch.equal(as_ever[name], value)
        for name, value in plain.items()
    )


def test_only_a_fit_of_many_steps_is_traced(tmp_path, monkeypatch):
    traced, examples = [], planted(96, inputs=2, width=8)
    monkeypatch.setattr(module, "Traced", lambda step: traced.append(1) or Traced(step))
    for epochs, expected in ((2, 0), (module.WORTH_TRACING, 1)):
        population(
            Trainer("cpu", 1e9, False),
            tmp_path / "fit",
            Linear,
            NoPrior(),
            examples,
            examples,
            epochs=epochs,
            batch_size=96,
        )
        assert len(traced) == expected
