"""Heads made of torch's own layers: the axes of nn.Linear in an nn.Sequential are named, and other
parameters without the letters of their axes are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from console.errors import UserError
from reporters.named_linear import NamedLinear
from reporters.reporter import Reporter, is_weight, parse_axes

ELEMENTWISE = (
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
    nn.LeakyReLU,
    nn.ELU,
    nn.Identity,
)
"""Layers between two nn.Linear that change each unit by itself."""
LETTERS = "HIJKMNOPQRSTUVWXYZABCEFG"
"""The letters that hidden units may have; D is the width, L the levels."""


def name_layers(reporter: Reporter, width: int) -> Reporter:
    """Returns the reporter with names for the axes of its layers.

    Args:
        width: of one level; layers that read activations have it, or a multiple of it, as inputs.

    Raises:
        UserError: a parameter has no letters for its axes, and its layer is not one that can be
            given them.
    """
    sizes = _collect_sizes(reporter)
    for name, child in list(reporter.named_children()):
        if isinstance(child, nn.Sequential) and _is_chain(child):
            _name_chain(child, width, sizes)
        elif type(child) is nn.Linear:
            chain = nn.Sequential(child)
            _name_chain(chain, width, sizes)
            setattr(reporter, name, chain[0])
    _check_axes(reporter)
    _check_flops(reporter)
    return reporter


def _is_chain(layers: nn.Sequential) -> bool:
    """Whether it holds nn.Linear and what changes each unit by itself, and nothing else."""
    return all(type(layer) is nn.Linear or isinstance(layer, ELEMENTWISE) for layer in layers)


def _name_chain(layers: nn.Sequential, width: int, sizes: dict[str, int]) -> None:
    """Replaces every nn.Linear; the outputs of one are the inputs of the next.

    Args:
        sizes: the number of units of each letter of the reporter; new letters are added.
    """
    places = [place for place, layer in enumerate(layers) if type(layer) is nn.Linear]
    letter = ""
    for place in places:
        linear = layers[place]
        assert isinstance(linear, nn.Linear)
        if not letter:
            reads = linear.in_features % width == 0
            reads = reads and sizes.get("D", linear.in_features) == linear.in_features
            letter = "D" if reads else _find_free_letter(sizes)
            sizes[letter] = linear.in_features
        is_last = place == places[-1]
        if is_last and linear.out_features < 10:
            outputs = str(linear.out_features)
        else:
            outputs = _find_free_letter(sizes)
            sizes[outputs] = linear.out_features
        layers[place] = NamedLinear(linear, letter, outputs)
        letter = outputs


def _find_free_letter(sizes: Mapping[str, int]) -> str:
    return next(letter for letter in LETTERS if letter not in sizes)


def _collect_sizes(reporter: Reporter) -> dict[str, int]:
    """Returns the number of units of each letter that the reporter's own parameters name."""
    sizes: dict[str, int] = {}
    for name, value in reporter.named_parameters():
        sizes |= zip(parse_axes(name), value.shape, strict=False)
    return sizes


def _check_axes(reporter: Reporter) -> None:
    """Raises UserError where the name of a parameter does not end in a letter for each axis."""
    for name, value in reporter.named_parameters():
        if len(parse_axes(name)) != value.dim():
            kind = type(reporter).__name__
            raise UserError(
                f"reporter: the name of {kind}'s parameter {name} does not end in a letter for each"
                f" of its {value.dim()} axes. Name it as reporters/mlp.py does, or build the head"
                " from nn.Linear and activations in an nn.Sequential."
            )


def _check_flops(reporter: Reporter) -> None:
    """Raises UserError where a weight's FLOPs are neither stated nor those of a named layer."""
    if type(reporter).flops is not Reporter.flops:
        return
    layers = [layer for layer in reporter.modules() if isinstance(layer, NamedLinear)]
    of_layers = {id(value) for layer in layers for value in layer.parameters()}
    for name, value in reporter.named_parameters():
        if is_weight(name) and id(value) not in of_layers:
            kind = type(reporter).__name__
            raise UserError(
                f"reporter: {kind} does not state the FLOPs of its parameter {name}. Give {kind} a"
                " method flops, as reporters/mlp.py has."
            )
