"""The time that judging takes once activations are read: 64 heads with all evidence, in one batch
and head by head.   python -m benchmarks.judge
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from hydra import compose, initialize_config_module

from configs.build import build_parts
from configs.plan import read_plan
from console.command_line import name_runs, to_plain_values
from reporters.layered import Layered
from reporters.standardiser import compute_standardiser
from training.heads import Heads
from verdict.evaluation import Evaluation
from verdict.inputs import evaluate
from verdict.judge_heads import judge_heads
from verdict.run_inputs import prepare

HEADS, FEW = 64, 8


def measure_seconds(run: Callable[[], object]) -> float:
    """Returns the duration of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def build_untrained_heads(seeds: range, evaluation: Evaluation) -> Heads:
    """Returns layered heads as they are initialised: judging them takes as long as judging any."""
    z_NLD = evaluation.easy_NLD
    levels, width = evaluation.probe.levels, z_NLD.shape[2]
    parameters = []
    for seed in seeds:
        torch.manual_seed(seed)
        reporter = Layered(n_levels=len(levels), width=width)
        parameters.append(dict(reporter.named_parameters()))
    weights = {}
    for name in parameters[0]:
        stack = torch.stack([of_head[name].detach() for of_head in parameters])
        weights[name] = stack[None, :, None]
    mean_LD, std_LD = compute_standardiser(z_NLD)
    nll_K = torch.zeros(len(seeds))
    return Heads(reporter, weights, mean_LD, std_LD, levels, tuple(seeds), (1.0,), nll_K)


def select_head(heads: Heads, k: int) -> Heads:
    """Returns one of the heads alone."""
    weights = {name: value[:, [k]] for name, value in heads.weights.items()}
    return replace(heads, weights=weights, seeds=(k,))


def main() -> None:
    """Prints the seconds for all heads at once, and how many times longer they take one by one."""
    name_runs()
    with initialize_config_module("configs", version_base="1.3"):
        config = to_plain_values(compose("train"))
    parts = build_parts(config)
    evaluation = prepare(parts, read_plan(config, parts)).evaluation
    judge, heads = parts.verdict, build_untrained_heads(range(HEADS), evaluation)
    evaluate(judge.inputs, evaluation, lambda z_NLD: None)  # reads all that judging needs
    together = measure_seconds(lambda: judge_heads(judge, heads, evaluation))
    alone = [select_head(heads, k) for k in range(FEW)]
    apart = measure_seconds(lambda: [judge_heads(judge, head, evaluation) for head in alone])
    apart = apart * HEADS / FEW
    truth = evaluation.truth
    twins = 0
    for pairs in (truth.concept_twins, truth.human_twins):
        twins += len(pairs.first) if pairs else 0
    print(
        f"{HEADS} layered heads, {len(truth.disputed):,} disputed episodes, {twins:,} pairs of"
        f" twins, {torch.get_num_threads()} threads"
    )
    print(f"{together:8.2f} s   all evidence and verdicts")
    print(f"{apart / together:8.1f} times as long: head by head ({apart:.1f} s, from {FEW} heads)")


if __name__ == "__main__":
    main()
