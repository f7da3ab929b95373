"""A fit by Lightning: it shows its progress, and a fit that was stopped resumes at its last
checkpoint.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from zipfile import ZipFile

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from compute.devices import Devices, build_environment, hide_advice
from compute.lightning import pl
from compute.memory import FINISHING_GIB, FREE_SHARE, GIB, measure_free_memory
from console.errors import UserError
from console.progress import line
from console.ranges import NotNegative, Range
from storage.atomic import write_atomically

STRATEGIES = {"auto": "ddp_spawn", "ddp_spawn": "ddp_spawn", "ddp_fork": "ddp_fork"}
"""The strategies that start processes for one reading, and run no other part of the program in
them.
"""


@dataclass(frozen=True)
class Trainer:
    """How Lightning runs a fit.

    Args:
        accelerator: an accelerator of Lightning's Trainer: auto, cpu, gpu, cuda.
        save_every: seconds between two checkpoints; they are written at the end of an epoch.
        bar: whether a progress bar is shown.
        devices: the number of devices that share a reading of activations. A fit uses one device,
            because heads are small.
        strategy: how Lightning starts the processes of a reading: auto (ddp_spawn), ddp_spawn or
            ddp_fork.
        memory: GiB that a population of heads may use at once; a larger population is trained,
            pruned and billed in parts. null is half of the free memory for training, and 2 GiB for
            pruning and bills.
    """

    accelerator: str
    save_every: NotNegative
    bar: bool
    devices: Annotated[int, Range(1, 1024)] = 1
    strategy: str = "auto"

    memory: Annotated[float, Range(above=0, most=1_000_000)] | None = None

    def __post_init__(self) -> None:
        if self.memory is not None and not self.memory > 0:
            raise UserError(
                f"trainer.memory: {self.memory} GiB is too little. Use a number above 0, or null"
                " for half of the free memory."
            )
        if self.devices < 1:
            raise UserError(f"trainer.devices: {self.devices} is too few. Use 1 or more.")
        check_accelerator(self.accelerator)
        if self.strategy not in STRATEGIES:
            reason = (
                "other strategies start the whole program on each device, or split a model that is"
                " being trained"
            )
            raise UserError(
                f"trainer.strategy: {self.strategy} cannot read activations: {reason}. Use"
                f" {', '.join(STRATEGIES)}."
            )
        n_gpus = torch.cuda.device_count()
        if self.devices > 1 and self.device == "cuda" and self.devices > n_gpus:
            raise UserError(
                f"trainer.devices: this machine has {n_gpus} GPUs, not {self.devices}. Use fewer,"
                " or trainer.accelerator=cpu."
            )

    @property
    def device(self) -> str:
        """The device of a frozen predictor."""
        return "cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu"

    @property
    def training_memory_budget(self) -> float:
        """Bytes that heads may use at once in training."""
        if self.memory:
            return self.memory * GIB
        return FREE_SHARE * measure_free_memory(self.accelerator)

    @property
    def finishing_memory_budget(self) -> float:
        """Bytes that heads may use at once when they are pruned and billed."""
        return (self.memory or FINISHING_GIB) * GIB

    @property
    def reading_devices(self) -> Devices | None:
        """The devices that share a reading of activations; None for a single device."""
        if self.devices == 1:
            return None
        return Devices(self.accelerator, self.devices, STRATEGIES[self.strategy])

    def __call__(
        self,
        module: pl.LightningModule,
        batches: DataLoader[tuple[Tensor, ...]],
        epochs: int,
        checkpoint: Path,
        what: str,
    ) -> None:
        """Trains a module, from the checkpoint on if there is a whole one.

        Args:
            epochs: the number of epochs, those before the checkpoint included.
            checkpoint: its file, which is removed when the fit is complete.
            what: the text of the progress bar.
        """
        # Squares of tiny gradients, and Adam's averages of them, are denormal numbers, which take
        # a hundred times as long.
        torch.set_flush_denormal(True)
        pressed = threading.Event()
        callbacks: list[pl.Callback] = [_Stop(pressed), _Save(checkpoint, self.save_every)]
        if self.bar:
            callbacks.append(_Bar(what, epochs))
        trainer = pl.Trainer(
            accelerator=self.accelerator,
            devices=1,
            max_epochs=epochs,
            callbacks=callbacks,
            plugins=build_environment(),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        with note_ctrl_c(pressed), warnings.catch_warnings():
            hide_advice()
            resume_from = _find_whole_checkpoint(checkpoint)
            try:
                trainer.fit(module, batches, ckpt_path=resume_from, weights_only=True)
            except SystemExit:  # Lightning turns Ctrl-C into it
                raise KeyboardInterrupt from None
        checkpoint.unlink(missing_ok=True)


def check_accelerator(name: str) -> None:
    """Checks that this machine has an accelerator.

    Raises:
        UserError: it has not, or there is no such accelerator.
    """
    available = {"auto": True, "cpu": True, "gpu": torch.cuda.is_available()}
    available["cuda"] = available["gpu"]
    cure = "Use trainer.accelerator=auto, or cpu."
    if name not in available:
        known = ", ".join(available)
        raise UserError(f"trainer.accelerator: there is no {name}. There are: {known}. {cure}")
    if not available[name]:
        raise UserError(f"trainer.accelerator: this machine has no GPU for {name}. {cure}")


@contextmanager
def note_ctrl_c(pressed: threading.Event) -> Iterator[None]:
    """Sets the event at the first Ctrl-C and continues, because an exception that Ctrl-C raises in
    the middle of a batch may be lost there. The second Ctrl-C raises at once.
    """

    def note(*_: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Stop(pl.Callback):
    """Stops the fit at the end of the batch in which Ctrl-C was pressed."""

    def __init__(self, pressed: threading.Event) -> None:
        self.pressed = pressed

    def on_train_batch_end(self, *_: object) -> None:  # type: ignore[override]
        if self.pressed.is_set():
            raise KeyboardInterrupt


def _find_whole_checkpoint(checkpoint: Path) -> Path | None:
    """Returns the checkpoint if it exists and is readable, None otherwise; removes a damaged
    one.
    """
    if not checkpoint.exists():
        return None
    try:
        with ZipFile(checkpoint) as file:  # torch.load does not check the checksums in it
            damage = file.testzip()
    except Exception as error:  # the kind of error depends on the first damaged byte
        damage = type(error).__name__
    if damage:
        print(f"{checkpoint} is damaged ({damage}): training restarts.", file=sys.stderr)
        checkpoint.unlink()
        return None
    return checkpoint


class _Save(pl.callbacks.Checkpoint):
    """Writes a checkpoint at the end of an epoch, if `every` seconds have passed since the last
    one; the file is whole or absent.

    It is a `Checkpoint` of Lightning, so that it runs after the module's own end of an epoch.
    """

    def __init__(self, path: Path, every: float) -> None:
        self.path = path
        self.every = every
        self.last = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if time.monotonic() - self.last >= self.every:
            with write_atomically(self.path) as temporary:
                trainer.save_checkpoint(temporary)
            self.last = time.monotonic()


def _count_steps(trainer: pl.Trainer) -> int:
    """Returns the steps of a fit so far, whatever moves its heads."""
    return trainer.fit_loop.total_batch_idx + 1


class _Bar(pl.Callback):
    """A line on stderr with a name for the fit, its progress and the remaining time."""

    def __init__(self, what: str, epochs: int) -> None:
        self.what = what
        self.epochs = epochs
        self.stack = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total = self.epochs * trainer.num_training_batches
        self.line = self.stack.enter_context(line(self.what, total, _count_steps(trainer)))

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.line.move_to(_count_steps(trainer))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.stack.close()
