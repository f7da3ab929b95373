"""Heads made of torch's own layers: the axes of their parameters are named, their FLOPs are counted
as the head reads one episode, and what cannot be handled is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from console.errors import UserError
from reporters.named_layer import (
    CountedLayer,
    NamedAttention,
    NamedLinear,
    NamedProduct,
    Renamed,
    rename,
)
from reporters.reporter import Reporter, count_units, is_weight, parse_axes
from reporters.stack import describe_options, read_stack

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
    nn.Dropout,
)
"""Layers that change each unit by itself."""
NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
REFUSED = {
    nn.modules.batchnorm._NormBase: "its answers depend on other episodes. Use nn.LayerNorm.",
    nn.modules.conv._ConvTransposeNd: "transposed convolutions cannot be counted. Use nn.Conv1d.",
    nn.RNNBase: "recurrent layers cannot be stacked. Use nn.Conv1d or attention.",
    nn.Bilinear: "it is no single product. Use nn.Linear on products of activations.",
}
"""Layers that no head can have, and why."""
LETTERS = "HIJKMNOPQRSTUVWXYZABCEFGΓΔΘΛΞΠΣΦΨΩ"
"""The letters that hidden units may have; D is the width, L the levels."""
_checked: set[str] = set()
"""Heads that have been found to be stackable and counted in full."""


def name_layers(reporter: Reporter, width: int, n_levels: int = 1) -> Reporter:
    """Returns the reporter with names for the axes of its layers.

    Args:
        width: of one level; layers that read activations have it, or a multiple of it, as inputs.
        n_levels: how many levels the reporter is given.

    Raises:
        UserError: it has a layer that no head can have, a parameter without a letter for each axis,
            or a product that is not counted.
    """
    reporter.eval()
    children = list(reporter.named_children())
    if children and not any(isinstance(layer, CountedLayer) for layer in reporter.modules()):
        namer = _Namer(reporter, width, _find_readers(reporter, n_levels, width))
        for name, child in children:
            setattr(reporter, name, namer.name(name, child))
    _check_axes(reporter)
    counts_layers = type(reporter).flops is Reporter.flops
    if counts_layers:
        _check_flops(reporter)
    if not children:
        return reporter
    key = f"{n_levels} {width} {describe_options(reporter)}"
    z_1LD = _draw_episode(reporter, n_levels, width)
    if key not in _checked:
        _check_stacking(reporter, z_1LD)
    if counts_layers:
        _count_uses(reporter, z_1LD)
        if key not in _checked:
            _check_count(reporter, z_1LD)
    _checked.add(key)
    return reporter


def _find_readers(reporter: Reporter, n_levels: int, width: int) -> set[nn.Module]:
    """Returns the layers whose input is activations as they are: some or all, in any shape."""
    z_1LD = _draw_episode(reporter, n_levels, width)
    memory = z_1LD.untyped_storage().data_ptr()
    readers = set()

    def note(layer: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        for value in (*inputs, *options.values()):
            if isinstance(value, Tensor) and value.untyped_storage().data_ptr() == memory:
                readers.add(layer)

    layers = [layer for layer in reporter.modules() if layer is not reporter]
    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        reporter(z_1LD)
    except Exception:  # what is wrong with the head is said below, with the name of the layer
        return set()
    finally:
        for hook in hooks:
            hook.remove()
    return readers


class _Namer:
    """Names the layers of a reporter, one after the other.

    Args:
        reporter: its own parameters have names already.
        width: of one level.
        readers: the layers whose input is activations as they are.
    """

    def __init__(self, reporter: Reporter, width: int, readers: Collection[nn.Module]) -> None:
        self.kind = type(reporter).__name__
        self.width = width
        self.readers = readers
        self.sizes: dict[str, int] = {}
        """The number of units of each letter."""
        for name, value in reporter.named_parameters():
            self.sizes |= zip(parse_axes(name), value.shape, strict=False)
        self.letter = ""
        """That of the outputs of the layer before, in a chain; empty where it is not known."""

    def name(self, path: str, layer: nn.Module) -> nn.Module:
        """Returns a layer by itself, with names for its parameters and those within it."""
        self.letter = ""
        return self._name(path, layer, is_last=True)

    def _name(self, path: str, layer: nn.Module, is_last: bool) -> nn.Module:
        self._refuse(path, layer)
        if isinstance(layer, ELEMENTWISE):
            return layer
        if type(layer) is nn.Linear:
            return self._name_linear(layer, is_last)
        elif isinstance(layer, CONVOLUTIONS):
            self._name_product(layer, self._find_inputs(layer, layer.weight.shape[1]))
        elif isinstance(layer, NORMS):
            self._name_norm(layer)
        elif isinstance(layer, nn.Embedding):
            self._name_embedding(layer)
        elif isinstance(layer, nn.MultiheadAttention):
            self._name_attention(path, layer)
        elif isinstance(layer, nn.TransformerEncoderLayer):
            self._name_block(path, layer)
        elif isinstance(layer, nn.TransformerEncoder):
            self._name_encoder(path, layer)
        elif isinstance(layer, nn.Sequential):
            self._name_chain(path, layer)
        else:
            for name, child in list(layer.named_children()):
                setattr(layer, name, self.name(f"{path}.{name}", child))
            self.letter = ""
        return layer

    def _name_chain(self, path: str, layers: nn.Sequential) -> None:
        """Names layers of which each reads the outputs of the one before."""
        linear = [i for i, layer in enumerate(layers) if type(layer) is nn.Linear]
        for i, layer in enumerate(list(layers)):
            layers[i] = self._name(f"{path}.{i}", layer, i in linear[-1:])

    def _name_encoder(self, path: str, encoder: nn.TransformerEncoder) -> None:
        """Names an encoder, whose blocks all add to the same units."""
        for i, block in enumerate(encoder.layers):
            self._name(f"{path}.layers.{i}", block, is_last=True)
        if encoder.norm is not None:
            self._name(f"{path}.norm", encoder.norm, is_last=True)

    def _name_linear(self, linear: nn.Linear, is_last: bool) -> nn.Module:
        inputs = self._find_inputs(linear, linear.in_features)
        if is_last and linear.out_features < 10:
            outputs = str(linear.out_features)
        else:
            outputs = self._add(linear.out_features)
        self.letter = outputs
        return NamedLinear(linear, inputs, outputs)

    def _name_product(self, layer: nn.Module, inputs: str, outputs: str = "") -> None:
        """Names a linear layer within another layer, or a convolution."""
        weight = layer.weight
        assert isinstance(weight, Tensor)
        outputs = outputs or self._add(len(weight))
        kernel = "".join(self._name_length(length) for length in weight.shape[2:])
        rename(
            layer,
            NamedProduct,
            {"weight": f"weight_{outputs}{inputs}{kernel}", "bias": f"bias_{outputs}"},
        )
        self.letter = outputs

    def _name_norm(self, norm: nn.Module) -> None:
        """A norm's gain multiplies what it reads, so it is a weight."""
        weight = norm.weight
        if not isinstance(weight, Tensor):
            return
        axes = ""
        for length in weight.shape:
            is_known = self.sizes.get(self.letter) == length and weight.dim() == 1
            axes += self.letter if is_known else self._find_inputs(norm, length)
        rename(norm, Renamed, {"weight": f"gain_{axes}", "bias": f"bias_{axes}"})
        self.letter = axes[-1]

    def _name_embedding(self, embedding: nn.Embedding) -> None:
        """What is looked up is added and multiplied with nothing: it is named as a bias is."""
        rows = self._name_length(embedding.num_embeddings)
        outputs = self._add(embedding.embedding_dim)
        rename(embedding, Renamed, {"weight": f"table_bias_{rows}{outputs}"})
        self.letter = outputs

    def _name_attention(
        self, path: str, attention: nn.MultiheadAttention, block: nn.Module | None = None
    ) -> None:
        if attention.in_proj_weight is None or attention.bias_k is not None:
            raise UserError(
                f"reporter: {self.kind}'s layer {path} is an nn.MultiheadAttention with kdim, vdim"
                " or add_bias_kv, which cannot be named. Leave these out."
            )
        # torch's fast path has no rule for stacked heads.
        torch.backends.mha.set_fastpath_enabled(False)
        inner = self._find_inputs(block or attention, attention.embed_dim)
        rows = self._add(3 * attention.embed_dim)
        rename(
            attention,
            NamedAttention,
            {"in_proj_weight": f"in_proj_weight_{rows}{inner}", "in_proj_bias": f"bias_{rows}"},
        )
        self._name_product(attention.out_proj, self._add(attention.embed_dim), inner)

    def _name_block(self, path: str, block: nn.TransformerEncoderLayer) -> None:
        """Names a block, which adds all that it computes to the units that it reads."""
        for name, child in block.named_children():
            self._refuse(f"{path}.{name}", child)
        self._name_attention(f"{path}.self_attn", block.self_attn, block)
        units = self.letter  # those that it reads, which its attention adds to
        self._name_product(block.linear1, units)
        self._name_product(block.linear2, self.letter, units)
        for norm in (block.norm1, block.norm2):
            self.letter = units
            self._name_norm(norm)

    def _refuse(self, path: str, layer: nn.Module) -> None:
        """Raises UserError for a layer that no head can have."""
        for kind, reason in REFUSED.items():
            if isinstance(layer, kind):
                self._raise(path, layer, reason)
        drops = getattr(layer, "dropout", 0.0)
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            drops = layer.p
        if isinstance(drops, float) and drops > 0:
            self._raise(path, layer, "heads are trained without chance. Set its dropout to 0.")

    def _raise(self, path: str, layer: nn.Module, reason: str) -> None:
        kind = type(layer).__name__
        raise UserError(f"reporter: {self.kind}'s layer {path} is an nn.{kind}: {reason}")

    def _find_inputs(self, layer: nn.Module, size: int) -> str:
        """Returns the letter of a layer's inputs: that of the outputs before it, the width's, or a
        new one. Where hidden units are as many as the width, the width's is for layers that read
        activations as they are.
        """
        if self.letter and self.sizes.get(self.letter) == size:
            return self.letter
        hidden_sizes = [n for letter, n in self.sizes.items() if letter != "D"]
        is_of_activations = layer in self.readers or size not in hidden_sizes
        if is_of_activations and size % self.width == 0 and self.sizes.get("D", size) == size:
            self.sizes["D"] = size
            return "D"
        return self._add(size)

    def _name_length(self, length: int) -> str:
        """Returns the name of an axis that is not of units: a digit, where it is short enough."""
        return str(length) if length < 10 else self._add(length)

    def _add(self, size: int) -> str:
        """Returns a new letter, for this number of units."""
        free = [letter for letter in LETTERS if letter not in self.sizes]
        if not free:
            raise UserError(
                f"reporter: {self.kind} has more kinds of units than there are letters,"
                f" {len(LETTERS)}. Use fewer layers."
            )
        self.sizes[free[0]] = size
        return free[0]


def _check_axes(reporter: Reporter) -> None:
    """Raises UserError where the name of a parameter does not end in a letter for each axis."""
    for name, value in reporter.named_parameters():
        if len(parse_axes(name)) != value.dim():
            kind = type(reporter).__name__
            raise UserError(
                f"reporter: the name of {kind}'s parameter {name} does not end in a letter for each"
                f" of its {value.dim()} axes. Name it as reporters/mlp.py does, or build the head"
                " from layers of torch that reporters/layers.py names."
            )


def _check_flops(reporter: Reporter) -> None:
    """Raises UserError where a weight's FLOPs are neither stated nor those of a named layer."""
    layers = [layer for layer in reporter.modules() if isinstance(layer, CountedLayer)]
    of_layers = {id(value) for layer in layers for value in layer.parameters()}
    for name, value in reporter.named_parameters():
        if is_weight(name) and id(value) not in of_layers:
            kind = type(reporter).__name__
            raise UserError(
                f"reporter: {kind} does not state the FLOPs of its parameter {name}. Give {kind} a"
                " method flops, as reporters/mlp.py has."
            )


def _draw_episode(reporter: Reporter, n_levels: int, width: int) -> Tensor:
    dtype = next(reporter.parameters()).dtype
    rng = torch.Generator().manual_seed(0)
    return torch.randn(1, n_levels, width, generator=rng, dtype=dtype)


@torch.no_grad()
def _check_stacking(reporter: Reporter, z_1LD: Tensor) -> None:
    """Raises UserError, with the name of the layer, where heads cannot be read as a stack."""
    entered = []

    def enter(layer: nn.Module, inputs: object) -> None:
        entered.append(layer)

    weights = {}
    for name, value in reporter.named_parameters():
        weights[name] = value.detach().expand(1, 2, 2, *value.shape)
    hooks = [layer.register_forward_pre_hook(enter) for layer in reporter.modules()]
    try:
        read_stack(reporter, weights, z_1LD[None])
    except (RuntimeError, NotImplementedError) as error:
        failed = entered[-1] if entered else reporter
        reporter(z_1LD)  # an error of one head by itself is raised as it is
        paths = {id(layer): path for path, layer in reporter.named_modules()}
        where = paths[id(failed)]
        kind = type(reporter).__name__
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"reporter: {kind} cannot be run as a stack of heads, at its layer"
            f" {where or 'forward'}: {reason}. Use operations that torch.func.vmap can map."
        ) from None
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _count_uses(reporter: Reporter, z_1LD: Tensor) -> None:
    """Reads one episode, so that every layer knows its FLOPs."""
    layers = [layer for layer in reporter.modules() if isinstance(layer, CountedLayer)]

    def count(layer: CountedLayer, *call: Any) -> None:
        layer.count_uses(*call)

    hooks = []
    for layer in layers:
        layer.terms = ()
        hooks.append(layer.register_forward_hook(count, with_kwargs=True))
    try:
        reporter(z_1LD)
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _check_count(reporter: Reporter, z_1LD: Tensor) -> None:
    """Raises UserError where a head multiplies more than its layers do."""
    weights = {name: value.detach() for name, value in reporter.named_parameters()}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        functional_call(reporter, weights, (z_1LD,))
    counted = counter.get_total_flops()
    (stated,) = reporter.flops(count_units(reporter, z_1LD.shape[1]))
    if counted != stated:
        kind = type(reporter).__name__
        raise UserError(
            f"reporter: {kind} has {counted:,} FLOPs an episode, and its layers account for"
            f" {stated:,} of them. Give {kind} a method flops, as reporters/mlp.py has."
        )
