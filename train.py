"""One run: world → frozen predictor → a population of heads under a prior → bills → verdicts → its
folder.

python train.py                                   linear heads, no prior, on the vault
python train.py reporter=layered prior=speed      choices and values: python train.py --help
python train.py +sweep=first                      three priors and none, compared
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two threads are 1.6 times as fast on two idle cores, and many times slower where one is busy
os.environ.setdefault(
    "MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"]
)  # launchers of many processes else set it by themselves, and it wins
os.environ["HYDRA_FULL_ERROR"] = (
    "1"  # Hydra then raises what it would print, and `cli` says it in one line
)

if find_spec("hydra") is None:
    sys.exit(
        "train.py: this Python lacks the packages that it needs. Type `make train` once, then `."
        " .venv/bin/activate`, and this again."
    )
import hydra
from omegaconf import DictConfig, OmegaConf

from configs import build, check, did_you_mean, maker
from configs.command_line import in_one_line, name_runs, name_sweep, one_line, plain
from progress import line
from refusal import Refusal

if TYPE_CHECKING:
    from datasets import Dataset
    from pytorch_lightning.loggers import Logger
    from torch import Tensor

    from core_model.fitting import Fitting
    from core_model.predictor import Predictor
    from priors.bill import Bill, Meter
    from priors.prior import Prior
    from reporters.reporter import Reporter
    from training.heads import Heads, Said
    from training.population import Examples
    from training.watch import Course, Watch
    from verdict.cases import Scores
    from verdict.exam import Exam
    from verdict.judge import Judge, Judgement
    from worlds.world import World


APART, AFRESH = 1_000_003, 3_000_003
"""Added to the seed of episodes that a prior learns from, so that they are not those that judge,
and to that of those that judge again; twice the first, to that of those that watch a fit.
"""


@dataclass(frozen=True)
class Sizes:
    """How many episodes each part of a run has; the comments in train.yaml say what each is for."""

    train: int
    validation: int
    test: int
    disputed: int
    twins: int
    probe: int


@dataclass(frozen=True)
class Plan:
    """The values of a run that belong to no part."""

    seed: int
    seeds: int
    strengths: list[float]
    """0 alone where nothing is charged: all strengths would give the same heads."""
    levels: list[int] | None
    sizes: Sizes

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise Refusal(f"seed: {self.seed} is negative. Use 0 or more.")
        if self.seeds < 1:
            raise Refusal(f"seeds: {self.seeds} is too few. Use 1 or more.")
        for name, value in vars(self.sizes).items():
            if value < 2:
                raise Refusal(
                    f"data.{name}: {value} is too few to hold both answers. Use 2 or more."
                )
        if self.levels is not None and (
            not self.levels or len(set(self.levels)) < len(self.levels) or min(self.levels) < 0
        ):
            raise Refusal(
                f"levels: {self.levels} must name levels from 0 on, each once. For example"
                " levels='[2,3]'; null reads all."
            )
        if not self.strengths or min(self.strengths) < 0 or max(self.strengths) == float("inf"):
            raise Refusal(
                f"strengths: {self.strengths} must be finite numbers of 0 or more, and at least"
                " one. For example strengths='[0.25,1,4]'."
            )

    @property
    def head_seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)


@dataclass(frozen=True)
class Material:
    """What heads are trained on and judged with: all that does not depend on reporter and prior."""

    world: World
    predictor: Predictor
    levels: tuple[int, ...]
    episodes: tuple[Dataset, Dataset]
    """The easy ones that heads learn from, and those that stop them."""
    examples: Examples
    held_out: Examples
    flops: tuple[float, ...]
    seconds: tuple[float, ...]
    """What the predictor takes for 1,000 episodes to reach each of its levels, by the clock."""
    exam: Exam
    surface: float | None
    """AUROC for X on disputed episodes of a bag of words, in a world of text: near 0.5 where no
    surface cue gives X away.
    """


class Clock:
    """Seconds that the parts of a run took, since it was last started; what others prepared before
    costs it nothing.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Ends a part."""
        now = time.perf_counter()
        self.laps[name], self._last = now - self._last, now


def run(config: dict[str, Any], folder: Path) -> None:
    """Makes one run, unless it is finished; where another process is at work on it, once that is
    done.
    """
    from report import folder as runs

    if not runs.is_finished(folder, config):
        with runs.alone(folder):
            if not runs.is_finished(folder, config):
                (do if "job" in config else run_heads)(config, folder)
                return
    print(f"{folder} is finished: nothing to do.", file=sys.stderr)


def trained_before() -> dict[str, Any]:
    """Returns the parts of a config that finished heads have no use for, as they are by default: a
    run of before may lack what these have now.
    """
    files = {
        "training": "training/default.yaml",
        "trainer": "trainer/default.yaml",
        "logger": "logger/none.yaml",
    }
    return {
        key: OmegaConf.to_container(OmegaConf.load(Path(__file__).parent / "configs" / file))
        for key, file in files.items()
    }


def run_heads(config: dict[str, Any], folder: Path) -> None:
    """Trains, bills and judges one population; leaves its results in the folder."""
    from report import folder as runs
    from training.loggers import open_until_done

    clock = Clock()
    with line("Starting"):
        plan = checked(config)
    decide = {
        key: config[key] for key in ("world", "core_model", "trainer", "data", "seed", "levels")
    }
    material = prepare(json.dumps(decide | {"uses": config["verdict"]["uses"]}))
    runs.begin(folder, config)
    clock.lap("preparing")
    logger = build(config["logger"], "logger")(folder)
    with open_until_done(logger, config):
        watch = watching(plan, material, logger)
        heads = train_heads(
            config,
            plan,
            material,
            build(config["trainer"], "trainer"),
            folder / runs.CHECKPOINT,
            watch,
        )
        clock.lap("training")
        with line("Billing and judging"):
            runs.keep_course(folder, heads, watch.course)
            rows, about = judged(config, heads, material, watch.course, clock)
            runs.finish(folder, config, heads, rows, about)
        if logger:
            logger.log_metrics(outcome(rows, plan.strengths))


def outcome(rows: list[dict[str, Any]], strengths: list[float]) -> dict[str, float]:
    """Returns what a logger is told of finished heads: means over the heads of each strength."""
    import torch

    from training.loggers import by_strength

    found = {
        "follows_concept": [row["follows_concept"] for row in rows],
        "easy_accuracy": [row["easy_accuracy"] for row in rows],
    }
    found["translators"] = [float(row["verdict"] == "direct_translator") for row in rows]
    return by_strength(
        {f"finished/{name}": torch.tensor(value) for name, value in found.items()}, strengths
    )


def judged_again(folder: Path) -> Judgement:
    """Judges the saved heads of a finished run afresh, on episodes drawn anew; a world of finitely
    many gives some of them again.

    Raises:
        Refusal: the run is of another version, not whole, or its predictor is another now.
    """
    from core_model.store import cache_folder
    from report import folder as runs
    from training.heads import shaped
    from verdict.exam import exam
    from worlds.parts import parts

    runs.check_whole(folder)
    config = runs.saved_config(folder) | trained_before()
    plan = checked(config)
    world, core_model, fitting = (
        build(config[key], key) for key in ("world", "core_model", "trainer")
    )
    predictor = core_model.predictor(world, cache_folder(), fitting)
    identity = runs.read(folder)["predictor"].iloc[0]
    if predictor.identity != identity:
        raise Refusal(
            f"{folder}: its heads were trained on the predictor {identity}, and this config now"
            f" gives {predictor.identity}. Run it again."
        )
    heads = runs.saved_heads(folder, partial(shaped, reporters_of(config)))
    sizes, seed, judge = plan.sizes, plan.seed + AFRESH, build(config["verdict"], "verdict")
    easy = parts(world.episodes("easy", sizes.test + sizes.probe, seed), (sizes.test, sizes.probe))
    sat = exam(
        world,
        predictor,
        heads.levels,
        (easy[0], easy[1]),
        sizes.disputed,
        sizes.twins,
        seed,
        cache_folder(),
        judge.uses,
    )
    return judge_heads(judge, heads, sat)


def do(config: dict[str, Any], folder: Path) -> None:
    """Runs an experiment that is no run of heads: whatever its `job` is; leaves its results in the
    folder.
    """
    from report import folder as runs

    checked(config)
    job = build(config["job"], "job")
    runs.begin(folder, config)
    with line("Working"):
        job(folder)


def train_heads(
    config: dict[str, Any],
    plan: Plan,
    material: Material,
    fitting: Fitting,
    checkpoint: Path,
    watch: Watch,
) -> Heads:
    """Returns the finished population: levels × head seeds × strengths."""
    import torch

    from training import population

    prior = build(config["prior"], "prior")
    return population.train(
        make=reporters_of(config),
        prior=prior,
        levels=material.levels,
        flops_L=torch.tensor(
            [material.flops[level] for level in material.levels], dtype=torch.float64
        ),
        flops_step=material.flops[1],
        seeds=plan.head_seeds,
        strengths=plan.strengths,
        schedule=build(config["training"], "training"),
        fitting=fitting,
        checkpoint=checkpoint,
        watch=watch,
        **what_it_needs(prior, plan, material),
    )


def reporters_of(config: dict[str, Any]) -> Callable[[int, int], Reporter]:
    """Returns what makes a reporter from a number of levels and a width."""
    make = maker(config["reporter"], "reporter", "n_levels", "width")
    return lambda n_levels, width: make(n_levels=n_levels, width=width)


def watching(plan: Plan, material: Material, logger: Logger | None) -> Watch:
    """Returns what watches the fit and measures heads against X: on all episodes as they come, and
    on disputed ones; no head learns from either.

    Args:
        logger: is told of it epoch by epoch.
    """
    import torch

    from core_model.activations import activations
    from core_model.store import cache_folder
    from training.loggers import log
    from training.watch import WATCHED, Watch
    from verdict.alignment import Mix, losses

    def mix(split: Literal["predictor", "disputed"]) -> Mix:
        episodes = material.world.episodes(split, WATCHED, plan.seed + 2 * APART)
        z_NLD = activations(
            material.predictor, episodes, material.world.reads, material.levels, cache_folder()
        )
        return Mix(
            z_NLD,
            *(
                torch.tensor(episodes[name][:], dtype=torch.float32)
                for name in ("concept", "human")
            ),
        )

    return Watch(
        partial(losses, mix("predictor"), mix("disputed")),
        partial(log, logger, plan.strengths) if logger else None,
    )


def what_it_needs(prior: Prior, plan: Plan, material: Material) -> dict[str, Any]:
    """Returns the episodes that heads learn from, and what else their prior asks for.

    Raises:
        Refusal: the world or the predictor cannot give it.
    """
    import torch

    from core_model.activations import activations
    from core_model.store import cache_folder
    from training.population import Observed
    from worlds.world import NoTwins

    world, predictor, seed = material.world, material.predictor, plan.seed + APART
    given: dict[str, Any] = {"examples": material.examples, "held_out": material.held_out}

    def read(episodes: Dataset) -> Tensor:
        return activations(predictor, episodes, world.reads, material.levels, cache_folder())

    if "predictor" in prior.needs:
        given["ablation"] = predictor.ablation(material.episodes[0], material.levels, "mean")
        for name, episodes in zip(("examples", "held_out"), material.episodes, strict=True):
            given[name] = given[name]._replace(inputs_N=given["ablation"].inputs(episodes))
    if {"observation", "pairs"} & set(prior.needs) and world.human_shows_in is None:
        raise Refusal(
            f"prior: {type(prior).__name__} needs a world that says where the human's view shows;"
            f" {world.name} does not. Use world=vault."
        )
    if "observation" in prior.needs:
        episodes = world.episodes("predictor", plan.sizes.train, seed)
        given["observed"] = Observed(read(episodes), predictor.opinions(episodes).human_N)
    if "pairs" in prior.needs:
        try:
            given["pairs_2PLD"] = torch.stack(
                [read(episodes) for episodes in world.twins("human", plan.sizes.twins, seed)]
            )
        except NoTwins:
            cure = "Use another prior, or world=vault."
            raise Refusal(
                f"prior: {type(prior).__name__} needs pairs with the same X; {world.name} makes no"
                f" twins. {cure}"
            ) from None
    return given


def judged(
    config: dict[str, Any], heads: Heads, material: Material, course: Course, clock: Clock
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns a row of results for each head, and what is said of the predictor and of the judge."""
    from report.rows import alignment_rows, rows
    from verdict.cases import Asked
    from verdict.planted import confusion, truth

    exam = material.exam
    judge = build(config["verdict"], "verdict")
    judgement = judge_heads(judge, heads, exam)
    clock.lap("judging")
    judged_on = next(exam.turns(judge.turn or len(exam.bench.disputed)))
    seen = {
        "train": material.examples.z_NLD,
        "easy": exam.read(exam.episodes.easy),
        "disputed": judged_on.read(judged_on.episodes.disputed),
    }
    said = {kind: heads.read(z_NLD) for kind, z_NLD in seen.items()}
    bill = billed(
        build(config["bill"], "bill"),
        heads,
        said,
        material,
        build(config["trainer"], "trainer").room_afterwards,
    )
    clock.lap("billing")
    (gates,) = judge.gates(exam.examined.knowledge, exam.bench.disputed, [max(material.levels)])
    easy_KN, disputed_KN = (
        said[kind].log_odds_KN.double().numpy() for kind in ("easy", "disputed")
    )
    bench = replace(judged_on.bench, easy=exam.bench.easy)
    aligned = alignment_rows(
        build(config["alignment"], "alignment"),
        bench,
        Asked(easy_KN, disputed_KN),
        judgement,
        course,
    )
    about = {
        "name": material.predictor.name,
        "identity": material.predictor.identity,
        "levels": material.predictor.n_levels,
        "flops_an_episode_to_each_level": material.flops,
        "knowledge": asdict(exam.examined.knowledge),
        "gates": [
            str(gate) if not gate.passed else f"{gate.name} {gate.value:.3f}" for gate in gates
        ],
        "surface_auroc": material.surface,
        "judge_on_planted_heads": confusion(
            judge, exam.bench, truth(exam.bench), (), len(judgement.verdicts)
        ),
        "bill": {name: item.how for name, item in bill.items()},
        "clocked": {name: item.value_K.tolist() for name, item in bill.items() if not item.repeats},
        "seconds": clock.laps,
    }
    return [
        row | more
        for row, more in zip(rows(config, heads, bill, judgement, about), aligned, strict=True)
    ], about


def judge_heads(judge: Judge, heads: Heads, exam: Exam) -> Judgement:
    """Returns the verdicts on finished heads, each under the gates of its predictor and of the
    deepest level that it reads.
    """
    from verdict.access import of_deeper_heads
    from verdict.sequential import judge_in_turns

    deepest = [max(levels) for levels, _, _ in heads.table]
    gates = judge.gates(exam.examined.knowledge, exam.bench.disputed, deepest)

    def answer(z_NLD: Tensor) -> Scores:
        return heads.read(z_NLD).log_odds_KN.double().numpy()

    if judge.turn is not None:
        return judge_in_turns(judge, exam, answer, gates)
    answers = exam.questions.map(lambda z_of: answer(z_of()))
    return judge(exam.bench, of_deeper_heads(answers, deepest, exam.written), gates)


def billed(
    meter: Meter, heads: Heads, said: dict[str, Said], material: Material, room: float
) -> Bill:
    """Returns what the heads cost, found in so many bytes; said of the training, the easy and the
    disputed episodes.
    """
    from priors.bill import Explained, Stopped
    from training.population import Standardised

    explained = None
    if meter.explanation and material.predictor.can_ablate:
        ablation = material.predictor.ablation(material.episodes[0], material.levels, "mean")
        explained = Explained(
            Standardised(ablation, heads.mean_LD, heads.std_LD),
            ablation.inputs(material.episodes[0]),
        )
    return meter(
        heads.reporter,
        heads.weights,
        (material.examples.z_NLD - heads.mean_LD) / heads.std_LD,
        material.examples.human_N,
        {kind: Stopped(one.level_KN, one.exit_KN) for kind, one in said.items()},
        material.flops,
        material.seconds,
        explained,
        room,
    )


@functools.lru_cache(maxsize=4)
def prepare(values: str) -> Material:
    """Returns the predictor, its activations and the bench; what a sweep's runs have in common is
    made once.

    Args:
        values: the part of the config that decides them, as JSON.
    """
    import torch

    from core_model.activations import activations, check_levels
    from core_model.store import cache_folder
    from training.population import Examples
    from verdict.exam import exam
    from verdict.surface import bag_of_words
    from worlds.parts import parts

    config, cache = json.loads(values), cache_folder()
    world, core_model, fitting = (
        build(config[key], key) for key in ("world", "core_model", "trainer")
    )
    sizes, seed = Sizes(**config["data"]), config["seed"]
    predictor = core_model.predictor(world, cache, fitting)
    levels = tuple(
        range(predictor.n_levels) if config["levels"] is None else sorted(config["levels"])
    )
    check_levels(predictor, levels)
    easy = world.episodes("easy", sizes.train + sizes.validation + sizes.test + sizes.probe, seed)
    train, validation, test, easy_probe = parts(
        easy, (sizes.train, sizes.validation, sizes.test, sizes.probe)
    )

    def read(episodes: Dataset) -> Tensor:
        return activations(predictor, episodes, world.reads, levels, cache)

    def examples(episodes: Dataset) -> Examples:
        human_N = torch.tensor(episodes["human"][:], dtype=torch.float32)
        if human_N.min() == human_N.max():
            raise Refusal(
                f"world: the human's answers on {len(human_N)} easy episodes are all alike, so no"
                " head can learn from them. Ask for more."
            )
        return Examples(read(episodes), human_N)

    sat = exam(
        world,
        predictor,
        levels,
        (test, easy_probe),
        sizes.disputed,
        sizes.twins,
        seed,
        cache,
        config["uses"],
    )
    return Material(
        world,
        predictor,
        levels,
        (train, validation),
        examples(train),
        examples(validation),
        tuple(predictor.flops(train).tolist()),
        clocked(predictor, train),
        sat,
        bag_of_words(train, sat.episodes.disputed, world.surface) if world.surface else None,
    )


def clocked(predictor: Predictor, episodes: Dataset) -> tuple[float, ...]:
    """Returns the seconds that a predictor takes for 1,000 episodes to reach each level, from as
    many as take it about a third of a second in all.
    """

    def seconds(n: int, level: int) -> float:
        begun = time.perf_counter()
        predictor.read(episodes.select(range(n)), [level])
        return time.perf_counter() - begun

    few = min(16, len(episodes))
    n = int(
        min(
            len(episodes),
            1000,
            max(few, few * 0.3 / predictor.n_levels / seconds(few, predictor.n_levels - 1)),
        )
    )
    return tuple(seconds(n, level) * 1000 / n for level in range(predictor.n_levels))


def checked(config: dict[str, Any]) -> Plan:
    """Returns the values that belong to no part; refuses a config that cannot run, before anything
    is made.

    Raises:
        Refusal: an unknown key, a missing value, a value of the wrong type or out of range.
    """
    parts = {
        "world",
        "core_model",
        "reporter",
        "prior",
        "training",
        "verdict",
        "alignment",
        "trainer",
        "logger",
        "bill",
    }
    known = parts | {"data", "seed", "seeds", "strengths", "levels", "job"}
    for key in config:
        if key not in known:
            raise Refusal(
                f"{key}: no such key.{did_you_mean(key, known)} There are:"
                f" {', '.join(sorted(known))}."
            )
    from priors.measures.prequential import refuse_few
    from priors.none import NoPrior

    values = {key: config[key] for key in ("seed", "seeds", "strengths", "levels")}
    check(Sizes, config["data"], "data")
    check(Plan, values, "", given=("sizes",))
    maker(config["reporter"], "reporter", "n_levels", "width")
    built = {key: build(config[key], key) for key in parts - {"reporter"}}
    plan = Plan(**values, sizes=Sizes(**config["data"]))
    if built["bill"].prequential:
        refuse_few(plan.sizes.train)
    return replace(plan, strengths=[0.0]) if isinstance(built["prior"], NoPrior) else plan


name_runs()


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    """Runs one job of Hydra's."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    settings = HydraConfig.get()
    folder, alone = Path(settings.runtime.output_dir), settings.mode is RunMode.RUN
    try:
        run(plain(config), folder)
    except Exception as error:
        if alone:
            raise
        failed(folder, error)  # the sweep's other runs go on, and its end says which failed and why
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if alone:
        from report.summary import show, show_job

        show_job(folder) if "job" in config else show([folder])
        print(folder)


def failed(folder: Path, error: Exception) -> None:
    """Notes in its folder why a run of a sweep could not be finished; of what is no user's mistake,
    also where.
    """
    from report.folder import fail

    why = one_line(error)
    fail(
        folder,
        why or f"{type(error).__name__}: {' '.join(str(error).split())}",
        "" if why else "".join(traceback.format_exception(error)),
    )
    print(f"error: {folder.name}: {why or repr(error)}", file=sys.stderr)


def cli() -> None:
    """Runs `main`, and says in one line what stopped it."""
    name_sweep(sys.argv[1:])
    in_one_line(main, "Stopped. What is whole is kept; the same command goes on from there.")


if __name__ == "__main__":
    from train import (
        cli as as_module,
    )  # what a launcher sends to other processes is then found there under its own name

    as_module()
