"""The command line: what is printed and written, and what is refused in one line."""

import subprocess
import sys

import pytest

from console.errors import UserError
from report.__main__ import main
from report.terminal_table import COLUMNS, DROPPED_FIRST
from storage.run_folder import CONFIG, HEADS
from tests.report.planted_sweeps import heads, sweep, write


@pytest.fixture
def folder(tmp_path):
    return sweep(tmp_path / "sweep", {"none": 0.3, "good": 0.95}, predictors=3)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            ["--mached", "runs"],
            (
                "--mached: no such option. Did you mean --matched? The options are: --to,"
                " --matched, --compare, --power, --level, --help."
            ),
        ),
        (["runs", "--to"], "--to: its value is missing. Name the folder to write into: --to out"),
        (["--compare", "runs"], "--compare: it needs two folders, and 1 are named."),
        (["--matched"], "No folder is named."),
        (["runs", "--level"], "--level: its value is missing. Name a level, or all of them:"),
        (
            ["runs", "--level", "deep"],
            "--level deep: it is no level. Name a level, or",
        ),
        (["nowhere"], "nowhere: there is no such folder."),
    ],
)
def test_a_mistake_is_said_in_one_line_with_its_cure(said, line):
    with pytest.raises(UserError) as refused:
        main(said)
    assert str(refused.value).startswith(line) and "\n" not in str(refused.value)


def test_it_prints_the_table_and_the_answer_and_writes_beside_the_runs(folder, capsys):
    (folder / "good-2" / HEADS).unlink()
    main([str(folder)])
    said = " ".join(capsys.readouterr().out.split())
    assert "good finds translators more often than no prior by" in said
    assert "1 of 6 runs is not finished: good-2. The results are from 5 finished runs." in said
    assert "comparison.html" in said
    assert {path.name for path in folder.iterdir()} >= {
        "comparison.html",
        "comparison.parquet",
        "comparison.csv",
        "plots",
    }
    main([str(folder)])


def test_it_writes_where_it_is_told_to(folder, tmp_path):
    main([str(folder), "--to", str(tmp_path / "out")])
    assert (tmp_path / "out" / "comparison.html").exists() and not (
        folder / "comparison.html"
    ).exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="it cannot be written"):
        main([str(folder), "--to", str(tmp_path / "file" / "out")])


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_the_table_fits_the_terminal(folder, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    main([str(folder)])
    table = capsys.readouterr().out.split("Means over settled heads")[0].splitlines()
    assert max(len(line.rstrip()) for line in table) <= columns
    assert any("follows X" in line and "verdicts" in line and "prior" in line for line in table)
    assert not any("…" in line for line in table)


def test_two_reporters_are_told_apart_on_the_terminal(tmp_path, capsys):
    for reporter in ("linear", "mlp"):
        write(tmp_path / reporter, heads("none", reporter=reporter))
    main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if " none " in line] == ["linear", "mlp"]


def test_the_legend_explains_the_columns_that_are_shown_and_no_others(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main([str(folder)])
    legend = capsys.readouterr().out.split("Means over settled heads")[1].splitlines()
    assert any(line.startswith("follows X ") for line in legend)
    assert not any(line.startswith("easy AUROC ") for line in legend)


def test_matched_and_compare_write_nothing(folder, capsys):
    main([str(folder), "--matched"])
    main(["--compare", str(folder), str(folder)])
    said = capsys.readouterr().out
    assert "learning coefficient" in said and "None of 3 lines differs significantly" in said
    assert {path.name for path in folder.iterdir()} == {
        f"{prior}-{i}" for prior in ("none", "good") for i in range(3)
    }


def test_a_level_is_compared_where_it_is_asked_for_and_each_one_with_all(tmp_path, capsys):
    for level, follows in ((1, 0.2), (2, 0.8)):
        figures = {"level": level, "calibrated_nll": 0.1 * level}
        frame = heads("none", predictor=level, follows=follows, **figures)
        write(tmp_path / f"level{level}", frame)

    def print_report(*words: str) -> str:
        main([str(tmp_path), *words])
        return " ".join(capsys.readouterr().out.split())

    assert "Compared at level 1, where" in print_report("--matched")
    printed = print_report("--matched", "--level", "2")
    assert "Compared at level 2, which --level chose" in printed and "0.80 [" in printed
    printed = print_report("--level", "all")
    assert "Level 1: On one predictor: Without a prior, the share of disputed episodes" in printed
    assert "heads follow X is 0.20" in printed and "heads follow X is 0.80" in printed


def test_words_in_square_brackets_are_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("a", "b"):
        frame = heads("none", seeds=1, reporter="linear [wide]")
        write(tmp_path / name / "run", frame, world={"label": f"[{name}] :warning:"})
    main([str(tmp_path / "a")])
    main([str(tmp_path / "a"), "--matched"])
    main(["--compare", str(tmp_path / "a"), str(tmp_path / "b")])
    printed = capsys.readouterr().out
    assert " ".join(printed.split()).count("0.50 [not known]") >= 4
    assert "linear [wide]" in printed
    assert "world.label: [a] :warning: in A; [b] :warning: in B." in printed


def test_settings_beyond_the_most_that_are_drawn_have_tables_and_no_figures(
    tmp_path, capsys, monkeypatch
):
    for module in ("report.settings", "report.write", "report.page.document"):
        monkeypatch.setattr(f"{module}.MOST_DRAWN", 1)
    for noise in (1, 2):
        for prior in ("none", "good"):
            frame = heads(prior, seeds=4)
            write(tmp_path / f"runs/{prior}-{noise}", frame, world={"noise": noise})
    main([str(tmp_path / "runs"), "--to", str(tmp_path / "out")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Figures are drawn of the 1 settings with the most runs." in printed
    assert {path.name[-6:] for path in (tmp_path / "out/plots").iterdir()} == {"-1.png", "-1.svg"}
    first, second = (tmp_path / "out/comparison.html").read_text().split('<article id="s1">')
    assert '<figure class="plot">' in first and '<figure class="plot">' not in second
    assert "At matched accuracy, in every unit" in second


def test_what_a_narrow_terminal_drops_are_columns_that_there_are():
    assert set(DROPPED_FIRST) < set(COLUMNS)


def test_neither_help_nor_the_comparison_needs_torch(folder):
    code = (
        "import sys; from report.__main__ import main; main(sys.argv[1:]); assert 'torch' not in"
        f" sys.modules, 'torch'; assert {CONFIG!r}"
    )
    for words in (["--help"], [str(folder)]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
