"""A lookup table beside a rule, in gates and in depth.   python train.py experiment=lookup

N: episodes, B: bits of a row's number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from compute.trainer import Trainer
from configs.build import check
from console.errors import UserError
from console.ranges import Range, Seed
from priors.prior import Prior
from reporters.circuits.circuit import Circuit, Gate
from reporters.logic import Logic
from storage.atomic import write_atomically
from training.examples import Examples
from training.find_heads import build_task, train
from training.optimizers.optimizer import Optimizer
from training.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RULE, GATE, TABLE = "x & 1", "x & (x >> 1) & 1", "table"
"""The rules that a wire and one gate compute, and a table drawn at random."""
GUIDES: dict[str, tuple[str, Callable[..., Any]]] = {
    "gates": ("n / log2 n", lambda n: n / np.log2(n)),
    "depth": ("log2 n", np.log2),
}
"""What theory predicts for a random table of n rows, and its name."""
GREY, ORANGE, BLUE = "#999999", "#D55E00", "#0072B2"
Bools = NDArray[np.bool_]


class Learned(NamedTuple):
    """What one head of gates learned."""

    seed: int
    strength: float
    circuit: Circuit
    """Simplified."""


Size = Annotated[int, Range(most=10_000_000)]


@dataclass(frozen=True)
class Lookup:
    """Builds circuits for random tables and for a rule, and trains heads of gates on small ones.

    Almost every table of n rows takes some n / log2 n gates however it is built (Shannon 1949), and
    about as many are enough (Lupanov 1958); its depth need not grow faster than log2 n. The rule x
    & 1 takes none of either. So a prior on gates distinguishes a rule from a memorised table, and
    one on depth hardly does.

    Args:
        rows: sizes of tables, powers of two, 4 or more.
        tables: the number of random tables of each size.
        seed: of the first table.
        trained_rows: size of the tables that heads are trained on.
        trained_tables: the number of random tables that heads are trained on.
        episodes: rows that a head is trained on, every row equally often.
        seeds: heads trained for each function, prior and strength.
        strengths: of the priors.
        priors: by name.
        head: the values of `reporters.logic.Logic`.
        schedule: of the training.
        optimizer: of the heads.
        trainer: how Lightning runs it.
    """

    rows: list[int]
    tables: Size
    seed: Seed
    trained_rows: int
    trained_tables: Size
    episodes: Size
    seeds: Size
    strengths: list[Annotated[float, Range(most=1_000_000)]]
    priors: dict[str, Prior]
    head: dict[str, float]
    schedule: Schedule
    optimizer: Optimizer
    trainer: Trainer

    def __post_init__(self) -> None:
        self.schedule.check_from_start("lookup")
        for n in self.rows:
            check_rows("rows", n)
        check_rows("trained_rows", self.trained_rows)
        for key in ("rows", "strengths"):
            values = getattr(self, key)
            if not values or len(set(values)) < len(values):
                raise UserError(f"job.{key}: {values} must name at least one, and each once.")
        if min(self.strengths) < 0 or max(self.strengths) == math.inf:
            raise UserError(f"job.strengths: {self.strengths} must be finite numbers of 0 or more.")
        for key in ("tables", "trained_tables", "seeds"):
            if getattr(self, key) < 1:
                raise UserError(f"job.{key}: {getattr(self, key)} is too small. Use 1 or more.")
        if self.episodes < self.schedule.batch_size or self.episodes % self.trained_rows:
            raise UserError(
                f"job.episodes: {self.episodes} is no multiple of job.trained_rows, or less than a"
                f" batch. Use {64 * self.trained_rows}."
            )
        check(Logic, self.head, "job.head", provided=("n_levels", "width"))

    def __call__(self, folder: Path) -> None:
        """Writes lookup.parquet, lookup.png and summary.md."""
        rows = [*self.construct_circuits(), *self.train_circuits(folder / "unfinished.ckpt")]
        table = pd.DataFrame(rows)
        with write_atomically(folder / "lookup.parquet") as temporary:
            table.to_parquet(temporary)
        with write_atomically(folder / "lookup.png") as temporary:
            plot(table[table["how"] == "constructed"], temporary)
        with write_atomically(folder / "summary.md") as temporary:
            temporary.write_text(summarise(table), encoding="utf-8")

    def construct_circuits(self) -> Iterator[dict[str, object]]:
        """Yields gates and depth of the plain construction for the rule and for each random table;
        each circuit is run on all its rows.
        """
        for n in self.rows:
            functions = [(RULE, 0, compute_rule(n))]
            for seed in range(self.seed, self.seed + self.tables):
                functions.append((TABLE, seed, draw_table(n, seed)))
            for function, seed, answer_N in functions:
                circuit = Circuit.from_table(tuple(map(bool, answer_N)))
                assert (circuit(list_bits(n)) == answer_N).all()
                yield build_row("constructed", function, n, seed, circuit, 1.0)

    def train_circuits(self, checkpoint: Path) -> Iterator[dict[str, object]]:
        """Yields gates, depth and accuracy over all rows of heads trained under each prior."""
        n = self.trained_rows
        bits_NB = list_bits(n)
        functions = {RULE: compute_rule(n), GATE: compute_rule(n) & bits_NB[:, 1]}
        for seed in range(self.seed, self.seed + self.trained_tables):
            functions[f"{TABLE} {seed}"] = draw_table(n, seed)
        for function, answer_N in functions.items():
            for name, prior in self.priors.items():
                for seed, strength, circuit in self._learn(answer_N, prior, checkpoint):
                    accuracy = float((circuit(bits_NB) == answer_N).mean())
                    row = build_row("trained", function, n, seed, circuit, accuracy)
                    yield row | {"prior": name, "strength": strength}

    def _learn(self, answer_N: Bools, prior: Prior, checkpoint: Path) -> list[Learned]:
        """Returns what heads learn about a function from its rows."""
        bits_NB = list_bits(len(answer_N))
        z_NLD = torch.from_numpy(2.0 * bits_NB - 1)[:, None].float()
        table = Examples(z_NLD, torch.from_numpy(answer_N).float())
        times = self.episodes // len(answer_N)
        task = build_task(
            make=self._make_head,
            prior=prior,
            examples=Examples(table.z_NLD.repeat(times, 1, 1), table.human_N.repeat(times)),
            held_out=table,
            levels=[0],
            flops_L=torch.zeros(1, dtype=torch.float64),
            flops_step=1.0,
            seeds=range(self.seeds),
            strengths=self.strengths,
        )
        heads = train(task, self.schedule, self.optimizer, self.trainer, checkpoint)
        assert isinstance(heads.reporter, Logic)
        high_B = (1 - heads.mean_LD[0]) / heads.std_LD[0]
        learned = []
        for s, seed in enumerate(heads.seeds):
            for m, strength in enumerate(heads.strengths):
                weights = {name: value[0, s, m] for name, value in heads.weights.items()}
                circuit = heads.reporter.circuit(weights)
                over_bits = replace_thresholds(circuit, weights["output_bias_2"], high_B)
                learned.append(Learned(seed, strength, over_bits))
        return learned

    def _make_head(self, n_levels: int, width: int) -> Logic:
        return Logic(n_levels, width, **self.head)  # type: ignore[arg-type]


def check_rows(key: str, n: int) -> None:
    """Raises UserError where a number of rows is no power of two, or below 4."""
    if n < 4 or n & (n - 1):
        raise UserError(
            f"job.{key}: a table of {n} rows cannot be numbered by whole bits. Use powers of two"
            " from 4 on: 16, 64, 256."
        )


def replace_thresholds(circuit: Circuit, log_odds_2: torch.Tensor, high_B: torch.Tensor) -> Circuit:
    """Returns a head's circuit, simplified, over the bits that its thresholds distinguish: ±1,
    standardised to ±high_B.

    Args:
        log_odds_2: what the head reports where its circuit is false, and where it is true, in
            either order.
    """
    width = len(high_B)
    wires = []
    for threshold in circuit.inputs:
        assert not isinstance(threshold, str)
        high = float(high_B[threshold.place])
        function = 12 if -high <= threshold.value < high else 15 * (threshold.value < -high)
        wires.append(Gate(function, threshold.place, threshold.place))
    moved = [Gate(gate.function, gate.a + width, gate.b + width) for gate in circuit.nodes]
    low, high = log_odds_2.sort().values.tolist()
    if circuit.output is None or low > 0 or high <= 0:
        output, negated = None, low > 0
    else:
        output, negated = circuit.output + width, circuit.negated
    names = tuple(f"x{i}" for i in range(width))
    return Circuit(names, (*wires, *moved), output, negated).simplify()


def list_bits(n: int) -> Bools:
    """Returns the bits of 0 to n - 1, lowest first, shape (n, B)."""
    number_N1 = np.arange(n)[:, None]
    return (number_N1 >> np.arange(n.bit_length() - 1) & 1).astype(bool)


def compute_rule(n: int) -> Bools:
    """Returns x & 1 of every row."""
    return list_bits(n)[:, 0]


def draw_table(n: int, seed: int) -> Bools:
    """Returns a random answer for every row."""
    return np.random.default_rng(seed).random(n) < 0.5


def build_row(
    how: str, function: str, rows: int, seed: int, circuit: Circuit, accuracy: float
) -> dict[str, object]:
    """Returns one row of lookup.parquet."""
    return {
        "how": how,
        "function": function,
        "rows": rows,
        "seed": seed,
        "gates": circuit.gates,
        "depth": circuit.depth,
        "accuracy": accuracy,
        "circuit": str(circuit),
    }


# The summary and the plot.


def summarise(table: pd.DataFrame) -> str:
    """Returns the result in words, as Markdown."""
    constructed = table[table["how"] == "constructed"]
    lines = ["# A lookup table beside a rule", ""]
    lines += summarise_constructed(constructed)
    lines += summarise_trained(table[table["how"] == "trained"])
    return "\n".join([*lines, ""])


def summarise_constructed(constructed: pd.DataFrame) -> list[str]:
    """Returns how circuits grow with their rows."""
    is_table = constructed["function"] == TABLE
    tables = constructed[is_table].groupby("rows")[["gates", "depth"]].agg(["mean", "min", "max"])
    is_rule = constructed["function"] == RULE
    rules = constructed[is_rule].groupby("rows")[["gates", "depth"]].max()
    few, many = tables.index.min(), tables.index.max()
    growth = {}
    for key in ("gates", "depth"):
        growth[key] = tables.loc[many, (key, "mean")] / max(tables.loc[few, (key, "mean")], 1)
    lines = [
        f"From {few} to {many} rows the circuit of a random table grows {growth['gates']:.0f} times"
        f" in gates and {growth['depth']:.1f} times in depth; that of `{RULE}` has"
        f" {rules['gates'].max()} gates and depth {rules['depth'].max()} at every size. So a prior"
        " on gates distinguishes a rule from a memorised table, and a prior on depth hardly does."
        " Every circuit was run on all its rows.",
        "",
        "| rows | table: gates, mean (range) | table: depth, mean (range) | rule: gates | rule:"
        " depth | n / log2 n | log2 n |",
        "|---|---|---|---|---|---|---|",
    ]
    for n, (_, row) in zip(tables.index.tolist(), tables.iterrows(), strict=True):
        cells = [str(n)]
        for key in ("gates", "depth"):
            cells.append(f"{row[key, 'mean']:.1f} ({row[key, 'min']:.0f} to {row[key, 'max']:.0f})")
        cells += [str(rules["gates"][n]), str(rules["depth"][n])]
        cells += [f"{n / np.log2(n):.0f}", f"{np.log2(n):.0f}"]
        lines.append(format_row(cells))
    return [*lines, ""]


def summarise_trained(trained: pd.DataFrame) -> list[str]:
    """Returns what heads learned of each function, under each prior and strength."""
    lines = [
        f"What training finds at {trained['rows'].max()} rows, by heads:",
        "",
        "| function | prior | strength | exact heads | accuracy, mean (best) | gates | depth |"
        " fewest gates if exact |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (function, prior, strength), heads in trained.groupby(
        ["function", "prior", "strength"], sort=False
    ):
        exact = heads[heads["accuracy"] == 1]
        cells = [
            str(function),
            str(prior),
            f"{strength:g}",
            f"{len(exact)} of {len(heads)}",
            f"{heads['accuracy'].mean():.3f} ({heads['accuracy'].max():.3f})",
            " ".join(map(str, heads["gates"])),
            " ".join(map(str, heads["depth"])),
            str(exact["gates"].min()) if len(exact) else "none",
        ]
        lines.append(format_row(cells))
    return lines


def format_row(cells: list[str]) -> str:
    """Returns one row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def plot(constructed: pd.DataFrame, path: Path) -> None:
    """Draws gates and depth against rows: tables with their range, the rule, and what theory
    predicts for tables.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    gates_axis, depth_axis = figure.subplots(1, 2)
    highest = draw_growth(gates_axis, constructed, "gates")
    gates_axis.set_ylabel("gates")
    gates_axis.set_yscale("symlog", linthresh=1)
    gates_axis.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    gates_axis.set_ylim(-0.15, 2 * highest)
    draw_growth(depth_axis, constructed, "depth")
    depth_axis.set_ylabel("depth, in gates")
    depth_axis.set_ylim(-0.6, None)
    for axis in (gates_axis, depth_axis):
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 0.95))
    figure.savefig(path, format="png", dpi=130, metadata={"Software": None})


def draw_growth(axis: Axes, constructed: pd.DataFrame, key: str) -> float:
    """Draws one of gates and depth; returns the highest value of any table."""
    name, predict = GUIDES[key]
    by_rows = constructed.groupby(["function", "rows"])[key].agg(["mean", "min", "max"])
    table, rule = by_rows.loc[TABLE], by_rows.loc[RULE]
    rows = np.geomspace(constructed["rows"].min(), constructed["rows"].max(), 50)
    axis.plot(rows, predict(rows), color=GREY, linestyle="--", linewidth=1, label=name)
    axis.fill_between(table.index, table["min"], table["max"], color=ORANGE, alpha=0.25, lw=0)
    points: dict[str, Any] = {"marker": "o", "markersize": 4}
    plain = "random table, plain construction"
    axis.plot(table.index, table["mean"], color=ORANGE, label=plain, **points)
    axis.plot(rule.index, rule["mean"], color=BLUE, label=f"rule: {RULE}", **points)
    axis.set_xscale("log", base=2)
    axis.set_xticks(table.index, [str(n) for n in table.index])
    axis.set_xlabel("rows")
    axis.spines[["top", "right"]].set_visible(False)
    return float(table["max"].max())
