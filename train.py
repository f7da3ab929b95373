"""One run: world → frozen predictor → a population of heads under a prior → bills → verdicts.

python train.py                                   linear heads, no prior, on the vault
python train.py reporter=layered prior=speed      choices and values: python train.py --help
python train.py +sweep=first                      three priors and none, compared
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Two threads are 1.6 times as fast on two idle cores, and many times slower where one is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Launchers of many processes set MKL's own variable otherwise, and it wins.
os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print; `cli` prints one line

if find_spec("hydra") is None:
    sys.exit(
        "train.py: this Python lacks the packages that it needs. Type `make train` once, then"
        " `. .venv/bin/activate`, and this again."
    )
import hydra
from omegaconf import DictConfig

from compute.imports import pause_collection
from configs.build import build, build_parts
from configs.plan import check_config, read_plan
from console.command_line import (
    describe_user_error,
    exit_for_mistake,
    name_runs,
    name_sweep,
    run_command,
    to_plain_values,
)
from console.progress import line
from experiments.deaths import has_failed, mark_running
from experiments.sweep import run_to_end
from storage import run_folder

if TYPE_CHECKING:
    import pandas as pd

    from compute.clock import Clock
    from configs.build import Parts
    from training.find_heads import Found
    from verdict.results import Results
    from verdict.run_inputs import RunInputs


def run(config: dict[str, Any], folder: Path) -> None:
    """Makes one run, unless it is finished; waits for another process that is making it."""
    if not run_folder.is_finished(folder, config):
        with run_folder.lock(folder):
            if not run_folder.is_finished(folder, config):
                make = run_job if "job" in config else run_heads
                make(config, folder)
                return
    print(f"{folder} is finished: nothing to do.", file=sys.stderr)


def run_heads(config: dict[str, Any], folder: Path) -> None:
    """Trains, bills and judges one population; leaves its results in the folder."""
    with line("Starting"), pause_collection():
        from bill.planted_costs import measure_planted_costs
        from compute.clock import Clock
        from reporters.reporter import SelfFitted
        from training.find_heads import Contestant, build_sources, find_heads
        from training.loggers import keep_logger_open
        from training.self_fitted import check_fit
        from training.solve import check_errors, check_optimizer
        from training.task import check_buffers, draw_reporter
        from verdict.run_inputs import prepare_once
        from verdict.watching import prepare_watches, summarise_outcome

        clock = Clock()
        parts = build_parts(config)
        plan = read_plan(config, parts)
        check_fit(parts, plan)
    inputs = prepare_once(config, parts, plan)
    readers = [each.reader for each in inputs]
    # A reporter that cannot be a head, or not be trained, is refused before anything is written.
    n_levels, width = len(readers[0].levels), readers[0].predictor.width
    reporter = draw_reporter(parts.reporter, plan.seed, n_levels, width)
    check_buffers(parts.reporter, n_levels, width)
    if isinstance(reporter, SelfFitted):
        reporter.check()
    check_optimizer(parts, reporter, n_levels, width)
    check_errors(parts, reporter)
    run_folder.begin(folder, config)
    clock.lap("preparing")

    checkpoint = folder / run_folder.CHECKPOINT
    contestants = [Contestant(each.reader, each.material, each.costs) for each in inputs]
    predictions = None
    if plan.planted_costs and parts.prior.charges and parts.prior.leaves_totals_known:
        predict = partial(measure_planted_costs, parts, plan, contestants, checkpoint)
        predictions = run_folder.load_or_predict(folder, predict)
        clock.lap("predicting")

    logger = parts.logger(folder)
    with keep_logger_open(logger, config):
        sources = build_sources(parts, plan, contestants)
        build_watch = prepare_watches(parts.world, readers, plan, logger)
        levels, keeps_scale = readers[0].levels, readers[0].predictor.keeps_scale
        found = find_heads(parts, plan, levels, sources, checkpoint, build_watch, keeps_scale)
        clock.lap("training")

        with line("Billing and judging"):
            results = judge_and_save(config, parts, folder, inputs, found, predictions, clock)
        if logger:
            logger.log_metrics(summarise_outcome(results.heads, plan.strengths))


def judge_and_save(
    config: dict[str, Any],
    parts: Parts,
    folder: Path,
    inputs: Sequence[RunInputs],
    found: Sequence[Found],
    predictions: pd.DataFrame | None,
    clock: Clock,
) -> Results:
    """Judges and bills the heads of each predictor, and leaves the results in the folder."""
    import pandas as pd

    from report.summary import write_summary
    from training.heads import join_heads
    from training.watch import build_history_table
    from verdict.results import join_results

    histories, of_predictors = [], []
    for each, (heads, history) in zip(inputs, found, strict=True):
        histories.append(build_history_table(heads, history, each.predictor_seed))
    run_folder.save_table(folder, run_folder.TRAINING, pd.concat(histories, ignore_index=True))
    for each, of_predictor in zip(inputs, found, strict=True):
        of_predictors.append(judge(config, parts, each, of_predictor, clock))
    n_examples = len(inputs[0].material.train)
    results = join_results(of_predictors, predictions, n_examples, clock.laps)
    heads = join_heads([of_predictor.heads for of_predictor in found])
    facts = heads.to_facts() | {"reporter": config["reporter"]}
    run_folder.save(folder, heads.to_tensors(), facts, *results)
    write_summary(folder, *results)
    run_folder.seal(folder)
    return results


def judge(
    config: dict[str, Any], parts: Parts, inputs: RunInputs, found: Found, clock: Clock
) -> Results:
    """Returns the verdicts on the heads of one predictor, and their bills."""
    from bill.finished import describe_finished
    from verdict.judge_heads import judge_heads
    from verdict.results import build_results

    heads, history = found
    evaluation, material = inputs.evaluation, inputs.material
    judgement = judge_heads(parts.verdict, heads, evaluation)
    clock.lap("judging")
    reports = evaluation.collect_reports(heads, material.examples, parts.verdict.turn)
    finished = describe_finished(heads, reports, material, inputs.reader, inputs.costs)
    bill = parts.bill(finished, parts.trainer.finishing_memory_budget)
    clock.lap("billing")
    results = build_results(config, parts, inputs, heads, reports, bill, judgement, history)
    clock.lap("judging")
    return results


def run_job(config: dict[str, Any], folder: Path) -> None:
    """Runs an experiment that is not a run of heads: whatever its `job` is."""
    check_config(config)
    job = build(config["job"], "job")
    run_folder.begin(folder, config)
    with line("Working"):
        job(folder)


name_runs()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    """Runs one job of Hydra's."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    settings = HydraConfig.get()
    folder, alone = Path(settings.runtime.output_dir), settings.mode is RunMode.RUN
    try:
        if alone:
            run(to_plain_values(config), folder)
        elif not has_failed(folder):  # or the sweep goes on after the death of another process
            with mark_running(folder):
                run(to_plain_values(config), folder)
    except Exception as error:
        if alone:
            exit_for_mistake(error)
            raise
        # The sweep's other runs continue, and its end says which run failed and why.
        record_failure(folder, error)
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if alone:
        from report.summary import show, show_job

        show_job(folder) if "job" in config else show([folder])
        print(folder)


def record_failure(folder: Path, error: Exception) -> None:
    """Writes into its folder why a run failed, with the traceback unless it is a user's mistake."""
    mistake = describe_user_error(error)
    reason = mistake or f"{type(error).__name__}: {' '.join(str(error).split())}"
    run_folder.record_failure(
        folder, reason, "" if mistake else "".join(traceback.format_exception(error))
    )
    print(f"error: {folder.name}: {mistake or repr(error)}", file=sys.stderr)


def cli() -> None:
    """Runs `main`, and says in one line what stopped it."""
    name_sweep(sys.argv[1:])
    run_command(
        lambda: run_to_end(main),
        "Stopped. What is whole is kept; the same command resumes the run.",
    )


if __name__ == "__main__":
    # What a launcher sends to other processes is then found there under its own name.
    from train import cli as cli_of_module

    cli_of_module()
