"""Whole runs of heads that fit themselves, with answers that are known beforehand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from storage.run_folder import HEADS, WEIGHTS
from tests.running import TINY, train
from verdict.judge_again import judge_again

pytestmark = pytest.mark.slow

LADDER = ["world=ladder", "core_model=constructed", "levels=[1]", "seeds=1", "trainer.bar=false"]


def save_probe(run: Path, file: Path) -> None:
    """Saves the first head of a run as a probe of standardised activations."""
    tensors = load_file(run / WEIGHTS)
    np.savez(
        file,
        coef_=tensors["weights.weight_1D"][0, 0, 0].numpy(),
        intercept_=tensors["weights.bias"][0, 0, 0].numpy(),
        mean_=tensors["mean_LD"].numpy(),
        scale_=tensors["std_LD"].numpy(),
    )


def test_a_probe_of_another_run_is_judged_as_the_head_that_it_was(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    own = [*TINY, "levels=[2]", "seeds=1"]
    done = train("reporter=logistic", *own, folder=first)
    assert done.returncode == 0, done.stderr
    save_probe(first, tmp_path / "probe.npz")
    done = train("reporter=direction", f"reporter.file={tmp_path}/probe.npz", *own, folder=second)
    assert done.returncode == 0, done.stderr
    heads = [pd.read_parquet(folder / HEADS).iloc[0] for folder in (first, second)]
    for column in ("validation_nll", "follows_concept", "variational_bits", "edges", "flops"):
        assert heads[1][column] == pytest.approx(heads[0][column], rel=1e-4), column
    assert [head["optimizer"] for head in heads] == ["closed_form", "own"]
    (tmp_path / "probe.npz").unlink()
    assert len(judge_again(second).verdicts) == 1


@pytest.mark.parametrize("reporter", ["ccs", "crc", "contrast", "ttpd"])
def test_on_the_ladder_pairs_do_not_tell_x_from_h(reporter, tmp_path):
    """Within a pair both flip, so every head from pairs is half of either."""
    done = train(f"reporter={reporter}", *LADDER, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    head = pd.read_parquet(tmp_path / "run" / HEADS).iloc[0]
    assert head["easy_accuracy"] > 0.99
    assert head["follows_concept"] == pytest.approx(0.5, abs=0.05)
    assert head["verdict"] in ("mixture", "undecided")
    assert head["nde"] == pytest.approx(0.5, abs=0.05)


def test_several_predictors_have_pairs_of_their_own(tmp_path):
    words = [word for word in LADDER if not word.startswith("levels")]
    done = train("reporter=crc", *words, "levels=[0,1]", "predictors=2", folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    heads = pd.read_parquet(tmp_path / "run" / HEADS)
    assert len(heads) == 4
    assert (heads.loc[heads["level"] == 1, "validation_nll"] < 0.01).all()
    assert (heads.loc[heads["level"] == 0, "validation_nll"] > 0.5).all()
