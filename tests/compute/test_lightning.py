"""A run starts without transformers, plots and the compiler; whoever needs them gets them whole."""

import re
import subprocess
import sys

import pytest
import torch

from compute.lightning import defer, is_deferred, pl
from tests.test_imports import ROOT, find_modules

Metric, MetricCollection = pl.core.module.Metric, pl.core.module.MetricCollection
OptimizedModule = pl.utilities.compile.OptimizedModule
HEAVY = [
    "transformers",
    "torchmetrics.functional",
    "torch._dynamo",
    "sklearn",
    "scipy.signal",
    "scipy.stats",
    "matplotlib",
]
START = f"""
import sys
from benchmarks.imports import import_run
import_run()
sys.exit(", ".join(set({HEAVY}) & set(sys.modules)) or 0)
"""


def test_a_run_starts_without_heavy_packages():
    done = subprocess.run([sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_torchmetrics_loads_whole_when_it_is_needed():
    import torchmetrics

    assert issubclass(torchmetrics.MeanMetric, Metric)
    assert torchmetrics.Metric is Metric
    assert torchmetrics.MetricCollection is MetricCollection
    assert torchmetrics.metric.Metric is Metric
    assert not is_deferred("torchmetrics")


def test_a_metric_can_be_plotted():
    import torchmetrics

    metric = torchmetrics.MeanMetric()
    metric.update(3.0)
    _, axes = metric.plot()
    assert axes.lines[0].get_ydata() == [3.0]


def test_lightning_recognises_compiled_modules():
    layer = torch.nn.Linear(2, 2)
    assert not isinstance(layer, OptimizedModule)
    compiled = torch.compile(layer, backend="eager")
    assert isinstance(compiled, OptimizedModule)
    assert not isinstance(layer, OptimizedModule)


def test_only_one_module_imports_lightning_at_its_top():
    imports = re.compile(r"^(import|from) (pytorch_lightning|lightning_fabric)", re.MULTILINE)
    modules = find_modules(ROOT)
    found = [name for name, file in modules.items() if imports.search(file.read_text())]
    assert found == ["compute.lightning"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package on the path that has a name of its own and a submodule, and forgets both after."""
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("from heavy.part import size\nname = 'own'\n")
    (tmp_path / "heavy" / "part.py").write_text("size = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "heavy"
    for name in ("heavy", "heavy.part"):
        sys.modules.pop(name, None)


def test_a_deferred_package_runs_its_code_when_an_unknown_name_is_needed(package):
    module = defer(package, label="known")
    import heavy
    import heavy.part

    assert heavy is module
    assert (heavy.label, heavy.part.size) == ("known", 3)
    assert is_deferred(package)
    assert heavy.name == "own"
    assert (heavy.size, is_deferred(package)) == (3, False)
    assert heavy is module


def test_a_deferred_package_reports_a_name_that_it_does_not_have(package):
    module = defer(package)
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing
