"""What is wrong with an override is said in one line, with the override as it can be read."""

import shlex
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from console.composing import describe_composing_error


@pytest.fixture(autouse=True)
def _one_run(monkeypatch):
    """The words of this test session are no words of a command."""
    monkeypatch.setattr(sys, "argv", ["train.py"])


def describe(word: str) -> str:
    """Returns the message for an override that cannot be parsed."""
    with pytest.raises(HydraException) as caught:
        OverridesParser.create().parse_overrides([word])
    return str(describe_composing_error(caught.value))


@pytest.mark.parametrize(
    "value",
    [
        "/data/epoch=3/model",
        "/data/model (copy)",
        "/data/模型",
        "/data/a#b",
        "/data/a,b#c",
        'say "x"=1',
        "it's=1",
    ],
)
def test_text_with_special_letters_is_shown_in_quotes_that_a_shell_and_hydra_take(value):
    word = f"core_model.model={value}"
    message = describe(word)
    assert message.startswith(f"{word}: text with special letters needs quotes. Write ")
    (cure,) = shlex.split(message.partition(" Write ")[2])
    (override,) = OverridesParser.create().parse_overrides([cure])
    assert override.key_or_group == "core_model.model"
    assert override.value() == value


def test_in_a_sweep_each_value_has_quotes_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "x"])
    message = describe("core_model.model=/a=1,/a=2")
    assert message.endswith("""Write 'core_model.model="/a=1","/a=2"'""")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("x", "x: it sets no key. Write key=value"),
        ("+", "+: it sets no key."),
        ("levels=[1,2", "levels=[1,2: the list or dictionary cannot be read. Write 'levels=[1,2]'"),
        ("data={train:3", "data={train:3: the list or dictionary cannot be read."),
        ("foo bar=3", "foo bar=3: it cannot be read. Write key=value, with special letters quoted"),
        ("world.human='x", """world.human='x: text with special letters needs quotes. Write"""),
    ],
)
def test_another_word_that_cannot_be_parsed_is_named(word, message):
    assert describe(word).startswith(message)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("logger=null", "logger: it is null or deleted, and a run needs it. Choose one, for examp"),
        ("prior=none,null", "prior: it is null or deleted"),
        ("hydra/launcher=null", "hydra/launcher: it cannot be null."),
        ("prior=3", "prior: 3 is not the name of a choice. There are: circuit_depth, circuit_s"),
        ("+sweep=3", "sweep: 3 is not the name of a choice. There are: carries, dominance, "),
    ],
)
def test_a_choice_without_a_name_is_named_by_its_group(word, message, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=3", word])
    error = ValueError("Config group override must be a string or a list. Got int")
    assert str(describe_composing_error(error)).startswith(message)
