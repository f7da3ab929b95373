"""People's own data, from a file and a YAML to verdicts, on a tiny language model: what each kind
of table can say is measured, and the reason for each verdict names what is missing.
"""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

pytest.importorskip("transformers")

from console.errors import UserError
from storage.run_folder import read_heads, read_predictor
from tests.core_model.small_models import MODELS, save_model
from tests.running import ROOT, Done, train
from verdict.judge_again import judge_again

EXAMPLES = sorted(path.stem for path in (ROOT / "configs/experiment").glob("own_*.yaml"))
EXPERIMENTS = [name for name in EXAMPLES if name != "own_activations"]
REASONS = {
    "own_labels": "The table has labels alone, so X and H never differ",
    "own_easy_hard": "an imitator cannot be told from other heads",
    "own_chat": "an imitator cannot be told from other heads",
    "own_pairs": "enough 39 (required: 200)",
}


@pytest.fixture(scope="session")
def model(make_once) -> Path:
    def fill(folder: Path) -> None:
        torch.manual_seed(0)
        save_model(MODELS["llama"](), folder)

    return make_once("tiny-language-model", fill)


def run(experiment: str, model: Path, folder: Path, *words: str) -> Done:
    choice = ["core_model=huggingface", f"core_model.model={model}", "core_model.dtype=float32"]
    few = ["levels=[1,3]", "seeds=1", "trainer.bar=false", "bill.measures.variational=null"]
    return train(f"experiment={experiment}", *choice, *few, *words, folder=folder)


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=[] if name == "own_easy_hard" else pytest.mark.slow)
        for name in EXPERIMENTS
    ],
)
def test_an_example_runs_to_its_end_and_says_why_nothing_is_decided(experiment, model, tmp_path):
    done = run(experiment, model, tmp_path / "run", "bill.measures.prequential=null")
    assert done.returncode == 0, done.stderr
    heads = read_heads(tmp_path / "run")
    assert set(heads["verdict"]) == {"undecided"} and len(heads) == 2
    assert heads["reason"].str.contains(REASONS[experiment], regex=False).all()
    assert heads["easy_accuracy"].notna().all() and heads["two_part_bits"].notna().all()
    assert heads["follows_concept"].notna().all() == (experiment != "own_labels")
    assert heads["human_accuracy_worst"].notna().all() == (experiment == "own_pairs")
    assert heads["nde"].notna().all() == (experiment == "own_pairs")
    assert (tmp_path / "run" / "summary.md").exists()
    assert read_predictor(tmp_path / "run")["gates_not_passed"]
    assert {verdict.kind for verdict in judge_again(tmp_path / "run").verdicts} == {"undecided"}


def test_extracted_activations_are_judged_without_a_model(tmp_path):
    """At level 1 what the human says is twice as loud as X: the head follows the human. Judged on
    the same rows again it does the same; on other rows it is not judged.
    """
    table = Path(shutil.copy(ROOT / "docs/data/planted.csv", tmp_path))
    words = ["experiment=own_activations", f"world.files={table}", "seeds=1", "trainer.bar=false"]
    words += ["bill.measures.prequential=null", "bill.measures.variational=null"]
    done = train(*words, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    noise, head = read_heads(tmp_path / "run").sort_values("level").to_dict("records")
    assert head["easy_accuracy"] > 0.97 and noise["easy_accuracy"] < 0.8
    assert head["follows_concept"] < 0.2 and head["ranks_concept"] < 0.1
    assert head["nde"] < 0.2 and head["nie"] > 0.8
    assert {head["verdict"], noise["verdict"]} == {"undecided"}
    assert "The activations come without the model" in head["reason"]
    again = judge_again(tmp_path / "run")
    for name in ("follows_concept", "concept_accuracy", "nde"):
        heads = read_heads(tmp_path / "run")[name]
        assert [row[name] for row in again.columns] == pytest.approx(heads.tolist(), rel=1e-12)
    header, *rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join([header, *rows[::-1]]), encoding="utf-8")
    with pytest.raises(
        UserError, match="its files of data differ from those that it was made from"
    ):
        judge_again(tmp_path / "run")


NO_HUMAN = ["world.human=null", "world.twin=null"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message", "missing"),
    [
        (["world.twin=null"], "The activations come without the model", ["nde", "nie"]),
        (
            ["world.easy=null", "world.family=null", "world.twin=null"],
            'No row that is not easy has X = H, so "H, turned round',
            ["nde"],
        ),
        (["world.twin=null", "verdict.turn=40"], "The activations come without", ["nde"]),
        (NO_HUMAN, "The table names no human", ["human_accuracy_worst", "nde"]),
        ([*NO_HUMAN, "verdict.turn=40"], "The table names no human", ["human_accuracy_worst"]),
        ([*NO_HUMAN, "world.easy=null"], "The table has labels alone", ["follows_concept"]),
    ],
)
def test_whatever_a_table_lacks_the_run_ends_and_names_it(words, message, missing, tmp_path):
    few = ["seeds=1", "trainer.bar=false", "bill.measures.variational=null"]
    done = train("experiment=own_activations", *few, *words, folder=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    heads = read_heads(tmp_path / "run")
    assert heads["reason"].str.contains(message, regex=False).all()
    assert set(heads["verdict"]) == {"undecided"} and heads[missing].isna().all(axis=None)
    assert heads["concept_accuracy"].notna().all()
    assert (tmp_path / "run" / "summary.md").exists()


@pytest.mark.parametrize("experiment", EXAMPLES)
def test_the_first_lines_of_an_example_give_its_command(experiment):
    text = (ROOT / f"configs/experiment/{experiment}.yaml").read_text(encoding="utf-8")
    assert f"\n# python train.py experiment={experiment}\n" in text
    assert f"experiment={experiment}" in (ROOT / "docs/own-data.md").read_text(encoding="utf-8")
    files = OmegaConf.create(text)["world"]["files"]
    for name in [files] if isinstance(files, str) else files:
        assert (ROOT / name).is_file()


@pytest.mark.slow
def test_one_answer_among_disputed_rows_ends_with_its_reason(model, tmp_path):
    rows = pd.read_csv(ROOT / "docs/data/days.csv")
    one_sided = rows[(rows["days"] <= 2) | (rows["label"] == "yes")]
    one_sided.to_csv(tmp_path / "days.csv", index=False)
    words = [f"world.files={tmp_path / 'days.csv'}", "data.disputed=40"]
    done = run("own_easy_hard", model, tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    heads = read_heads(tmp_path / "run")
    assert heads["follows_concept"].notna().all() and heads["ranks_concept"].isna().all()
    assert heads["reason"].str.contains("X is yes in all 56 hard rows", regex=False).all()


DAYS = pd.read_csv(ROOT / "docs/data/days.csv")


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (DAYS.drop(columns="label"), [], "world.concept: there is no column label."),
        (
            DAYS.assign(label=["maybe", "yes", "perhaps", *DAYS["label"][3:]]),
            [],
            "2 of 168 values are no truth values, such as 'maybe' in row 1 (file days). Use true",
        ),
        (
            pd.concat([DAYS, DAYS[:1].assign(label="yes" if DAYS["label"][0] == "no" else "no")]),
            [],
            "world.concept: 1 texts stand in the table with both labels, such as",
        ),
        (DAYS.assign(label="yes"), [], "world.concept: X is yes in all 168 rows, and a head needs"),
        (
            pd.concat([DAYS.assign(part="a"), DAYS[:1].assign(part="b")]),
            ["world.group=part"],
            "world.group: 1 texts are in several groups, such as",
        ),
        (
            DAYS,
            ["reporter=ccs"],
            "needs pairs of a statement and its negation, and the world table",
        ),
        (DAYS, ["world.twin=day"], "world.twin: twins flip X or H alone, and H is not known."),
    ],
    ids=["no column", "no truth value", "both labels", "one answer", "groups", "pairs", "twins"],
)
def test_rows_that_cannot_be_used_are_refused_in_one_line(rows, words, message, model, tmp_path):
    rows.to_csv(tmp_path / "days.csv", index=False)
    files = f"world.files={tmp_path / 'days.csv'}"
    done = run("own_easy_hard", model, tmp_path / "run", files, *words)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists() or not os.listdir(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["world.text=statment"],
            "world.text: there is no column statment. Did you mean statement?",
        ),
        (["world.easy='days < few'"], "world.easy: there is no column few."),
        (["data.disputed=5000"], "the table has 56 easy, 112 disputed, 0 twins"),
        (["planted_costs=true"], "planted_costs: The table names no human"),
    ],
)
def test_nothing_is_written_where_a_table_is_refused(words, message, model, tmp_path):
    done = run("own_easy_hard", model, tmp_path / "run", *words)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists() or not os.listdir(tmp_path / "run")
