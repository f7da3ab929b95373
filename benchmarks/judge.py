"""What judging takes once activations are read: 64 heads with all evidence, in one batch and head
by head.   python -m benchmarks.judge
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from hydra import compose, initialize_config_module

from configs.build import build_parts
from configs.plan import read_plan
from console.command_line import name_runs, plain
from reporters.layered import Layered
from training.heads import Heads, standardiser
from verdict.exam import Exam
from verdict.inputs import prepare
from verdict.judge_heads import judge_heads

HEADS, FEW = 64, 8


def seconds(run: Callable[[], object]) -> float:
    """Returns how long a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def untrained(seeds: range, exam: Exam) -> Heads:
    """Returns layered heads as they begin: judging them takes as long as judging any."""
    z_NLD = exam.questions.easy()
    levels, width = exam.probed.levels, z_NLD.shape[2]
    reporters = []
    for seed in seeds:
        torch.manual_seed(seed)
        reporters.append(Layered(n_levels=len(levels), width=width))
    names = [name for name, _ in reporters[0].named_parameters()]
    weights = {
        name: torch.stack([dict(one.named_parameters())[name].detach() for one in reporters])[
            None, :, None
        ]
        for name in names
    }
    return Heads(
        reporters[0],
        weights,
        *standardiser(z_NLD),
        levels,
        tuple(seeds),
        (1.0,),
        torch.zeros(len(seeds)),
    )


def main() -> None:
    """Prints the seconds for all heads at once, and how many times longer one after the other
    takes.
    """
    name_runs()
    with initialize_config_module("configs", version_base="1.3"):
        config = plain(compose("train"))
    parts = build_parts(config)
    exam = prepare(parts, read_plan(config, parts)).evaluation
    judge, heads = parts.verdict, untrained(range(HEADS), exam)
    exam.questions.map(lambda z_of: z_of())  # all is read that judging asks for
    bench = exam.bench
    twins = (
        len(bench.concept_twins.first) + len(bench.human_twins.first)
        if bench.concept_twins and bench.human_twins
        else 0
    )
    together = seconds(lambda: judge_heads(judge, heads, exam))
    alone = [
        replace(
            heads,
            weights={name: value[:, [k]] for name, value in heads.weights.items()},
            seeds=(k,),
        )
        for k in range(FEW)
    ]
    apart = seconds(lambda: [judge_heads(judge, one, exam) for one in alone]) * HEADS / FEW
    print(
        f"{HEADS} layered heads, {len(bench.disputed):,} disputed episodes, {twins:,} pairs of"
        f" twins, {torch.get_num_threads()} threads"
    )
    print(f"{together:8.2f} s   all evidence and verdicts")
    print(f"{apart / together:8.1f} times as long: head by head ({apart:.1f} s, from {FEW} heads)")


if __name__ == "__main__":
    main()
