"""K heads of one architecture run as one: their parameters stacked along axes G, S, M.

G: groups of levels, S: seeds, M: strengths; N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from reporters.reporter import Reading, Reporter

Weights = dict[str, Tensor]
"""Parameters, or anything shaped like them, by name."""
InDims = int | tuple[int | None, ...]


def over_heads(function: Callable[..., Any], *in_dims: InDims) -> Callable[..., Any]:
    """Returns a function of one head as a function of every head of a stack with leading axes (G,
    S, M).

    Args:
        in_dims: for the axes G, S, M in turn, which arguments have the axis (0) and which do not
            (None); nothing said is 0 for all.
    """
    axes: tuple[InDims, ...] = in_dims or (0, 0, 0)

    def over(*given: Any) -> Any:
        """Takes nested arguments apart once: vmap would do it again for each of its axes, which
        takes longer than a small step.
        """
        parts = [tree_flatten(one) for one in given]
        said: list[TreeSpec] = []

        def flat(*leaves: Any) -> tuple[Any, ...]:
            left = iter(leaves)
            returned, spec = tree_flatten(
                function(
                    *(tree_unflatten([next(left) for _ in part], spec) for part, spec in parts)
                )
            )
            said.append(spec)
            return tuple(returned)

        each: Callable[..., tuple[Any, ...]] = flat
        for dims in reversed(axes):
            of_part = dims if isinstance(dims, tuple) else (dims,) * len(given)
            of_leaf = [
                dim if isinstance(leaf, Tensor) else None
                for (part, _), dim in zip(parts, of_part, strict=True)
                for leaf in part
            ]
            each = _along(each, tuple(of_leaf))
        return tree_unflatten(list(each(*(leaf for part, _ in parts for leaf in part))), said[0])

    return over


def _along(
    function: Callable[..., tuple[Any, ...]], dims: tuple[int | None, ...]
) -> Callable[..., tuple[Any, ...]]:
    """Returns a function along one more axis: vmap, but an axis of length 1 is taken off and put
    back: a batch of one product is slower.
    """
    mapped = vmap(function, in_dims=dims)

    def along(*leaves: Any) -> tuple[Any, ...]:
        if next(len(leaf) for leaf, dim in zip(leaves, dims, strict=True) if dim == 0) > 1:
            return mapped(*leaves)
        return tuple(
            value.unsqueeze(0)
            for value in function(
                *(
                    leaf if dim is None else leaf.squeeze(0)
                    for leaf, dim in zip(leaves, dims, strict=True)
                )
            )
        )

    return along


def grouped(z_NLD: Tensor, reporter: Reporter) -> Tensor:
    """Returns what each group of heads is given, with the group's axis first: one level each, or
    all levels to all.
    """
    return (
        z_NLD.movedim(-2, 0).unsqueeze(-2) if reporter.reads == "one_level" else z_NLD.unsqueeze(0)
    )


def stacked(reporter: Reporter, weights: Weights, z_GNLD: Tensor) -> Reading:
    """Returns the reading of every head; its tensors have leading axes (G, S, M)."""

    def read(one: Weights, z_NLD: Tensor) -> Reading:
        return functional_call(reporter, one, (z_NLD,))

    return over_heads(read, (0, 0), (0, None), (0, None))(weights, z_GNLD)


def repeat_over_grid(value_S: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Returns one value a seed, copied to every level and strength: shape (G, S, M, ...)."""
    value_1S1 = value_S[None, :, None]
    return value_1S1.expand(grid[0], -1, grid[2], *value_S.shape[1:]).detach().clone()


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
