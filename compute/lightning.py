"""Lightning, imported without the packages of which it needs one class each.

    from compute.lightning import pl

`import pytorch_lightning` alone takes three times as long as `import torch`: for the class `Metric`
it loads all of torchmetrics, and with that transformers, scipy.signal and matplotlib; for the class
`OptimizedModule` it loads PyTorch's compiler. Here it finds these classes alone. Both packages load
as usual when something else of them is needed.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import torch

COMPILER = "torch._dynamo"
METRICS = "torchmetrics"
METRIC_PLOTS = "torchmetrics.utilities.plot"


def defer(package: str, folder: str | None = None, **known: Any) -> ModuleType:
    """Installs a package whose own code runs, in the same module object, when a name is needed that
    the package does not have yet.

    Args:
        folder: where it lies, if finding it by its name would import a package around it.
        known: the names that it has from the start.
    """
    spec = PathFinder.find_spec(package, [folder]) if folder else find_spec(package)
    assert spec and spec.loader, package
    loader, module = spec.loader, module_from_spec(spec)

    def load(name: str) -> Any:
        if name.startswith("__"):  # The import system asks any module for its __path__.
            raise AttributeError(name)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, name)

    vars(module).update(known, __getattr__=load)
    sys.modules[package] = module
    return module


def is_deferred(package: str) -> bool:
    """Whether a package is installed and its own code has not run."""
    return "__getattr__" in vars(sys.modules[package])


def _defer_metrics() -> None:
    """Defers torchmetrics, unless its version needs the whole package for its two base classes."""
    logger = logging.getLogger(METRICS)
    metrics = defer(METRICS, _logger=logger, __version__=version(METRICS))
    try:
        folder = f"{metrics.__path__[0]}/utilities"
        types = {"_AX_TYPE": object, "_PLOT_OUT_TYPE": object}
        defer(METRIC_PLOTS, folder, **types, plot_single_or_multi_val=_plot)
        # First, because torchmetrics.metric and this package import each other.
        importlib.import_module(f"{METRICS}.utilities")
        for module, name in (("metric", "Metric"), ("collections", "MetricCollection")):
            setattr(metrics, name, getattr(importlib.import_module(f"{METRICS}.{module}"), name))
    except ImportError:
        for name in [name for name in sys.modules if name.partition(".")[0] == METRICS]:
            del sys.modules[name]


def _plot(*values: Any, **options: Any) -> Any:
    """Plots the values of metrics, for which the module of this function is loaded first."""
    module = sys.modules[METRIC_PLOTS]
    if is_deferred(METRIC_PLOTS):
        module.__getattr__("plot_single_or_multi_val")
    return module.plot_single_or_multi_val(*values, **options)


class _CompiledType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        compiler = sys.modules.get(COMPILER)
        return compiler is not None and isinstance(instance, compiler.OptimizedModule)


class _Compiled(metaclass=_CompiledType):
    """Stands for `torch._dynamo.OptimizedModule` in the checks of Lightning: no module is compiled
    as long as the compiler is not loaded.
    """


def _disable(function: Callable[..., Any], recursive: bool = True, **_: Any) -> Any:
    """Returns the function kept from the compiler, which is loaded at the first call."""
    return torch._disable_dynamo(function, recursive)  # type: ignore[attr-defined]


if METRICS not in sys.modules:
    _defer_metrics()
_is_new = COMPILER not in sys.modules
if _is_new:
    defer(COMPILER, OptimizedModule=_Compiled, disable=_disable)

import pytorch_lightning as pl  # noqa: E402

if _is_new and is_deferred(COMPILER):
    # The next import of the compiler is an ordinary one.
    del sys.modules[COMPILER]

__all__ = ["pl"]
