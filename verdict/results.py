"""The results of a run: one row a head, with the run's choices, the head's bill, its evidence and
its verdict; and what is known of the predictor and of the judge.

K: heads, N: episodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from bill.bill import Bill
from configs.build import Parts
from training.heads import Heads, Predictions
from training.ties import find_ties
from training.watch import History
from verdict.alignment import Alignment
from verdict.calibrated_nll import compute_calibrated_nll
from verdict.calibration.planted import VerdictCount, count_verdicts_once
from verdict.controls import measure_controls
from verdict.evaluation import Evaluation, read_any
from verdict.gates import Gate, build_undecidable_gate, explain_undecidable
from verdict.ground_truth import GroundTruth
from verdict.inputs import DISPUTED, EASY, Answers
from verdict.judge import Judge
from verdict.run_inputs import RunInputs
from verdict.shift_cosine import compute_shift_cosines
from verdict.statistics import Estimate, Floats
from verdict.swaps import RELIABILITY, Swap
from verdict.verdict import Judgement

if TYPE_CHECKING:
    import pandas as pd


PREDICTED_COLUMNS = (
    "cost_translator",
    "cost_imitator",
    "errors_nats",
    "costs_settled",
    "predicts",
)
"""Columns that heads.parquet has of predictions.parquet, which has as many rows."""


class Results(NamedTuple):
    """What a run leaves beside the weights of its heads."""

    heads: pd.DataFrame
    """heads.parquet: one row a head."""
    predictor: dict[str, Any]
    """predictor.json: what is known of the predictor and of the judge."""


def build_results(
    config: dict[str, Any],
    parts: Parts,
    inputs: RunInputs,
    heads: Heads,
    reports: Mapping[str, Predictions],
    bill: Bill,
    judgement: Judgement,
    history: History,
) -> Results:
    """Returns the results of a run with one of its predictors.

    Args:
        reports: what the heads report on the easy and the disputed episodes.
    """
    import pandas as pd

    evaluation, judge = inputs.evaluation, parts.verdict
    disputed = judge.turn or len(evaluation.truth.disputed)
    first_turn = next(evaluation.split_into_turns(disputed))
    truth = replace(first_turn.truth, easy=evaluation.truth.easy)
    easy_KN = reports["easy"].log_odds_KN.double().numpy()
    disputed_KN = reports["disputed"].log_odds_KN.double().numpy()
    answers = Answers({EASY: easy_KN, DISPUTED: disputed_KN})
    about = describe_predictor(judge, inputs, judgement, bill)
    about["controls"] = describe_controls(inputs, first_turn)
    of_heads = build_rows(config, heads, bill, judgement, about)
    answers = judge.place_thresholds(answers, truth, disputed_KN)
    of_alignment = build_alignment_rows(parts.alignment, truth, answers, judgement, history)
    of_settling = build_settling_rows(heads, [row["follows_concept"] for row in of_heads])
    knowledge = evaluation.predictor_report.knowledge
    cosine_K = compute_shift_cosines(
        heads, evaluation.probe, knowledge.ceiling_level, first_turn.disputed_NLD, disputed_KN
    )
    held_out = inputs.material.held_out
    held_out_KN = heads.read(held_out.z_NLD).log_odds_KN.double().numpy()
    calibrated_K = compute_calibrated_nll(held_out_KN, held_out.human_N.double().numpy())
    rows = []
    for k, verdict in enumerate(judgement.verdicts):
        of_swaps = describe_swaps(knowledge.swaps, heads.table[k][0])
        last = {
            "calibrated_nll": float(calibrated_K[k]),
            "shift_cosine": float(cosine_K[k]),
            "reason_template": verdict.template,
        }
        rows.append(of_heads[k] | of_swaps | of_settling[k] | of_alignment[k] | last)
    # A copy, because more than a hundred columns that were converted one by one are slow to use.
    table = pd.DataFrame(rows).astype({"level": "Int64", "tied": "Int64"}).copy()
    return Results(table, about)


def join_results(
    parts: Sequence[Results],
    predictions: pd.DataFrame | None,
    n_examples: int,
    seconds: dict[str, float],
) -> Results:
    """Returns the results of a run from those with each of its predictors.

    Args:
        predictions: predictions.parquet, if the run has it.
        n_examples: episodes of the training set.
        seconds: the duration of each part of the run.
    """
    import pandas as pd

    heads = pd.concat([part.heads for part in parts], ignore_index=True)
    if predictions is not None:
        heads["cost_found"] = heads["objective"] / n_examples
        heads = heads.join(predictions[list(PREDICTED_COLUMNS)])
    if len(parts) == 1:
        return Results(heads, parts[0].predictor | {"seconds": seconds})
    clocked: dict[str, list[float]] = {}
    for part in parts:
        for name, values in part.predictor["clocked"].items():
            clocked.setdefault(name, []).extend(values)
    abouts = [part.predictor | {"clocked": {}} for part in parts]
    return Results(heads, {"predictors": abouts, "clocked": clocked, "seconds": seconds})


def describe_predictor(
    judge: Judge, inputs: RunInputs, judgement: Judgement, bill: Bill
) -> dict[str, Any]:
    """Returns predictor.json: what is known of one predictor and of the judge, in plain values."""
    evaluation, predictor = inputs.evaluation, inputs.reader.predictor
    knowledge = evaluation.predictor_report.knowledge
    deepest = [max(inputs.reader.levels)]
    gates, planted = describe_gates(judge, evaluation, deepest)
    return {
        "name": predictor.name,
        "seed": inputs.predictor_seed,
        "identity": predictor.identity,
        "dtype": str(predictor.dtype).removeprefix("torch."),
        "levels": predictor.n_levels,
        "flops_an_episode_to_each_level": inputs.costs.flops,
        "knowledge": asdict(knowledge),
        "gates": [str(gate) for gate in gates],
        "gates_not_passed": [str(gate) for gate in gates if not gate.passed],
        "surface_auroc": inputs.surface,
        "known": {what: [drawn, kept] for what, drawn, kept in evaluation.known},
        "judge_on_planted_heads": planted,
        "bill": {name: item.how for name, item in bill.items()},
        "clocked": {name: item.value_K.tolist() for name, item in bill.items() if not item.repeats},
    }


def describe_controls(inputs: RunInputs, first_turn: Evaluation) -> dict[str, dict[str, float]]:
    """Returns the AUROC for X of each control, on easy and on disputed episodes, by name; empty in
    a world without text.

    Args:
        first_turn: the part of the evaluation that is read at once.
    """
    column = first_turn.world.surface
    if column is None:
        return {}
    easy = inputs.evaluation.episodes.easy
    evaluation = replace(
        first_turn,
        episodes=replace(first_turn.episodes, easy=easy),
        read=partial(read_any, inputs.reader),
    )
    controls = measure_controls(
        inputs.material, evaluation, inputs.reader, column, inputs.bag_of_words
    )
    return {name: control._asdict() for name, control in controls.items()}


def describe_gates(
    judge: Judge, evaluation: Evaluation, deepest: Sequence[int]
) -> tuple[tuple[Gate, ...], list[VerdictCount]]:
    """Returns the gates of a predictor, and the judge's record on planted heads; where X and H
    cannot be compared, the one gate that says why, and no record.
    """
    world = evaluation.world
    if not world.compares:
        return (build_undecidable_gate(str(world.undecidable)),), []
    knowledge = evaluation.predictor_report.knowledge
    undecidable = explain_undecidable(world, evaluation.truth)
    (gates,) = judge.build_gates(knowledge, evaluation.truth.disputed, deepest, undecidable)
    return gates, count_verdicts_once(judge, evaluation.truth)


def build_rows(
    config: dict[str, Any], heads: Heads, bill: Bill, judgement: Judgement, about: dict[str, Any]
) -> list[dict[str, Any]]:
    """Returns the rows of heads.parquet up to the verdicts, in plain values."""
    choices = {
        "world": config["world"]["_target_"].split(".")[-2],
        "core_model": about["name"],
        "predictor_seed": about["seed"],
        "predictor": about["identity"],
        "reporter": config["reporter"]["_target_"].split(".")[-2],
        "prior": name_prior(config["prior"]),
    }
    rows = []
    for k, (levels, seed, strength) in enumerate(heads.table):
        own = {
            "strength": strength,
            "seed": seed,
            "level": levels[0] if len(levels) == 1 else None,
            "levels": " ".join(map(str, levels)),
        }
        costs = {name: float(item.value_K[k]) for name, item in bill.items() if item.repeats}
        nll = {"validation_nll": float(heads.validation_nll_K[k])}
        rows.append(choices | own | costs | nll | describe_verdict(judgement, k))
    return rows


def describe_swaps(swaps: Sequence[Swap], levels: Sequence[int]) -> dict[str, float]:
    """Returns the columns of heads.parquet on the swaps at the levels that a head reads: means over
    them, NaN where there was no swap.
    """
    at_levels = [swap for swap in swaps if swap.level in levels]
    columns = {}
    for name in RELIABILITY:
        values = [getattr(swap, name) for swap in at_levels]
        columns[f"swap_{name}"] = float(np.mean(values)) if values else math.nan
    return columns


def build_settling_rows(heads: Heads, follows_K: Sequence[float]) -> list[dict[str, Any]]:
    """Returns the columns of heads.parquet on how near each head is to its optimum.

    Args:
        follows_K: the share of disputed episodes on which each head follows X.
    """
    settling = heads.settling
    assert settling
    grid = (len(heads.groups), len(heads.seeds), len(heads.strengths))
    follows_GSM = torch.tensor(follows_K).view(grid)
    ties = find_ties(settling.total_K.view(grid), follows_GSM)
    rows = []
    for k in range(len(heads.table)):
        row = {
            "optimizer": settling.optimizer,
            "halting_bonus": settling.halting_bonus,
            "objective": float(settling.total_K[k]),
            "gap": float(settling.gap_K[k]),
            "settled": bool(settling.settled_K[k]),
            "tied": None,
            "tied_follows_low": math.nan,
            "tied_follows_high": math.nan,
        }
        if settling.restarts and len(heads.seeds) > 1 and ties.tied_GSM.flatten()[k]:
            row["tied"] = int(ties.tied_GSM.flatten()[k])
            row["tied_follows_low"] = float(ties.low_GSM.flatten()[k])
            row["tied_follows_high"] = float(ties.high_GSM.flatten()[k])
        rows.append(row)
    return rows


def describe_verdict(judgement: Judgement, k: int) -> dict[str, Any]:
    """Returns the columns of heads.parquet on the evidence and the verdict on head k."""
    verdict, gates = judgement.verdicts[k], judgement.gates[k]
    failed = []
    for gate in gates:
        if not gate.passed:
            failed.append(gate.name if gate.failed else f"{gate.name} (not shown)")
    return {
        "easy_accuracy": gates[-1].value,
        **judgement.columns[k],
        "interval_level": judgement.level,
        "sure_after": judgement.sure_after[k],
        "disputed": judgement.disputed,
        "gates_passed": not failed,
        "failed_gates": ", ".join(failed),
        "verdict": str(verdict.kind),
        "reason": verdict.reason,
    }


def build_alignment_rows(
    alignment: Alignment,
    truth: GroundTruth,
    answers: Answers,
    judgement: Judgement,
    history: History,
) -> list[dict[str, Any]]:
    """Returns the columns of heads.parquet on the alignment and the training of each head."""
    competent_K = np.array([gates[-1].passed for gates in judgement.gates])
    gaps = alignment.compute_gaps(truth, answers, competent_K)
    trained, disputed = (
        alignment.measure_training(history),
        alignment.measure_training(history, disputed=True),
    )
    follows = compute_follows_by_family(truth, answers)
    rows = []
    for k in range(len(judgement.verdicts)):
        families = {
            f"follows_concept_{family}": float(value_K[k]) for family, value_K in follows.items()
        }
        of_gaps = {
            **describe_estimate("pseudo_alignment_gap", gaps.all_families, k),
            "worst_family": gaps.worst[k],
            **describe_estimate("worst_family_gap", gaps.worst_gap, k),
            "robustly_aligned": bool(gaps.robustly_aligned[k]),
        }
        of_training = {
            "capability_int": float(trained.capability_int[k]),
            "capability_base": float(trained.capability_base[k]),
            "capability_gradient": float(trained.capability_gradient[k]),
            "outer_alignment": float(trained.outer[k]),
            "inner_alignment": float(trained.inner[k]),
            "ratio_refused": trained.refused[k],
            "capability_int_disputed": float(disputed.capability_int[k]),
            "capability_human_disputed": float(disputed.capability_base[k]),
            "outer_alignment_disputed": float(disputed.outer[k]),
        }
        rows.append(families | of_gaps | of_training)
    return rows


def compute_follows_by_family(truth: GroundTruth, answers: Answers) -> dict[str, Floats]:
    """Returns for each family of tampering the share of its disputed episodes on which each head
    follows X, shape (K,).
    """
    right_KN = (answers.disputed > 0) == truth.disputed.concept_N
    family_N = truth.disputed.family_N
    return {
        str(family): right_KN[:, family_N == family].mean(axis=1) for family in np.unique(family_N)
    }


def name_prior(node: dict[str, Any]) -> str:
    """Returns a prior's name: its file's, or those of its parts."""
    return "+".join(node["parts"]) if "parts" in node else node["_target_"].split(".")[-2]


def describe_estimate(name: str, estimate: Estimate, k: int) -> dict[str, float]:
    """Returns the columns of heads.parquet on an estimate of head k."""
    return {
        name: float(estimate.value[k]),
        f"{name}_low": float(estimate.low[k]),
        f"{name}_high": float(estimate.high[k]),
    }
