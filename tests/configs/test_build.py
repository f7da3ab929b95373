"""Every YAML builds, and a value that does not fit a constructor is refused in one line with the
key and the cure.
"""

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from bill.bill import Meter
from compute.trainer import Trainer
from configs.build import MOVED, PARTS, _import_class, bind, build, build_parts, check, fits
from configs.plan import check_config
from console.command_line import to_plain_values
from console.errors import UserError
from experiments.sweep import Sweep
from reporters.linear import Linear

CONFIGS = Path(__file__).parents[2] / "configs"
GROUPS = (
    "world",
    "core_model",
    "reporter",
    "prior",
    "verdict",
    "alignment",
    "trainer",
    "training",
    "optimizer",
    "experiment",
)


def read_node(choice: str) -> dict:
    return yaml.safe_load((CONFIGS / f"{choice}.yaml").read_text())


def read_config(*overrides: str) -> dict:
    """Returns a run's config as plain values."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return to_plain_values(compose("train", list(overrides)))


def list_choices() -> list[str]:
    """Returns every choice of every group, as a user would type it."""
    choices = []
    for group in GROUPS:
        choices += [f"{group}={path.stem}" for path in sorted((CONFIGS / group).glob("*.yaml"))]
    sweeps = sorted((CONFIGS / "sweep").glob("*.yaml"))
    return choices + [f"+sweep={path.stem}" for path in sweeps]


LITTLE_TABLE = [
    "world.files=docs/data/larger.csv",
    *("data.train=200", "data.validation=40", "data.test=40", "data.probe=40"),
]
FILES = {
    "reporter=direction": ["reporter.file=probe.npz"],
    "world=table": LITTLE_TABLE,
    "world=activations": [
        *("world.files=docs/data/planted.csv", "world.activations=docs/data/planted.safetensors"),
        *LITTLE_TABLE[1:],
    ],
}
"""Files of the choices that have none by default; of worlds, as many episodes as they have."""


@pytest.mark.parametrize("override", list_choices())
def test_every_choice_composes_and_fits_its_constructor(override):
    needed = ["core_model.model=somewhere"] if "huggingface" in override else []
    if override in ("world=cities", "world=opinions"):  # fewer statements than the vault's episodes
        needed = ["data.train=1000", "data.probe=400", "data.validation=200", "data.test=200"]
        needed += ["data.disputed=800", "data.twins=300"]
    needed += FILES.get(override, [])
    check_config(read_config(override, *needed))


def test_the_contexts_of_a_model_with_two_answers_run_on_opinions():
    config = read_config("experiment=both", "world=opinions")
    check_config(config)
    assert config["world"]["_target_"] == "worlds.opinions.Opinions"
    assert config["core_model"]["_target_"] == "core_model.quirky.Quirky"


def test_each_part_is_built_once(monkeypatch):
    targets = []

    def record(node, where, *provided):
        targets.append(where)
        return bind(node, where, *provided)

    monkeypatch.setattr("configs.build.bind", record)
    parts = build_parts(read_config())
    assert sorted(where for where in targets if "." not in where) == sorted(PARTS)
    assert isinstance(parts.trainer, Trainer) and parts.world.name == "vault"


def test_the_reporter_is_built_for_levels_and_a_width():
    reporter = build_parts(read_config("reporter=linear")).reporter(2, 16)
    assert isinstance(reporter, Linear)
    assert {value.shape[-1] for value in reporter.parameters() if value.dim()} == {32}


def test_an_unknown_key_is_refused_with_a_suggestion():
    config = read_config() | {"repotrer": {}}
    message = r"^repotrer: no such key\. Did you mean reporter\? There are: alignment, bill, "
    with pytest.raises(UserError, match=message):
        build_parts(config)


def test_a_saved_config_with_former_names_of_classes_builds():
    config = read_config()
    config["trainer"]["_target_"] = "core_model.fitting.Fitting"
    config["bill"]["_target_"] = "priors.bill.Meter"
    parts = build_parts(config)
    assert isinstance(parts.trainer, Trainer) and isinstance(parts.bill, Meter)
    assert isinstance(build({"_target_": "sweeps.Sweep"}, "sweep"), Sweep)


def test_former_names_lead_to_classes_that_exist():
    for former, present in MOVED.items():
        cls = _import_class(former, "part")
        assert f"{cls.__module__}.{cls.__name__}" == present


def test_a_misspelt_option_is_refused_with_a_suggestion():
    message = r"reporter\.hiden: MLP has no such option\. Did you mean hidden\? It has: hidden\."
    with pytest.raises(UserError, match=message):
        bind(read_node("reporter/mlp") | {"hiden": 3}, "reporter", "n_levels", "width")


@pytest.mark.parametrize("value", ["many", 3.5, None, True, [3]])
def test_a_value_of_the_wrong_type_is_refused(value):
    node = read_node("reporter/mlp") | {"hidden": value}
    with pytest.raises(UserError, match=r"reporter\.hidden: .* is not a whole number\."):
        bind(node, "reporter", "n_levels", "width")


def test_a_missing_value_is_refused():
    node = read_node("prior/simplicity")
    del node["sigma"]
    with pytest.raises(UserError, match=r"prior\.sigma: it has no value"):
        build(node, "prior")


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match=r"prior\._target_: priors\.nowhere\.Prior cannot be found"):
        build({"_target_": "priors.nowhere.Prior"}, "prior")


def test_a_node_builds_with_its_values():
    node = read_node("prior/simplicity")
    assert build(node, "prior").sigma == node["sigma"]


def test_an_option_of_a_part_within_a_part_is_named_by_its_whole_path():
    part = {"_target_": "priors.simplicity.Simplicity", "sigme": 0.1}
    node = {"_target_": "priors.sum.Sum", "parts": {"one": part}, "shares": {"one": 1.0}}
    with pytest.raises(UserError, match=r"prior\.parts\.one\.sigme: .* Did you mean sigma\?"):
        build(node, "prior")


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
def test_values_fit_their_types_only(value, kind, expected):
    assert fits(value, kind) is expected


def test_check_names_top_level_keys_without_a_path():
    class Part:
        def __init__(self, seeds: int) -> None: ...

    with pytest.raises(UserError, match=r"^seeds: 'x' is not a whole number"):
        check(Part, {"seeds": "x"}, "")


def test_of_a_dictionary_the_wrong_item_is_named():
    bill = read_node("bill/default") | {"measures": {"edges": None, "prequential": False}}
    with pytest.raises(UserError, match=r"^bill\.measures\.prequential: False is not Measure, or"):
        build(bill, "bill")
