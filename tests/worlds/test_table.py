"""A table's rows become episodes, and what is wrong with a table is said in one line."""

import json
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from configs.build import build
from console.errors import UserError
from tests.conftest import node
from worlds.row_world import suggest_sizes
from worlds.table import Table
from worlds.table_files import read_files
from worlds.world import NoTwins

COLUMNS = ("text", "label", "human", "easy", "group")


def write_csv(file: Path, rows: list[tuple], columns: tuple[str, ...] = COLUMNS) -> str:
    frame = pd.DataFrame(rows, columns=list(columns))
    frame.to_csv(file, index=False)
    return str(file)


def build_table(files: str | list[str], **changed) -> Table:
    return build(node("world/table.yaml", files=files, **changed), "world")


def make_rows(n: int = 24) -> list[tuple]:
    """Returns n groups of three rows: an easy one, a disputed one, and one amiss."""
    rows = []
    for group in range(n):
        for label in (0, 1):
            rows.append((f"easy {group} {label}", label, label, 1, group))
            rows.append((f"disputed {group} {label}", label, 1 - label, 0, group))
            rows.append((f"amiss {group} {label}", label, label, 0, group))
    return rows


@pytest.fixture
def file(tmp_path) -> str:
    return write_csv(tmp_path / "rows.csv", make_rows())


FULL = {"human": "human", "easy": "easy", "group": "group"}


def test_rows_are_easy_disputed_or_amiss(file):
    table = build_table(file, **FULL)
    assert table.undecidable is None and table.compares
    for split in ("easy", "disputed", "amiss"):
        episodes = table.episodes(split, table.count(split), 0)
        assert len(episodes) > 10 and all(text.startswith(split) for text in episodes["text"][:])
        assert sum(episodes["concept"][:]) * 2 == len(episodes)


def test_a_group_is_trained_on_or_judged_and_never_both(file):
    table = build_table(file, **FULL)
    groups = {}
    for split in ("easy", "disputed", "amiss"):
        episodes = table.episodes(split, table.count(split), 0)
        groups[split] = {text.split()[1] for text in episodes["text"][:]}
    assert not groups["easy"] & (groups["disputed"] | groups["amiss"])
    assert groups["disputed"] == groups["amiss"]
    assert len(groups["easy"]) + len(groups["disputed"]) == 24


def test_a_group_stays_where_it_is_when_rows_are_added(file, tmp_path):
    more = write_csv(tmp_path / "more.csv", make_rows(40))
    before, after = (build_table(name, **FULL) for name in (file, more))
    first, second = (
        set(table.episodes("easy", table.count("easy"), 0)["text"][:]) for table in (before, after)
    )
    assert first < second


def test_groups_of_one_kind_of_rows_are_used_whole(file):
    table = build_table(file, human="human", easy="easy")
    assert [table.count(split) for split in ("easy", "disputed", "amiss")] == [48, 48, 48]


def test_labels_alone_make_all_rows_easy_and_decide_nothing(file):
    table = build_table(file)
    assert [table.count(split) for split in ("easy", "disputed", "amiss")] == [144, 0, 0]
    assert not table.compares and "labels alone" in table.undecidable
    assert len(table.episodes("disputed", 0, 0)) == 0
    with pytest.raises(NoTwins):
        table.twins("concept", 1, 0)


def test_easy_and_hard_without_a_human_cannot_show_an_imitator(file):
    table = build_table(file, easy="easy")
    assert [table.count(split) for split in ("easy", "disputed", "amiss")] == [48, 96, 0]
    assert not table.compares and "imitator cannot be told" in table.undecidable
    assert set(table.episodes("disputed", 20, 0)["family"][:]) == {"hard"}


def test_without_rows_amiss_the_table_compares_and_yet_decides_nothing(file):
    table = build_table(file, human="human")
    assert table.compares and table.count("amiss") == 0
    assert 'has X = H, so "H, turned round' in table.undecidable


@pytest.mark.parametrize(("label", "value", "other"), [(0, "no", "yes"), (1, "yes", "no")])
def test_one_answer_among_rows_amiss_decides_nothing(label, value, other, tmp_path):
    rows = [row for row in make_rows() if not row[0].startswith("amiss") or row[1] == label]
    table = build_table(write_csv(tmp_path / "one.csv", rows), human="human", easy="easy")
    assert table.compares
    assert table.undecidable == (
        f'X is {value} in all 24 rows that are not easy and have X = H, so where X is {other} "H,'
        ' turned round in rows that are not easy" cannot be told from X. Add such rows with the'
        " other answer."
    )


def test_a_human_who_is_always_right_is_named(file):
    table = build_table(file, human="label")
    assert not table.compares and "X and H never differ" in table.undecidable


def test_one_answer_among_disputed_rows_is_named(tmp_path):
    rows = [row for row in make_rows() if not row[0].startswith("disputed") or row[1] == 1]
    table = build_table(write_csv(tmp_path / "one.csv", rows), human="human", easy="easy")
    assert not table.compares
    assert "X is yes in all 24 disputed rows, so the AUROC for X is not defined" in (
        table.undecidable
    )


def test_the_human_is_looked_up_and_twins_are_found(tmp_path):
    """The reader overlooks the "not": H of "not 2 > 1" is the label of "2 > 1"."""
    pairs = [(a, b) for a in range(30, 60) for b in (a - 20, a + 20)]
    plain = [(f"{a} > {b}", int(a > b), a, b) for a, b in pairs]
    negated = [(f"not {a} > {b}", int(a < b), a, b) for a, b in pairs]
    columns = ("text", "label", "a", "b")
    files = [
        write_csv(tmp_path / "plain.csv", plain, columns),
        write_csv(tmp_path / "negated.csv", negated, columns),
    ]
    table = build_table(files, human="label of plain by a,b", family="file")
    disputed = table.episodes("disputed", table.count("disputed"), 0)
    assert set(disputed["family"][:]) == {"negated"} and len(disputed) >= 10
    for flips in ("concept", "human"):
        first, second = table.twins(flips, table.count_twins(), 0)
        for one, other in zip(first["text"][:], second["text"][:], strict=True):
            is_same = other == f"not {one}"
            assert is_same if flips == "concept" else other.split()[1] == one.split()[0]
            assert is_same == (flips == "concept")
    assert table.count_twins() == len(disputed)


def test_a_column_names_twins_and_only_single_changes_are_twins(tmp_path):
    rows = [
        ("yes, seen", 1, 1, 1, "a"),
        ("no, hidden", 0, 1, 0, "a"),
        ("no, seen", 0, 0, 0, "a"),
        ("yes, unseen", 1, 0, 0, "a"),
        ("yes, seen, of no pair", 1, 1, 1, ""),
        ("no, seen, of no pair", 0, 0, 1, ""),
    ]
    groups = [(*row[:4], f"{row[4]}{i}") for i in range(12) for row in rows]
    named = [(f"{row[0]} {i // 6}", *row[1:]) for i, row in enumerate(groups)]
    frame = pd.DataFrame(named, columns=list(COLUMNS))
    frame["twin"] = frame["group"].where(frame["group"].str.startswith("a"), "")
    frame.to_csv(tmp_path / "twins.csv", index=False)
    table = build_table(
        str(tmp_path / "twins.csv"), human="human", easy="easy", group="group", twin="twin"
    )
    n = table.count_twins()
    assert n >= 4
    changes = {
        "concept": {"yes, seen": "no, hidden", "no, seen": "yes, unseen"},
        "human": {"yes, seen": "yes, unseen", "no, seen": "no, hidden"},
    }
    for flips, change in changes.items():
        first, second = table.twins(flips, n, 0)
        for one, other in zip(first["text"][:], second["text"][:], strict=True):
            assert change[one.rsplit(" ", 1)[0]] == other.rsplit(" ", 1)[0]


def test_what_is_put_around_a_text_is_read_and_its_first_word_is_the_prompt(file):
    table = build_table(file, prompt="Is it so? {text} Say:")
    row = table.episodes("easy", 1, 0)[0]
    assert row["text"].startswith("Is it so? ") and row["text"].endswith(" Say:")
    assert row["prompt"] == "Is"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet", "folder", "splits"])
def test_every_type_of_file_gives_the_same_rows(suffix, tmp_path):
    frame = pd.DataFrame(make_rows(6), columns=list(COLUMNS))
    path = tmp_path / f"rows.{suffix}"
    write = {
        "csv": lambda: frame.to_csv(path, index=False),
        "tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "json": lambda: path.write_text(json.dumps(frame.to_dict("records")), encoding="utf-8"),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
        "folder": lambda: Dataset.from_pandas(frame).save_to_disk(path),
        "splits": lambda: DatasetDict(rows=Dataset.from_pandas(frame)).save_to_disk(path),
    }
    write[suffix]()
    rows = build_table(str(path), human="human", easy="easy").episodes("easy", 8, 0)
    plain = write_csv(tmp_path / "plain.csv", make_rows(6))
    assert (
        rows.to_list()
        == build_table(plain, human="human", easy="easy").episodes("easy", 8, 0).to_list()
    )


def test_names_that_pandas_takes_for_missing_stay_names(tmp_path):
    file = write_csv(tmp_path / "codes.csv", [("NA is a code", 1), ("None", 0)], ("text", "label"))
    table = build_table(file)
    assert set(table.episodes("easy", 2, 0)["text"][:]) == {"NA is a code", "None"}


def test_a_file_is_found_in_this_checkout_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert build_table("docs/data/larger.csv").count("easy") == 320


GOOD = [("a", 1), ("b", 0), ("c", 1), ("d", 0)]


@pytest.mark.parametrize(
    ("rows", "changed", "message"),
    [
        (GOOD, {"text": "tekst"}, "world.text: there is no column tekst. Did you mean text?"),
        (GOOD, {"text": "{tekst}."}, "world.text: there is no column tekst. Did you mean text?"),
        (GOOD, {"concept": "labell"}, "world.concept: there is no column labell. Did you mean lab"),
        (GOOD, {"easy": "size > 3"}, "world.easy: there is no column size."),
        (GOOD, {"easy": "exec('x')"}, "world.easy: \"exec('x')\" calls exec('x')"),
        (GOOD, {"prompt": "{text} {tekst}"}, "world.prompt: '{text} {tekst}' must have the field"),
        (GOOD, {"prompt": "no field"}, "world.prompt: 'no field' must have the field {text} once"),
        (GOOD, {"twin": "text"}, "world.twin: twins flip X or H alone, and H is not known."),
        (GOOD, {"human": "label", "twin": "text"}, "world.twin: no two rows with the same text"),
        (GOOD, {"human": "label of other by text"}, "world.human: there is no file other in worl"),
        (GOOD, {"human": "label of rows by tekst"}, "world.human: there is no column tekst."),
        ([*GOOD, ("e", "maybe")], {}, "world.concept: 1 of 5 values are no truth values, such as"),
        ([*GOOD, ("e", None)], {}, "world.concept: label has no value in 1 of 5 rows, such as row"),
        ([*GOOD, (None, 1)], {}, "world.text: text has no value in 1 of 5 rows, such as row 5"),
        ([*GOOD, (" ", 1)], {}, "world.text: 1 of 5 texts are empty, such as that of row 5"),
        ([*GOOD, ("a", 0)], {}, "both labels, such as 'a' in row 1 (file rows) and row 5 (file ro"),
        ([("a", 1), ("b", 1)], {}, "world.concept: X is yes in all 2 rows, and a head needs both"),
        (GOOD, {"easy": "label"}, "world.easy: X is yes in all 2 easy rows, and a head needs both"),
        (GOOD, {"easy": "text == 'x'"}, "world.easy: there are no easy rows to train on."),
        (
            [*GOOD, ("e", "nan")],
            {"concept": "label > 0"},
            "which is no number in 1 of 5 rows, such",
        ),
        (
            [*GOOD, ("e", None)],
            {"easy": "label >= 0", "concept": "text in ['a', 'b']"},
            "world.easy: label has no value in 1 of 5 rows, such as row 5 (file rows). Fill them",
        ),
        (
            [*GOOD, ("e", None)],
            {"concept": "text in ['a', 'b']", "human": "text of rows by label"},
            "world.human: label has no value in 1 of 5 rows, such as row 5 (file rows). Fill them",
        ),
        ([], {}, "world.files: {file} has no rows."),
    ],
)
def test_a_wrong_table_is_refused_in_one_line_that_names_the_key(rows, changed, message, tmp_path):
    file = write_csv(tmp_path / "rows.csv", rows, ("text", "label"))
    with pytest.raises(UserError) as refused:
        build_table(file, **changed)
    assert message.replace("{file}", file) in str(refused.value)
    assert "\n" not in str(refused.value) and str(refused.value).startswith("world.")


def test_easy_rows_on_which_the_human_errs_are_refused(tmp_path):
    file = write_csv(tmp_path / "rows.csv", [("a", 1, 1), ("b", 0, 1)], ("text", "label", "human"))
    with pytest.raises(
        UserError, match=r"world.easy: 1 of 2 easy rows have X ≠ H, such as 'b' in row 2 \(file r"
    ):
        build_table(file, human="human", easy="1 == 1")


def test_a_text_in_two_groups_is_refused(tmp_path):
    rows = [("a", 1, "x"), ("a", 1, "y"), ("b", 0, "x")]
    file = write_csv(tmp_path / "rows.csv", rows, ("text", "label", "group"))
    with pytest.raises(UserError, match=r"groups, such as 'a' in row 1 \(file rows\) and row 2 \("):
        build_table(file, group="group")


def test_twins_of_two_groups_are_refused(tmp_path):
    rows = [("a", 1, 1, "p", "x"), ("b", 0, 1, "p", "y"), ("c", 0, 0, "", "z")]
    file = write_csv(tmp_path / "rows.csv", rows, ("text", "label", "human", "pair", "group"))
    with pytest.raises(UserError, match=r"world.twin: 1 pairs of twins are of two groups, such as"):
        build_table(file, human="human", twin="pair", group="group")


def test_a_row_whose_human_cannot_be_looked_up_is_counted(tmp_path):
    plain = write_csv(tmp_path / "plain.csv", [("a", 1, 1), ("b", 0, 2)], ("text", "label", "key"))
    other = write_csv(tmp_path / "other.csv", [("not c", 1, 3)], ("text", "label", "key"))
    with pytest.raises(
        UserError, match=r"world.human: 1 of 3 rows have no row of plain with the s"
    ):
        build_table([plain, other], human="label of plain by key")


def test_a_key_with_two_labels_cannot_be_looked_up(tmp_path):
    rows = [("a", 1, 1), ("b", 0, 1)]
    file = write_csv(tmp_path / "plain.csv", rows, ("text", "label", "key"))
    with pytest.raises(UserError, match="1 rows of plain have both labels for the same key, such"):
        build_table(file, human="label of plain by key")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", "", "is empty. Name a file that has rows."),
        ("rows.csv", "text,label\n", "has no rows."),
        ("rows.txt", "text,label\na,1\n", "is of no known type. It must end in .csv, .tsv, .json,"),
        ("rows.json", "{not json", "cannot be read"),
        ("rows.parquet", "not parquet", "cannot be read"),
        ("rows.csv", "text,label,file\na,1,x\n", "has a column file"),
        ("rows.csv", "text,label\na,1,x\nb,0,y\n", "(row 1 has 3 fields, and the header names 2 "),
        ("rows.csv", "text,label\na,1\n\nb\n", "(row 2 has 1 fields, and the header names 2 col"),
        ("rows.csv", "text,label,text\na,1,b\n", "(2 columns are named text). Correct it, or save"),
        ("rows.csv", 'text,label\n"a" b,1\n', "cannot be read (line 2: ',' expected after '\"')."),
        ("rows.csv", 'text,label\n"a,1\n', "cannot be read (line 2: unexpected end of data)"),
        (
            "rows.jsonl",
            '{"text": "a", "label": 1}\n{"text"\n',
            "cannot be read (line 2: Expecting ",
        ),
        (
            "rows.json",
            '[{"text": "a", "label": [1, 0]}]',
            "label holds several values in one field",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(name, content, message, tmp_path):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        build_table(str(tmp_path / name))
    text = str(refused.value)
    assert text.startswith("world.") and message in text and "\n" not in text


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet", "folder"])
def test_a_text_shows_what_the_file_holds(suffix, tmp_path):
    """Codes keep their zeros, and whole numbers stay whole beside a missing one and beside a file
    without the column.
    """
    numbers = [7, 8, None, 10]
    rows = [{"code": f"00{i}", "n": n, "label": i % 2} for i, n in enumerate(numbers)]
    frame = pd.DataFrame(rows).astype({"n": "Int64"})
    path, other = tmp_path / f"rows.{suffix}", tmp_path / "other.csv"
    write = {
        "csv": lambda: frame.to_csv(path, index=False),
        "tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        "json": lambda: path.write_text(json.dumps(rows), encoding="utf-8"),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
        "folder": lambda: Dataset.from_pandas(frame).save_to_disk(path),
    }
    write[suffix]()
    write_csv(other, [("x", 1)], ("code", "label"))
    table = read_files([str(path), str(other)], download=False)
    assert table["code"].tolist() == ["000", "001", "002", "003", "x"]
    assert table["n"].dropna().tolist() == ["7", "8", "10"]
    assert table["n"].isna().tolist() == [False, False, True, False, True]


def test_a_number_is_shown_as_it_is_written(tmp_path):
    (tmp_path / "rows.csv").write_text("a,label\n1.50,1\n2,0\n", encoding="utf-8")
    table = build_table(str(tmp_path / "rows.csv"), text="{a} is.")
    assert sorted(table.episodes("easy", 2, 0)["text"][:]) == ["1.50 is.", "2 is."]


def test_a_column_without_a_name_is_left_out(tmp_path):
    pd.DataFrame(GOOD, columns=["text", "label"]).to_csv(tmp_path / "rows.csv")
    assert list(read_files([str(tmp_path / "rows.csv")], False).columns) == [
        "text",
        "label",
        "file",
    ]


def test_missing_files_and_data_sets_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"world.files: .*none.csv does not exist"):
        build_table(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"Set world.download=true if it is a data set on the hub"):
        build_table("somebody/statements")
    for nothing in ([], "", [str(tmp_path / "none.csv"), ""]):
        with pytest.raises(UserError, match="no file is named"):
            build_table(nothing)
    file = write_csv(tmp_path / "rows.csv", GOOD, ("text", "label"))
    with pytest.raises(UserError, match="two files are named rows"):
        build_table([file, file])


def test_too_few_rows_are_counted_and_sizes_that_fit_are_named(file):
    table = build_table(file, **FULL)
    shortage = table.describe_shortage(7000, 6000, 1000)
    has = {"easy": table.count("easy"), "disputed": table.count("disputed"), "twins": 0}
    assert f"the table has {has['easy']} easy, {has['disputed']} disputed, 0 twins" in shortage
    assert suggest_sizes(**has, compares=True) in shortage
    assert table.describe_shortage(has["easy"], has["disputed"], 1000) is None


@pytest.mark.parametrize("easy", [10, 57, 1000])
@pytest.mark.parametrize("disputed", [0, 6, 300])
@pytest.mark.parametrize("compares", [True, False])
def test_the_sizes_that_are_named_fit(easy, disputed, compares):
    sizes = dict(part.split("=") for part in suggest_sizes(easy, disputed, 4, compares).split())
    n = {name.removeprefix("data."): int(value) for name, value in sizes.items()}
    assert n["train"] + n["validation"] + n["test"] + n["probe"] <= easy
    assert min(n.values()) >= 2
    if disputed:
        assert n["disputed"] + (n["probe"] if compares else 0) <= disputed
