"""Heads that settle before they meet the human's errors: where they start, where they end, and what
is refused.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from bill.planted_costs import watch_nothing
from configs.build import Parts, build
from configs.plan import Plan, Sizes
from console.errors import UserError
from core_model.reader import ActivationReader
from core_model.timing import ReadingCosts
from priors.circuit_size import CircuitSize
from priors.gaussian import Gaussian
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reading, Reporter, build_single_exit_reading
from tests.conftest import node
from tests.reporters.made import build_reporter
from tests.training.made import optimizer, schedule
from tests.training.tasks import build_task
from training import find_heads
from training.errors import drop_errors
from training.examples import Examples
from training.find_heads import Contestant, Found, build_sources, train
from training.heads import Heads
from training.material import draw_material, find_correct
from training.population import Population
from training.requests import Requests
from training.solve import check_errors
from training.watch import Watch

SIZES = Sizes(96, 48, 16, 16, 16, 16)
PLAN = Plan(0, 2, 1, False, [0.5, 2.0], [0], SIZES)
LATER = "after_settling"


def build_ladder(errors: float) -> Any:
    """Returns a ladder on which one bit is X, another H, and four are neither."""
    values = {"bits": 6, "concept_level": 0, "human_level": 0, "human_errors": errors}
    return build(node("world/ladder.yaml", **values), "world")


class Run:
    """Heads of predictors of a ladder, found as a run finds them."""

    def __init__(self, trainer: Any, cache: Path, folder: Path, errors: float = 0.1) -> None:
        self.trainer, self.cache, self.folder = trainer, cache, folder
        self.world = build_ladder(errors)
        self.dtype = torch.float64

    def read(self, seed: int) -> Contestant:
        """Returns a predictor, and the easy episodes."""
        core_model = build(node("core_model/constructed.yaml", seed=seed), "core_model")
        predictor = core_model.predictor(self.world, self.cache, self.trainer)
        reader = ActivationReader(predictor, self.world.reads, (0,), self.cache)
        costs = ReadingCosts((0.0, 1000.0), (0.0, 0.0))
        return Contestant(reader, draw_material(self.world, reader, PLAN), costs)

    def cast(self, examples: Examples) -> Examples:
        return Examples(examples.z_NLD.to(self.dtype), examples.human_N.to(self.dtype))

    def build_parts(self, errors: str, prior: Prior, by: str, make: Any, **changed: Any) -> Parts:
        values = {"keep": "last", "epochs": 3, "batch_size": 48, "patience": None}
        method = schedule(errors=errors, **values | changed)
        others = dict.fromkeys(("core_model", "bill", "verdict", "alignment", "logger"))
        return Parts(
            world=self.world,
            reporter=lambda n_levels, width: make(n_levels, width).to(self.dtype),
            reads_one_level=True,
            prior=prior,
            training=method,
            optimizer=optimizer(by),
            trainer=self.trainer,
            **others,
        )

    def find(
        self,
        errors: str,
        prior: Prior = NoPrior(),
        by: str = "adamw",
        make: Any = Linear,
        predictors: Sequence[int] = (0,),
        **changed: Any,
    ) -> list[Heads]:
        """Returns the heads of each predictor."""
        parts = self.build_parts(errors, prior, by, make, **changed)
        contestants = [self.read(seed) for seed in predictors]
        for i, (reader, material, costs) in enumerate(contestants):
            examples, held_out = self.cast(material.examples), self.cast(material.held_out)
            material = replace(material, examples=examples, held_out=held_out)
            contestants[i] = Contestant(reader, material, costs)
        sources = build_sources(parts, PLAN, contestants)
        checkpoint = self.folder / "unfinished.ckpt"
        found = find_heads.find_heads(parts, PLAN, (0,), sources, checkpoint, watch_nothing, True)
        assert not list(self.folder.glob("unfinished*"))
        return [each.heads for each in found if isinstance(each, Found)]


@pytest.fixture
def run(trainer, cache, tmp_path) -> Run:
    return Run(trainer, cache, tmp_path)


def assert_same(heads: Heads, other: Heads, atol: float = 0.0) -> None:
    for name, value in heads.weights.items():
        torch.testing.assert_close(value, other.weights[name], rtol=0, atol=atol)


# Where heads start.


def test_episodes_whose_label_is_x_are_kept_in_both_parts_with_what_was_read_of_them(run):
    material = run.read(0).material
    inputs = (torch.arange(SIZES.train), torch.arange(SIZES.validation))
    correct, requests = drop_errors(material, Requests(inputs=inputs))
    for part, examples, given, kept in (
        (correct.train, correct.examples, material.train, requests.inputs[0]),
        (correct.validation, correct.held_out, material.validation, requests.inputs[1]),
    ):
        assert part["concept"][:] == part["human"][:]
        assert examples.human_N.bool().tolist() == part["concept"][:]
        wrong = sum(x != h for x, h in zip(given["concept"], given["human"], strict=True))
        assert len(part) == len(given) - wrong and wrong > 0
        assert kept.tolist() == find_correct(given).tolist()


def test_correct_labels_that_are_all_the_same_are_refused(run):
    material = run.read(0).material
    yes = [i for i, answer in enumerate(material.train["concept"]) if answer]
    only_yes = material.select(torch.tensor(yes), torch.arange(SIZES.validation))
    with pytest.raises(UserError, match=r"^training\.errors: the labels of \d+ easy .*from_start"):
        drop_errors(only_yes, Requests())


def test_heads_start_from_those_that_settle_on_the_correct_episodes(run, monkeypatch):
    tasks = []
    monkeypatch.setattr(
        find_heads, "train", lambda task, *rest: tasks.append(task) or train(task, *rest)
    )
    prior = CircuitSize(2.0, prune=True)
    run.dtype = torch.float32  # finished edges are searched in it
    run.find(LATER, prior, epochs=30)
    first, second = tasks
    assert first.start is None
    assert len(first.examples.human_N) == len(find_correct(run.read(0).material.train))
    assert len(second.examples.human_N) == SIZES.train
    torch.testing.assert_close(first.mean_LD, second.mean_LD)
    assert (second.start["weight_1D"] == 0).any(), "edges were pruned"
    assert list(second.draw_start()) == list(dict(first.objective.reporter.named_parameters()))
    for name, value in second.draw_start().items():
        assert torch.equal(value, second.start[name])


@pytest.mark.parametrize(
    ("make", "prior", "by"),
    [
        (partial(MLP, hidden=3), NoPrior(), "adamw"),
        (partial(MLP, hidden=3), NoPrior(), "lbfgs"),
        (Linear, Simplicity(0.05), "lbfgs"),
    ],
)
def test_before_any_step_heads_are_those_given(make, prior, by, trainer, tmp_path):
    drawn = build_task(make, prior, seeds=(0, 1))
    one_G1M = {name: value[:, :1] + 0.5 for name, value in drawn.draw_start().items()}
    start = {name: value.repeat_interleave(2, dim=1) for name, value in one_G1M.items()}
    watch = Watch(lambda heads: {name: flatten(value) for name, value in heads.weights.items()})
    method = schedule(keep="last", patience=None, epochs=1)
    task = replace(drawn, start=start)
    train(task, method, optimizer(by), trainer, tmp_path / "fit.ckpt", watch)
    for name, value in start.items():
        before_K, after_K = watch.figures[0][name], watch.figures[1][name]
        torch.testing.assert_close(before_K, flatten(value), rtol=0, atol=1e-9)
        assert not torch.allclose(before_K, after_K, atol=1e-4)
        assert torch.equal(value[:, :1], one_G1M[name]), "training does not change what is given"


def flatten(value_GSM: Tensor) -> Tensor:
    """Returns one number of each head."""
    return value_GSM.clone().view(value_GSM.shape[:3].numel(), -1).sum(dim=1)


def test_some_heads_of_a_task_have_their_own_start():
    drawn = build_task(Linear, NoPrior(), seeds=(3, 4, 5), strengths=(1.0, 2.0))
    start = {name: torch.rand_like(value) for name, value in drawn.draw_start().items()}
    some = replace(drawn, start=start).select(range(1, 3), [1])
    assert (some.seeds, some.strengths) == ((4, 5), (2.0,))
    for name, value in some.draw_start().items():
        assert torch.equal(value, start[name][:, 1:3, 1:])


# Where they end.


class TwoValleys(Reporter):
    """log-odds = w · (2 p X + (1 - p) H), where p = sigmoid(100 c): it reads X, which is louder, or
    H, and once p is near 0 or 1 no gradient brings it back.

    Args:
        codes_2D: the directions of X and of H.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(self, n_levels: int, width: int, codes_2D: Tensor) -> None:
        super().__init__()
        self.codes_2D = codes_2D
        self.preference = nn.Parameter(torch.tensor(0.0))
        self.size = nn.Parameter(torch.tensor(1.0))

    def forward(self, z_NLD: Tensor) -> Reading:
        x_N, h_N = self.codes_2D.to(z_NLD) @ z_NLD[:, 0].T
        share = torch.sigmoid(100 * self.preference)
        log_odds_N = self.size * (2 * share * x_N + (1 - share) * h_N)
        return build_single_exit_reading(log_odds_N, z_NLD.shape[1])

    def flops(self, units: Any) -> list[Any]:
        return [0]


@pytest.mark.parametrize(("errors", "follows_x"), [("from_start", False), (LATER, True)])
def test_of_two_valleys_heads_stay_in_the_one_that_they_first_settled_in(
    errors, follows_x, trainer, cache, tmp_path
):
    """X is louder, so that without errors heads read it; with 3 errors in 10 they read H."""
    run = Run(trainer, cache, tmp_path, errors=0.3)
    make = partial(TwoValleys, codes_2D=find_codes(run.read(0)))
    (heads,) = run.find(errors, by="sgd", make=make, epochs=100)
    assert ((heads.weights["preference"] > 0.1) == follows_x).all()
    assert ((heads.weights["preference"] < -0.1) != follows_x).all()


def find_codes(contestant: Contestant) -> Tensor:
    """Returns the directions of X and of H, each the one coordinate that has its sign."""
    train, examples = contestant.material.train, contestant.material.examples
    codes = []
    for name in ("concept", "human"):
        sign_N = 2 * torch.tensor(train[name][:]).float() - 1
        agreement_D = sign_N @ examples.z_NLD[:, 0] / len(sign_N)
        codes.append(agreement_D * (agreement_D.abs() > 0.99))
    return torch.stack(codes)


CASES = {
    "linear, adamw": (Linear, NoPrior(), "adamw"),
    "linear, one optimum": (Linear, Gaussian(1.0), "auto"),
    "linear, settling": (Linear, Simplicity(0.05), "auto"),
    "mlp, settling": (partial(MLP, hidden=2), Gaussian(1.0), "auto"),
}


@pytest.mark.parametrize("case", CASES)
def test_heads_of_two_predictors_are_those_of_each_alone(case, run):
    make, prior, by = CASES[case]
    together = run.find(LATER, prior, by, make, predictors=(0, 1))
    for seed, heads in enumerate(together):
        (alone,) = run.find(LATER, prior, by, make, predictors=(seed,))
        assert_same(heads, alone, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_without_errors_heads_are_those_that_meet_all_from_the_start(
    case, trainer, cache, tmp_path, monkeypatch
):
    calls = []
    monkeypatch.setattr(find_heads, "train", lambda *given: calls.append(1) or train(*given))
    run = Run(trainer, cache, tmp_path, errors=0.0)
    make, prior, by = CASES[case]
    found = [run.find(errors, prior, by, make)[0] for errors in ("from_start", LATER)]
    assert_same(*found)
    assert len(calls) == 2, "nothing is trained twice"


def test_one_optimum_does_not_depend_on_the_start(run):
    found = [run.find(errors, Gaussian(1.0), "auto")[0] for errors in ("from_start", LATER)]
    assert_same(*found)
    by_steps = [run.find(errors, Gaussian(1.0), "adamw")[0] for errors in ("from_start", LATER)]
    assert not torch.allclose(*(heads.weights["weight_1D"] for heads in by_steps), atol=1e-3)


@pytest.mark.parametrize("stopped", [1, 2])
def test_a_run_that_was_stopped_in_either_training_resumes_bit_for_bit(
    stopped, run, monkeypatch, trainer
):
    run.trainer = replace(trainer, save_every=0)
    (whole,) = run.find(LATER, epochs=4)
    fits = []

    def stop(self: Population, batch: Any) -> Any:
        if self.current_epoch == 0 and self.trainer.global_step == 0:
            fits.append(1)
        if len(fits) == stopped and self.current_epoch == 2:
            raise InterruptedError
        return step(self, batch)

    step = Population.training_step
    with monkeypatch.context() as patch:
        patch.setattr(Population, "training_step", stop)
        with pytest.raises(InterruptedError):
            run.find(LATER, epochs=4)
    names = {path.name for path in run.folder.glob("unfinished*")}
    unfinished = {1: {"unfinished-without-errors.ckpt"}, 2: {"unfinished.ckpt", "unfinished.start"}}
    assert names == unfinished[stopped]
    (resumed,) = run.find(LATER, epochs=4)
    assert_same(resumed, whole)


# What is refused.


@pytest.mark.parametrize("reporter", ["mean_difference", "ccs", "logic"])
def test_heads_that_cannot_go_on_are_refused(reporter, run):
    from_start = run.build_parts("from_start", NoPrior(), "adamw", Linear)
    parts = run.build_parts(LATER, NoPrior(), "adamw", Linear)
    cure = r"^training\.errors: after_settling .* Use training\.errors=from_start, or reporter=li"
    with pytest.raises(UserError, match=cure):
        check_errors(parts, build_reporter(reporter))
    check_errors(parts, build_reporter("linear"))
    check_errors(from_start, build_reporter(reporter))
