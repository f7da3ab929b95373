"""Populations of heads beside what a user would do instead; a Markdown table of bars, met or not.
python -m benchmarks.population

Everything is measured in one run, on one thread, in turns; only ratios are worth keeping.
`eleuther-elk` asks for concept-erasure 0.1.0, which this project is not made for: its way of
training, full-batch LBFGS with a strong Wolfe search from zero weights, head by head, is written
down here as its `Classifier.fit` has it. `benchmarks.rivals` compares with the package itself.

N: episodes, D: width, K: heads, B: episodes of a batch, W: parameters of a head.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import describe_machine
from compute.allocation import keep_freed_memory
from compute.bfloat16 import has_bfloat16_units
from compute.lightning import pl
from compute.trainer import Trainer
from configs.build import build
from priors.circuit_size import CircuitSize
from priors.none import NoPrior
from priors.prior import Prior
from priors.simplicity import Simplicity
from priors.speed import Speed
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter, nll
from training import fit
from training.convex import Convex, solve
from training.examples import Examples
from training.find_heads import build_task
from training.optimizers.adamw import AdamW
from training.schedule import Schedule

K, N, EPOCHS, BATCH, HIDDEN = 960, 4096, 20, 256, 64
MLP_EPOCHS, ROUNDS = 4, 3
DEFAULTS: dict[str, Any] = {
    "_target_": "training.schedule.Schedule",
    "keep": "best",
    "batch_size": BATCH,
    "learning_rate": 0.02,
    "clip": 1.0,
    "ramp": 0.4,
    "halting_bonus": 0.3,
    "bonus_from": 0.4,
    "bonus_to": 0.8,
    "order": "shared",
    "precision": "float32",
}


class Row(NamedTuple):
    """One line of the table. A bar is met from below, or from above where it is a least."""

    what: str
    measured: float
    bar: float
    least: bool = False
    unit: str = "times"

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        met = self.measured >= self.bar if self.least else self.measured <= self.bar
        result = "met" if met else "not met"
        return f"| {self.what} | {self.measured:.3g} {self.unit} | {sign} {self.bar:g} | {result} |"


@dataclass(frozen=True)
class Timed(Trainer):
    """A fit that records when each of its steps begins."""

    steps: list[float] = field(default_factory=list)

    def __call__(self, module: pl.LightningModule, *rest: Any) -> None:
        step = module.training_step

        @functools.wraps(step)
        def timed_step(batch: Any) -> Any:
            self.steps.append(time.perf_counter())
            return step(batch)

        module.training_step = timed_step  # type: ignore[method-assign]
        super().__call__(module, *rest)

    @property
    def step(self) -> float:
        """Seconds a step, the median without the first."""
        pairs = zip(self.steps[1:-1], self.steps[2:], strict=True)
        return statistics.median(end - start for start, end in pairs)


def time_call(run: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def time_in_turns(*runs: Callable[[], object]) -> list[float]:
    """Returns the median seconds of calls that are made in turns."""
    rounds = [[time_call(run) for run in runs] for _ in range(ROUNDS)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def draw_planted(n: int, width: int, levels: int = 1, seed: int = 0) -> Examples:
    """Returns episodes whose answers depend on eight inputs, and on noise."""
    rng = torch.Generator().manual_seed(seed)
    z_NLD = torch.randn(n, levels, width, generator=rng)
    noise_N = 2 * torch.randn(n, generator=rng)
    return Examples(z_NLD, (z_NLD[:, 0, :8].sum(dim=1) + noise_N > 0).float())


def train_population(
    make: Callable[[int, int], Reporter],
    examples: Examples,
    prior: Prior,
    heads: int = K,
    epochs: int = EPOCHS,
    trainer: Trainer | None = None,
    strengths: tuple[float, ...] = (1.0,),
    **changed: Any,
) -> None:
    """Trains heads, each with its clipping, validation and best weights."""
    levels, width = examples.z_NLD.shape[1:]
    steps = {"epochs": epochs, "patience": epochs}
    schedule: Schedule = build(DEFAULTS | steps | changed, "training")
    task = build_task(
        make=make,
        prior=prior,
        examples=examples,
        held_out=draw_planted(N // 4, width, levels, seed=1),
        levels=range(levels),
        flops_L=torch.arange(levels) * 1000.0,
        flops_step=1000.0,
        seeds=range(heads // len(strengths)),
        strengths=strengths,
        rounds=schedule.precision == "bfloat16",
    )
    # Only the fit: how far heads are from their optimum, others do not measure.
    population = fit.build_population(task, schedule, AdamW(0.02))
    trainer = trainer or Trainer("cpu", 1e9, False)
    with tempfile.TemporaryDirectory() as folder:
        fit.train_population(task, population, trainer, Path(folder) / "fit")


# What a user would do instead, a head at a time.


class Alone(pl.LightningModule):
    """One head as one would write it."""

    def __init__(self, width: int, hidden: int, log: bool) -> None:
        super().__init__()
        self.net: nn.Module = nn.Linear(width, 1)
        if hidden:
            self.net = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.logs = log

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(self.net(batch[0]).squeeze(1), batch[1])
        if self.logs:
            self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.02)


def fit_with_lightning(
    examples: Examples, hidden: int = 0, epochs: int = EPOCHS, lean: bool = False
) -> None:
    """Fits one head as Lightning does by default, or without logger, bar and checkpoints."""
    options: dict[str, Any] = {"max_epochs": epochs, "accelerator": "cpu"}
    if lean:
        for name in ("progress_bar", "checkpointing", "model_summary"):
            options[f"enable_{name}"] = False
        options["logger"] = False
    rows = TensorDataset(examples.z_NLD[:, 0], examples.human_N)
    batches = DataLoader(rows, batch_size=BATCH, shuffle=True)
    head = Alone(examples.z_NLD.shape[2], hidden, not lean)
    # Its bar is drawn, and not shown between the rows.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        pl.Trainer(default_root_dir=folder, **options).fit(head, batches)


def fit_in_plain_loop(examples: Examples) -> None:
    """Fits one linear head in a loop of its own."""
    head = nn.Linear(examples.z_NLD.shape[2], 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02, fused=True)
    z_ND = examples.z_NLD[:, 0]
    for _ in range(EPOCHS):
        for index_B in torch.randperm(N).split(BATCH):
            optimizer.zero_grad()
            log_odds_B = head(z_ND[index_B]).squeeze(1)
            F.binary_cross_entropy_with_logits(log_odds_B, examples.human_N[index_B]).backward()
            optimizer.step()


def fit_like_elk(z_ND: Tensor, human_N: Tensor, price: float) -> None:
    """Fits one linear head as eleuther-elk 0.1.1 does."""
    head = nn.Linear(z_ND.shape[1], 1, dtype=z_ND.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), line_search_fn="strong_wolfe", max_iter=10_000)

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(head(z_ND).squeeze(-1), human_N)
        loss = loss + price / 2 * head.weight.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)  # type: ignore[arg-type]


def fit_like_scikit_learn(z_ND: Tensor, human_N: Tensor, price: float) -> None:
    """Fits one linear head as scikit-learn does."""
    model = LogisticRegression(C=1 / (price * N), tol=1e-6, max_iter=10_000)
    model.fit(z_ND.numpy(), human_N.numpy())


# The bars.


def list_precisions() -> list[str]:
    """Returns the precisions that are worth measuring: bfloat16 where the processor has units for
    it.
    """
    return ["float32", "bfloat16"] if has_bfloat16_units("cpu") else ["float32"]


def measure_linear_heads() -> list[Row]:
    """Returns what 960 linear heads take beside one fit, and what others take a head."""
    rows = []
    precisions = list_precisions()
    for width in (128, 576):
        examples = draw_planted(N, width)
        one_rate = partial(train_population, Linear, examples, NoPrior())
        rates = [0.01 * 1.3**m for m in range(8)]
        own_rates = partial(one_rate, strengths=(1.0,) * 8, learning_rate=rates)
        alone, *times = time_in_turns(
            partial(fit_with_lightning, examples),
            *[partial(one_rate, precision=precision) for precision in precisions],
            *[partial(own_rates, precision=precision) for precision in precisions],
        )
        heads = f"{K} linear heads, {width} wide"
        beside = "beside one default Lightning fit"
        for precision, plain, own in zip(
            precisions, times[: len(precisions)], times[len(precisions) :], strict=True
        ):
            what = f"{heads}, {precision}: clipping, validation, best weights; {beside}"
            rows.append(Row(what, plain / alone, 2.5))
            what = f"{heads}, {precision}: and eight learning rates; {beside}"
            rows.append(Row(what, own / alone, 3.0))
        others = {
            "lean Lightning": partial(fit_with_lightning, examples, lean=True),
            "a plain loop": partial(fit_in_plain_loop, examples),
        }
        for name, run in others.items():
            what = f"{name}, {width} wide, head by head; beside the population"
            rows.append(Row(what, time_call(run) * K / times[0], 1, least=True))
    return rows


def measure_mlp_heads() -> list[Row]:
    """Returns how much faster 960 MLPs are than one after the other, and how near their step is to
    the machine's best.
    """
    examples = draw_planted(N, 576)
    alone = time_call(partial(fit_with_lightning, examples, HIDDEN, MLP_EPOCHS))
    shares = {"float32": (torch.float32, 0.8), "bfloat16": (torch.bfloat16, 0.55)}
    rows = []
    for precision in list_precisions():
        dtype, share = shares[precision]
        square = torch.randn(2048, 2048, dtype=dtype)
        trainer = Timed("cpu", 1e9, False, memory=64.0)
        options: dict[str, Any] = {"epochs": MLP_EPOCHS, "trainer": trainer, "precision": precision}
        make = partial(MLP, hidden=HIDDEN)
        all_heads = time_call(partial(train_population, make, examples, NoPrior(), **options))
        fastest = min(time_call(partial(torch.matmul, square, square)) for _ in range(8))
        peak = 2 * 2048**3 / fastest
        what = f"one after the other instead of {K} MLPs, 576-{HIDDEN}, {precision}"
        rows.append(Row(what, alone * K / all_heads, 15, least=True))
        what = f"their step, of the {precision} peak of {peak / 1e9:.0f} GFLOP/s"
        reached = 4 * K * 576 * HIDDEN * BATCH / trainer.step / peak
        rows.append(Row(what, reached, share, least=True, unit="of it"))
    return rows


def draw_conditioned(width: int, condition: float) -> tuple[Tensor, Tensor]:
    """Returns activations in float64 whose largest standard deviation is `condition` times the
    smallest, and noisy answers.
    """
    rng = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=rng, dtype=torch.float64)
    normal_ND = draw(N, width)
    turn_DD = torch.linalg.qr(draw(width, width))[0]
    size_D = torch.logspace(0, -math.log10(condition), width, dtype=torch.float64)
    human_N = (normal_ND[:, :8].sum(dim=1) + 3 * draw(N) > 0).double()
    return normal_ND * size_D @ turn_DD.T, human_N


def measure_convex_heads(heads: int = 352) -> list[Row]:
    """Returns what a head takes that is solved to its optimum, and how many times longer others
    take.
    """
    rows = []
    for width in (128, 576):
        for condition in (1.0, 1e6):
            z_ND, human_N = draw_conditioned(width, condition)
            price_K = torch.logspace(-2, 2, heads, dtype=torch.float64) / N
            each = time_call(partial(solve_heads, z_ND, human_N, price_K)) / heads
            name = f"a convex head, {width} wide, conditioning {condition:g}, to 1e-6 nats"
            rows.append(Row(name, each * 1e3, 2, unit="ms"))
            few = price_K[:: heads // 4].tolist()
            peers = {
                "scikit-learn's L-BFGS": fit_like_scikit_learn,
                "eleuther-elk's way": fit_like_elk,
            }
            for peer, fit_peer in peers.items():
                times = [time_call(partial(fit_peer, z_ND, human_N, price)) for price in few]
                ratio = statistics.mean(times) / each
                rows.append(Row(f"{peer} beside it", ratio, 1, least=True))
    return rows


def solve_heads(z_ND: Tensor, human_N: Tensor, price_K: Tensor) -> None:
    """Solves a linear head for each price of its squared weights."""
    a_NW = torch.cat([z_ND, torch.ones(N, 1, dtype=torch.float64)], dim=1)

    def compute_losses(k: Tensor, theta_KW: Tensor, log_odds_KN: Tensor) -> Tensor:
        errors_K = nll(log_odds_KN, human_N).mean(dim=1)
        return errors_K + price_K[k] * theta_KW[:, :-1].square().sum(dim=1) / 2

    solve(Convex(1e-8, 1000), a_NW, compute_losses, price_K)


def measure_families() -> list[Row]:
    """Returns what heads under four priors take, a quarter each, beside as many under none: of few
    linear heads, of many, and of MLPs.
    """
    priors = NoPrior(), Simplicity(0.05), Speed(2.0), CircuitSize(2.0, prune=False)
    linear, mlp = (
        partial(train_population, Linear),
        partial(train_population, partial(MLP, hidden=HIDDEN)),
    )
    five_levels, one_level = draw_planted(N, 64, levels=5), draw_planted(N, 576)
    cases = [
        (f"{K} linear heads of five levels", partial(linear, five_levels, epochs=EPOCHS), K // 5),
        ("3520 linear heads of five levels", partial(linear, five_levels, epochs=EPOCHS), 704),
        (f"{K} MLPs, 576-{HIDDEN},", partial(mlp, one_level, epochs=MLP_EPOCHS), K),
    ]
    rows = []
    for what, run, seeds in cases:

        def run_four(run: Callable[..., None] = run, seeds: int = seeds) -> None:
            for prior in priors:
                run(prior, heads=seeds // 4)

        none, four = time_in_turns(partial(run, NoPrior(), heads=seeds), run_four)
        name = f"{what} under four priors, a quarter each; beside as many under none"
        rows.append(Row(name, four / none, 1.5))
    return rows


def main() -> None:
    """Prints the table, line by line as it is measured."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    print(
        f"{describe_machine()}\n\n| what | measured | bar | |\n|---|---|---|---|",
        flush=True,
    )
    parts = (measure_linear_heads, measure_mlp_heads, measure_convex_heads, measure_families)
    for measure in parts:
        for row in measure():
            print(row, flush=True)


if __name__ == "__main__":
    main()
