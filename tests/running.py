"""Small runs for tests, in this process or in one of their own."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from hydra.core.global_hydra import GlobalHydra

from train import cli

ROOT = Path(__file__).parents[1]
TINY = [
    "world.steps=6",
    "core_model.blocks=2",
    "core_model.width=16",
    "core_model.heads=2",
    "core_model.episodes=2000",
    "core_model.epochs=1",
    "data.train=256",
    "data.validation=64",
    "data.test=64",
    "data.disputed=100",
    "data.twins=60",
    "data.probe=120",
    "training.epochs=4",
    "training.batch_size=128",
    "seeds=2",
    "trainer.bar=false",
]
Done = subprocess.CompletedProcess[str]


def run_here(main: Callable[[], None], *words: str) -> Done:
    """Runs a command in this process, with these words on its command line, and then what a sweep
    leaves for the end of the process.
    """
    GlobalHydra.instance().clear()
    output, errors, code = StringIO(), StringIO(), 0
    with (
        patch.object(sys, "argv", list(words)),
        redirect_stdout(output),
        redirect_stderr(errors),
        patch("experiments.sweep.atexit") as at_exit,
    ):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
            if isinstance(stopped.code, str):
                print(stopped.code, file=sys.stderr)
        for registered in at_exit.register.call_args_list:
            registered.args[0]()
    return Done(list(words), code, output.getvalue(), errors.getvalue())


def train(*words: str, folder: Path | None = None) -> Done:
    """Runs train.py in this process."""
    return run_here(cli, "train.py", *words, *name_folder(folder))


def start_training(*words: str, folder: Path | None = None) -> subprocess.Popen[str]:
    """Starts train.py in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "train.py", *words, *name_folder(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train_apart(*words: str, folder: Path | None = None) -> Done:
    """Runs train.py in a process of its own."""
    process = start_training(*words, folder=folder)
    output, errors = process.communicate()
    return Done(process.args, process.returncode, output, errors)


def name_folder(folder: Path | None) -> list[str]:
    """Returns the words that name a run's folder."""
    return [f"hydra.run.dir={folder}"] if folder else []
