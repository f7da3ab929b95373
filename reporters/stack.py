"""K heads of one architecture run as one; their parameters are stacked along axes G, S, M.

G: groups of levels, S: seeds, M: strengths; N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from reporters.reporter import Reading, Reporter

Weights = dict[str, Tensor]
"""Parameters, or anything shaped like them, by name."""
PLAIN = (int, float, str, tuple)
"""Types of values that decide what a layer computes and are no parameters."""
InDims = int | tuple[int | None, ...]


def map_over_heads(function: Callable[..., Any], *in_dims: InDims) -> Callable[..., Any]:
    """Returns a function of one head as a function of every head of a stack with leading axes
    (G, S, M).

    Args:
        in_dims: for the axes G, S and M in turn, which arguments have the axis (0) and which do not
            (None). By default all arguments have all three axes.
    """
    axes: tuple[InDims, ...] = in_dims or (0, 0, 0)

    def run(*arguments: Any) -> Any:
        """Flattens nested arguments once. vmap would flatten them again for each of its axes, which
        takes longer than a small step.
        """
        flattened = [tree_flatten(argument) for argument in arguments]
        result_specs: list[TreeSpec] = []

        def run_flat(*leaves: Any) -> tuple[Any, ...]:
            remaining = iter(leaves)
            rebuilt = [
                tree_unflatten([next(remaining) for _ in argument], spec)
                for argument, spec in flattened
            ]
            result, spec = tree_flatten(function(*rebuilt))
            result_specs.append(spec)
            return tuple(result)

        mapped: Callable[..., tuple[Any, ...]] = run_flat
        for dims in reversed(axes):
            argument_dims = dims if isinstance(dims, tuple) else (dims,) * len(arguments)
            leaf_dims: list[int | None] = []
            for (argument, _), dim in zip(flattened, argument_dims, strict=True):
                leaf_dims += [dim if isinstance(leaf, Tensor) else None for leaf in argument]
            mapped = _map_along_axis(mapped, tuple(leaf_dims))
        leaves = [leaf for argument, _ in flattened for leaf in argument]
        return tree_unflatten(list(mapped(*leaves)), result_specs[0])

    return run


def _map_along_axis(
    function: Callable[..., tuple[Any, ...]], dims: tuple[int | None, ...]
) -> Callable[..., tuple[Any, ...]]:
    """Returns a function along one more axis. It is vmap, except that an axis of length 1 is
    removed and restored, because a batch of one product is slower.
    """
    mapped = vmap(function, in_dims=dims)

    def run(*leaves: Any) -> tuple[Any, ...]:
        pairs = list(zip(leaves, dims, strict=True))
        length = next(len(leaf) for leaf, dim in pairs if dim == 0)
        if length > 1:
            return mapped(*leaves)
        single = [leaf if dim is None else leaf.squeeze(0) for leaf, dim in pairs]
        return tuple(value.unsqueeze(0) for value in function(*single))

    return run


def group_levels(z_NLD: Tensor, reporter: Reporter, predictors: int = 1) -> Tensor:
    """Returns the activations that each group of heads is given, with the group's axis first: one
    level for each group, or all levels of a predictor for each group.

    Args:
        z_NLD: the levels of all predictors, one predictor after the other.
    """
    if reporter.reads == "one_level":
        return z_NLD.movedim(-2, 0).unsqueeze(-2)
    return z_NLD.unflatten(-2, (predictors, -1)).movedim(-3, 0)


def read_stack(reporter: Reporter, weights: Weights, z_GNLD: Tensor) -> Reading:
    """Returns the reading of every head; its tensors have leading axes (G, S, M)."""

    def read(head_weights: Weights, z_NLD: Tensor) -> Reading:
        return functional_call(reporter, head_weights, (z_NLD,))

    return map_over_heads(read, (0, 0), (0, None), (0, None))(weights, z_GNLD)


def repeat_over_grid(value_S: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Returns one value a seed, copied to every level and strength: shape (G, S, M, ...)."""
    value_1S1 = value_S[None, :, None]
    return value_1S1.expand(grid[0], -1, grid[2], *value_S.shape[1:]).detach().clone()


def split_rows(row_K: Tensor, size: int) -> Sequence[Tensor]:
    """Returns parts of some row numbers; none where there are none, unlike `Tensor.split`.

    >>> import torch
    >>> split_rows(torch.arange(3), 2), split_rows(torch.arange(0), 2)
    ((tensor([0, 1]), tensor([2])), ())
    """
    return row_K.split(size) if len(row_K) else ()


def align_with(value_GSM: Tensor, parameter: Tensor) -> Tensor:
    """Returns a value of each head in a shape that fits a parameter of stacked heads."""
    return value_GSM.view(*value_GSM.shape, *[1] * (parameter.dim() - 3))


def to_parameters(tensors: Weights) -> nn.ParameterDict:
    """Returns trainable copies of tensors; a ParameterDict allows no dots in its names."""
    return nn.ParameterDict(
        {
            name.replace(".", "/"): nn.Parameter(value.detach().clone())
            for name, value in tensors.items()
        }
    )


def to_tensors(parameters: nn.ParameterDict) -> Weights:
    """Returns the parameters of `to_parameters` under their own names."""
    return {name.replace("/", "."): value for name, value in parameters.items()}


def describe_options(reporter: nn.Module) -> str:
    """Returns the types and the plain values of a head and of its layers: two heads of one
    description and with the same numbers compute the same.
    """
    described = []
    for path, layer in reporter.named_modules():
        values = sorted(vars(layer).items(), key=lambda item: item[0])
        plain = [(name, value) for name, value in values if isinstance(value, PLAIN)]
        described.append((path, type(layer).__qualname__, plain))
    return repr(described)
