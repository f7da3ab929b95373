"""`pytest --run`: a run passes only if every head that is judged is a direct translator;
`python -m verdict` prints the same; mistakes are one line.
"""

import json
import shutil

import pytest
import yaml

import elk_pytest
from console.errors import UserError
from storage.run_folder import read_heads
from verdict import __main__ as command
from verdict import as_json
from verdict.judge_again import read_judging_config
from verdict.verdict import Kind
from verdict.words import PLACEHOLDER, fill

HEADS = ["level 2, seed 0, strength 0", "level 2, seed 1, strength 0"]


@pytest.fixture
def fake_judge(monkeypatch):
    """Returns a function that decides what the judge says of the heads of any run."""

    def decide(*kinds: Kind) -> None:
        def call(word: str, folder: str, *_: str) -> list[dict]:
            if word == "judge":
                return [{"kind": str(kind), "reason": f"It is a {kind}."} for kind in kinds]
            heads = enumerate(HEADS[: len(kinds)])
            return [{"name": f"head {k} ({of})", "folder": folder, "head": k} for k, of in heads]

        elk_pytest.judge.cache_clear()
        monkeypatch.setattr(elk_pytest, "call", call)

    yield decide
    elk_pytest.judge.cache_clear()


def test_a_run_passes_where_every_head_is_a_translator(pytester, fake_judge):
    fake_judge(Kind.DIRECT_TRANSLATOR, Kind.DIRECT_TRANSLATOR)
    pytester.runpytest_inprocess("-p", "elk_pytest", "--run=run").assert_outcomes(passed=2)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DIRECT_TRANSLATOR])
def test_a_run_fails_where_a_head_is_anything_else_and_the_reason_is_printed(
    pytester, fake_judge, kind
):
    fake_judge(Kind.DIRECT_TRANSLATOR, kind)
    result = pytester.runpytest_inprocess("-p", "elk_pytest", "--run=run")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"*head 1 ({HEADS[1]}): {kind}. It is a {kind}.*"])


def test_without_a_run_it_leaves_other_tests_alone(pytester):
    pytester.makepyfile("def test_it():\n    pass\n")
    pytester.runpytest_inprocess("-p", "elk_pytest").assert_outcomes(passed=1)


def test_a_process_of_its_own_lists_the_heads_and_reports_a_mistake_in_one_line(pytester, tiny_run):
    one = pytester.runpytest_inprocess(
        "-p", "elk_pytest", f"--run={tiny_run}", "--head=1", "--collect-only"
    )
    one.stdout.fnmatch_lines([f"*{tiny_run} head 1 ({HEADS[1]})*"])
    assert HEADS[0] not in one.stdout.str()
    result = pytester.runpytest_inprocess("-p", "elk_pytest", f"--run={tiny_run}", "--run=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: nowhere: there is no such folder*"])


def test_the_heads_of_a_run_as_json(tiny_run, capsys):
    as_json.main(["list", str(tiny_run)])
    heads = json.loads(capsys.readouterr().out)
    assert [head["name"] for head in heads] == [
        f"{tiny_run} head {k} ({name})" for k, name in enumerate(HEADS)
    ]
    as_json.main(["list", str(tiny_run), "--head", "1"])
    assert json.loads(capsys.readouterr().out) == heads[1:]
    with pytest.raises(UserError, match=r"has no head 9\. It has 2, from 0 to 1\."):
        as_json.main(["list", str(tiny_run), "--head", "9"])


def test_the_verdicts_of_a_real_judgement_as_a_table_in_words_and_as_json(tiny_run, capsys):
    command.main([str(tiny_run)])
    table = capsys.readouterr().out
    assert table.count("level 2,") == 2
    assert table.count("undecided") == 2
    command.main([str(tiny_run), "--head", "1"])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"head 1 ({HEADS[1]}): undecided" in printed
    as_json.main(["judge", str(tiny_run)])
    verdicts = json.loads(capsys.readouterr().out)
    assert [verdict["kind"] for verdict in verdicts] == ["undecided"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--head"], "nothing is not the number of a head"),
        (["--head", "x"], "x is not the number of a head"),
        (["--hed", "1"], "--hed: no such option"),
    ],
)
def test_a_mistyped_option_is_reported(tiny_run, words, message):
    with pytest.raises(UserError, match=message):
        command.main([str(tiny_run), *words])


def test_a_run_changed_by_hand_is_not_judged(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("seeds: 2", "seeds: 3"))
    with pytest.raises(UserError, match=r"config\.yaml was changed"):
        command.main([str(run)])


def test_the_templates_of_a_real_run_give_its_reasons_and_stand_last(tiny_run):
    table = read_heads(tiny_run).drop(columns="run")
    assert table.columns[-1] == "reason_template"
    for row in table.to_dict("records"):
        assert fill(row["reason_template"], row) == row["reason"]
        named = set(PLACEHOLDER.findall(row["reason_template"]))
        assert {"follows_concept", "nde", "erase_human"} <= named


def test_a_run_whose_judge_lists_no_evidence_is_judged_with_the_standard_kinds(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    config = read_judging_config(folder)
    older = yaml.safe_load((folder / "config.yaml").read_text())
    listed = older["verdict"].pop("evidence")
    assert config["verdict"]["evidence"] == listed
    (folder / "config.yaml").write_text(yaml.safe_dump(older))
    assert read_judging_config(folder)["verdict"] == config["verdict"] | {"evidence": listed}
