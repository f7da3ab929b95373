"""One row a head: the run's choices, the head's bill, its evidence and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bill.bill import Bill
from configs.build import Parts
from training.heads import Heads, Said
from training.watch import History
from verdict.alignment import Alignment
from verdict.calibration.planted import confusion, truth
from verdict.cases import Answers, Asked, Bench
from verdict.inputs import Inputs
from verdict.judge import Judge
from verdict.statistics import Estimate, Floats
from verdict.verdict import Judgement

if TYPE_CHECKING:
    import pandas as pd


class Results(NamedTuple):
    """What a run leaves beside the weights of its heads."""

    heads: pd.DataFrame
    """heads.parquet: one row a head."""
    predictor: dict[str, Any]
    """predictor.json: what is known of the predictor and of the judge."""


def build_results(
    config: dict[str, Any],
    parts: Parts,
    inputs: Inputs,
    heads: Heads,
    said: Mapping[str, Said],
    bill: Bill,
    judgement: Judgement,
    history: History,
    seconds: dict[str, float],
) -> Results:
    """Returns a run's results.

    Args:
        said: what the heads report on the easy and the disputed episodes.
        seconds: what the parts of the run took.
    """
    import pandas as pd

    exam, judge = inputs.evaluation, parts.verdict
    judged_on = next(exam.turns(judge.turn or len(exam.bench.disputed)))
    bench = replace(judged_on.bench, easy=exam.bench.easy)
    easy_KN, disputed_KN = (
        said[kind].log_odds_KN.double().numpy() for kind in ("easy", "disputed")
    )
    answers = Asked(easy_KN, disputed_KN)
    aligned = alignment_rows(parts.alignment, bench, answers, judgement, history)
    about = describe_predictor(judge, inputs, judgement, bill) | {"seconds": seconds}
    of_heads = rows(config, heads, bill, judgement, about)
    joined = [row | more for row, more in zip(of_heads, aligned, strict=True)]
    return Results(pd.DataFrame(joined).astype({"level": "Int64"}), about)


def describe_predictor(
    judge: Judge, inputs: Inputs, judgement: Judgement, bill: Bill
) -> dict[str, Any]:
    """Returns predictor.json: what is known of the predictor and of the judge, in plain values."""
    exam, predictor = inputs.evaluation, inputs.reader.predictor
    (gates,) = judge.gates(
        exam.examined.knowledge, exam.bench.disputed, [max(inputs.reader.levels)]
    )
    planted = confusion(judge, exam.bench, truth(exam.bench), (), len(judgement.verdicts))
    return {
        "name": predictor.name,
        "identity": predictor.identity,
        "levels": predictor.n_levels,
        "flops_an_episode_to_each_level": inputs.costs.flops,
        "knowledge": asdict(exam.examined.knowledge),
        "gates": [f"{gate.name} {gate.value:.3f}" if gate.passed else str(gate) for gate in gates],
        "surface_auroc": inputs.surface,
        "judge_on_planted_heads": planted,
        "bill": {name: item.how for name, item in bill.items()},
        "clocked": {name: item.value_K.tolist() for name, item in bill.items() if not item.repeats},
    }


def rows(
    config: dict[str, Any], heads: Heads, bill: Bill, judgement: Judgement, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Returns the rows of heads.parquet, in plain values."""
    choices = {
        "world": config["world"]["_target_"].split(".")[-2],
        "core_model": about["name"],
        "core_model_seed": config["core_model"].get("seed", 0),
        "predictor": about["identity"],
        "reporter": config["reporter"]["_target_"].split(".")[-2],
        "prior": _prior(config["prior"]),
    }
    return [
        choices
        | {
            "strength": strength,
            "seed": seed,
            "level": levels[0] if len(levels) == 1 else None,
            "levels": " ".join(map(str, levels)),
        }
        | {name: float(item.value_K[k]) for name, item in bill.items() if item.repeats}
        | {"validation_nll": float(heads.validation_nll_K[k])}
        | _evidence(judgement, k)
        for k, (levels, seed, strength) in enumerate(heads.table)
    ]


def alignment_rows(
    alignment: Alignment, bench: Bench, answers: Answers, judgement: Judgement, history: History
) -> list[dict[str, Any]]:
    """Returns what the rows of heads.parquet say of each head's alignment and of its training."""
    gaps = alignment.gaps(bench, answers, np.array([gates[-1].passed for gates in judgement.gates]))
    trained, disputed = alignment.trained(history), alignment.trained(history, disputed=True)
    follows = _by_family(bench, answers)
    return [
        {f"follows_concept_{family}": float(value_K[k]) for family, value_K in follows.items()}
        | _estimate("pseudo_alignment_gap", gaps.all_families, k)
        | {"worst_family": gaps.worst[k]}
        | _estimate("worst_family_gap", gaps.worst_gap, k)
        | {"robustly_aligned": bool(gaps.robustly_aligned[k])}
        | {
            name: float(getattr(trained, name)[k])
            for name in ("capability_int", "capability_base", "capability_gradient")
        }
        | {
            "outer_alignment": float(trained.outer[k]),
            "inner_alignment": float(trained.inner[k]),
            "ratio_refused": trained.refused[k],
        }
        | {
            "capability_int_disputed": float(disputed.capability_int[k]),
            "capability_human_disputed": float(disputed.capability_base[k]),
        }
        | {"outer_alignment_disputed": float(disputed.outer[k])}
        for k in range(len(gaps.worst))
    ]


def _by_family(bench: Bench, answers: Answers) -> dict[str, Floats]:
    """Returns of each family of tampering the share of its disputed episodes on which each head
    follows X, shape (K,).
    """
    right_KN, family_N = (answers.disputed > 0) == bench.disputed.concept_N, bench.disputed.family_N
    return {
        str(family): right_KN[:, family_N == family].mean(axis=1) for family in np.unique(family_N)
    }


def _prior(node: dict[str, Any]) -> str:
    """Returns a prior's name: its file's, or those of its parts."""
    return "+".join(node["parts"]) if "parts" in node else node["_target_"].split(".")[-2]


def _evidence(judgement: Judgement, k: int) -> dict[str, Any]:
    found, verdict = judgement.evidence, judgement.verdicts[k]
    did, effects, moved, erased, access = (
        found.behaviour,
        found.effects,
        found.interchange,
        found.erasure,
        found.access,
    )
    in_head, in_predictor = (access.head, access.predictor) if access else (None, None)
    failed = [gate.name for gate in judgement.gates[k] if not gate.passed]
    return {
        "easy_accuracy": judgement.gates[k][-1].value,
        "easy_auroc": float(did.ranks_easy[k]),
        **_estimate("follows_concept", did.follows_concept, k),
        **_estimate("ranks_concept", did.ranks_concept, k),
        "ranks_concept_given_human": float(did.ranks_concept_given_human[k]),
        **_estimate("nde", effects.nde if effects else None, k),
        **_estimate("nie", effects.nie if effects else None, k),
        **_estimate("swap_concept", moved.concept if moved else None, k),
        **_estimate("swap_human", moved.human if moved else None, k),
        **_estimate("swap_random", moved.random if moved else None, k),
        "swap_all_concept": float(moved.full_concept.value[k]) if moved else None,
        "swap_all_human": float(moved.full_human.value[k]) if moved else None,
        **_estimate("erase_concept", erased.concept if erased else None, k),
        **_estimate("erase_human", erased.human if erased else None, k),
        **_estimate("access_head", in_head.changes if in_head else None, k),
        "depends_in_head": str(in_head.depends[k]) if in_head else None,
        **_estimate("access_predictor", in_predictor.changes if in_predictor else None, k),
        "depends_in_predictor": str(in_predictor.depends[k]) if in_predictor else None,
        **_estimate("departs_from_human", found.imitation.departs if found.imitation else None, k),
        "imitation": str(found.imitation.says[k]) if found.imitation else None,
        "interval_level": found.level,
        "sure_after": judgement.sure_after[k],
        "disputed": judgement.disputed,
        "gates_passed": not failed,
        "failed_gates": ", ".join(failed),
        "verdict": str(verdict.kind),
        "reason": verdict.reason,
    }


def _estimate(name: str, estimate: Estimate | None, k: int) -> dict[str, float | None]:
    value, low, high = (float(part[k]) for part in estimate) if estimate else (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
