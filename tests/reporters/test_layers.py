"""Heads made of torch's own layers: a chain of linear layers is a head like any other, other layers
are refused in one line before anything is trained.
"""

from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from console.errors import UserError
from console.ranges import Count
from reporters.layers import name_layers
from reporters.reporter import Reading, Reporter, build_single_exit_reading, count_units
from storage.run_folder import HEADS
from tests.reporters.made import count_flops
from tests.running import TINY, Done, train
from verdict.judge_again import judge_again

WIDTH = 6


class Chain(Reporter):
    """Two linear layers about an activation."""

    reads: ClassVar = "one_level"

    def __init__(self, n_levels: int, width: int, hidden: Count) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_levels * width, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, z_NLD: Tensor) -> Reading:
        return build_single_exit_reading(self.net(z_NLD.flatten(1)).squeeze(1), z_NLD.shape[1])


class Encoder(Reporter):
    """A transformer over levels, whose layers cannot be named."""

    reads: ClassVar = "all_levels"

    def __init__(self, n_levels: int, width: int, hidden: Count) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 2, hidden, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.says = nn.Linear(width, 1)

    def forward(self, z_NLD: Tensor) -> Reading:
        log_odds_N1 = self.says(self.encoder(z_NLD).mean(dim=1))
        return build_single_exit_reading(log_odds_N1.squeeze(1), z_NLD.shape[1])


class Mixed(Chain):
    """A chain and a linear layer of its own."""

    def __init__(self, n_levels: int, width: int, hidden: Count) -> None:
        super().__init__(n_levels, width, hidden)
        self.skip = nn.Linear(n_levels * width, 1, bias=False)

    def forward(self, z_NLD: Tensor) -> Reading:
        z_ND = z_NLD.flatten(1)
        log_odds_N1 = self.net(z_ND) + self.skip(z_ND)
        return build_single_exit_reading(log_odds_N1.squeeze(1), z_NLD.shape[1])


class Unstated(Chain):
    """A chain, and a weight whose FLOPs it does not state."""

    def __init__(self, n_levels: int, width: int, hidden: Count) -> None:
        super().__init__(n_levels, width, hidden)
        self.scale_D = nn.Parameter(torch.ones(width))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Chain, ["net.0.weight_HD", "net.0.bias_H", "net.2.weight_1H", "net.2.bias_1"]),
        (
            Mixed,
            [
                *("net.0.weight_HD", "net.0.bias_H", "net.2.weight_1H", "net.2.bias_1"),
                "skip.weight_1D",
            ],
        ),
    ],
)
def test_named_layers_read_as_before_and_torch_counts_their_flops(kind, names):
    reporter = kind(1, WIDTH, 4)
    z_NLD = torch.randn(9, 1, WIDTH)
    before = reporter(z_NLD).log_odds_NT
    named = name_layers(reporter, WIDTH)
    assert [name for name, _ in named.named_parameters()] == names
    torch.testing.assert_close(named(z_NLD).log_odds_NT, before)
    assert count_units(named, 1) == {"D": WIDTH, "H": 4, "L": 1}
    assert named.flops(count_units(named, 1)) == [count_flops(named, z_NLD[:1])]
    assert [name for name, _ in name_layers(named, WIDTH).named_parameters()] == names


def test_layers_of_other_widths_have_letters_of_their_own():
    reporter = Chain(1, WIDTH, 4)
    reporter.net = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 20), nn.Linear(20, 12))
    names = [name for name, _ in name_layers(reporter, WIDTH).named_parameters()]
    assert names[::2] == ["net.0.weight_IH", "net.2.weight_JI", "net.3.weight_KJ"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Encoder,
            r"^reporter: the name of Encoder's parameter encoder\.layers\.0\.self_attn",
        ),
        (Unstated, r"^reporter: Unstated does not state the FLOPs of its parameter scale_D\. Give"),
    ],
)
def test_what_cannot_be_named_or_counted_is_refused(kind, message):
    with pytest.raises(UserError, match=message):
        name_layers(kind(1, WIDTH, 4), WIDTH)


def run(kind: type[Reporter], folder: Path, *words: str) -> Done:
    """Makes a small run of a reporter of the user's own."""
    (folder / "reporter").mkdir()
    text = f"# A test.\n_target_: {__name__}.{kind.__name__}\nhidden: 4\n"
    (folder / "reporter" / "mine.yaml").write_text(text)
    own = ["--config-dir", str(folder), "reporter=mine"]
    return train(*own, *TINY, "levels=[2]", *words, folder=folder / "run")


@pytest.mark.parametrize(
    "prior", ["simplicity_and_speed", pytest.param("circuit_size", marks=pytest.mark.slow)]
)
def test_a_chain_is_trained_billed_and_judged_under_a_prior(prior, tmp_path):
    done = run(Chain, tmp_path, f"prior={prior}")
    assert done.returncode == 0, done.stderr
    heads = pd.read_parquet(tmp_path / "run" / HEADS)
    assert heads[["edges", "flops", "two_part_bits", "variational_bits"]].notna().all(axis=None)
    assert len(judge_again(tmp_path / "run").verdicts) == len(heads)


def test_other_layers_are_refused_before_anything_is_written(tmp_path):
    done = run(Encoder, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: reporter: the name of Encoder's parameter encoder.")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
