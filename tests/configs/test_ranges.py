"""Every number of every YAML has a range: a number far outside is refused by its key, before
anything is trained.
"""

import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Annotated, Any

import pytest

from configs.build import find_outside
from configs.plan import check_config
from console.errors import UserError
from console.ranges import Count, LearningRate, Positive, Range
from tests.configs.test_build import FILES, list_choices, read_config
from tests.verdict.calibration.test_main import read_config as read_calibration
from verdict.calibration.__main__ import read_calibration_plan


def list_numbers(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path to every number in nested values."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from list_numbers(value, (*path, key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from list_numbers(value, (*path, number))
    elif isinstance(values, (int, float)) and not isinstance(values, bool):
        yield path


def replace_number(values: dict[str, Any], path: tuple[Any, ...], number: float) -> dict[str, Any]:
    """Returns the values with another number in one place."""
    changed = deepcopy(values)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = number
    return changed


def find_accepted(values: dict[str, Any], groups: set[str], check_values) -> list[str]:
    """Returns the numbers that are not refused by their key far below and far above their range.

    Args:
        groups: the keys at the top whose numbers are tried.
    """
    accepted = []
    for path in list_numbers(values):
        if path[0] not in groups:
            continue
        key = ".".join(str(part) for part in path if not isinstance(part, int))
        for number in (-1_000_001, 10**18):
            try:
                check_values(replace_number(values, path, number))
            except UserError as error:
                if str(error).startswith(key):
                    continue
            accepted.append(f"{key}={number}")
    return accepted


BELOW_HALF = Annotated[float, Range(0, below=0.5)]
PARTS = [choice for choice in list_choices() if not choice.startswith(("experiment", "+sweep"))]


@pytest.mark.parametrize("choice", [*PARTS, "bill=default", "bill=full"])
def test_every_number_of_a_part_has_a_range(choice):
    group = choice.partition("=")[0]
    model = ["core_model.model=somewhere"] if "huggingface" in choice else []
    files = FILES.get(choice, [])
    values = read_config(choice, "trainer.memory=1", "verdict.turn=100", *model, *files)
    assert find_accepted(values, {group}, check_config) == []


def test_every_number_of_no_part_has_a_range():
    groups = {"data", "seed", "seeds", "strengths", "levels"}
    values = read_config("levels=[1]")
    assert len(list(list_numbers({key: values[key] for key in groups}))) == 10
    assert find_accepted(values, groups, check_config) == []


SHARED = {
    "world": "world",
    "core_model": "core_model",
    "schedule": "training",
    "optimizer": "optimizer",
    "trainer": "trainer",
}
"""Parts that a job shares with the rest of its config: their keys in the job, and there."""


@pytest.mark.parametrize("experiment", ["lookup", "double_descent", "data_size"])
def test_every_number_of_a_job_has_a_range(experiment):
    values = read_config(f"experiment={experiment}")
    shared = {key: values[name] for key, name in SHARED.items() if key in values["job"]}
    values["job"] = {key: value for key, value in values["job"].items() if key not in shared}

    def check_job(changed: dict[str, Any]) -> None:
        check_config(changed | {"job": changed["job"] | shared})

    assert find_accepted(values, {"job"}, check_job) == []


def test_every_number_of_a_calibration_has_a_range():
    values = read_calibration()
    plan = {key: value for key, value in values.items() if not isinstance(value, dict)}
    assert find_accepted(plan, set(plan), read_calibration_plan) == []


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (0, Count, "key: 0 is too small. Use 1 or more."),
        (0.0, Positive, "key: 0.0 is too small. Use a number above 0."),
        (math.inf, Positive, "key: inf is too large. Use 1000000000 at most."),
        (
            0.5,
            Annotated[float, Range(0, below=0.5)],
            "key: 0.5 is too large. Use a number below 0.5.",
        ),
        (2, Count, None),
        ([0.1, 3], LearningRate | list[LearningRate], "key: 3 is too large. Use 1 at most."),
        (0.1, LearningRate | list[LearningRate], None),
        (None, Count | None, None),
        ({"a": 0}, dict[str, Count], "key.a: 0 is too small. Use 1 or more."),
        (-1, int, None),
    ],
)
def test_a_number_outside_its_range_is_found_wherever_it_stands(value, kind, message):
    assert find_outside("key", value, kind) == message
