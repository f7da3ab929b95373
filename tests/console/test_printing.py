"""Every command prints on terminals that are not UTF-8, and no text file depends on the locale."""

import ast
import io
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from console.command_line import describe_user_error
from console.printing import print_any_text, to_ascii
from tests.running import ROOT

NOT_UTF8 = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def test_signs_and_letters_become_ascii():
    assert to_ascii("X ≠ H → ≥ .5 ± .1, ½ N², Kraków") == "X != H -> >= .5 +- .1, 1/2 N^2, Krakow"
    assert to_ascii("東京 \udc80") == "?? ?"
    assert to_ascii("plain [text]\n") == "plain [text]\n"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", "Kraków → 東"), ("latin-1", "Kraków -> ?"), ("ascii", "Krakow -> ?")],
)
def test_a_stream_gets_ascii_only_for_what_it_cannot_encode(monkeypatch, encoding, printed):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    print_any_text()
    print("Kraków → 東", end="", flush=True)
    assert stream.buffer.getvalue().decode(encoding) == printed


@pytest.mark.parametrize("environment", NOT_UTF8)
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["-m", "report", "RUN"], id="report"),
        pytest.param(["train.py", "--help"], id="help"),
        pytest.param(["-m", "report", "RUN", "--matched"], id="matched", marks=pytest.mark.slow),
        pytest.param(["-m", "report.columns"], id="columns", marks=pytest.mark.slow),
        pytest.param(["-m", "verdict", "RUN"], id="verdict", marks=pytest.mark.slow),
    ],
)
def test_a_command_prints_where_the_terminal_is_not_utf8(tiny_run, words, environment):
    words = [str(tiny_run) if word == "RUN" else word for word in words]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | NOT_UTF8[environment],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.decode("ascii").splitlines()) > 2


def test_a_name_that_an_ascii_locale_cannot_encode_is_one_line():
    name = os.fsencode("runs/Kraków").decode("ascii", "surrogateescape")
    with pytest.raises(UnicodeEncodeError) as error:
        name.encode()
    message = describe_user_error(error.value)
    assert message.startswith("runs/Krak??w: the locale is ASCII") and "PYTHONUTF8=1" in message


def list_texts_without_encoding(source: str) -> Iterator[str]:
    """Yields the calls that open, read or write a text file in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) == "os.open":
            continue
        is_method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if is_method else getattr(node.func, "id", "")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if name not in ("open", "read_text", "write_text") or "encoding" in keywords:
            continue
        modes = [keywords["mode"]] if "mode" in keywords else node.args[0 if is_method else 1 :][:1]
        if name != "open" or not modes or "b" not in ast.unparse(modes[0]).strip("'\""):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_every_text_file_is_opened_as_utf8():
    folders = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
    files = [*ROOT.glob("*.py")]
    for folder in folders:
        files += folder.rglob("*.py")
    assert len(files) > 150
    found = {}
    for file in files:
        calls = list(list_texts_without_encoding(file.read_text(encoding="utf-8")))
        if calls:
            found[str(file.relative_to(ROOT))] = calls
    assert not found


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("path.read_text()", True),
        ("path.write_text('x')", True),
        ("open(path)", True),
        ("path.open('w')", True),
        ("open(path, mode='a')", True),
        ("path.read_text(encoding='utf-8')", False),
        ("open(path, 'rb')", False),
        ("path.open('r+b' if writes else 'rb')", False),
        ("open(path, mode='wb')", False),
        ("os.open(path, os.O_CREAT)", False),
    ],
)
def test_a_text_without_an_encoding_is_found(source, is_found):
    assert bool(list(list_texts_without_encoding(source))) == is_found
