"""The calibration of the judge: its command, its plan, and what it writes."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from console.command_line import run_command, to_plain_values
from console.errors import UserError
from tests.conftest import CONFIGS
from tests.running import run_here
from verdict.calibration.__main__ import (
    PLOT,
    ROWS,
    SUMMARY,
    calibrate,
    read_calibration_plan,
    write,
)
from verdict.calibration.__main__ import main as calibration
from verdict.calibration.planted import PLANTED
from verdict.calibration.rates import rate

TINY = (
    *("world.steps=6", "core_model.blocks=1", "core_model.width=16", "core_model.heads=2"),
    *("core_model.episodes=256", "core_model.epochs=1", "trainer.bar=false"),
    *("evaluations=1", "predictors=[0]", "copies=2", "disputed=[40,60]", "easy=40", "probe=80"),
)


def read_config(*overrides: str) -> dict:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return to_plain_values(compose("calibrate", list(overrides)))


def test_the_command_shows_how_it_is_used():
    words = [sys.executable, "-m", "verdict.calibration", "--help"]
    done = subprocess.run(words, cwd=CONFIGS.parent, capture_output=True, text=True, check=True)
    assert "python -m verdict.calibration world.human=careful" in done.stdout
    assert "core_model: constructed, huggingface" in done.stdout
    assert "copies: 10" in done.stdout


@pytest.mark.parametrize("given_truth", [True, False])
def test_it_judges_every_planted_head_and_writes_the_tables(cache, tmp_path, given_truth):
    rows = calibrate(read_config(*TINY, f"given_truth={given_truth}"))
    assert len(rows) == 2 * 2 * len(PLANTED)
    assert rows["evaluation"].nunique() == 1 and set(rows["disputed"]) == {40, 60}
    assert set(rows["reads"]) == {"the truth" if given_truth else "activations"}
    write(rows, tmp_path, "tiny vault")
    assert {path.name for path in tmp_path.iterdir()} == {ROWS, SUMMARY, PLOT}
    summary = (tmp_path / SUMMARY).read_text()
    assert summary.count("| translator |") == 2
    assert "of 32 heads" in summary, (
        "sixteen planted heads are right on easy episodes, two copies of each"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("copies=0", "copies: 0 is too few"),
        ("disputed=[20]", "disputed: 20 is too few"),
        ("disputed=[]", "disputed: .* at least one"),
        ("predictors=[1,1]", "predictors: .* each once"),
        ("easy=many", "easy: 'many' is not a whole number"),
        ("+unknown=1", "unknown: CalibrationPlan has no such option"),
    ],
)
def test_a_plan_that_cannot_run_is_refused(override, message):
    with pytest.raises(UserError, match=message):
        read_calibration_plan(read_config(override))


def test_the_judge_is_not_calibrated_in_turns():
    with pytest.raises(UserError, match=r"verdict\.turn"):
        calibrate(read_config("verdict.turn=50"))


@pytest.mark.parametrize(
    ("word", "message"),
    [("easy=1", "easy: 1 is too few."), ("world=null", "world: it is null or deleted")],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(word, message, tmp_path):
    run = f"hydra.run.dir={tmp_path / 'out'}"
    done = run_here(lambda: run_command(calibration, "Stopped."), "calibration", word, run)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


def test_the_limit_of_a_rate_is_one_over_predictors():
    """None of 400 heads of four predictors may be as many as .60 of predictors: .025 ** (1/4) is
    .40. As if heads were independent it is below 1%.
    """
    predictors = pd.Series(np.repeat(["a", "b", "c", "d"], 100))
    none = rate(pd.Series(np.zeros(400, bool)), predictors)
    assert (none.value, none.heads, none.predictors) == (0, 400, 4)
    assert none.high == pytest.approx(1 - 0.025**0.25)
    assert none.high_by_head < 0.01


def test_a_world_that_can_decide_nothing_is_refused():
    table = {"_target_": "worlds.table.Table", "files": "docs/data/larger.csv", "download": False}
    keys = {"text": "text", "concept": "label", "prompt": "{text}"}
    others = dict.fromkeys(("human", "easy", "group", "family", "twin"))
    config = read_config(*TINY) | {"world": table | keys | others}
    with pytest.raises(
        UserError, match=r"^world: the judge cannot be calibrated on it\. The table"
    ):
        calibrate(config)
