"""The door: a run passes only if every head asked about is a direct translator; the table says the
same; mistakes are one line.
"""

import pytest

from console.errors import UserError
from tests.test_train import TINY, heads, train
from verdict import __main__ as command
from verdict import pytest_plugin as door
from verdict.verdict import Evidence, Judgement, Kind, Verdict

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of two heads, judged for real: its predictor knows too little."""
    folder = tmp_path_factory.mktemp("door") / "run"
    done = train(*TINY, "levels=[2]", folder=folder)
    assert done.returncode == 0, done.stderr
    heads(
        folder
        # pandas makes known how it reads before tests within tests begin, which forget what they
        # imported
    )
    return folder


def judged(*kinds: Kind) -> Judgement:
    verdicts = tuple(Verdict(kind, f"It is a {kind} because it is.") for kind in kinds)
    return Judgement(
        verdicts,
        ((),) * len(kinds),
        Evidence(None, None, None, None, 0.95),
        (100,) * len(kinds),
        100,
    )


@pytest.fixture
def says(monkeypatch):
    """Lets the judge say what a test asks for."""

    def set_to(*kinds: Kind) -> None:
        monkeypatch.setattr(door, "_judged", lambda folder: judged(*kinds))

    return set_to


def test_it_opens_where_every_head_is_a_translator(pytester, run, says):
    says(Kind.DIRECT_TRANSLATOR, Kind.DIRECT_TRANSLATOR)
    pytester.runpytest_inprocess("-p", "verdict.pytest_plugin", f"--run={run}").assert_outcomes(
        passed=2
    )


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DIRECT_TRANSLATOR])
def test_it_stays_shut_where_a_head_is_anything_else_and_says_why(pytester, run, says, kind):
    says(Kind.DIRECT_TRANSLATOR, kind)
    result = pytester.runpytest_inprocess("-p", "verdict.pytest_plugin", f"--run={run}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [f"*head 1 (level 2, seed 1, strength 0): {kind}. It is a {kind} because it is.*"]
    )


def test_one_head_can_be_asked_about_alone(pytester, run, says):
    says(Kind.DIRECT_TRANSLATOR, Kind.HUMAN_IMITATOR)
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


def test_the_table_and_the_words_of_a_real_judgement(run, capsys):
    command.main([str(run)])
    said = capsys.readouterr().out
    assert said.count("level 2, seed") == 2
    assert "undecided" in said
    command.main([str(run), "--head", "1"])
    assert "head 1 (level 2, seed 1, strength 0): undecided" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--head"], "nothing is no head"),
        (["--head", "x"], "x is no head"),
        (["--hed", "1"], "--hed: no such option"),
    ],
)
def test_a_mistyped_option_is_said(run, words, said):
    with pytest.raises(UserError, match=said):
        command.main([str(run), *words])


def test_a_run_changed_by_hand_is_not_judged(run):
    config = run / "config.yaml"
    whole = config.read_text()
    try:
        config.write_text(whole.replace("seeds: 2", "seeds: 3"))
        with pytest.raises(UserError, match=r"config\.yaml was changed"):
            command.main([str(run)])
    finally:
        config.write_text(whole)
