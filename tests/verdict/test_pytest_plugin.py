"""The pytest plugin: a run passes only if every named head is a direct translator; the table says
the same; mistakes are one line.
"""

import pytest
import yaml

from console.errors import UserError
from tests.test_train import TINY, heads, train
from verdict import __main__ as command
from verdict import pytest_plugin as plugin
from verdict.judge_again import read_judging_config
from verdict.verdict import Judgement, Kind, Verdict
from verdict.words import PLACEHOLDER, fill

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of two heads, judged for real: its predictor knows too little."""
    folder = tmp_path_factory.mktemp("plugin") / "run"
    done = train(*TINY, "levels=[2]", folder=folder)
    assert done.returncode == 0, done.stderr
    # pandas must be imported before a test within a test, which forgets what it has imported.
    heads(folder)
    return folder


def build_judgement(*kinds: Kind) -> Judgement:
    n = len(kinds)
    return Judgement(
        verdicts=tuple(Verdict(kind, f"It is a {kind} because it is.", "") for kind in kinds),
        gates=((),) * n,
        findings={},
        columns=({},) * n,
        headings={},
        level=0.95,
        sure_after=(100,) * n,
        disputed=100,
    )


@pytest.fixture
def set_verdicts(monkeypatch):
    """Lets the judge return the verdicts that a test needs."""

    def set_to(*kinds: Kind) -> None:
        monkeypatch.setattr(plugin, "judge_once", lambda folder: build_judgement(*kinds))

    return set_to


def test_it_passes_where_every_head_is_a_translator(pytester, run, set_verdicts):
    set_verdicts(Kind.DIRECT_TRANSLATOR, Kind.DIRECT_TRANSLATOR)
    pytester.runpytest_inprocess("-p", "verdict.pytest_plugin", f"--run={run}").assert_outcomes(
        passed=2
    )


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DIRECT_TRANSLATOR])
def test_it_fails_where_a_head_is_anything_else_and_says_why(pytester, run, set_verdicts, kind):
    set_verdicts(Kind.DIRECT_TRANSLATOR, kind)
    result = pytester.runpytest_inprocess("-p", "verdict.pytest_plugin", f"--run={run}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [f"*head 1 (level 2, seed 1, strength 0): {kind}. It is a {kind} because it is.*"]
    )


def test_one_head_can_be_judged_alone(pytester, run, set_verdicts):
    set_verdicts(Kind.DIRECT_TRANSLATOR, Kind.HUMAN_IMITATOR)
    pytester.runpytest_inprocess(
        "-p", "verdict.pytest_plugin", f"--run={run}", "--head=0"
    ).assert_outcomes(passed=1)


def test_without_a_run_it_leaves_other_tests_alone(pytester):
    pytester.makepyfile("def test_it():\n    pass\n")
    pytester.runpytest_inprocess("-p", "verdict.pytest_plugin").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--head=9"], "has no head 9. It has 2, from 0 to 1."),
        (["--run=nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_a_mistake_is_said_in_one_line(pytester, run, words, said):
    result = pytester.runpytest_inprocess("-p", "verdict.pytest_plugin", f"--run={run}", *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{said}*"])


def test_the_templates_of_a_real_run_give_its_reasons_and_stand_last(run):
    table = heads(run)
    assert table.columns[-1] == "reason_template"
    for row in table.to_dict("records"):
        assert fill(row["reason_template"], row) == row["reason"]
        assert {"follows_concept", "nde", "erase_human"} <= set(
            PLACEHOLDER.findall(row["reason_template"])
        )


def test_the_table_and_the_words_of_a_real_judgement(run, capsys):
    command.main([str(run)])
    printed = capsys.readouterr().out
    assert printed.count("level 2, seed") == 2
    assert "undecided" in printed
    assert "follows X" in printed and "swap H" in printed
    command.main([str(run), "--head", "1"])
    assert "head 1 (level 2, seed 1, strength 0): undecided" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--head"], "nothing is not the number of a head"),
        (["--head", "x"], "x is not the number of a head"),
        (["--hed", "1"], "--hed: no such option"),
    ],
)
def test_a_mistyped_option_is_said(run, words, said):
    with pytest.raises(UserError, match=said):
        command.main([str(run), *words])


def test_a_run_whose_judge_lists_no_evidence_is_judged_with_the_standard_kinds(run):
    config = read_judging_config(run)
    whole = (run / "config.yaml").read_text()
    listed = yaml.safe_load(whole)["verdict"].pop("evidence")
    assert config["verdict"]["evidence"] == listed
    older = yaml.safe_load(whole)
    del older["verdict"]["evidence"]
    try:
        (run / "config.yaml").write_text(yaml.safe_dump(older))
        assert read_judging_config(run)["verdict"] == config["verdict"] | {"evidence": listed}
    finally:
        (run / "config.yaml").write_text(whole)


def test_a_run_changed_by_hand_is_not_judged(run):
    config = run / "config.yaml"
    whole = config.read_text()
    try:
        config.write_text(whole.replace("seeds: 2", "seeds: 3"))
        with pytest.raises(UserError, match=r"config\.yaml was changed"):
            command.main([str(run)])
    finally:
        config.write_text(whole)
