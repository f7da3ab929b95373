"""Fits: batches in an order keyed by seed and epoch alone, and a fit that was stopped ends as if it
had not been.
"""

import signal
import threading
from io import BytesIO
from zipfile import ZipFile

import pytest
import torch

from compute.batches import Batches, Rows, loader
from compute.lightning import pl
from compute.trainer import Trainer, noting_ctrl_c

SAVING = Trainer(accelerator="cpu", save_every=0.0, bar=False)
EPOCHS, ROWS, BATCH = 4, 20, 5


def order(n: int = 12, size: int = 4, seeds: list[int] | int = 0, epoch: int = 0) -> torch.Tensor:
    """Returns an epoch's indices, one batch after the other along the last dimension."""
    batches = Batches(n, size, seeds)
    batches.set_epoch(epoch)
    return torch.cat(list(batches), dim=-1)


class Slope(pl.LightningModule):
    """Fits one number to rows, remembers which rows it saw, and can be stopped after so many
    batches.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.stop_after, self.seen = stop_after, []

    def training_step(self, batch: tuple[torch.Tensor]) -> torch.Tensor:
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(batch[0].tolist())
        return ((self.slope - batch[0]) ** 2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def fit(module: Slope, checkpoint, trainer: Trainer = SAVING) -> Slope:
    trainer(
        module,
        loader(Rows(torch.arange(ROWS).float()), ROWS, BATCH, 3),
        EPOCHS,
        checkpoint,
        "a slope",
    )
    return module


def stopped(checkpoint, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(Slope(stop_after=after), checkpoint)


def test_an_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(0)
    first = order(seeds=5, epoch=3)
    torch.manual_seed(1)
    assert torch.equal(order(seeds=5, epoch=3, size=3), first) and torch.equal(
        order(seeds=5, epoch=3), first
    )
    assert not torch.equal(order(seeds=6, epoch=3), first)
    assert not torch.equal(order(seeds=5, epoch=4), first)


def test_drawing_batches_leaves_global_chance_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    order()
    assert torch.rand(1) == expected


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_each_epoch_goes_through_all_rows_once(epoch):
    assert order(epoch=epoch).sort().values.tolist() == list(range(12))


def test_each_of_several_seeds_has_the_order_it_has_alone():
    together = order(seeds=[4, 0, 9], epoch=2)
    assert together.shape == (3, 12)
    assert torch.equal(together, torch.stack([order(seeds=seed, epoch=2) for seed in (4, 0, 9)]))
    assert len({tuple(one.tolist()) for one in together}) == 3


def test_odd_rows_at_the_end_are_left_out_and_few_rows_make_one_batch():
    assert [len(batch) for batch in Batches(11, 4, 0)] == [4, 4] and len(Batches(11, 4, 0)) == 2
    assert set(
        torch.stack([order(n=11, epoch=epoch) for epoch in range(20)]).flatten().tolist()
    ) == set(range(11))
    assert [len(batch) for batch in Batches(3, 4, 0)] == [3]


def test_rows_of_several_seeds_are_taken_at_once():
    index_KB = torch.tensor([[2, 0], [1, 1]])
    row_KB, doubled_KB = Rows(torch.arange(3), 2 * torch.arange(3))[index_KB]
    assert torch.equal(row_KB, index_KB) and torch.equal(doubled_KB, 2 * index_KB)


def test_a_fit_sees_the_batches_of_each_epoch_in_turn(tmp_path):
    seen = fit(Slope(), tmp_path / "fit.ckpt").seen
    assert seen == [
        batch.tolist()
        for epoch in range(EPOCHS)
        for batch in order(ROWS, BATCH, 3, epoch).float().split(BATCH)
    ]


@pytest.mark.parametrize("after", [5, 8, 14])
def test_a_stopped_fit_goes_on_at_its_last_epoch_and_ends_the_same(tmp_path, after):
    whole = fit(Slope(), tmp_path / "whole.ckpt")
    stopped(tmp_path / "fit.ckpt", after)
    rest = fit(Slope(), tmp_path / "fit.ckpt")
    assert rest.seen == whole.seen[after // 4 * 4 :]
    assert torch.equal(rest.slope, whole.slope)


def test_a_fit_stopped_before_anything_was_saved_starts_anew(tmp_path):
    stopped(tmp_path / "fit.ckpt", after=3)
    assert not (tmp_path / "fit.ckpt").exists()
    assert len(fit(Slope(), tmp_path / "fit.ckpt").seen) == EPOCHS * ROWS // BATCH


def test_a_checkpoint_is_written_when_due_and_gone_once_done(tmp_path, trainer):
    with pytest.raises(KeyboardInterrupt):
        fit(Slope(stop_after=9), tmp_path / "fit.ckpt", trainer)
    assert not list(tmp_path.iterdir())
    stopped(tmp_path / "fit.ckpt", after=9)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.ckpt"]
    fit(Slope(), tmp_path / "fit.ckpt")
    assert not list(tmp_path.iterdir())


def half(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def with_a_flipped_bit(whole: bytes) -> bytes:
    """Flips one bit of a stored number, so that the file can still be read."""
    with ZipFile(BytesIO(whole)) as file:
        number = file.read(next(name for name in file.namelist() if "/data/" in name))
    return whole.replace(number, bytes([number[0] ^ 1]) + number[1:], 1)


@pytest.mark.parametrize(
    "damage", [half, with_a_flipped_bit, lambda whole: b"", lambda whole: b"no checkpoint"]
)
def test_a_damaged_checkpoint_is_noticed_and_training_starts_anew(tmp_path, capsys, damage):
    whole = fit(Slope(), tmp_path / "whole.ckpt")
    stopped(tmp_path / "fit.ckpt", after=9)
    (tmp_path / "fit.ckpt").write_bytes(damage((tmp_path / "fit.ckpt").read_bytes()))
    capsys.readouterr()
    anew = fit(Slope(), tmp_path / "fit.ckpt")
    assert anew.seen == whole.seen and torch.equal(anew.slope, whole.slope)
    assert "fit.ckpt is damaged" in capsys.readouterr().err.replace("\n", "")


def test_ctrl_c_is_noted_at_first_and_stops_at_once_when_pressed_again():
    pressed, before = threading.Event(), signal.getsignal(signal.SIGINT)
    with noting_ctrl_c(pressed):
        signal.raise_signal(signal.SIGINT)
        assert pressed.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_pruning_and_the_bill_have_room_that_does_not_hang_on_what_is_free(monkeypatch):
    """Last digits hang on how many heads are worked on at once, and a run must give the same twice."""
    for bytes_free in (1e9, 1e12):
        monkeypatch.setattr(
            "compute.trainer.free", lambda accelerator, bytes_free=bytes_free: bytes_free
        )
        assert Trainer("cpu", 1e9, False).room == bytes_free / 2
        assert Trainer("cpu", 1e9, False).room_afterwards == 2 * 2**30
        assert (
            Trainer("cpu", 1e9, False, memory=4.0).room
            == Trainer("cpu", 1e9, False, memory=4.0).room_afterwards
            == 4 * 2**30
        )
