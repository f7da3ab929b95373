"""Arms: runs of one prior that are trained differently are compared under different names, and
never pooled.
"""

import pytest
import yaml

from report import arms
from report.arms import describe_training, name_arms
from report.comparison import compare
from report.runs import find
from report.settings import describe_several_settings, group_by_setting
from storage.run_folder import CONFIG, HEADS, write_hashes
from tests.report.planted_sweeps import heads, write

SCHEDULE = {"_target_": "training.schedule.Schedule", "epochs": 400, "halting_bonus": 0.3}
CHOICES = {
    "training": {
        "default": SCHEDULE | {"keep": "last"},
        "early_stopping": SCHEDULE | {"keep": "best", "epochs": 30},
        "convex": {"_target_": "training.convex.Convex", "steps": 1000},
    },
    "optimizer": {
        "auto": {"_target_": "training.auto.Auto"},
        "adamw": {"_target_": "training.adamw.AdamW", "rate": 0.02},
        "sgd": {"_target_": "training.sgd.SGD", "rate": 0.1},
    },
}


@pytest.fixture(autouse=True)
def choices(tmp_path_factory, monkeypatch):
    """Plants a folder of configs, so that names depend on no real one."""
    folder = tmp_path_factory.mktemp("configs")
    for group, group_choices in CHOICES.items():
        (folder / group).mkdir()
        for name, options in group_choices.items():
            (folder / group / f"{name}.yaml").write_text(yaml.safe_dump(options))
    defaults = ["_self_", {"training": "default"}, {"optimizer": "auto"}]
    (folder / "train.yaml").write_text(yaml.safe_dump({"defaults": defaults}))
    monkeypatch.setattr(arms, "CONFIGS", folder)
    arms._describe_choice.cache_clear()
    yield
    arms._describe_choice.cache_clear()


def configure(training="default", optimizer="auto", **options) -> dict:
    own = CHOICES["training"][training] | options
    return {"prior": {}, "training": own, "optimizer": CHOICES["optimizer"][optimizer]}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (configure(), ()),
        (configure("early_stopping"), ("early stopping",)),
        (configure("convex", "sgd"), ("convex", "sgd")),
        (configure(halting_bonus=0), ("bonus 0",)),
        (configure("early_stopping", epochs=60), ("early stopping", "epochs 60")),
        ({"training": CHOICES["training"]["default"]}, ("earlier version",)),
        ({"training": {"_target_": "mine.Own"}, "optimizer": {}}, None),
    ],
    ids=["default", "choice", "two", "option", "both", "earlier version", "own"],
)
def test_training_is_described_by_what_departs_from_the_default(config, words):
    described = describe_training(config)
    assert described == words if words is not None else described[:2] != ()


def test_arms_are_named_by_what_they_do_not_share():
    sgd, adamw = configure(optimizer="sgd"), configure(optimizer="adamw")
    assert name_arms(["none", "none"], [sgd, adamw]) == ["none (sgd)", "none (adamw)"]
    assert name_arms(["none", "speed"], [sgd, sgd]) == ["none", "speed"]
    assert name_arms(["none", "speed"], [sgd, configure()]) == ["none (sgd)", "speed"]
    old = [{"prior": {}, "training": {"epochs": epochs}} for epochs in (30, 400)]
    assert name_arms(["none"] * 2, old) == ["none (epochs 30)", "none (epochs 400)"]
    assert name_arms(["none"] * 2, [old[0], sgd]) == ["none (earlier version)", "none (sgd)"]
    simple = [configure(), configure(halting_bonus=0)]
    assert name_arms(["simplicity"] * 2, simple) == ["simplicity", "simplicity (bonus 0)"]


def train(folder, name: str, follows: float, config: dict) -> None:
    """Writes runs of this training on three predictors."""
    for predictor in range(3):
        frame = heads("none", predictor=predictor, follows=follows)
        run = write(folder / f"{name}-{predictor}", frame)
        full = yaml.safe_load((run / CONFIG).read_text()) | config
        (run / CONFIG).write_text(yaml.safe_dump(full | {"prior": {"_target_": "priors.none"}}))
        write_hashes(run, run / HEADS)


def test_arms_stand_side_by_side_in_one_comparison_and_are_paired_and_never_pooled(tmp_path):
    train(tmp_path, "last", 0.95, configure())
    train(tmp_path, "best", 0.3, configure("early_stopping"))
    (setting,) = group_by_setting(find([tmp_path]).runs)
    assert describe_several_settings([setting]) == []
    means = setting.heads.groupby("prior")["follows_concept"].mean()
    assert means.to_dict() == pytest.approx({"none": 0.95, "none (early stopping)": 0.3})
    part = compare(setting)
    assert part.answer.headline.startswith(
        "Training without a prior finds translators more often than no prior (early stopping) by"
    )
    (pair,) = part.answer.pairs
    assert (pair.first, pair.second, pair.follows.heads) == ("none", "none (early stopping)", 24)
    assert (part.lines["strength"] == 0).all()


def test_runs_with_the_same_training_are_one_arm(tmp_path):
    train(tmp_path, "a", 0.95, configure())
    (setting,) = group_by_setting(find([tmp_path]).runs)
    assert set(setting.heads["prior"]) == {"none"}
