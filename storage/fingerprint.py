"""A fingerprint of the code that decides a run's results: of what `train.py` and the config's
classes import, comments and docstrings aside.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
START = ("train", "verdict.results")
"""All else in report/ only reads what runs have left, and changes none of it."""


def fingerprint(config: Mapping[str, Any]) -> str:
    """Returns eight hexadecimal digits that change when code changes that all runs depend on, a
    dash, and eight of the parts that this config names.

    A part that the config does not name, such as a new reporter's file, does not count; nor do
    versions of packages, which versions.json has.
    """
    named = tuple(sorted({target.rpartition(".")[0] for target in _targets(config)}))
    return f"{_hashed(START)}-{_hashed(named)}"


def shared(code: str) -> str:
    """Returns the part of a fingerprint that is the same for all runs of one version of the code,
    whatever their configs name.
    """
    return code.partition("-")[0]


@functools.lru_cache
def _hashed(modules: tuple[str, ...]) -> str:
    digest, waiting, seen = hashlib.sha256(), list(modules), set(modules)
    found: dict[str, str] = {}
    while waiting:
        module = waiting.pop()
        tree = _tree(module)
        if tree is None:
            continue
        found[module] = ast.dump(_bare(tree))
        new = {name for name in _imported(tree) if _counts(name)} - seen
        seen |= new
        waiting += new
    for module, code in sorted(found.items()):
        digest.update(f"{module} {code}".encode())
    return digest.hexdigest()[:8]


def _targets(node: Any) -> Iterator[str]:
    """Yields every `_target_` in a config."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _tree(module: str) -> ast.Module | None:
    """Returns a module's syntax tree; None for a name that is no module, such as a function's, or
    that has no source.
    """
    path = ROOT.joinpath(*module.split("."))
    file = next(
        (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None
    ) or _elsewhere(module)
    return ast.parse(file.read_text()) if file else None


def _elsewhere(module: str) -> Path | None:
    """Returns the source file of a class that a config names and that is none of this project's."""
    if _ours(module):
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yields the modules that a file imports, wherever in it; of `from a import b` both a and a.b,
    for b may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _counts(module: str) -> bool:
    return _ours(module) and module.split(".", maxsplit=1)[0] != "report"


def _ours(module: str) -> bool:
    top = module.split(".", maxsplit=1)[0]
    return (ROOT / top).is_dir() or (ROOT / f"{top}.py").is_file()


def _bare(tree: ast.Module) -> ast.Module:
    """Returns the tree without its docstrings and other bare strings."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            code = [statement for statement in body if not _is_bare_constant(statement)]
            node.body = code  # type: ignore[attr-defined]
    return tree


def _is_bare_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
