"""Layers of torch whose parameters are named after their axes, and that state their FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_combined: dict[tuple[type, type], type[nn.Module]] = {}
"""Classes that `rename` has made."""


class Term(NamedTuple):
    """FLOPs of a product: a factor times the number of units of each letter."""

    factor: int
    letters: str
    """A digit is a number of its own."""


class CountedLayer(nn.Module):
    """A layer that states the FLOPs of its products in one reading of one episode."""

    terms: tuple[Term, ...] = ()

    def count_flops(self, units: Mapping[str, Any]) -> Any:
        """Returns the FLOPs, for a number of units of each letter."""
        total: Any = 0
        for factor, letters in self.terms:
            product: Any = factor
            for letter in letters:
                product = product * (int(letter) if letter.isdigit() else units[letter])
            total = total + product
        return total

    def count_uses(self, inputs: tuple[Any, ...], options: Mapping[str, Any], output: Any) -> None:
        """Adds the products of one call to its terms.

        Args:
            inputs: of the call, for one episode, and below those that are given by name.
            output: of the call.
        """


class NamedLinear(CountedLayer):
    """An nn.Linear whose parameters are named after their axes.

    Args:
        linear: keeps its parameters; they become this layer's.
        inputs: the letter of its inputs.
        outputs: the letter of its outputs, or their number where they are no units.
    """

    def __init__(self, linear: nn.Linear, inputs: str, outputs: str) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.out_features = linear.out_features
        self.weight_name, self.bias_name = f"weight_{outputs}{inputs}", f"bias_{outputs}"
        setattr(self, self.weight_name, linear.weight)
        setattr(self, self.bias_name, linear.bias)

    def forward(self, z: Tensor) -> Tensor:
        product = (getattr(self, self.weight_name) @ z.mT).mT
        bias = getattr(self, self.bias_name)
        return product if bias is None else product + bias.to(product)

    def count_uses(self, inputs: tuple[Any, ...], options: Mapping[str, Any], output: Any) -> None:
        rows = output.numel() // self.out_features
        self.terms = (*self.terms, Term(2 * rows, self.outputs + self.inputs))


class Renamed(CountedLayer):
    """A layer of torch with other names for its parameters; its own code still finds them under
    their old ones.
    """

    new_names: dict[str, str]
    """From the old name of a parameter to its new one."""

    def __getattr__(self, name: str) -> Any:
        new_names = self.__dict__.get("new_names", {})
        return super().__getattr__(new_names.get(name, name))


class NamedProduct(Renamed):
    """A linear layer or a convolution."""

    def count_uses(self, inputs: tuple[Any, ...], options: Mapping[str, Any], output: Any) -> None:
        rows = output.numel() // len(self.weight)
        letters = self.new_names["weight"].removeprefix("weight_")
        self.terms = (*self.terms, Term(2 * rows, letters))


class NamedAttention(Renamed):
    """An nn.MultiheadAttention. The fused product of torch has no rule for stacked heads, so it is
    computed as plain products.
    """

    def forward(self, *inputs: Any, **options: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return super().forward(*inputs, **options)

    def count_uses(self, inputs: tuple[Any, ...], options: Mapping[str, Any], output: Any) -> None:
        query = inputs[0] if inputs else options["query"]
        key = inputs[1] if len(inputs) > 1 else options["key"]
        width = self.embed_dim
        n_queries, n_keys = query.numel() // width, key.numel() // width
        batch = 1
        if query.dim() == 3:
            batch = query.shape[0] if self.batch_first else query.shape[1]
        rows, inner = tuple(self.new_names["in_proj_weight"].removeprefix("in_proj_weight_"))
        outer, values = tuple(self.out_proj.new_names["weight"].removeprefix("weight_"))
        # The rows of queries, keys and values lie below each other in one weight.
        into = Term(2 * n_queries, rows + inner)
        if n_queries != n_keys:
            into = Term(2 * (n_queries + 2 * n_keys), values + inner)
        self.terms = (
            *self.terms,
            into,
            # Scores of queries and keys, then sums of values: rows are twice as many as the units
            # of both kinds that meet in a score, and once those of values.
            Term(n_queries * n_keys // batch, rows),
            Term(n_queries * n_keys // batch, values),
            Term(2 * n_queries, outer + values),
        )


def rename(layer: nn.Module, kind: type[Renamed], new_names: Mapping[str, str]) -> None:
    """Gives the parameters of a layer other names. Those that it has not are left out."""
    layer.__class__ = _combine(kind, type(layer))
    assert isinstance(layer, Renamed)
    own = {old: new for old, new in new_names.items() if layer._parameters.get(old) is not None}
    layer.new_names = own
    for old, new in own.items():
        layer._parameters[new] = layer._parameters.pop(old)


def _combine(kind: type[Renamed], layer: type[nn.Module]) -> type[nn.Module]:
    """Returns the one class that is both."""
    if (kind, layer) not in _combined:
        _combined[kind, layer] = type(layer.__name__, (kind, layer), {})
    return _combined[kind, layer]
