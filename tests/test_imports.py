"""Imports point down and never in a circle: plain ones, those for types alone, and those inside
functions. No file is exempted.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = (
    "console",
    "storage",
    "compute",
    "configs",
    "worlds",
    "core_model",
    "reporters",
    "priors",
    "training",
    "bill",
    "verdict",
    "report",
    "experiments",
    "train",
)
"""From the bottom to the top: a module imports from its own folder and from those before it."""


def find_modules(root: Path) -> dict[str, Path]:
    """Returns the project's own modules by name."""
    modules = {}
    for top in ORDER:
        files = (
            [root / f"{top}.py"] if (root / f"{top}.py").exists() else (root / top).rglob("*.py")
        )
        for file in files:
            name = ".".join(file.relative_to(root).with_suffix("").parts)
            modules[name.removesuffix(".__init__")] = file
    return modules


def read_imports(name: str, file: Path, modules: dict[str, Path]) -> set[str]:
    """Returns which of the modules a file imports, wherever in it the import stands."""
    imported = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= (inner & modules.keys()) or {node.module}
    return (imported & modules.keys()) - {name}


def read_graph(root: Path) -> dict[str, set[str]]:
    """Returns what each module imports."""
    modules = find_modules(root)
    return {name: read_imports(name, file, modules) for name, file in modules.items()}


def find_upward(graph: dict[str, set[str]]) -> list[str]:
    """Returns the imports that point up."""

    def place(module: str) -> int:
        return ORDER.index(module.partition(".")[0])

    return sorted(
        f"{name} imports {other}"
        for name, imported in graph.items()
        for other in imported
        if place(other) > place(name)
    )


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules of one circle of imports, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def plant(root: Path, **files: str) -> dict[str, set[str]]:
    """Returns the graph of a project with these files; two underscores stand for a folder."""
    for name, text in files.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return read_graph(root)


def test_no_import_points_up():
    assert find_upward(read_graph(ROOT)) == []


def test_no_imports_form_a_circle():
    assert find_circle(read_graph(ROOT)) == []


def test_every_folder_of_code_has_its_place_in_the_order():
    graph = read_graph(ROOT)
    assert len(graph) > 100 and {name.partition(".")[0] for name in graph} == set(ORDER)
    folders = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert folders - {"tests", "benchmarks"} <= set(ORDER)


def test_a_planted_upward_import_is_found_plain_for_types_and_in_a_function(tmp_path):
    typed = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from report.lines import lines\n"
    )
    inside = "def f():\n    from report import lines\n"
    graph = plant(
        tmp_path,
        report__lines="import report",
        worlds__a="import report.lines",
        worlds__b=typed,
        worlds__c=inside,
    )
    assert find_upward(graph) == [f"worlds.{name} imports report.lines" for name in "abc"]


def test_a_planted_circle_is_found_of_any_kind_of_import(tmp_path):
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from worlds.c import x\n"
    inside = "def f():\n    from worlds.a import x\n"
    graph = plant(tmp_path, worlds__a="from worlds import b", worlds__b=typed, worlds__c=inside)
    assert set(find_circle(graph)) == {"worlds.a", "worlds.b", "worlds.c"}
    assert find_upward(graph) == []


def test_a_project_without_circles_passes(tmp_path):
    graph = plant(tmp_path, worlds__a="", worlds__b="import worlds.a", report__c="import worlds.b")
    assert find_circle(graph) == [] and find_upward(graph) == []


def test_no_file_loads_pickles_or_trusts_remote_code_unasked():
    for file in find_modules(ROOT).values():
        text = file.read_text()
        assert "import pickle" not in text
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*", text))
        assert "trust_remote_code=True" not in text
