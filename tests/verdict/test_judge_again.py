"""Saved heads are judged again on the predictor that they were trained on, and on no other."""

import json
import shutil

import pytest
import torch
import yaml

pytest.importorskip("transformers")

from compute.bfloat16 import choose_dtype
from configs.build import build_parts
from console.errors import UserError
from storage.run_folder import CONFIG, read_config, read_predictor
from tests.core_model.small_models import MODELS, save_model
from tests.running import TINY, train
from training.optimizers.adamw import AdamW
from verdict.judge_again import judge_again, read_judging_config

SMALL = [word for word in TINY if not word.startswith(("world.", "core_model."))]


@pytest.fixture(scope="module")
def model_and_run(tmp_path_factory):
    """A finished run on a small language model whose number type was chosen by this machine."""
    folder = tmp_path_factory.mktemp("small")
    model, run = folder / "model", folder / "run"
    torch.manual_seed(0)
    save_model(MODELS["llama"](), model)
    choice = ["core_model=huggingface", f"core_model.model={model}"]
    done = train("experiment=cities", *SMALL, *choice, "levels=[2]", folder=run)
    assert done.returncode == 0, done.stderr
    return model, run


def test_heads_are_judged_in_the_number_type_that_they_were_trained_in(model_and_run, monkeypatch):
    _, run = model_and_run
    dtype = read_predictor(run)["dtype"]
    assert dtype == choose_dtype("auto", "cpu")
    other = {"float32": "bfloat16", "bfloat16": "float32"}[dtype]
    monkeypatch.setattr("core_model.huggingface.choose_dtype", lambda name, device: other)
    assert read_judging_config(run)["core_model"]["dtype"] == dtype
    with pytest.raises(UserError, match="number type"):
        judge_again(run)
    monkeypatch.undo()
    assert len(judge_again(run).verdicts) == 2


def test_a_run_from_before_optimizers_were_a_choice_can_be_judged_again(tiny_run, tmp_path):
    shutil.copy(tiny_run / CONFIG, tmp_path)
    config = read_config(tmp_path)
    del config["optimizer"], config["training"]["keep"]
    config["prior"] = {"_target_": "priors.speed.Speed", "log_alpha": 2.0}  # it had no `gates`
    (tmp_path / CONFIG).write_text(yaml.safe_dump(config), encoding="utf-8")
    assert build_parts(read_judging_config(tmp_path)).optimizer == AdamW(0.02)


def test_a_model_whose_config_was_edited_does_not_judge_the_heads_of_the_old_one(model_and_run):
    model, run = model_and_run
    moved = shutil.move(model, model.with_name("moved"))
    model.symlink_to(moved)
    assert len(judge_again(run).verdicts) == 2
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    edited = json.dumps(config | {"rms_norm_eps": 0.5})
    (model / "config.json").write_text(edited, encoding="utf-8")
    with pytest.raises(UserError, match="config, number type or code have changed"):
        judge_again(run)
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
