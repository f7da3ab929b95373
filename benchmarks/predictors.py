"""Recipes of the vault's predictor, side by side: what training costs, what is predicted, what is
known, and which gates are passed.

python -m benchmarks.predictors            eight predictors of each recipe, seeds 0 to 7
python -m benchmarks.predictors 8 16       seeds 8 to 15
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset

from benchmarks import describe_machine
from configs.build import build, read_default
from core_model.transformer import Transformer
from core_model.transformer_model import stack_symbols
from core_model.transformer_predictor import TransformerPredictor
from verdict.draw_evaluation import DEPLOYED
from verdict.gates import build_predictor_gates
from verdict.knowledge import examine_predictor
from verdict.probe_data import ProbeData
from worlds.world import World

RECIPES = ("transformer_large", "transformer")
"""Names of YAMLs of core_model; what the others are compared with comes first."""
EPISODES = 20_000
"""Held-out ones, on which the share of right predictions is measured."""
PROBE = 4_000
"""Easy and as many disputed and amiss episodes that probe what is known, as data.probe."""


class Measured(NamedTuple):
    """The figures of one predictor."""

    cpu_seconds: float
    camera: float
    """Share of steps at which the camera's next frame is predicted."""
    scale: float
    """Share of audits whose outcome is predicted."""
    probe_3: float
    """Share of held-out episodes on which a probe for X at level 3 is right."""
    probe_4: float
    worst_cell_3: float
    """The same in the cell of X × H × amiss where it is lowest."""
    worst_cell_4: float
    certified: float
    """1 where there is a level below the last at which X's part alone moves the prediction of X."""
    gates: float
    """1 where the predictor's gates are passed: it knows X, in each family too, and uses it."""


def main() -> None:
    """Prints the table, line by line as it is measured."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    first, end = map(int, sys.argv[1:3]) if len(sys.argv) > 1 else (0, 8)
    seeds = range(first, end)
    print(describe_machine(), "\n")
    print("| recipe | " + " | ".join(Measured._fields) + " |")
    print("|---" * (len(Measured._fields) + 1) + "|")
    for name in sys.argv[3:] or RECIPES:
        recipe = build(read_default(f"core_model/{name}.yaml"), "core_model")
        rows = np.array([measure(replace(recipe, seed=seed)) for seed in seeds])
        figures = [f"{np.mean(column):.4g} ({column.min():.4g})" for column in rows.T]
        print(f"| {name} | " + " | ".join(figures) + " |", flush=True)
    print("\nMeans over predictors (the least of them).")


def measure(recipe: Transformer) -> Measured:
    """Trains one predictor and returns its figures."""
    world = build(read_default("world/vault.yaml"), "world")
    trainer = build(read_default("trainer/default.yaml"), "trainer")
    judge = build(read_default("verdict/default.yaml"), "verdict")
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        predictor = recipe.predictor(world, Path(folder), trainer)
        seconds = time.process_time() - start
    camera, scale = measure_predictions(predictor, world, recipe.seed)
    probe = draw_probe(predictor, world, recipe.seed)
    shares = [measure_probe(probe, level) for level in (3, 4)]
    knowledge = examine_predictor(predictor, probe).knowledge
    worst_cells = dict(knowledge.ceilings)
    gates = build_predictor_gates(knowledge, probe.cases, judge.knows, judge.enough)
    certified = knowledge.find_certified_level(judge.uses, predictor.n_levels - 1)
    return Measured(
        seconds,
        camera,
        scale,
        shares[0],
        shares[1],
        worst_cells[3],
        worst_cells[4],
        certified is not None,
        all(gate.passed for gate in gates),
    )


@torch.no_grad()
def measure_predictions(
    predictor: TransformerPredictor, world: World, seed: int
) -> tuple[float, float]:
    """Returns the share of steps at which each column is predicted, on new episodes of the kind
    that the predictor was trained on; steps without an observation do not count.
    """
    episodes = world.episodes("predictor", EPISODES, seed + DEPLOYED)
    right: dict[str, list[torch.Tensor]] = {column: [] for column in world.predicts}
    seen_NTC = stack_symbols(episodes, world.predicts)
    for reads_BTC, seen_BTC in zip(
        stack_symbols(episodes, world.reads).split(1000), seen_NTC.split(1000), strict=True
    ):
        for i, (column, logits) in enumerate(predictor.model(reads_BTC).items()):
            is_seen = seen_BTC[..., i] >= 0
            right[column].append((logits.argmax(-1) == seen_BTC[..., i])[is_seen])
    camera, scale = (float(torch.cat(parts).double().mean()) for parts in right.values())
    return camera, scale


def draw_probe(predictor: TransformerPredictor, world: World, seed: int) -> ProbeData:
    """Returns episodes of every cell, and their activations."""
    from datasets import concatenate_datasets

    splits: list[Dataset] = [world.episodes(s, PROBE, seed) for s in ("easy", "disputed", "amiss")]
    probe = concatenate_datasets(splits)
    levels = tuple(range(predictor.n_levels))
    z_NLD = predictor.read(probe, levels)
    return ProbeData(probe, PROBE, z_NLD, levels)


def measure_probe(probe: ProbeData, level: int) -> float:
    """Returns the share right of a logistic probe that is fitted on two thirds of the episodes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    z_ND, concept_N = probe.z_NLD[:, level].numpy(), probe.cases.concept_N
    is_fitted_N = np.arange(len(concept_N)) % 3 < 2
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1_000))
    reader.fit(z_ND[is_fitted_N], concept_N[is_fitted_N])
    return float(reader.score(z_ND[~is_fitted_N], concept_N[~is_fitted_N]))


if __name__ == "__main__":
    main()
