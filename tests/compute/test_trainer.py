"""Fits: the order of batches depends on seed and epoch alone, and a fit that was stopped ends like
one that was not.
"""

import signal
import threading
from io import BytesIO
from zipfile import ZipFile

import pytest
import torch

from compute.batches import Batches, Rows, make_loader
from compute.lightning import pl
from compute.trainer import Trainer, note_ctrl_c
from console.errors import UserError

SAVING = Trainer(accelerator="cpu", save_every=0.0, bar=False)
EPOCHS, ROWS, BATCH = 4, 20, 5


def draw_order(
    n: int = 12, size: int = 4, seeds: list[int] | int = 0, epoch: int = 0
) -> torch.Tensor:
    """Returns an epoch's indices, one batch after the other along the last dimension."""
    batches = Batches(n, size, seeds)
    batches.set_epoch(epoch)
    return torch.cat(list(batches), dim=-1)


class Slope(pl.LightningModule):
    """Fits one number to rows, remembers the rows, and can be stopped after some batches."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.stop_after = stop_after
        self.seen = []

    def training_step(self, batch: tuple[torch.Tensor]) -> torch.Tensor:
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(batch[0].tolist())
        return ((self.slope - batch[0]) ** 2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def fit(module: Slope, checkpoint, trainer: Trainer = SAVING) -> Slope:
    batches = make_loader(Rows(torch.arange(ROWS).float()), ROWS, BATCH, 3)
    trainer(module, batches, EPOCHS, checkpoint, "a slope")
    return module


def stop(checkpoint, after: int) -> None:
    """Stops a fit after some batches."""
    with pytest.raises(KeyboardInterrupt):
        fit(Slope(stop_after=after), checkpoint)


def test_an_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(0)
    first = draw_order(seeds=5, epoch=3)
    torch.manual_seed(1)
    assert torch.equal(draw_order(seeds=5, epoch=3, size=3), first)
    assert torch.equal(draw_order(seeds=5, epoch=3), first)
    assert not torch.equal(draw_order(seeds=6, epoch=3), first)
    assert not torch.equal(draw_order(seeds=5, epoch=4), first)


def test_drawing_batches_does_not_change_the_global_random_state():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw_order()
    assert torch.rand(1) == expected


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_each_epoch_has_every_row_once(epoch):
    assert draw_order(epoch=epoch).sort().values.tolist() == list(range(12))


def test_each_of_several_seeds_has_the_order_that_it_has_alone():
    together = draw_order(seeds=[4, 0, 9], epoch=2)
    alone = [draw_order(seeds=seed, epoch=2) for seed in (4, 0, 9)]
    assert together.shape == (3, 12) and torch.equal(together, torch.stack(alone))
    assert len({tuple(order.tolist()) for order in together}) == 3


def test_rows_that_fill_no_batch_are_left_out_and_few_rows_make_one_batch():
    assert [len(batch) for batch in Batches(11, 4, 0)] == [4, 4] and len(Batches(11, 4, 0)) == 2
    orders = torch.stack([draw_order(n=11, epoch=epoch) for epoch in range(20)])
    assert set(orders.flatten().tolist()) == set(range(11))
    assert [len(batch) for batch in Batches(3, 4, 0)] == [3]


def test_rows_of_several_seeds_are_indexed_at_once():
    index_KB = torch.tensor([[2, 0], [1, 1]])
    row_KB, doubled_KB = Rows(torch.arange(3), 2 * torch.arange(3))[index_KB]
    assert torch.equal(row_KB, index_KB) and torch.equal(doubled_KB, 2 * index_KB)


def test_a_fit_sees_the_batches_of_each_epoch_in_turn(tmp_path):
    expected = []
    for epoch in range(EPOCHS):
        batches = draw_order(ROWS, BATCH, 3, epoch).float().split(BATCH)
        expected += [batch.tolist() for batch in batches]
    assert fit(Slope(), tmp_path / "fit.ckpt").seen == expected


@pytest.mark.parametrize("after", [5, 8, 14])
def test_a_stopped_fit_resumes_at_its_last_epoch_and_ends_the_same(tmp_path, after):
    whole = fit(Slope(), tmp_path / "whole.ckpt")
    stop(tmp_path / "fit.ckpt", after)
    rest = fit(Slope(), tmp_path / "fit.ckpt")
    assert rest.seen == whole.seen[after // 4 * 4 :]
    assert torch.equal(rest.slope, whole.slope)


def test_a_fit_that_was_stopped_before_a_checkpoint_restarts(tmp_path):
    stop(tmp_path / "fit.ckpt", after=3)
    assert not (tmp_path / "fit.ckpt").exists()
    assert len(fit(Slope(), tmp_path / "fit.ckpt").seen) == EPOCHS * ROWS // BATCH


def test_a_checkpoint_is_written_when_due_and_removed_at_the_end(tmp_path, trainer):
    with pytest.raises(KeyboardInterrupt):
        fit(Slope(stop_after=9), tmp_path / "fit.ckpt", trainer)
    assert not list(tmp_path.iterdir())
    stop(tmp_path / "fit.ckpt", after=9)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.ckpt"]
    fit(Slope(), tmp_path / "fit.ckpt")
    assert not list(tmp_path.iterdir())


def cut_in_half(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def flip_a_bit(whole: bytes) -> bytes:
    """Flips one bit of a stored number, so that the file can still be read."""
    with ZipFile(BytesIO(whole)) as file:
        number = file.read(next(name for name in file.namelist() if "/data/" in name))
    return whole.replace(number, bytes([number[0] ^ 1]) + number[1:], 1)


@pytest.mark.parametrize(
    "damage", [cut_in_half, flip_a_bit, lambda whole: b"", lambda whole: b"no checkpoint"]
)
def test_training_restarts_if_the_checkpoint_is_damaged(tmp_path, capsys, damage):
    whole = fit(Slope(), tmp_path / "whole.ckpt")
    stop(tmp_path / "fit.ckpt", after=9)
    (tmp_path / "fit.ckpt").write_bytes(damage((tmp_path / "fit.ckpt").read_bytes()))
    capsys.readouterr()
    again = fit(Slope(), tmp_path / "fit.ckpt")
    assert again.seen == whole.seen and torch.equal(again.slope, whole.slope)
    assert "fit.ckpt is damaged" in capsys.readouterr().err.replace("\n", "")


def test_the_first_ctrl_c_is_noted_and_the_second_stops_at_once():
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    with note_ctrl_c(pressed):
        signal.raise_signal(signal.SIGINT)
        assert pressed.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_memory_for_pruning_and_bills_does_not_depend_on_free_memory(monkeypatch):
    """The number of heads at once changes last digits, and two equal runs must give the same
    results.
    """
    for bytes_free in (1e9, 1e12):
        monkeypatch.setattr("compute.trainer.measure_free_memory", lambda _, free=bytes_free: free)
        default = Trainer("cpu", 1e9, False)
        assert default.training_memory_budget == bytes_free / 2
        assert default.finishing_memory_budget == 2 * 2**30
        limited = Trainer("cpu", 1e9, False, memory=4.0)
        assert limited.training_memory_budget == limited.finishing_memory_budget == 4 * 2**30


@pytest.mark.parametrize("memory", [0.0, -1.0, float("nan")])
def test_a_memory_budget_that_is_not_positive_is_refused(memory):
    with pytest.raises(UserError, match=rf"^trainer\.memory: {memory} GiB is too little"):
        Trainer("cpu", 1e9, False, memory=memory)


SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "train",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NNODES": "1",
}
RANKS = {"RANK": "2", "LOCAL_RANK": "2", "WORLD_SIZE": "4"}
ADDRESS = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
CLUSTERS = {
    "slurm": SLURM | {"SLURM_PROCID": "0"},
    "slurm, third task": SLURM | {"SLURM_PROCID": "2"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "7", "GROUP_RANK": "0"} | RANKS | ADDRESS,
    "kubeflow": {"KUBERNETES_PORT": "tcp://10.0.0.1:443"} | RANKS | ADDRESS,
    "lsf": {
        "LSB_JOBID": "7",
        "LSB_DJOB_RANKFILE": "hosts",
        "JSM_NAMESPACE_LOCAL_RANK": "2",
        "JSM_NAMESPACE_RANK": "2",
        "JSM_NAMESPACE_SIZE": "4",
    },
}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_variables_of_a_cluster_do_not_change_a_fit(cluster, tmp_path, monkeypatch):
    expected = fit(Slope(), tmp_path / "alone")
    for name, value in CLUSTERS[cluster].items():
        monkeypatch.setenv(name, value)
    checkpoint = tmp_path / "checkpoint"
    stop(checkpoint, after=9)
    assert checkpoint.exists()
    resumed = fit(Slope(), checkpoint)
    assert resumed.seen == expected.seen[8:]
    assert torch.equal(resumed.slope, expected.slope)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu9", "there is no tpu9"),
        ("gpu", "this machine has no GPU"),
        ("cuda", "this machine has"),
    ],
)
def test_an_accelerator_that_this_machine_lacks_is_refused(name, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=rf"^trainer\.accelerator: {message}.* Use .*, or cpu\.$"):
        Trainer(name, 1e9, False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert name == "tpu9" or Trainer(name, 1e9, False).device == "cuda"
