"""What is printed is printed as it is: square brackets are no markup."""

import pytest
from rich.markdown import Markdown
from rich.table import Table

from console.progress import _get_display
from console.terminal import open_console

WORDS = "0.25 [not known] [bold] :warning:"


@pytest.mark.parametrize("style", ["bold", None])
def test_a_sentence_keeps_its_brackets(style, capsys):
    open_console().print(WORDS, style=style)
    assert WORDS in capsys.readouterr().out


def test_a_table_keeps_the_brackets_of_its_title_headings_and_cells(capsys):
    table = Table(title=WORDS)
    table.add_column(WORDS)
    table.add_row(WORDS)
    open_console().print(table)
    assert capsys.readouterr().out.count(WORDS) == 3


def test_markdown_keeps_brackets(capsys):
    open_console().print(Markdown("| a |\n| --- |\n| 0.25 [not known] [0.1, 0.2] |"))
    assert "0.25 [not known] [0.1, 0.2]" in capsys.readouterr().out


def test_the_progress_keeps_brackets(capsys):
    display = _get_display()
    task = display.add_task("run [a]", total=1)
    try:
        open_console().print(display.make_tasks_table(display.tasks))
    finally:
        display.remove_task(task)
    assert "run [a]" in capsys.readouterr().out
