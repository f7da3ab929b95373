"""A lookup table beside a rule, in gates and in depth.   python train.py experiment=lookup

N: episodes, B: bits of a row's number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from compute.trainer import Trainer
from console.errors import UserError
from priors.prior import Prior
from reporters.circuits.circuit import Circuit, Gate
from reporters.logic import Logic
from training.examples import Examples
from training.population import train
from training.schedule import Schedule

RULE, GATE, TABLE = "x & 1", "x & (x >> 1) & 1", "table"
"""The rules that a wire and one gate compute, and a table drawn at random."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Lookup:
    """Builds circuits for random tables and for a rule, and trains heads of gates on small ones.

    Almost every table of n rows takes some n / log2 n gates however it is built (Shannon 1949), and
    about as many are enough (Lupanov 1958); its depth need not grow faster than log2 n. The rule x
    & 1 takes none of either. So a prior on gates tells a rule from a memorised table, and one on
    depth hardly does.

    Args:
        rows: sizes of tables, powers of two, 4 or more.
        tables: random tables of each size.
        seed: of the first table.
        trained_rows: size of the tables that heads are trained on.
        trained_tables: how many random ones.
        episodes: rows that a head is trained on, every row as often as any other.
        seeds: heads trained for each function, prior and strength.
        strengths: of the priors.
        priors: by name.
        head: the values of `reporters.logic.Logic`.
        schedule: of the training.
        trainer: how Lightning runs it.
    """

    rows: list[int]
    tables: int
    seed: int
    trained_rows: int
    trained_tables: int
    episodes: int
    seeds: int
    strengths: list[float]
    priors: dict[str, Prior]
    head: dict[str, float]
    schedule: Schedule
    trainer: Trainer

    def __post_init__(self) -> None:
        for key, sizes in (("rows", self.rows), ("trained_rows", [self.trained_rows])):
            for n in sizes:
                if n < 4 or n & (n - 1):
                    raise UserError(
                        f"job.{key}: a table of {n} rows is none of whole bits. Use powers of two"
                        " from 4 on: 16, 64, 256."
                    )
        for key in ("tables", "trained_tables", "seeds"):
            if getattr(self, key) < 1:
                raise UserError(f"job.{key}: {getattr(self, key)} is too small. Use 1 or more.")
        if self.episodes < self.schedule.batch_size or self.episodes % self.trained_rows:
            raise UserError(
                f"job.episodes: {self.episodes} is no multiple of job.trained_rows, or less than a"
                f" batch. Use {64 * self.trained_rows}."
            )
        try:
            self._head(1, 2)
        except TypeError as error:
            raise UserError(
                f"job.head: {error}. Give it the values of configs/reporter/logic.yaml."
            ) from None

    def __call__(self, folder: Path) -> None:
        """Writes lookup.parquet, lookup.png and summary.md."""
        folder.mkdir(parents=True, exist_ok=True)
        found = pd.DataFrame([*self.constructed(), *self.trained(folder / "unfinished.ckpt")])
        found.to_parquet(folder / "lookup.parquet")
        _plot(found[found["how"] == "constructed"], folder / "lookup.png")
        (folder / "summary.md").write_text(summary(found))

    def constructed(self) -> list[dict[str, object]]:
        """Returns gates and depth of the plain construction for the rule and for each random table;
        each circuit has been run on all its rows.
        """
        lines = []
        for n in self.rows:
            functions = [(RULE, 0, _rule(n))] + [
                (TABLE, seed, _table(n, seed)) for seed in range(self.seed, self.seed + self.tables)
            ]
            for function, seed, says_N in functions:
                circuit = Circuit.of_table(tuple(map(bool, says_N)))
                assert (circuit(_bits(n)) == says_N).all()
                lines.append(_line("constructed", function, n, seed, circuit, 1.0))
        return lines

    def trained(self, checkpoint: Path) -> list[dict[str, object]]:
        """Returns gates, depth and accuracy over all rows of heads trained under each prior."""
        n, lines = self.trained_rows, []
        functions = [(RULE, _rule(n)), (GATE, _rule(n) & _bits(n)[:, 1])]
        functions += [
            (f"{TABLE} {seed}", _table(n, seed))
            for seed in range(self.seed, self.seed + self.trained_tables)
        ]
        for function, says_N in functions:
            for name, prior in self.priors.items():
                for seed, strength, circuit in self._circuits(says_N, prior, checkpoint):
                    accuracy = float((circuit(_bits(n)) == says_N).mean())
                    lines.append(
                        _line("trained", function, n, seed, circuit, accuracy)
                        | {"prior": name, "strength": strength}
                    )
        return lines

    def _circuits(
        self, says_N: Bools, prior: Prior, checkpoint: Path
    ) -> list[tuple[int, float, Circuit]]:
        """Returns seed, strength and simplified circuit of heads that learned a function from its
        rows.
        """
        table = Examples(
            torch.from_numpy(2.0 * _bits(len(says_N)) - 1)[:, None].float(),
            torch.from_numpy(says_N).float(),
        )
        times = self.episodes // len(says_N)
        examples = Examples(table.z_NLD.repeat(times, 1, 1), table.human_N.repeat(times))
        free_L = torch.zeros(1, dtype=torch.float64)
        seeds = range(self.seeds)
        heads = train(
            self._head,
            prior,
            examples,
            table,
            [0],
            free_L,
            1.0,
            seeds,
            self.strengths,
            self.schedule,
            self.trainer,
            checkpoint,
        )
        assert isinstance(heads.reporter, Logic)
        high_B = (1 - heads.mean_LD[0]) / heads.std_LD[0]
        circuits = []
        for s, seed in enumerate(seeds):
            for m, strength in enumerate(self.strengths):
                weights = {key: value[0, s, m] for key, value in heads.weights.items()}
                circuits.append(
                    (
                        seed,
                        strength,
                        _of_bits(heads.reporter.circuit(weights), weights["output_bias_2"], high_B),
                    )
                )
        return circuits

    def _head(self, n_levels: int, width: int) -> Logic:
        return Logic(n_levels, width, **self.head)  # type: ignore[arg-type]


def _of_bits(circuit: Circuit, says_2: torch.Tensor, high_B: torch.Tensor) -> Circuit:
    """Returns a head's circuit, simplified, over the bits that its thresholds tell apart: ±1,
    standardised to ±high_B.
    """
    width = len(high_B)
    wires = []
    for one in circuit.inputs:
        assert not isinstance(one, str)
        high = float(high_B[one.place])
        wires.append(
            Gate(
                12 if -high <= one.value < high else 15 * (one.value < -high), one.place, one.place
            )
        )
    moved = [Gate(gate.function, gate.a + width, gate.b + width) for gate in circuit.nodes]
    low, high = says_2.sort().values.tolist()
    output = None if circuit.output is None or low > 0 or high <= 0 else circuit.output + width
    negated = circuit.negated if output is not None else low > 0
    return Circuit(
        tuple(f"x{i}" for i in range(width)), (*wires, *moved), output, negated
    ).simplified()


def _bits(n: int) -> Bools:
    """Returns the bits of 0 to n - 1, lowest first, shape (n, B)."""
    return (np.arange(n)[:, None] >> np.arange(n.bit_length() - 1) & 1).astype(bool)


def _rule(n: int) -> Bools:
    return _bits(n)[:, 0]


def _table(n: int, seed: int) -> Bools:
    return np.random.default_rng(seed).random(n) < 0.5


def _line(
    how: str, function: str, rows: int, seed: int, circuit: Circuit, accuracy: float
) -> dict[str, object]:
    counts = {"gates": circuit.gates, "depth": circuit.depth}
    return {
        "how": how,
        "function": function,
        "rows": rows,
        "seed": seed,
        **counts,
        "accuracy": accuracy,
        "circuit": str(circuit),
    }


def summary(found: pd.DataFrame) -> str:
    """Returns the finding in words, as Markdown."""
    built, learned = found[found["how"] == "constructed"], found[found["how"] == "trained"]
    tables = (
        built[built["function"] == TABLE]
        .groupby("rows")[["gates", "depth"]]
        .agg(["mean", "min", "max"])
    )
    rules = built[built["function"] == RULE].groupby("rows")[["gates", "depth"]].max()
    few, many = tables.index.min(), tables.index.max()
    grown = {
        key: tables.loc[many, (key, "mean")] / max(tables.loc[few, (key, "mean")], 1)
        for key in ("gates", "depth")
    }
    lines = [
        "# A lookup table beside a rule",
        "",
        (
            f"From {few} to {many} rows the circuit of a random table grows"
            f" {grown['gates']:.0f} times in gates and {grown['depth']:.1f} times in depth; that of"
            f" `{RULE}` has {rules['gates'].max()} gates and depth {rules['depth'].max()} at every"
            " size. So a prior on gates tells a rule from a memorised table, and a prior on depth"
            " hardly does. Every circuit was run on all its rows."
        ),
        "",
        (
            "| rows | table: gates, mean (range) | table: depth, mean (range) | rule: gates | rule:"
            " depth | n / log2 n | log2 n |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    for n, (_, row) in zip(tables.index.tolist(), tables.iterrows(), strict=True):
        cells = [
            f"{row[key, 'mean']:.1f} ({row[key, 'min']:.0f} to {row[key, 'max']:.0f})"
            for key in ("gates", "depth")
        ]
        log = np.log2(n)
        lines.append(
            f"| {n} | {cells[0]} | {cells[1]} | {rules['gates'][n]} | {rules['depth'][n]} |"
            f" {n / log:.0f} | {log:.0f} |"
        )
    lines += ["", f"What training finds at {learned['rows'].max()} rows, by heads:", ""]
    lines += [
        (
            "| function | prior | strength | exact heads | accuracy, mean (best) | gates | depth |"
            " fewest gates if exact |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for (function, prior, strength), heads in learned.groupby(
        ["function", "prior", "strength"], sort=False
    ):
        exact = heads[heads["accuracy"] == 1]
        said = f"{heads['accuracy'].mean():.3f} ({heads['accuracy'].max():.3f})"
        counts = [" ".join(map(str, heads[key])) for key in ("gates", "depth")]
        fewest = str(exact["gates"].min()) if len(exact) else "none"
        lines.append(
            f"| {function} | {prior} | {strength:g} | {len(exact)} of {len(heads)} | {said} |"
            f" {counts[0]} | {counts[1]} | {fewest} |"
        )
    return "\n".join([*lines, ""])


def _plot(built: pd.DataFrame, path: Path) -> None:
    """Draws gates and depth against rows: tables with their range, the rule, and what theory says
    of tables.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    guides: dict[str, tuple[str, Callable[..., Any]]] = {
        "gates": ("n / log2 n", lambda n: n / np.log2(n)),
        "depth": ("log2 n", np.log2),
    }
    rows = np.geomspace(built["rows"].min(), built["rows"].max(), 50)
    for axis, (key, (name, guide)) in zip(figure.subplots(1, 2), guides.items(), strict=True):
        table, rule = (
            built[built["function"] == function].groupby("rows")[key].agg(["mean", "min", "max"])
            for function in (TABLE, RULE)
        )
        axis.plot(rows, guide(rows), color="#999999", linestyle="--", linewidth=1, label=name)
        axis.fill_between(
            table.index, table["min"], table["max"], color="#D55E00", alpha=0.25, linewidth=0
        )
        axis.plot(
            table.index,
            table["mean"],
            color="#D55E00",
            marker="o",
            markersize=4,
            label="random table, plain construction",
        )
        axis.plot(
            rule.index,
            rule["mean"],
            color="#0072B2",
            marker="o",
            markersize=4,
            label=f"rule: {RULE}",
        )
        axis.set_xscale("log", base=2)
        axis.set_xticks(table.index, [str(n) for n in table.index])
        axis.set(xlabel="rows", ylabel={"gates": "gates", "depth": "depth, in gates"}[key])
        axis.spines[["top", "right"]].set_visible(False)
        if key == "gates":
            axis.set_yscale("symlog", linthresh=1)
            axis.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
        axis.set_ylim(*((-0.15, 2 * table["max"].max()) if key == "gates" else (-0.6, None)))
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 0.95))
    figure.savefig(path, dpi=130, metadata={"Software": None})
