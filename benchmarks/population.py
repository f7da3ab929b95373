"""Populations of heads beside what a user would do instead; a Markdown table of bars, met or not.
python -m benchmarks.population

Everything is measured in one run, on one thread and one after the other in turns; only ratios are
worth keeping. `eleuther-elk` wants concept-erasure 0.1.0, which cannot be installed beside this
project: its way of training, full-batch LBFGS with a strong Wolfe search from zero weights, head by
head, is written down here as its `Classifier.fit` has it.

N: episodes, D: width, K: heads, P: parameters.
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

from compute.allocation import keep_freed_memory
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
from training.convex import Convex, solve
from training.examples import Examples
from training.find_heads import train
from training.schedule import Schedule

K, N, EPOCHS, BATCH, HIDDEN = 960, 4096, 20, 256, 64
MLP_EPOCHS, ROUNDS = 4, 3
DEFAULTS: dict[str, Any] = {
    "_target_": "training.schedule.Schedule",
    "learning_rate": 0.02,
    "clip": 1.0,
    "ramp": 0.4,
    "halting_bonus": 0.3,
}
DEFAULTS |= {"bonus_from": 0.4, "bonus_to": 0.8, "order": "shared", "batch_size": BATCH}


class Row(NamedTuple):
    """One line of the table: smaller than the bar is met, or above it where a bar is a least."""

    what: str
    measured: float
    bar: float
    least: bool = False
    unit: str = "times"

    def __str__(self) -> str:
        met = self.measured >= self.bar if self.least else self.measured <= self.bar
        return (
            f"| {self.what} | {self.measured:.3g} {self.unit} |"
            f" {'≥' if self.least else '≤'} {self.bar:g} | {'met' if met else 'not met'} |"
        )


@dataclass(frozen=True)
class Timed(Trainer):
    """A fit that notes when each of its steps begins."""

    steps: list[float] = field(default_factory=list)

    def __call__(self, module: pl.LightningModule, *given: Any) -> None:
        step = module.training_step

        @functools.wraps(step)
        def timed(batch: Any) -> Any:
            self.steps.append(time.perf_counter())
            return step(batch)

        module.training_step = timed  # type: ignore[method-assign]
        super().__call__(module, *given)

    @property
    def step(self) -> float:
        """Seconds a step, the median without the first."""
        return statistics.median(
            b - a for a, b in zip(self.steps[1:-1], self.steps[2:], strict=True)
        )


def seconds(run: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def medians(*runs: Callable[[], object]) -> list[float]:
    """Returns what calls take that are made in turns."""
    return [
        statistics.median(times)
        for times in zip(*([seconds(run) for run in runs] for _ in range(ROUNDS)), strict=True)
    ]


def planted(n: int, width: int, levels: int = 1, seed: int = 0) -> Examples:
    """Returns episodes that eight inputs say something of."""
    chance = torch.Generator().manual_seed(seed)
    z_NLD = torch.randn(n, levels, width, generator=chance)
    return Examples(
        z_NLD, (z_NLD[:, 0, :8].sum(dim=1) + 2 * torch.randn(n, generator=chance) > 0).float()
    )


def population(
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
    levels = examples.z_NLD.shape[1]
    schedule: Schedule = build(
        DEFAULTS | {"epochs": epochs, "patience": epochs, "precision": "float32"} | changed,
        "training",
    )
    with tempfile.TemporaryDirectory() as folder:
        flops_L = torch.arange(levels) * 1000.0
        held_out = planted(N // 4, examples.z_NLD.shape[2], levels, seed=1)
        seeds, how = (
            range(heads // len(strengths)),
            trainer or Trainer("cpu", 1e9, False, memory=64.0),
        )
        train(
            make,
            prior,
            examples,
            held_out,
            range(levels),
            flops_L,
            1000.0,
            seeds,
            strengths,
            schedule,
            how,
            Path(folder) / "fit",
        )


# What a user would do instead, a head at a time.


class Alone(pl.LightningModule):
    """One head as one would write it."""

    def __init__(self, width: int, hidden: int, log: bool) -> None:
        super().__init__()
        self.net = (
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))
            if hidden
            else nn.Linear(width, 1)
        )
        self.logs = log

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(self.net(batch[0]).squeeze(1), batch[1])
        if self.logs:
            self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.02)


def lightning(
    examples: Examples, hidden: int = 0, epochs: int = EPOCHS, lean: bool = False
) -> None:
    """Fits one head as Lightning does by default, or without logger, bar and checkpoints."""
    off = (
        {
            "logger": False,
            "enable_progress_bar": False,
            "enable_checkpointing": False,
            "enable_model_summary": False,
        }
        if lean
        else {}
    )
    batches = DataLoader(
        TensorDataset(examples.z_NLD[:, 0], examples.human_N), batch_size=BATCH, shuffle=True
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):  # its bar is drawn, and not shown between the rows
        pl.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder, **off).fit(
            Alone(examples.z_NLD.shape[2], hidden, not lean), batches
        )


def plain_loop(examples: Examples) -> None:
    """Fits one linear head in a loop of its own."""
    head = nn.Linear(examples.z_NLD.shape[2], 1)
    optimizer, z_ND = (
        torch.optim.AdamW(head.parameters(), lr=0.02, fused=True),
        examples.z_NLD[:, 0],
    )
    for _ in range(EPOCHS):
        for index_B in torch.randperm(N).split(BATCH):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(
                head(z_ND[index_B]).squeeze(1), examples.human_N[index_B]
            ).backward()
            optimizer.step()


def elk(z_ND: Tensor, human_N: Tensor, penalty: float) -> None:
    """Fits one linear head as eleuther-elk 0.1.1 does."""
    head = nn.Linear(z_ND.shape[1], 1, dtype=z_ND.dtype)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), line_search_fn="strong_wolfe", max_iter=10_000)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (
            F.binary_cross_entropy_with_logits(head(z_ND).squeeze(-1), human_N)
            + penalty * head.weight.square().sum()
        )
        loss.backward()
        return float(loss)

    optimizer.step(closure)  # type: ignore[arg-type]


# The bars.


def linear_heads() -> list[Row]:
    """Returns what 960 linear heads take beside one fit, and what others take a head."""
    rows = []
    for width in (128, 576):
        examples = planted(N, width)
        runs = [partial(lightning, examples)] + [
            partial(population, Linear, examples, NoPrior(), precision=p)
            for p in ("float32", "bfloat16")
        ]
        own = partial(
            population,
            Linear,
            examples,
            NoPrior(),
            strengths=(1.0,) * 8,
            learning_rate=[0.01 * 1.3**m for m in range(8)],
        )
        one, *many = medians(*runs, *(partial(own, precision=p) for p in ("float32", "bfloat16")))
        for name, bar, times in (
            ("clipping, validation, best weights", 2.5, many[:2]),
            ("and eight learning rates", 3.0, many[2:]),
        ):
            rows += [
                Row(
                    f"{K} linear heads, {width} wide, {p}: {name}; beside one default"
                    " Lightning fit",
                    t / one,
                    bar,
                )
                for p, t in zip(("float32", "bfloat16"), times, strict=True)
            ]
        others = {
            "lean Lightning": partial(lightning, examples, lean=True),
            "a plain loop": partial(plain_loop, examples),
        }
        rows += [
            Row(
                f"{name}, {width} wide, head by head; beside the population",
                seconds(run) * K / many[0],
                1,
                least=True,
            )
            for name, run in others.items()
        ]
    return rows


def mlp_heads() -> list[Row]:
    """Returns how much quicker 960 MLPs are than one after the other, and how near their step is to
    the machine's best.
    """
    examples = planted(N, 576)
    make = partial(MLP, hidden=HIDDEN)
    one = seconds(partial(lightning, examples, HIDDEN, MLP_EPOCHS))
    rows = []
    for precision, dtype, share in (
        ("float32", torch.float32, 0.8),
        ("bfloat16", torch.bfloat16, 0.55),
    ):
        square = torch.randn(2048, 2048, dtype=dtype)
        trainer = Timed("cpu", 1e9, False, memory=64.0)
        took = seconds(
            partial(
                population,
                make,
                examples,
                NoPrior(),
                epochs=MLP_EPOCHS,
                trainer=trainer,
                precision=precision,
            )
        )
        peak = 2 * 2048**3 / min(seconds(lambda square=square: square @ square) for _ in range(8))  # type: ignore[misc]
        rows.append(
            Row(
                f"one after the other instead of {K} MLPs, 576-{HIDDEN}, {precision}",
                one * K / took,
                15,
                least=True,
            )
        )
        reached = 4 * K * 576 * HIDDEN * BATCH / trainer.step / peak
        rows.append(
            Row(
                f"their step, of the {precision} peak of {peak / 1e9:.0f} GFLOP/s",
                reached,
                share,
                least=True,
                unit="of it",
            )
        )
    return rows


def conditioned(width: int, condition: float) -> tuple[Tensor, Tensor]:
    """Returns activations whose directions differ so many times in size, and noisy answers, in
    float64.
    """
    chance = torch.Generator().manual_seed(0)
    normal_ND = torch.randn(N, width, generator=chance, dtype=torch.float64)
    turn_DD = torch.linalg.qr(torch.randn(width, width, generator=chance, dtype=torch.float64))[0]
    size_D = torch.logspace(0, -math.log10(condition), width, dtype=torch.float64)
    return (
        normal_ND * size_D @ turn_DD.T,
        (
            normal_ND[:, :8].sum(dim=1) + 3 * torch.randn(N, generator=chance, dtype=torch.float64)
            > 0
        ).double(),
    )


def convex_heads(heads: int = 352) -> list[Row]:
    """Returns what a head takes that is solved for, and how many times longer others take."""
    rows = []
    for width in (128, 576):
        for condition in (1.0, 1e6):
            z_ND, human_N = conditioned(width, condition)
            a_NP = torch.cat([z_ND, torch.ones(N, 1, dtype=torch.float64)], dim=1)
            price_K = torch.logspace(-2, 2, heads, dtype=torch.float64) / N

            def losses(
                k: Tensor,
                theta_KP: Tensor,
                log_odds_KN: Tensor,
                price_K: Tensor = price_K,
                human_N: Tensor = human_N,
            ) -> Tensor:
                return (
                    nll(log_odds_KN, human_N).mean(dim=1)
                    + price_K[k] * theta_KP[:, :-1].square().sum(dim=1) / 2
                )

            took = (
                seconds(
                    lambda a_NP=a_NP, price_K=price_K, losses=losses: solve(
                        Convex(1e-8, 1000), a_NP, losses, price_K
                    )
                )
                / heads
            )  # type: ignore[misc]
            rows.append(
                Row(
                    f"a convex head, {width} wide, conditioning {condition:g}, to 1e-6 nats",
                    took * 1e3,
                    2,
                    unit="ms",
                )
            )
            few = price_K[:: heads // 4].tolist()
            peers = {
                "scikit-learn's L-BFGS": (
                    lambda p, z=z_ND, y=human_N: LogisticRegression(
                        C=1 / (p * N), tol=1e-6, max_iter=10_000
                    ).fit(z, y)
                ),
                "eleuther-elk's way": lambda p, z=z_ND, y=human_N: elk(z, y, p / 2),
            }
            rows += [
                Row(
                    f"{name} beside it",
                    sum(seconds(partial(run, p)) for p in few) / len(few) / took,
                    1,
                    least=True,
                )
                for name, run in peers.items()
            ]
    return rows


def families() -> list[Row]:
    """Returns what heads under four priors take, a quarter each, beside as many under none: of few
    linear heads, of many, and of MLPs.
    """
    priors = NoPrior(), Simplicity(0.05), Speed(2.0), CircuitSize(2.0, prune=False)
    linear, rows = planted(N, 64, levels=5), []
    for what, make, heads, examples, epochs in (
        ("linear heads of five levels", Linear, K, linear, EPOCHS),
        ("linear heads of five levels", Linear, 3520, linear, EPOCHS),
        (f"MLPs, 576-{HIDDEN},", partial(MLP, hidden=HIDDEN), K, planted(N, 576), MLP_EPOCHS),
    ):
        each = partial(population, make, examples, epochs=epochs)
        seeds = heads // examples.z_NLD.shape[1]

        def four(each: Callable[..., None] = each, seeds: int = seeds) -> None:
            for prior in priors:
                each(prior, heads=seeds // 4)

        one, several = medians(partial(each, NoPrior(), heads=seeds), four)
        rows.append(
            Row(
                f"{heads} {what} under four priors, a quarter each; beside as many under none",
                several / one,
                1.5,
            )
        )
    return rows


def main() -> None:
    """Prints the table, line by line as it is measured."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    warnings.filterwarnings("ignore")
    keep_freed_memory()
    print(
        f"torch {torch.__version__}, one thread\n\n| what | measured | bar | |\n|---|---|---|---|",
        flush=True,
    )
    for part in (linear_heads, mlp_heads, convex_heads, families):
        for row in part():
            print(row, flush=True)


if __name__ == "__main__":
    main()
