"""Planted sweeps: folders of runs as train.py leaves them, with heads whose figures are known."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from storage.run_folder import CONFIG, HEADS, PREDICTOR, VERSIONS, write_hashes

CONFIDENT = ("follows_concept", "ranks_concept", "nde", "nie", "swap_concept", "swap_human")
PLANTED = [
    ["translator", "direct_translator", "direct_translator", 19, True],
    ["imitator", "human_imitator", "undecided", 1, False],
]


REASON = (
    "It follows X on {follows_concept} of 2,000 disputed episodes; changing only X moves the report"
    " by {nde}. So it is a VERDICT."
)


def fill(template: str, row: dict) -> str:
    """Returns a reason as the judge writes it."""

    def write_rate(name: re.Match) -> str:
        value, low, high = (row[f"{name[1]}{ending}"] for ending in ("", "_low", "_high"))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    return re.sub(r"\{(\w+)\}", write_rate, template)


def heads(
    prior="speed",
    strengths=(1.0,),
    predictor=0,
    seeds=8,
    follows=0.5,
    reporter="linear",
    has_template=True,
    **figures,
) -> pd.DataFrame:
    """Returns one row a strength and seed.

    Args:
        follows: the share that follows X of all heads, or of each seed.
        has_template: whether there is a column `reason_template`, which earlier versions lack.
    """
    rows = []
    for strength in strengths:
        for seed, value in enumerate(np.broadcast_to(np.asarray(follows, float), seeds)):
            row = {
                "world": "vault",
                "core_model": "transformer",
                "predictor_seed": predictor,
                "predictor": f"predictor{predictor}",
            }
            row |= {
                "reporter": reporter,
                "prior": prior,
                "strength": strength,
                "seed": seed,
                "level": None,
                "levels": "0 1 2",
            }
            row |= {
                "two_part_bits": 200.0,
                "edges": 20.0,
                "flops": 1e6,
                "level_read": 2.0,
                "prequential_bits": 100.0,
                "variational_bits": 90.0,
            }
            row |= {
                "validation_nll": 0.01,
                "calibrated_nll": 0.01,
                "easy_accuracy": 1.0,
                "easy_auroc": 1.0,
                "concept_accuracy": (2 + value) / 3,
                "concept_accuracy_worst": value,
                "optimizer": "lbfgs",
                "gap": 0.001,
                "settled": True,
                "sure_after": 2000,
                "disputed": 2000,
            }
            for name in CONFIDENT:
                row |= {
                    name: value,
                    f"{name}_low": max(value - 0.05, 0.0),
                    f"{name}_high": min(value + 0.05, 1.0),
                }
            kind = (
                "direct_translator"
                if value > 0.9
                else "human_imitator"
                if value < 0.1
                else "mixture"
            )
            row |= {
                "gates_passed": True,
                "failed_gates": "",
                "verdict": kind,
                "worst_family": "loop",
                "worst_family_gap": 0.4,
            }
            template = REASON.replace("VERDICT", kind)
            row |= {"reason": fill(template, row)} | figures
            if has_template:
                row["reason_template"] = template
            rows.append(row)
    return pd.DataFrame(rows).astype({"level": "Int64"})


def write(folder: Path, frame: pd.DataFrame, world=None, versions=None, **about) -> Path:
    """Writes a finished run of these heads, whole, and returns its folder."""
    first = frame.iloc[0]
    config = {
        "seeds": int(frame["seed"].nunique()),
        "strengths": sorted({float(value) for value in frame["strength"]}),
        "data": {"train": 4096},
        "world": {"_target_": "worlds.vault.Vault", "steps": 16, **(world or {})},
        "core_model": {
            "_target_": "core_model.transformer.Transformer",
            "seed": int(first["predictor_seed"]),
        },
        "reporter": {"_target_": f"reporters.{first['reporter']}.Reporter"},
        "prior": {"_target_": f"priors.{first['prior']}.Prior"},
        "training": {"epochs": 30},
        "verdict": {"_target_": "verdict.judge.Judge", "knows": 0.95},
    }
    said = {
        "name": "transformer",
        "identity": first["predictor"],
        "gates": ["knows 1.000", "uses 1.000"],
        "surface_auroc": None,
    }
    said |= {
        "knowledge": {"ceilings": [[0, 0.8], [1, 1.0]], "swaps": []},
        "judge_on_planted_heads": PLANTED,
        "clocked": {},
    }
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    (folder / VERSIONS).write_text(
        json.dumps({"python": "3.11.7", "torch": "2.13.0"} | (versions or {}))
    )
    (folder / PREDICTOR).write_text(json.dumps(said | about))
    frame.to_parquet(folder / HEADS, index=False)
    write_hashes(folder, folder / HEADS)
    return folder


def sweep(
    folder: Path, follows: dict[str, float | tuple[float, ...]], predictors=4, seeds=12, spread=0.02
) -> Path:
    """Writes a run a prior and predictor; the second predictor's are those of an earlier version.

    Args:
        follows: of each prior the share that its heads follow X, or shares that alternate over
            seeds.
        spread: standard deviation over heads; predictors differ by a hundredth.
    """
    chance = np.random.default_rng(0)
    for i, (prior, value) in enumerate(follows.items()):
        costs = {
            "prequential_bits": 100.0 + 20 * i,
            "flops": 1e6 * (1 + i),
            "validation_nll": 0.01 + 0.001 * i,
            "calibrated_nll": 0.01 + 0.001 * i,
        }
        for predictor in range(predictors):
            middle = np.resize(np.asarray(value, float), seeds) + 0.01 * (predictor - 1.5)
            shares = np.clip(middle + chance.normal(0, spread, seeds), 0, 1)
            strengths = (1.0,) if prior == "none" else (0.25, 1.0)
            write(
                folder / f"{prior}-{predictor}",
                heads(
                    prior,
                    strengths,
                    predictor,
                    seeds,
                    shares,
                    has_template=predictor != 1,
                    **costs,
                ),
            )
    return folder
