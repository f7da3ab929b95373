"""Several devices that share a reading: they read what one device reads, each episode once, and an
impossible request is refused in one line.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from compute.devices import Devices
from compute.trainer import Trainer
from console.errors import UserError
from core_model.reader import ActivationReader
from tests.conftest import CONFIGS
from tests.core_model.planted import Planted, make_texts

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from compute.trainer import Trainer
from core_model.reader import ActivationReader
from core_model.transformer_model import Model, count_classes
from core_model.transformer_predictor import TransformerPredictor
from tests.core_model.planted import Planted, make_texts
from worlds.vault import Vault


class Failing(Planted):
    '''Fails in one portion: raises an error, or kills its process.'''

    def _pass(self, length_N, rows_B, *rest):
        if 3 in rows_B.tolist():
            if self.identity == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError
        return super()._pass(length_N, rows_B, *rest)


def share(devices):
    return Trainer("cpu", 1e9, False, devices, sys.argv[1]).reading_devices


def is_equal_on_two_devices(predictor, episodes, columns, levels, folder):
    z_NLD_of = {}
    for devices in (1, 2):
        cache = folder / str(devices)
        reader = ActivationReader(predictor, columns, levels, cache, share(devices))
        z_NLD_of[devices] = reader.read(episodes)
    return torch.equal(z_NLD_of[1], z_NLD_of[2])


def make_untrained(world, episodes):
    torch.manual_seed(0)
    reads, predicts = count_classes(episodes, world.reads), count_classes(episodes, world.predicts)
    return TransformerPredictor(Model(reads, predicts, world.steps, 16, 2, 2, 4), world)


def main(strategy, folder):
    torch.set_num_threads(1)
    print(os.getpid())
    planted = Planted(passes=folder / "passes.txt", size=3)
    print(is_equal_on_two_devices(planted, make_texts(20), ("text",), [2, 0], folder))
    world = Vault(steps=8, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    episodes = world.episodes("predictor", 4500, 0)
    untrained = make_untrained(world, episodes)
    print(is_equal_on_two_devices(untrained, episodes, world.reads, [0, 1, 2], folder))
    print("MASTER_PORT" in os.environ)
    for name in ("failing", "killed") if strategy == "ddp_fork" else ():
        reader = ActivationReader(Failing(name, size=3), ("text",), [0], folder / name, share(2))
        try:
            reader.read(make_texts(20))
        except Exception as error:
            files = [path.name for path in (folder / name).rglob("*level*")]
            print(name, type(error).__name__, str(error).splitlines()[0], files)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp_fork", "auto"])
def test_two_processes_read_what_one_reads_bit_by_bit(tmp_path, strategy):
    """Each portion is read as a whole by one process, with the same shapes and on one thread, so
    nothing is summed in another order.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), strategy, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=CONFIGS.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONFIGS.parent)},
        timeout=300,
    )
    parent, planted, vault, port, *failures = done.stdout.splitlines()
    assert (planted, vault, port) == ("True", "True", "False"), done.stderr
    assert "GLOBAL_RANK" not in done.stderr and "Warning" not in done.stderr

    lines = (tmp_path / "passes.txt").read_text().splitlines()
    assert len(lines) == 14, "seven portions, on one device and on two"
    shared = [line for line in lines if line.split()[0] != parent]
    rows = []
    for line in shared:
        rows += map(int, re.findall(r"\d+", line.split("] ")[1]))
    assert sorted(rows) == list(range(20)), "each episode once"
    assert sorted(Counter(line.split()[0] for line in shared).values()) == [3, 4]

    if strategy == "ddp_fork":
        failing, killed = failures
        assert failing.startswith("failing ProcessRaisedException") and failing.endswith("[]")
        message = r"trainer\.devices: one of 2 reading processes was killed \(.*SIGKILL\)\."
        assert re.match(rf"killed UserError {message} .* \[\]", killed)


def test_a_single_portion_is_read_without_starting_a_process(tmp_path):
    predictor = Planted(passes=tmp_path / "passes.txt")
    devices = Trainer("cpu", 1e9, False, 2).reading_devices
    ActivationReader(predictor, ("text",), [0], tmp_path, devices).read(make_texts(20))
    assert (tmp_path / "passes.txt").read_text().startswith(f"{os.getpid()} ")


def test_one_device_starts_no_processes(trainer):
    assert trainer.reading_devices is None
    assert Trainer("cpu", 1e9, False, 1, "ddp_spawn").reading_devices is None
    assert Trainer("cpu", 1e9, False, 2).reading_devices.strategy == "ddp_spawn"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed", "ddpspawn", ""])
def test_a_strategy_that_cannot_read_is_refused(strategy):
    message = (
        rf"^trainer\.strategy: {strategy} cannot read activations: .* Use auto, ddp_spawn,"
        r" ddp_fork\.$"
    )
    with pytest.raises(UserError, match=message):
        Trainer("cpu", 1e9, False, 2, strategy)


def test_no_device_is_refused():
    with pytest.raises(UserError, match=r"^trainer\.devices: 0 is too few\. Use 1 or more\.$"):
        Trainer("cpu", 1e9, False, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_does_not_exist_is_refused_in_one_line(tmp_path: Path):
    devices = Devices("gpu", 2, "ddp_spawn")
    reader = ActivationReader(Planted(size=3), ("text",), [0], tmp_path, devices)
    message = (
        r"^trainer\.strategy: ddp_spawn on 2 gpu devices cannot start here \(.*\)\. Use"
        r" trainer\.devices=1, or"
    )
    with pytest.raises(UserError, match=message):
        reader.read(make_texts(20))
    assert not list(tmp_path.rglob("*level*"))


def test_more_gpus_than_the_machine_has_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    message = (
        r"^trainer\.devices: this machine has 1 GPUs, not 2\. Use fewer, or"
        r" trainer\.accelerator=cpu\.$"
    )
    with pytest.raises(UserError, match=message):
        Trainer("auto", 1e9, False, 2)
    assert Trainer("cpu", 1e9, False, 2).device == "cpu"
    assert Trainer("auto", 1e9, False, 1).device == "cuda"
