"""Several devices that share in a reading: what they read is what one reads, each episode once, and
what cannot be is said in one line.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from compute.trainer import Trainer
from console.errors import UserError
from core_model.reader import ActivationReader
from tests.conftest import CONFIGS
from tests.core_model.planted import Planted, texts

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from core_model.reader import ActivationReader
from compute.trainer import Trainer
from core_model.transformer import Model, Transformer, TransformerPredictor, sizes
from console.errors import UserError
from tests.core_model.planted import Planted, texts
from worlds.vault import Vault

class Failing(Planted):
    '''Fails in one portion, as `how` says.'''

    def _pass(self, length_N, rows_B, *rest):
        if 3 in rows_B.tolist():
            os.kill(os.getpid(), signal.SIGKILL) if self.identity == "killed" else 1 // 0
        return super()._pass(length_N, rows_B, *rest)

def both(strategy, predictor, episodes, columns, levels, folder):
    found = []
    for devices in (1, 2):
        shared = Trainer("cpu", 1e9, False, devices, strategy).reading_devices
        reader = ActivationReader(predictor, columns, levels, folder / str(devices), shared)
        found.append(reader.read(episodes))
    return torch.equal(*found)

def untrained(world, episodes):
    torch.manual_seed(0)
    return TransformerPredictor(Model(sizes(episodes, world.reads), sizes(episodes, world.predicts), world.steps, 16, 2, 2), world)

def main(strategy, folder):
    torch.set_num_threads(1)
    print(os.getpid())
    print(both(strategy, Planted(passes=folder / "passes.txt", size=3), texts(20), ("text",), [2, 0], folder))
    world = Vault(steps=8, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    episodes = world.episodes("predictor", 4500, 0)
    print(both(strategy, untrained(world, episodes), episodes, world.reads, [0, 1, 2], folder))
    print("MASTER_PORT" in os.environ)
    for how in ("failing", "killed") if strategy == "ddp_fork" else ():
        failing = Failing(how, size=3)
        shared = Trainer("cpu", 1e9, False, 2, strategy).reading_devices
        try:
            ActivationReader(failing, ("text",), [0], folder / how, shared).read(texts(20))
        except Exception as error:
            print(how, type(error).__name__, str(error).splitlines()[0], [path.name for path in (folder / how).rglob("*level*")])

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("strategy", ["ddp_fork", "auto"])
def test_two_processes_read_what_one_reads_bit_by_bit(tmp_path, strategy):
    """Each portion is read as a whole by one of them, with the same shapes and on one thread:
    nothing is summed in another order.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONFIGS.parent)}
    command = [sys.executable, str(tmp_path / "script.py"), strategy, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=CONFIGS.parent, env=environment, timeout=300
    )
    parent, planted, vault, port, *failed = done.stdout.splitlines()
    assert (planted, vault, port) == ("True", "True", "False"), done.stderr
    assert "GLOBAL_RANK" not in done.stderr and "Warning" not in done.stderr
    lines = (tmp_path / "passes.txt").read_text().splitlines()
    passes = [(line.split()[0], line.split("] ")[1]) for line in lines if line.split()[0] != parent]
    assert len(lines) == 14 and Counter(rows for _, rows in passes) == Counter(
        {rows: 1 for _, rows in passes}
    )
    assert sorted(int(row) for _, rows in passes for row in re.findall(r"\d+", rows)) == list(
        range(20)
    ), "each episode once"
    assert sorted(Counter(process for process, _ in passes).values()) == [3, 4], "shared by two"
    if strategy == "ddp_fork":
        assert failed[0].startswith("failing ProcessRaisedException") and failed[0].endswith("[]")
        assert re.match(
            r"killed UserError trainer\.devices: one of 2 reading processes was killed"
            r" \(.*SIGKILL\)\. .* \[\]",
            failed[1],
        )


def test_a_single_portion_is_read_without_starting_a_process(tmp_path):
    predictor = Planted(passes=tmp_path / "passes.txt")
    shared = Trainer("cpu", 1e9, False, 2).reading_devices
    ActivationReader(predictor, ("text",), [0], tmp_path, shared).read(texts(20))
    assert (tmp_path / "passes.txt").read_text().startswith(f"{os.getpid()} ")


def test_one_device_starts_no_processes(trainer):
    assert trainer.reading_devices is None
    assert Trainer("cpu", 1e9, False, 1, "ddp_spawn").reading_devices is None
    assert Trainer("cpu", 1e9, False, 2).reading_devices.strategy == "ddp_spawn"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed", "ddpspawn", ""])
def test_a_strategy_that_cannot_read_is_refused(strategy):
    with pytest.raises(
        UserError,
        match=(
            rf"^trainer\.strategy: {strategy} cannot read activations: .* Use auto, ddp_spawn,"
            r" ddp_fork\.$"
        ),
    ):
        Trainer("cpu", 1e9, False, 2, strategy)


def test_no_device_is_refused():
    with pytest.raises(UserError, match=r"^trainer\.devices: 0 read nothing\. Use 1 or more\.$"):
        Trainer("cpu", 1e9, False, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_a_device_that_is_not_there_is_refused_in_one_line(tmp_path: Path):
    predictor = Planted(size=3)
    shared = Trainer("gpu", 1e9, False, 2, "ddp_spawn").reading_devices
    with pytest.raises(
        UserError,
        match=(
            r"^trainer\.strategy: ddp_spawn on 2 gpu devices cannot start here \(.*\)\. Use"
            r" trainer\.devices=1, or"
        ),
    ):
        ActivationReader(predictor, ("text",), [0], tmp_path, shared).read(texts(20))
    assert not list(tmp_path.rglob("*level*"))


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(
        UserError,
        match=(
            r"^trainer\.devices: this machine has 1 GPUs, not 2\. Ask for fewer, or for"
            r" trainer\.accelerator=cpu\.$"
        ),
    ):
        Trainer("auto", 1e9, False, 2)
    assert (
        Trainer("cpu", 1e9, False, 2).device == "cpu"
        and Trainer("auto", 1e9, False, 1).device == "cuda"
    )
