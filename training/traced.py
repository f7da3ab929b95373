"""A function of tensors, written down as the plain operations that it comes to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx


class Traced:
    """A function that is traced at its first call and from then on run from what was written down:
    the same operations on the same numbers, without the modules, vmap and autograd between them,
    which take as long as the products of a small step.

    Args:
        function: takes and returns tensors, nested as they like; it may look at nothing else that
            changes between calls, nor may their shapes.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.written = function, False

    def __call__(self, *given: Any) -> Any:
        if not self.written:
            with tracing(
                TracingContext(FakeTensorMode())
            ):  # one for all operations: else each would make its own, in twice the time
                graph = make_fx(partial(self.function))(
                    *given
                )  # a bound method would count itself among what it is given
            graph.graph.eliminate_dead_code()
            graph.recompile()
            self.function, self.written = graph.forward, True
        with torch.no_grad():
            return self.function(*given)
