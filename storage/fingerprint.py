"""A fingerprint of the code that decides a run's results: of all modules that `train.py` and the
config's classes import, without comments and docstrings.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from storage.data_files import hash_data

ROOT = Path(__file__).parents[1]
START = ("train", "verdict.results")
"""The modules that every run depends on. Modules in report/ do not count: they read finished runs
and change none of them.
"""


def compute_fingerprint(config: Mapping[str, Any]) -> str:
    """Returns eight hexadecimal digits of the code that all runs depend on, a dash, and eight of
    the parts that this config names; and eight of the files of data that it names, if it names any.

    A part that the config does not name, such as the file of a new reporter, does not count.
    Versions of packages do not count either: versions.json has them.
    """
    modules = {target.rpartition(".")[0] for target in _find_targets(config)}
    data = hash_data(config)
    code = f"{_hash_modules(START)}-{_hash_modules(tuple(sorted(modules)))}"
    return f"{code}-{data}" if data else code


def get_shared_part(code: str) -> str:
    """Returns the part of a fingerprint that is the same for all runs of one version of the code,
    whatever parts their configs name.
    """
    return code.partition("-")[0]


def get_data_part(code: str) -> str:
    """Returns the part of a fingerprint that the files of data decide; empty where there are none.

    >>> get_data_part("01234567-89abcdef-76543210"), get_data_part("01234567-89abcdef")
    ('76543210', '')
    """
    return "".join(code.split("-")[2:])


@functools.lru_cache
def hash_code(module: str) -> str:
    """Returns a hash of the code of a module, and of all that it imports from its own package; 16
    hexadecimal digits. Names of modules do not count, so a copy elsewhere has the same hash.
    """
    package = module.partition(".")[0]
    code_of = _collect_code([module], lambda name: name.partition(".")[0] == package)
    return hashlib.sha256("\n".join(sorted(code_of.values())).encode()).hexdigest()[:16]


@functools.lru_cache
def _hash_modules(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for module, code in sorted(_collect_code(modules, _can_decide_results).items()):
        digest.update(f"{module} {code}".encode())
    return digest.hexdigest()[:8]


def _collect_code(modules: Sequence[str], follows: Callable[[str], bool]) -> dict[str, str]:
    """Returns the code of these modules, by name, and of those that they import, directly or not,
    and that `follows` is true of.
    """
    code_of = {}
    waiting = list(modules)
    seen = set(modules)
    while waiting:
        module = waiting.pop()
        file = _find_source(module)
        if file is None:  # a name that is not a module, such as a function's
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        code_of[module] = ast.dump(_drop_docstrings(tree))
        package = module if file.stem == "__init__" else module.rpartition(".")[0]
        imported = {name for name in _find_imports(tree, package) if follows(name)} - seen
        seen |= imported
        waiting += imported
    return code_of


def _find_targets(node: Any) -> Iterator[str]:
    """Yields every `_target_` in a config."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _find_targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _find_targets(value)


def _find_source(module: str) -> Path | None:
    """Returns the source file of a module, of this project or of an installed package; None where
    there is none.
    """
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    if _is_own(module):
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _find_imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yields the modules that a file of a package imports, also inside functions. For `from a
    import b` it yields both a and a.b, because b may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield origin
            for alias in node.names:
                yield f"{origin}.{alias.name}"


def _can_decide_results(module: str) -> bool:
    return _is_own(module) and module.split(".", maxsplit=1)[0] != "report"


def _is_own(module: str) -> bool:
    """Whether a module belongs to this project."""
    top = module.split(".", maxsplit=1)[0]
    return (ROOT / top).is_dir() or (ROOT / f"{top}.py").is_file()


def _drop_docstrings(tree: ast.Module) -> ast.Module:
    """Returns the tree without docstrings and other statements that are a constant alone."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            code = [statement for statement in body if not _is_constant(statement)]
            node.body = code  # type: ignore[attr-defined]
    return tree


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
