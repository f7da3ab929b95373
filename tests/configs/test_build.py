"""Every YAML builds, and what does not fit a constructor is refused in one line that names the key
and the cure.
"""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from configs.build import build, check, fits, maker
from configs.plan import check_config
from console.command_line import plain
from console.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
GIVEN = {"reporter": ("n_levels", "width")}
PARTS = ("world", "core_model", "reporter", "prior", "verdict", "alignment", "trainer", "training")


def node(choice: str) -> dict:
    return yaml.safe_load((CONFIGS / f"{choice}.yaml").read_text())


def overrides() -> list[str]:
    """Every choice of every group, as a user would type it; a model that only the user can name is
    named.
    """
    found = [
        f"{group}={path.stem}"
        for group in (*PARTS, "experiment")
        for path in sorted((CONFIGS / group).glob("*.yaml"))
    ]
    return found + [f"+sweep={path.stem}" for path in sorted((CONFIGS / "sweep").glob("*.yaml"))]


@pytest.mark.parametrize("override", overrides())
def test_every_choice_composes_and_fits_its_constructor(override):
    extra = ["core_model.model=somewhere"] if "huggingface" in override else []
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", [override, *extra])
    check_config(plain(config))


def test_a_misspelt_option_is_refused_with_a_suggestion():
    with pytest.raises(
        UserError,
        match=r"reporter\.hiden: MLP has no such option\. Did you mean hidden\? It has: hidden\.",
    ):
        maker(node("reporter/mlp") | {"hiden": 3}, "reporter", *GIVEN["reporter"])


@pytest.mark.parametrize("value", ["many", 3.5, None, True, [3]])
def test_a_value_of_the_wrong_type_is_refused(value):
    with pytest.raises(UserError, match=r"reporter\.hidden: .* is not a whole number\."):
        maker(node("reporter/mlp") | {"hidden": value}, "reporter", *GIVEN["reporter"])


def test_a_missing_value_is_refused():
    values = {key: value for key, value in node("prior/simplicity").items() if key != "sigma"}
    with pytest.raises(UserError, match=r"prior\.sigma: it has no value"):
        build(values, "prior")


def test_a_class_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"prior\._target_: priors\.nowhere\.Prior cannot be found"):
        build({"_target_": "priors.nowhere.Prior"}, "prior")


def test_a_right_node_builds_with_its_values():
    assert build(node("prior/simplicity"), "prior").sigma == node("prior/simplicity")["sigma"]


def test_an_option_of_a_part_within_a_part_is_named_by_its_whole_path():
    part = {"_target_": "priors.simplicity.Simplicity", "sigme": 0.1}
    with pytest.raises(UserError, match=r"prior\.parts\.one\.sigme: .* Did you mean sigma\?"):
        build(
            {"_target_": "priors.sum.Sum", "parts": {"one": part}, "shares": {"one": 1.0}}, "prior"
        )


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, True),
        (True, int, False),
        (float("nan"), float, False),
        ("a", int | None, False),
        (None, int | None, True),
        ([1, 2], list[int], True),
        ([1, "a"], list[int], False),
        ({"a": 1.0}, dict[str, float], True),
        ({"a": "b"}, dict[str, float], False),
    ],
)
def test_types_are_told_apart(value, kind, expected):
    assert fits(value, kind) is expected


def test_check_speaks_of_top_level_keys_without_a_path():
    class Part:
        def __init__(self, seeds: int) -> None: ...

    with pytest.raises(UserError, match=r"^seeds: 'x' is not a whole number"):
        check(Part, {"seeds": "x"}, "")
