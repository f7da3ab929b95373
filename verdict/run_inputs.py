"""The inputs of a run: what heads are trained and judged on, whatever their reporter and prior."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from configs.build import Parts
from configs.plan import Plan, count_heads
from core_model.predictor import reseed
from core_model.reader import ActivationReader
from core_model.timing import ReadingCosts, measure_reading_costs
from storage.cache import find_cache_folder
from training.material import Material, draw_material
from verdict.controls import Scorer, compute_auroc
from verdict.draw_evaluation import draw_evaluation
from verdict.evaluation import Evaluation
from verdict.surface import fit_bag_of_words


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a run with one of its predictors."""

    predictor_seed: int
    """0 for a core model without one."""
    reader: ActivationReader
    material: Material
    evaluation: Evaluation
    costs: ReadingCosts

    @cached_property
    def bag_of_words(self) -> Scorer:
        """What ranks episodes by their words alone, in a world of text."""
        return fit_bag_of_words(self.material.train, str(self.evaluation.world.surface))

    @property
    def surface(self) -> float | None:
        """AUROC for X on disputed episodes of a bag of words, in a world of text: near 0.5 where no
        surface cue gives X away. None where it is not defined.
        """
        if self.evaluation.world.surface is None:
            return None
        disputed = self.evaluation.episodes.disputed
        auroc = compute_auroc(self.bag_of_words, disputed, self.evaluation.truth.disputed.concept_N)
        return None if math.isnan(auroc) else auroc


MOST_PREPARED = 4
PREPARED: dict[str, list[RunInputs]] = {}
"""The inputs of the last runs of this process."""
DECIDING = ("world", "core_model", "trainer", "data", "seed", "predictors", "levels")
"""The keys of a config that decide a run's inputs, beside verdict.uses."""


def prepare_once(config: Mapping[str, Any], parts: Parts, plan: Plan) -> list[RunInputs]:
    """Returns the inputs of a run with each of its predictors; runs of a sweep that share their
    inputs prepare them once.
    """
    key = json.dumps([*(config[name] for name in DECIDING), config["verdict"]["uses"]])
    if key not in PREPARED:
        if len(PREPARED) == MOST_PREPARED:
            PREPARED.pop(next(iter(PREPARED)))
        inputs = [prepare(parts, plan, 0)]
        for number in range(1, plan.predictors):
            inputs.append(prepare(parts, plan, number, inputs[0].costs.seconds))
        PREPARED[key] = inputs
    return PREPARED[key]


def prepare(
    parts: Parts, plan: Plan, number: int, seconds: tuple[float, ...] | None = None
) -> RunInputs:
    """Returns the inputs of a run with one of its predictors, which is frozen: the episodes are
    drawn and read.

    Args:
        number: the predictor's, from 0; it is added to the core model's seed.
        seconds: what reading another predictor of the run takes; by default it is measured.
    """
    world, cache = parts.world, find_cache_folder()
    core_model = reseed(parts.core_model, number)
    predictor = core_model.predictor(world, cache, parts.trainer)
    levels = plan.choose_levels(predictor.n_levels)
    parts.verdict.check_heads(count_heads(parts, plan, len(levels)))
    reader = ActivationReader(predictor, world.reads, levels, cache, parts.trainer.reading_devices)
    material = draw_material(world, reader, plan)
    evaluation = draw_evaluation(world, reader, material, plan, parts.verdict.uses)
    costs = measure_reading_costs(predictor, material.train, seconds)
    seed = getattr(core_model, "seed", 0)
    return RunInputs(seed, reader, material, evaluation, costs)
