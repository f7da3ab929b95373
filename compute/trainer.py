"""One Lightning fit that shows its progress, goes on where it was stopped, and draws its batches in
an order keyed by seed and epoch.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from compute.devices import Devices
from compute.lightning import pl
from compute.memory import AFTERWARDS, GIB, SHARE, free
from console.errors import UserError
from console.progress import line
from storage.atomic import replacing

for _name in ("pytorch_lightning", "lightning.pytorch"):
    logging.getLogger(_name).setLevel(logging.ERROR)

STRATEGIES = {"auto": "ddp_spawn", "ddp_spawn": "ddp_spawn", "ddp_fork": "ddp_fork"}
"""What starts processes for a reading alone, and nothing else of the program."""


@dataclass(frozen=True)
class Trainer:
    """How Lightning runs a fit.

    Args:
        accelerator: as Lightning's Trainer takes it: auto, cpu, gpu.
        save_every: seconds between two checkpoints; they are written at the end of an epoch.
        bar: whether a progress bar shows.
        devices: how many share in reading activations. A fit stays on one: heads are small.
        strategy: how Lightning starts the processes for that: auto (ddp_spawn), ddp_spawn or
            ddp_fork.
        memory: GiB that a population of heads may need at once: a larger one is trained, pruned and
            billed in parts; null takes half of what is free for training, and 2 for the rest.
    """

    accelerator: str
    save_every: float
    bar: bool
    devices: int = 1
    strategy: str = "auto"

    memory: float | None = None

    def __post_init__(self) -> None:
        if self.memory is not None and not self.memory > 0:
            raise UserError(
                f"trainer.memory: {self.memory} GiB is too little. Use a number above 0, or null"
                " for half of what is free."
            )
        if self.devices < 1:
            raise UserError(f"trainer.devices: {self.devices} read nothing. Use 1 or more.")
        if self.strategy not in STRATEGIES:
            why = (
                "other strategies start the whole program once a device, or split a model that is"
                " being trained"
            )
            raise UserError(
                f"trainer.strategy: {self.strategy} cannot read activations: {why}. Use"
                f" {', '.join(STRATEGIES)}."
            )
        here = torch.cuda.device_count()
        if self.devices > 1 and self.device == "cuda" and self.devices > here:
            raise UserError(
                f"trainer.devices: this machine has {here} GPUs, not {self.devices}. Ask for fewer,"
                " or for trainer.accelerator=cpu."
            )

    @property
    def device(self) -> str:
        """Where a frozen predictor is kept."""
        return "cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu"

    @property
    def room(self) -> float:
        """Bytes that heads may need at once in training."""
        return self.memory * GIB if self.memory else SHARE * free(self.accelerator)

    @property
    def room_afterwards(self) -> float:
        """Bytes that they may need when they are pruned and billed."""
        return (self.memory or AFTERWARDS) * GIB

    @property
    def reading_devices(self) -> Devices | None:
        """The devices that share in reading activations; None for one device."""
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
        """Trains the module for so many epochs, from the checkpoint on where there is a whole one;
        removes it once done.
        """
        torch.set_flush_denormal(
            True
            # squares of tiny gradients, and Adam's averages of them, else take a hundred times as long
        )
        pressed = threading.Event()
        trainer = pl.Trainer(
            accelerator=self.accelerator,
            devices=1,
            max_epochs=epochs,
            callbacks=[
                _Stop(pressed),
                _Save(checkpoint, self.save_every),
                *([_Bar(what, epochs)] if self.bar else []),
            ],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        with noting_ctrl_c(pressed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning")
            try:
                trainer.fit(module, batches, ckpt_path=_whole(checkpoint), weights_only=True)
            except SystemExit:  # what Lightning makes of Ctrl-C
                raise KeyboardInterrupt from None
        checkpoint.unlink(missing_ok=True)


@contextmanager
def noting_ctrl_c(pressed: threading.Event) -> Iterator[None]:
    """Takes note of Ctrl-C and goes on: an exception that it raised anywhere in a batch may be lost
    there. A second one stops at once.
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
    """Stops at the end of the batch in which Ctrl-C was pressed."""

    def __init__(self, pressed: threading.Event) -> None:
        self.pressed = pressed

    def on_train_batch_end(self, *_: object) -> None:  # type: ignore[override]
        if self.pressed.is_set():
            raise KeyboardInterrupt


def _whole(checkpoint: Path) -> Path | None:
    """Returns the checkpoint if it is there and can be read, None otherwise."""
    if not checkpoint.exists():
        return None
    try:
        with ZipFile(checkpoint) as file:  # torch.load does not look at the checksums in it
            broken = file.testzip()
    except Exception as error:  # a damaged file raises whatever its first broken byte leads to
        broken = type(error).__name__
    if broken:
        print(f"{checkpoint} is damaged ({broken}): training starts anew.", file=sys.stderr)
        checkpoint.unlink()
        return None
    return checkpoint


class _Save(pl.callbacks.Checkpoint):
    """Writes a checkpoint at the end of an epoch, so many seconds after the last, under its name
    only when whole.

    It is one of Lightning's `Checkpoint`s so that it runs after what the module itself does at the
    end of the epoch.
    """

    def __init__(self, path: Path, every: float) -> None:
        self.path, self.every, self.last = path, every, time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if time.monotonic() - self.last >= self.every:
            with replacing(self.path) as temporary:
                trainer.save_checkpoint(temporary)
            self.last = time.monotonic()


class _Bar(pl.Callback):
    """A line on stderr that says what is trained, how far it is and how long it will take; gone
    when done.
    """

    def __init__(self, what: str, epochs: int) -> None:
        self.what, self.epochs, self.shown = what, epochs, ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.line = self.shown.enter_context(
            line(self.what, self.epochs * trainer.num_training_batches, trainer.global_step)
        )

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.line.at(trainer.global_step)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.shown.close()
