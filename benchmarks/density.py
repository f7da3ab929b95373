"""The density of the package's code.   python -m benchmarks.density"""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

COUNTED = (tokenize.NAME, tokenize.NUMBER, tokenize.OP)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def main() -> None:
    """Prints a line for each figure; tests do not count."""
    sources = [path.read_text(encoding="utf-8") for path in list_files()]
    tokens = lines = 0
    for source in sources:
        file_tokens, file_lines = count_tokens(source)
        tokens, lines = tokens + file_tokens, lines + file_lines
    statements = comprehensions = conditionals = 0
    for source in sources:
        for _, nodes in walk_statements(ast.parse(source)):
            statements += 1
            comprehensions += any(isinstance(node, COMPREHENSIONS) for node in nodes)
            conditionals += sum(isinstance(node, ast.IfExp) for node in nodes)
    print(f"{tokens / lines:8.2f}   tokens a code line (names, numbers, operators)")
    print(f"{100 * comprehensions / statements:7.1f}%   statements with a comprehension")
    print(f"{1000 * conditionals / statements:8.0f}   conditional expressions in 1,000 statements")
    print(f"{lines:8,}   code lines in {len(sources)} files")


def list_files() -> list[Path]:
    """Returns the Python files that git tracks, without the tests."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, check=True
    ).stdout.split()
    return [Path(name) for name in listed if not name.startswith("tests/")]


def count_tokens(source: str) -> tuple[int, int]:
    """Returns the number of tokens, and of lines that hold one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    rows = [token.start[0] for token in tokens if token.type in COUNTED]
    return len(rows), len(set(rows))


def walk_statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, list[ast.AST]]]:
    """Yields each statement with the nodes of its own expressions, without nested statements."""
    for statement in ast.walk(tree):
        if isinstance(statement, ast.stmt):
            parts = ast.iter_child_nodes(statement)
            own = [part for part in parts if not isinstance(part, ast.stmt)]
            yield statement, [node for part in own for node in ast.walk(part)]


if __name__ == "__main__":
    main()
