"""A function of tensors, recorded as the plain operations that it consists of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx


class Traced:
    """A function that is traced at its first call; every call then runs the recorded operations.

    These are the same operations on the same numbers, without the modules, vmap and autograd
    between them, which take as long as the products of a small step.

    Args:
        function: takes and returns tensors, nested in any way. It must depend on nothing else that
            changes between calls, and the shapes must stay the same.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.is_traced = False

    def __call__(self, *arguments: Any) -> Any:
        if not self.is_traced:
            # One mode for all operations: otherwise each makes its own, in twice the time.
            with tracing(TracingContext(FakeTensorMode())):
                # `partial`, because make_fx counts the `self` of a bound method as an argument.
                graph = make_fx(partial(self.function))(*arguments)
            graph.graph.eliminate_dead_code()
            graph.recompile()
            self.function = graph.forward
            self.is_traced = True
        with torch.no_grad():
            return self.function(*arguments)
