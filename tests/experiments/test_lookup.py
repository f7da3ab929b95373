"""The lookup experiment, tiny: its files, its figures against each other, and the values that it
refuses.
"""

import pandas as pd
import pytest
from omegaconf import OmegaConf

from configs.build import build
from console.errors import UserError
from experiments.lookup import RULE, TABLE, Lookup
from tests.conftest import CONFIGS, node

SMALL = {
    "rows": [4, 16, 64],
    "tables": 2,
    "trained_tables": 1,
    "seeds": 2,
    "episodes": 512,
    "strengths": [1.0],
}


def job(**changed: object) -> Lookup:
    values = OmegaConf.to_container(
        OmegaConf.load(CONFIGS / "experiment/lookup.yaml"), resolve=False
    )["job"]
    parts = {
        "schedule": node("training/early_stopping.yaml", batch_size=128, epochs=24),
        "optimizer": node("optimizer/adamw.yaml"),
        "trainer": node("trainer/default.yaml", accelerator="cpu", bar=False),
    }
    return build(values | parts | SMALL | changed, "job")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lookup") / "run"
    job()(folder)
    return folder


@pytest.mark.slow
def test_it_writes_its_three_files_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "lookup.parquet",
        "lookup.png",
        "summary.md",
    ]


@pytest.mark.slow
def test_the_rule_is_free_and_tables_grow_faster_in_gates_than_in_depth(folder):
    found = pd.read_parquet(folder / "lookup.parquet")
    built = found[found["how"] == "constructed"]
    assert len(built) == 3 * (1 + 2)
    assert (built.loc[built["function"] == RULE, ["gates", "depth"]] == 0).all(axis=None)
    table = built[built["function"] == TABLE].groupby("rows")[["gates", "depth"]].mean()
    assert table["gates"].is_monotonic_increasing
    assert (
        table.loc[64, "gates"] / table.loc[16, "gates"]
        > 3
        > table.loc[64, "depth"] / table.loc[16, "depth"]
    )


@pytest.mark.slow
def test_training_finds_the_rule_without_a_gate_and_never_an_exact_table_with_none(folder):
    found = pd.read_parquet(folder / "lookup.parquet")
    learned = found[found["how"] == "trained"]
    assert set(learned["prior"]) == {"gates", "circuit_depth"}
    rule = learned[learned["function"] == RULE]
    assert (
        (rule["accuracy"] == 1).all()
        and (rule["gates"] == 0).all()
        and (rule["circuit"] == "output = x0").all()
    )
    tables = learned[learned["function"].str.startswith(TABLE)]
    assert len(tables) and (tables["accuracy"] >= 0.5).all()
    assert (tables.loc[tables["accuracy"] == 1, "gates"] >= 3).all()


@pytest.mark.slow
def test_the_summary_says_it_in_words(folder):
    text = (folder / "summary.md").read_text()
    assert "`x & 1` has 0 gates and depth 0 at every size" in text
    assert "| x & 1 | gates | 1 | 2 of 2 |" in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rows", [16, 100]),
        ("rows", [2]),
        ("trained_rows", 12),
        ("tables", 0),
        ("seeds", 0),
        ("episodes", 100),
        ("episodes", 16),
        ("head", {"layers": 2}),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(key, value):
    with pytest.raises(UserError, match=rf"^job\.{key}(\.thresholds)?: [^\n]*\.$"):
        job(**{key: value})
