"""Judging the saved heads of a finished run again: on new episodes, or in a world of rows of files,
on the run's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from torch import tensor

from configs.build import Parts, build_parts, read_default
from configs.plan import Plan, read_plan
from console.errors import UserError
from core_model.predictor import Predictor, reseed
from core_model.reader import ActivationReader
from storage.cache import find_cache_folder
from storage.run_folder import (
    check_data,
    check_whole,
    read_config,
    read_heads,
    read_predictor,
    read_weights,
)
from training.heads import load_heads
from training.material import draw_easy
from verdict.draw_evaluation import build_evaluation
from verdict.judge_heads import judge_heads
from verdict.verdict import Judgement, join_judgements
from worlds.parts import split_by_cluster as split
from worlds.seeds import JUDGING_AGAIN_OFFSET
from worlds.world import World

NOT_USED = {
    "prior": "prior/none.yaml",
    "training": "training/default.yaml",
    "optimizer": "optimizer/adamw.yaml",
    "trainer": "trainer/default.yaml",
    "logger": "logger/none.yaml",
}
"""Parts that finished heads do not use, and their defaults: the config of an older run may lack
options that they have now.
"""
NO_BILL = {"_target_": "bill.bill.Meter", "measures": {}}


class EasyDraw(NamedTuple):
    """The easy episodes on which heads are judged again."""

    test: Dataset
    """They measure competence."""
    probe: Dataset
    """On these the predictor itself is examined."""
    seed: int
    """Of the other episodes of the evaluation."""


def judge_again(folder: Path) -> Judgement:
    """Returns the verdicts on the saved heads of a finished run, on the episodes of
    `draw_easy_again` and others with their seed.

    Raises:
        UserError: the run is of another version, not whole, or its predictor or its files of data
            have changed.
    """
    check_whole(folder)
    config = read_judging_config(folder)
    parts = build_parts(config)
    plan = read_plan(config, parts)
    world = parts.world
    table = read_heads(folder)
    nll_K = tensor(table["validation_nll"].to_numpy())
    heads = load_heads(parts.reporter, *read_weights(folder), nll_K)
    identities = table["predictor"].unique()
    sizes, easy = plan.sizes, draw_easy_again(world, plan)
    if easy.seed == plan.seed:
        check_data(folder)
        print(
            f"{folder}: the world {world.name} has no episodes beside those of the run, so they"
            " judge again.",
            file=sys.stderr,
        )
    judgements = []
    for number, own_heads in enumerate(heads.split()):
        predictor = load_predictor(folder, parts, number, identities[number])
        reader = ActivationReader(predictor, world.reads, heads.levels, find_cache_folder())
        evaluation = build_evaluation(
            world,
            reader,
            easy.test,
            easy.probe,
            sizes.disputed,
            sizes.twins,
            easy.seed,
            parts.verdict.uses,
            sizes.known,
        )
        judgements.append(judge_heads(parts.verdict, own_heads, evaluation))
    return join_judgements(judgements)


def draw_easy_again(world: World, plan: Plan) -> EasyDraw:
    """Returns newly drawn easy episodes; in a world that has only so many, the run's own, because
    heads were trained on some of the others.
    """
    if world.count("easy") is not None:
        easy = draw_easy(world, plan)
        return EasyDraw(easy.test, easy.probe, plan.seed)
    sizes, seed = plan.sizes, plan.seed + JUDGING_AGAIN_OFFSET
    test, probe = split(
        world.episodes("easy", sizes.test + sizes.probe, seed), (sizes.test, sizes.probe)
    )
    return EasyDraw(test, probe, seed)


def load_predictor(folder: Path, parts: Parts, number: int, identity: str) -> Predictor:
    """Returns one of the predictors of a run.

    Raises:
        UserError: it is not the one that the run's heads were trained on.
    """
    core_model = reseed(parts.core_model, number)
    predictor: Predictor = core_model.predictor(parts.world, find_cache_folder(), parts.trainer)
    if predictor.identity != identity:
        raise UserError(
            f"{folder}: its heads were trained on the predictor {identity}, and this config now"
            f" gives {predictor.identity}: the model's weights, config, number type or code have"
            " changed. Restore them, or run it again."
        )
    return predictor


def read_judging_config(folder: Path) -> dict[str, Any]:
    """Returns the config of a finished run with what an older one lacks: options of parts that
    finished heads do not use, and bounds and kinds of evidence of its judge; and with the number
    type that `auto` chose on the machine of the run.
    """
    config: dict[str, Any] = read_config(folder)
    config |= {key: read_default(path) for key, path in NOT_USED.items()}
    config["bill"] = NO_BILL
    config["verdict"] = read_default("verdict/default.yaml") | config["verdict"]
    if config["core_model"].get("dtype") == "auto":
        config["core_model"]["dtype"] = read_predictor(folder)["dtype"]
    if config["trainer"]["accelerator"] != "cpu":  # this machine may lack the one of the run
        config["trainer"] = config["trainer"] | {"accelerator": "auto"}
    return config
