"""Saved heads are judged again on the predictor that they were trained on, and on no other."""

import json
import shutil

import pytest
import torch

pytest.importorskip("transformers")

from console.errors import UserError
from tests.core_model.small_models import MODELS, save_model
from tests.running import TINY, train
from verdict.judge_again import judge_again

SMALL = [word for word in TINY if not word.startswith(("world.", "core_model."))]


def test_a_model_whose_config_was_edited_does_not_judge_the_heads_of_the_old_one(tmp_path):
    torch.manual_seed(0)
    model, run = tmp_path / "model", tmp_path / "run"
    save_model(MODELS["llama"](), model)
    choice = ["core_model=huggingface", f"core_model.model={model}", "core_model.dtype=float32"]
    done = train("experiment=cities", *SMALL, *choice, "levels=[2]", folder=run)
    assert done.returncode == 0, done.stderr
    moved = shutil.move(model, tmp_path / "moved")
    model.symlink_to(moved)
    assert len(judge_again(run).verdicts) == 2
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}), encoding="utf-8")
    with pytest.raises(UserError, match="config, number type or code have changed"):
        judge_again(run)
