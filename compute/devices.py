"""Several devices that share one reading: Lightning starts a process for each of them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException

from compute.lightning import pl
from console.errors import UserError

for _name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Devices:
    """The devices that share a reading.

    Args:
        accelerator: an accelerator of Lightning's Trainer: auto, cpu, gpu.
        count: the number of devices, all in this machine.
        strategy: a strategy of Lightning that starts processes for one call.
    """

    accelerator: str
    count: int
    strategy: str

    def predict(self, module: pl.LightningModule) -> None:
        """Runs a module's `predict_step` in one process a device.

        Raises:
            UserError: Lightning cannot start the processes, or one of them was killed.
        """
        from lightning_fabric.utilities.exceptions import MisconfigurationException

        with _hide_lightning():
            try:
                self._trainer().predict(module, return_predictions=False)
            except SystemExit:  # Lightning turns Ctrl-C into it
                raise KeyboardInterrupt from None
            except ProcessExitedException as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"trainer.devices: one of {self.count} reading processes was killed ({reason})."
                    f" Each holds a copy of the model. If {self.count} copies are too large for"
                    " the memory, use fewer devices."
                ) from None
            except (MisconfigurationException, RuntimeError, ValueError) as error:
                reason = str(error).strip().splitlines()[0]
                raise UserError(
                    f"trainer.strategy: {self.strategy} on {self.count} {self.accelerator} devices"
                    f" cannot start here ({reason}). Use trainer.devices=1, or another strategy."
                ) from error

    def _trainer(self) -> pl.Trainer:
        return pl.Trainer(
            accelerator=self.accelerator,
            devices=self.count,
            strategy=self.strategy,
            plugins=build_environment(),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            inference_mode=False,
        )


def build_environment() -> Any:
    """Returns what tells Lightning that its processes are on this machine, also within the job of a
    cluster, whose variables ask for processes of their own.
    """
    from lightning_fabric.plugins.environments import (  # type: ignore[attr-defined]
        LightningEnvironment,
    )

    return LightningEnvironment()


@contextmanager
def _hide_lightning() -> Iterator[None]:
    """Hides Lightning's advice, and restores MASTER_PORT afterwards: Lightning leaves its own port
    in the environment, where another process of a sweep would find it in use.
    """
    port = os.environ.get("MASTER_PORT")
    with warnings.catch_warnings():
        hide_advice()
        try:
            yield
        finally:
            os.environ.pop("MASTER_PORT", None)
            os.environ.update({"MASTER_PORT": port} if port else {})


def hide_advice() -> None:
    """Hides Lightning's warnings in this process."""
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning")
