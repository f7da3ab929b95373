"""A traced step is the step: the same heads to the last bit, whatever the reporter and the prior;
and what is recorded is run.
"""

from functools import partial
from pathlib import Path

import pytest
import torch

from compute.trainer import Trainer
from priors.none import NoPrior
from reporters.linear import Linear
from tests.priors.made import PRIORS
from tests.reporters.made import REPORTERS, get_maker, list_self_fitted
from tests.training.made import planted, population, unpruned
from training.population import WORTH_TRACING
from training.traced import Traced


def test_what_was_recorded_is_run_and_the_function_no_more():
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


STAR = [("linear", prior) for prior in PRIORS]
STAR += [
    (reporter, "simplicity_and_speed")
    for reporter in REPORTERS
    if reporter not in ("linear", *list_self_fitted())
]
"""Every prior on one reporter, and every reporter that is trained under one prior."""


def train_heads(
    reporter: str, prior: str, traced: bool, folder: Path, **changed: object
) -> dict[str, torch.Tensor]:
    """Returns the weights of four heads after six steps. None of them is pruned: that has no part
    in a step.
    """
    data = {
        "examples": planted(96, inputs=2, width=8, levels=3, noise=1.0, seed=0),
        "held_out": planted(32, inputs=2, width=8, levels=3, noise=1.0, seed=1),
    }
    grid = {"seeds": (0, 1), "strengths": (0.5, 2.0)}
    make = get_maker(reporter, most=2 if reporter == "attention" else 4)
    trainer = Trainer("cpu", 1e9, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.population.WORTH_TRACING", 1 if traced else 1_000)
        steps = {"epochs": 3, "batch_size": 48} | changed
        heads = population(trainer, folder / "fit", make, unpruned(prior), **data, **grid, **steps)
    return heads.weights


@pytest.mark.parametrize(("reporter", "prior"), STAR)
def test_heads_that_are_traced_are_the_same_to_the_last_bit(reporter, prior, tmp_path):
    plain, traced = (train_heads(reporter, prior, how, tmp_path) for how in (False, True))
    assert all(torch.equal(traced[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    "changed",
    [{"order": "own"}, {"precision": "bfloat16"}, {"learning_rate": [0.02, 0.01]}, {"clip": 0.01}],
    ids=str,
)
def test_they_are_so_however_they_are_trained(changed, tmp_path):
    run = partial(train_heads, "layered", "simplicity")
    plain, traced = (run(how, tmp_path, **changed) for how in (False, True))
    by_default = run(False, tmp_path)
    for name, value in plain.items():
        assert torch.equal(traced[name], value)
        assert not torch.equal(by_default[name], value), "the change makes a difference"


def test_only_a_fit_of_many_steps_is_traced(tmp_path, monkeypatch):
    traced, examples = [], planted(96, inputs=2, width=8)
    trainer = Trainer("cpu", 1e9, False)
    monkeypatch.setattr("training.population.Traced", lambda step: traced.append(1) or Traced(step))
    for epochs, expected in ((2, 0), (WORTH_TRACING, 1)):
        steps = {"epochs": epochs, "batch_size": 96}
        population(trainer, tmp_path / "fit", Linear, NoPrior(), examples, examples, **steps)
        assert len(traced) == expected
