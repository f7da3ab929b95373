"""The plan of a run: the values of its config that belong to no part, checked before the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from configs.build import Parts, build, build_parts, check
from console.errors import UserError
from console.ranges import Range

Size = Annotated[int, Range(most=10_000_000)]
Strength = Annotated[float, Range(most=1_000_000)]


@dataclass(frozen=True)
class Sizes:
    """The number of episodes of each kind; comments in train.yaml explain what each is for."""

    train: Size
    validation: Size
    test: Size
    disputed: Size
    twins: Size
    probe: Size
    known: bool = False
    """Whether episodes are left out that judge what the predictor does not know."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "known" and value < 2:
                raise UserError(
                    f"data.{name}: {value} is too few to hold both answers. Use 2 or more."
                )


@dataclass(frozen=True)
class Plan:
    """The values of a run that belong to no part."""

    seed: Annotated[int, Range(most=2**32 - 1)]
    seeds: Annotated[int, Range(most=1_000_000)]
    predictors: Annotated[int, Range(most=10_000)]
    planted_costs: bool
    strengths: list[Strength]
    """0 alone where the prior charges nothing: all strengths would give the same heads."""
    levels: list[Annotated[int, Range(most=10_000)]] | None
    sizes: Sizes

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed: {self.seed} is negative. Use 0 or more.")
        if self.seeds < 1:
            raise UserError(f"seeds: {self.seeds} is too few. Use 1 or more.")
        if self.predictors < 1:
            raise UserError(f"predictors: {self.predictors} is too few. Use 1 or more.")
        if self.levels is not None:
            has_repeats = len(set(self.levels)) < len(self.levels)
            if not self.levels or has_repeats or min(self.levels) < 0:
                raise UserError(
                    f"levels: {self.levels} must name levels from 0 on, each once. For example"
                    " levels='[2,3]'; null reads all."
                )
        if not self.strengths or min(self.strengths) < 0 or max(self.strengths) == math.inf:
            raise UserError(
                f"strengths: {self.strengths} must be finite numbers of 0 or more, and at least"
                " one. For example strengths='[0.25,1,4]'."
            )
        if len(set(self.strengths)) < len(self.strengths):
            raise UserError(
                f"strengths: {self.strengths} names a strength twice, and its heads would be the"
                " same. Name each once."
            )

    @property
    def head_seeds(self) -> range:
        """The seeds of the heads: the run's seed and those after it."""
        return range(self.seed, self.seed + self.seeds)

    def choose_levels(self, n_levels: int) -> tuple[int, ...]:
        """Returns the levels of a predictor that are read, shallowest first."""
        return tuple(range(n_levels) if self.levels is None else sorted(self.levels))


def read_plan(config: Mapping[str, Any], parts: Parts) -> Plan:
    """Returns the plan of a config.

    Raises:
        UserError: an unknown key, a missing value, a value of the wrong type or out of range.
    """
    names = ("seed", "seeds", "predictors", "planted_costs", "strengths", "levels")
    # Configs of older runs lack these.
    values: dict[str, Any] = {"predictors": 1, "planted_costs": False}
    values |= {name: config[name] for name in names if name in config}
    data: Any = config.get("data")
    if isinstance(data, Mapping):
        data = {"known": False, **data}
    check(Sizes, data, "data")
    check(Plan, values, "", provided=("sizes",))
    values["strengths"] = [strength + 0 for strength in values["strengths"]]  # -0.0 becomes 0.0
    plan = Plan(**values, sizes=Sizes(**data))
    parts.bill.check(plan.sizes.train)
    check_predictors(parts, plan)
    check_levels(parts, plan)
    check_sizes(parts, plan.sizes)
    if plan.planted_costs:
        check_planting(parts)
    plan = plan if parts.prior.charges else replace(plan, strengths=[0.0])
    n_levels = len(plan.levels or ()) or parts.core_model.count_levels()
    if n_levels:
        parts.verdict.check_heads(count_heads(parts, plan, n_levels))
    return plan


def count_heads(parts: Parts, plan: Plan, n_levels: int) -> int:
    """Returns the number of heads of each predictor of a run that reads this many levels."""
    n_groups = n_levels if parts.reads_one_level else 1
    return n_groups * len(plan.head_seeds) * len(plan.strengths)


def check_predictors(parts: Parts, plan: Plan) -> None:
    """Raises UserError where the core model has no seed by which several predictors differ."""
    if plan.predictors > 1 and not hasattr(parts.core_model, "seed"):
        name = type(parts.core_model).__name__
        raise UserError(
            f"predictors: {name} has no seed, so all {plan.predictors} would be the same. Use"
            " predictors=1, or another core_model."
        )


def check_planting(parts: Parts) -> None:
    """Raises UserError where planted heads cannot be trained apart from the episodes that judge."""
    world = parts.world
    if world.undecidable:
        raise UserError(f"planted_costs: {world.undecidable} Use planted_costs=false.")
    disputed = world.count("disputed")
    if disputed is not None:
        raise UserError(
            f"planted_costs: the world {world.name} has {disputed} disputed episodes and makes no"
            " others, and planted heads need some apart from those that judge. Use"
            " planted_costs=false."
        )


def check_levels(parts: Parts, plan: Plan) -> None:
    """Raises UserError where the predictor lacks a level, if that is known before it is made."""
    n_levels = parts.core_model.count_levels()
    if n_levels is not None and plan.levels and max(plan.levels) >= n_levels:
        raise UserError(
            f"levels: the core model has no level {max(plan.levels)}. It has 0 to {n_levels - 1}."
        )


def check_sizes(parts: Parts, sizes: Sizes) -> None:
    """Raises UserError where the world has too few episodes. Where X and H cannot be compared, the
    predictor is not examined on disputed ones.
    """
    easy = sizes.train + sizes.validation + sizes.test + sizes.probe
    disputed = sizes.disputed + (sizes.probe if parts.world.compares else 0)
    shortage = parts.world.describe_shortage(easy, disputed, sizes.twins)
    if shortage:
        raise UserError(f"world: {shortage}")


def check_config(config: Mapping[str, Any]) -> Plan:
    """Returns the plan of a config, after building every part, and its job, once.

    Raises:
        UserError: the config cannot run.
    """
    plan = read_plan(config, build_parts(config))
    if "job" in config:
        build(config["job"], "job")
    return plan
