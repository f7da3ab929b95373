"""The page without a script: the answer, the figure and the tables stand in it, and it asks for
nothing from outside.
"""

import base64
import gzip
import json
import re

import pandas as pd
import pytest

from report.runs import find
from report.write import PAGE, write
from tests.report.planted_sweeps import heads, sweep
from tests.report.planted_sweeps import write as write_run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A planted sweep and what is written of it: half of the heads of `split` are translators, half
    imitators.
    """
    folder = sweep(
        tmp_path_factory.mktemp("page") / "sweep",
        {"none": 0.3, "good": 0.95, "split": (0.03, 0.97)},
    )
    (folder / "good-0" / "heads.parquet").unlink()
    write(find([folder]), folder)
    return folder


@pytest.fixture(scope="module")
def page(written) -> str:
    return (written / PAGE).read_text()


@pytest.fixture(scope="module")
def shown(page) -> str:
    """What a reader sees without a script."""
    return re.sub(r"(?s)<script.*?</script>|<style.*?</style>|<[^>]+>", " ", page)


def data(page: str) -> dict:
    packed = re.search(r'id="data">([^<]+)<', page).group(1)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_it_opens_with_the_answer_and_the_figure_that_shows_it(page):
    said, figure, first_table = (
        page.index(word)
        for word in (
            'class="headline">good finds translators more often',
            'class="strips"',
            "<table",
        )
    )
    assert said < figure < first_table


@pytest.mark.parametrize(
    "words",
    [
        "good finds translators more often than no prior by 1.00",
        "two modes, 50% near",
        "1 of 12 runs is not finished: good-0. The results are from 11 finished runs.",
        "At matched accuracy, in every unit",
        "Priors two by two",
        "What it costs: Pareto fronts",
        "By kind of tampering",
        "The judge is right on 209 of 220 planted heads",
        "The predictors&#x27; certificates",
        "Every prior and strength",
        "Runs: seconds, bytes, configs",
        "Intervals, differences and modes",
    ],
)
def test_what_it_holds_stands_there_without_a_script(shown, words):
    assert words in shown.replace("'", "&#x27;")


def test_it_asks_for_nothing_from_outside(page):
    assert not re.search(r'(?:src|href|action)\s*=\s*["\'](?!#|data:,)', page)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", page)
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_every_dot_leads_to_its_head(page):
    held = data(page)
    for mark, dots in held["dots"].items():
        assert f'data-dots="{mark}"' in page and len(dots["head"]) == len(dots["x"]) > 0
        assert max(dots["head"]) < held["heads"]["n"]
    place = held["dots"]["s0-strip-0"]
    prior = held["heads"]["prior"]
    assert {prior["words"][prior["codes"][k]] for k in place["head"]} == {"good"}
    drawn = re.search(r'data-dots="s0-strip-0".*?</svg>', page, re.S).group()
    assert len(re.findall(r"M[\d.]+ [\d.]+h0", drawn)) == len(place["head"]) == 36


def test_heads_reasons_and_configs_are_in_it(page):
    held = data(page)
    assert held["heads"]["n"] == len(held["heads"]["reason"]["codes"]) == 4 * 12 + 24 * 7
    reasons = " ".join(held["heads"]["reason"]["words"])
    assert "It follows X on {follows_concept} of" in reasons
    # Runs of an earlier version have no template.
    assert re.search(r"It follows X on 0\.\d\d \[0", reasons)
    assert "worlds.vault.Vault" in held["configs"]["none-0"] and len(held["configs"]) == 11


def test_heads_of_two_modes_are_drawn_in_two_places_and_others_in_one(page):
    held, kinds = data(page), {}
    for mark, dots in held["dots"].items():
        if "-strip-" in mark:
            prior = held["heads"]["prior"]
            kinds[prior["words"][prior["codes"][dots["head"][0]]]] = [
                x / 10 / 432 for x in dots["x"]
            ]
    assert sum(x < 0.2 for x in kinds["split"]) == sum(x > 0.8 for x in kinds["split"]) == 24
    assert all(0.2 < x < 0.4 for x in kinds["none"])


def test_tables_and_plots_lie_beside_it(written):
    table = pd.read_parquet(written / "comparison.parquet")
    assert len(table) == len(pd.read_csv(written / "comparison.csv")) == 5
    assert table["matched"].tolist() == [1.0, 0.0, 1.0, 0.0, 1.0]
    good = table[(table["prior"] == "good") & (table["strength"] == 1)].iloc[0]
    assert good["heads"] == good["direct_translator"] == 36 and good["predictors"] == 3
    assert good["translators_low_corrected"] < good["translators_low"] < good["translators"] == 1
    assert table[table["prior"] == "split"]["two_modes"].str.contains("50% near").all()
    for name in ("matched", "by_strength"):
        assert (written / "plots" / f"comparison_{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (written / "plots" / f"comparison_{name}.svg").read_text()


def test_every_column_has_a_meaning_in_the_file(written):
    import pyarrow.parquet as pq

    for field in pq.read_schema(written / "comparison.parquet"):
        assert field.metadata[b"meaning"]
    assert pd.read_csv(written / "comparison_columns.csv")["meaning"].notna().all()


def test_what_is_in_names_is_shown_and_never_run(tmp_path):
    write_run(tmp_path / "run", heads("<script>alert(1)</script>", follows=0.4))
    write(find([tmp_path]), tmp_path / "out")
    assert "<script>alert" not in (tmp_path / "out" / PAGE).read_text()


def test_runs_by_level_families_reporters_and_seconds_have_their_tables(tmp_path):
    for predictor in range(2):
        for reporter in ("linear", "mlp"):
            levels = [
                heads(
                    "none",
                    predictor=predictor,
                    reporter=reporter,
                    follows=0.2 + 0.2 * level,
                    level=level,
                )
                for level in (0, 1, 2)
            ]
            frame = pd.concat(levels, ignore_index=True).assign(
                levels=lambda rows: rows["level"].astype(str), follows_concept_loop=0.25
            )
            frame["calibrated_nll"] = 0.3 - 0.1 * frame["level"].astype(float)
            write_run(
                tmp_path / f"{reporter}-{predictor}",
                frame,
                seconds={"preparing": 10.0, "training": 20.5},
            )
    write(find([tmp_path]), tmp_path)
    page = (tmp_path / PAGE).read_text()
    for words in (
        "Whom heads follow, by the level they read",
        "By level",
        "By reporter",
        "mlp: translators",
        "training, s",
        "2.0 minutes",
    ):
        assert words in page
    assert re.search(r"By kind of tampering.*?<th[^>]*>loop</th>.*?0\.25", page, re.S)
    assert data(page)["heads"]["n"] == 2 * 2 * 3 * 8


def test_heads_that_read_all_levels_have_no_panel_by_level(tmp_path):
    for level in (0, 1):
        write_run(
            tmp_path / f"one{level}", heads("none", level=level, reporter="linear", predictor=level)
        )
    write_run(tmp_path / "all", heads("speed", reporter="layered"))
    write(find([tmp_path]), tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert page.count('data-dots="s0-level-') == 1


def test_numbers_that_went_wrong_do_not_stop_the_page(tmp_path):
    frame = heads("speed", (0.5, 1.0))
    frame.loc[0, ["calibrated_nll", "nde", "prequential_bits"]] = [
        float("inf"),
        float("nan"),
        float("inf"),
    ]
    write_run(tmp_path / "run", frame)
    write(find([tmp_path]), tmp_path)
    held = data((tmp_path / PAGE).read_text())
    assert (
        held["heads"]["rates"]["nde"][0][0] is None
        and held["heads"]["costs"]["prequential_bits"][0] is None
    )


def test_the_same_runs_give_the_same_files_to_the_byte(tmp_path):
    folder = sweep(tmp_path / "sweep", {"none": 0.3, "good": 0.95}, predictors=2)
    for name in ("one", "other"):
        write(find([folder]), tmp_path / name)
    for name in (PAGE, "comparison.csv", "comparison.parquet", "plots/comparison_matched.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_other_settings_have_their_own_part_of_the_page(tmp_path):
    for i, steps in enumerate((16, 16, 8)):
        write_run(tmp_path / f"run{i}", heads("speed", predictor=i), world={"steps": steps})
    parts, _ = write(find([tmp_path]), tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert [len(part.each) for part in parts] == [16, 8]
    assert "Runs of 2 settings" in page and 'id="s1"' in page and "world.steps 8" in page
    assert max(max(dots["head"]) for dots in data(page)["dots"].values()) == 23
