"""The residual stream of a language model of any architecture: read at any level, written back, and
run on from. Level 0 is the input of the first block, level i the output of block i, before the
final norm.

B: texts in a batch, T: tokens, D: width, V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from console.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Change = Callable[[int, Tensor], Tensor | None]
"""Is given a level and its residual stream z_BTD; returns what replaces it, or None."""
UNFIT = (RuntimeError, TypeError, AttributeError, LookupError, ValueError)
"""What a model raises where it cannot be run in some way that others can."""
Take = Callable[[Tensor], Tensor]
"""Returns z_BD, the activation that is read of each text, from the residual stream z_BTD."""


class Batch(NamedTuple):
    """Texts of similar length, padded on the right."""

    ids_BT: Tensor
    mask_BT: Tensor
    """1 for a token, 0 for padding; or, of shape (B, 1, T, T), what is added to the attention
    scores.
    """
    position_BT: Tensor | None = None
    """The position number of each token; None where tokens are numbered in order."""


def pad(texts: Sequence[list[int]], device: torch.device) -> Batch:
    """Returns texts, as token numbers, as a batch."""
    ids_BT = nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    length_B = torch.tensor([len(text) for text in texts])
    mask_BT = (torch.arange(ids_BT.shape[1]) < length_B[:, None]).long()
    return Batch(ids_BT.to(device), mask_BT.to(device))


class Write(NamedTuple):
    """Activations that replace those at one level and one position of each text."""

    level: int
    position_B: Tensor
    z_BD: Tensor

    def apply(self, z_BTD: Tensor) -> Tensor:
        """Returns a copy of the residual stream in which they are written."""
        written_BTD = z_BTD.clone()
        written_BTD[torch.arange(len(z_BTD)), self.position_B] = self.z_BD.to(z_BTD)
        return written_BTD


class Start(NamedTuple):
    """A residual stream from which the blocks above its level are run."""

    level: int
    z_BTD: Tensor


class DeepestLevelRead(Exception):
    """Ends a forward pass: no block beyond the deepest level is computed."""


@dataclass(frozen=True, eq=False)
class ResidualStream:
    """The residual stream of one frozen model. No architecture is named: hooks on the blocks read
    and write, and the model's own forward pass does the rest.
    """

    model: PreTrainedModel
    blocks: nn.ModuleList

    @torch.no_grad()
    def read(
        self, batch: Batch, levels: Collection[int], take: Take, writes: Sequence[Write] = ()
    ) -> dict[int, Tensor]:
        """Returns what `take` gives for each of the levels; runs no block beyond the deepest."""
        z_of: dict[int, Tensor] = {}

        def keep(level: int, z_BTD: Tensor) -> None:
            z_of[level] = take(z_BTD)
            if level == max(levels):
                raise DeepestLevelRead

        with self._change(writes), self._hook(levels, keep), suppress(DeepestLevelRead):
            self._run(batch)
        return z_of

    @torch.no_grad()
    def compute_logits(
        self,
        batch: Batch,
        position_B: Tensor,
        writes: Sequence[Write] = (),
        start: Start | None = None,
    ) -> Tensor:
        """Returns the logits at one position of each text, shape (B, V), after writing.

        Args:
            start: the residual stream of these texts at a level below all that are written, or at
                it; blocks up to this level are not run.
        """
        with ExitStack() as stack:
            if start is not None and start.level > 0:
                writes_at_start = [write for write in writes if write.level == start.level]
                writes = [write for write in writes if write.level > start.level]
                for write in writes_at_start:
                    start = Start(start.level, write.apply(start.z_BTD))
                stack.enter_context(self._skip_blocks(start))
            stack.enter_context(self._change(writes))
            rows_B = torch.arange(len(position_B), device=position_B.device)
            stack.enter_context(self._keep_places(rows_B, position_B))
            logits_BTV = self._run(batch).logits
        if logits_BTV.shape[1] == 1:
            return logits_BTV[:, 0]
        return logits_BTV[torch.arange(len(logits_BTV)), position_B]

    def run_on(self, batch: Batch, start: Start, row_P: Tensor, place_P: Tensor) -> Tensor:
        """Returns the logits at P places, shape (P, V), with gradients: blocks up to the level of
        `start` are not run, and the model must name its readout.

        Args:
            row_P: the row of the text in the batch.
            place_P: the token's place in it.
        """
        with self._skip_blocks(start), self._keep_places(row_P, place_P):
            logits_P1V = self._run(batch).logits
        assert logits_P1V.shape[:2] == (len(row_P), 1), "the model does not name its readout"
        return logits_P1V[:, 0]

    def _run(self, batch: Batch, **options: Any) -> Any:
        if batch.position_BT is not None:
            options["position_ids"] = batch.position_BT
        return self.model(
            input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False, **options
        )

    @torch.no_grad()
    def run_with_hidden_states(self, batch: Batch) -> tuple[Tensor, ...]:
        """Returns the hidden states that the model itself gives; none where it gives none."""
        return getattr(self._run(batch, output_hidden_states=True), "hidden_states", None) or ()

    def _change(self, writes: Sequence[Write]) -> Any:
        write_at = {write.level: write for write in writes}
        return self._hook(write_at, lambda level, z_BTD: write_at[level].apply(z_BTD))

    @contextmanager
    def _hook(self, levels: Collection[int], change: Change) -> Iterator[None]:
        """Calls a function with the residual stream at each level, and replaces the stream by what
        it returns.
        """
        handles = [self._add_hook(level, change) for level in levels]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add_hook(self, level: int, change: Change) -> RemovableHandle:
        def change_input(block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
            changed = change(0, inputs[0] if inputs else named["hidden_states"])
            if changed is None:
                return None
            if inputs:
                return (changed, *inputs[1:]), named
            return inputs, named | {"hidden_states": changed}

        def change_output(block: nn.Module, inputs: object, output: Any) -> Any:
            changed = change(level, output if isinstance(output, Tensor) else output[0])
            if changed is None or isinstance(output, Tensor):
                return changed
            return type(output)([changed, *output[1:]])

        if level == 0:
            return self.blocks[0].register_forward_pre_hook(change_input, with_kwargs=True)
        return self.blocks[level - 1].register_forward_hook(change_output)

    @contextmanager
    def _skip_blocks(self, start: Start) -> Iterator[None]:
        """Lets each block up to a level return the residual stream of that level, unrun."""
        skipped = list(zip(self.blocks[: start.level], self._forms, strict=False))
        for block, form in skipped:
            block.forward = form.return_unrun(start.z_BTD)
        try:
            yield
        finally:
            for block, _ in skipped:
                del block.forward  # the method of the class is used again

    @cached_property
    def _forms(self) -> list[_Form]:
        """The form of each block's output."""
        forms: list[_Form] = []

        def keep(block: nn.Module, inputs: object, output: Any) -> None:
            is_tensor = isinstance(output, Tensor)
            forms.append(_Form(type(output), 1 if is_tensor else len(output)))

        handles = [block.register_forward_hook(keep) for block in self.blocks]
        ids_1T = torch.zeros(1, 4, dtype=torch.long, device=self.model.device)
        try:
            with torch.no_grad():
                self._run(Batch(ids_1T, torch.ones_like(ids_1T)))
        finally:
            for handle in handles:
                handle.remove()
        return forms

    @contextmanager
    def _keep_places(self, row_P: Tensor, place_P: Tensor) -> Iterator[None]:
        """Lets the readout compute the logits at some places alone, where the model names its
        readout: these are texts of one token then.
        """
        readout = self.model.get_output_embeddings()
        if readout is None:
            yield
            return

        def select(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
            if not inputs:
                return None
            z_P1D = inputs[0][row_P, place_P][:, None]
            return (z_P1D, *inputs[1:])

        handle = readout.register_forward_pre_hook(select)
        try:
            yield
        finally:
            handle.remove()


class _Form(NamedTuple):
    """A block returns the residual stream alone, or first of several in a tuple or a list."""

    kind: type[Any]
    length: int

    def return_unrun(self, z_BTD: Tensor) -> Callable[..., Any]:
        """Returns the forward pass of a block that is not run."""
        output: Any = z_BTD
        if not issubclass(self.kind, Tensor):
            output = self.kind([z_BTD, *[None] * (self.length - 1)])
        return lambda *inputs, **named: output


def find_residual_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Returns the blocks of the decoder: the only list of modules that is as long as the model is
    deep.

    Raises:
        UserError: there is no such list, or more than one.
    """
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = [
        module for module in model.get_decoder().modules() if isinstance(module, nn.ModuleList)
    ]
    blocks = [modules for modules in lists if len(modules) == depth]
    if len(blocks) != 1:
        raise UserError(
            f"core_model.model: {type(model).__name__} has {len(blocks)} lists of {depth} blocks,"
            " not one. Choose another model."
        )
    return blocks[0]
