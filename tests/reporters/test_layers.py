"""Heads made of torch's own layers: they read as before, their axes have names, torch counts their
FLOPs, and stacked heads are those of each alone; what cannot be handled is refused in one line that
names the layer, before anything is trained.
"""

from functools import partial
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from console.errors import UserError
from console.ranges import Count
from reporters.layers import name_layers
from reporters.reporter import (
    Reading,
    Reporter,
    build_single_exit_reading,
    count_units,
    is_weight,
    parse_axes,
)
from reporters.stack import read_stack
from storage.run_folder import HEADS
from tests.reporters.made import count_flops, draw_stacked_weights
from tests.running import TINY, Done, train
from training.task import check_buffers
from verdict.judge_again import judge_again

WIDTH, LEVELS = 6, 3


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


class OverLevels(Reporter):
    """A layer over the levels, as tokens, and the mean of what it returns."""

    reads: ClassVar = "all_levels"

    def __init__(self, layer: nn.Module, outputs: int = WIDTH) -> None:
        super().__init__()
        self.layer = layer
        self.says = nn.Linear(outputs, 1)

    def forward(self, z_NLD: Tensor) -> Reading:
        output = self.layer(z_NLD)
        if isinstance(output, tuple):
            output = output[0]
        log_odds_N1 = self.says(output.mean(dim=1))
        return build_single_exit_reading(log_odds_N1.squeeze(1), z_NLD.shape[1])


class Attending(OverLevels):
    """Attention of the levels to each other."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__(nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first))

    def forward(self, z_NLD: Tensor) -> Reading:
        tokens = z_NLD if self.layer.batch_first else z_NLD.transpose(0, 1)
        mixed, _ = self.layer(tokens, tokens, tokens)
        mixed_NLD = mixed if self.layer.batch_first else mixed.transpose(0, 1)
        log_odds_N1 = self.says(mixed_NLD.mean(dim=1))
        return build_single_exit_reading(log_odds_N1.squeeze(1), z_NLD.shape[1])


class Pooling(OverLevels):
    """A query of its own that attends to the levels."""

    def __init__(self) -> None:
        super().__init__(nn.MultiheadAttention(WIDTH, 2, batch_first=True))
        self.query_bias_1D = nn.Parameter(torch.ones(1, WIDTH))

    def forward(self, z_NLD: Tensor) -> Reading:
        query_N1D = self.query_bias_1D.expand(len(z_NLD), 1, -1)
        pooled_N1D, _ = self.layer(query_N1D, key=z_NLD, value=z_NLD, need_weights=False)
        return build_single_exit_reading(self.says(pooled_N1D)[:, 0, 0], z_NLD.shape[1])


class Placed(OverLevels):
    """Linear layers on every level, with an embedding of its place from a buffer of indices."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(WIDTH, 12), nn.RMSNorm(12), nn.Linear(12, 16)), 16)
        self.place = nn.Embedding(LEVELS, WIDTH)
        self.register_buffer("index_L", torch.arange(LEVELS))

    def forward(self, z_NLD: Tensor) -> Reading:
        return super().forward(z_NLD + self.place(self.index_L))


def make_block(norm_first: bool = False, dropout: float = 0.0) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        WIDTH, 2, 10, dropout=dropout, batch_first=True, norm_first=norm_first
    )


def make_encoder() -> nn.TransformerEncoder:
    norm = nn.LayerNorm(WIDTH)
    return nn.TransformerEncoder(make_block(), 2, norm=norm, enable_nested_tensor=False)


BUILT = {
    "linear on levels": lambda: OverLevels(nn.Linear(WIDTH, 20), 20),
    "norm": lambda: OverLevels(nn.Sequential(nn.Linear(WIDTH, 12), nn.LayerNorm(12)), 12),
    "dropout of 0": lambda: OverLevels(nn.Sequential(nn.Linear(WIDTH, 12), nn.Dropout(0.0)), 12),
    "embedding and buffer": Placed,
    "attention": Attending,
    "attention, batch second": lambda: Attending(batch_first=False),
    "attention with a query": Pooling,
    "block": lambda: OverLevels(make_block()),
    "block, norm first": lambda: OverLevels(make_block(norm_first=True)),
    "encoder": lambda: OverLevels(make_encoder()),
    "convolution": lambda: OverLevels(nn.Conv1d(LEVELS, 5, 3, padding=1)),
    "convolution in groups": lambda: OverLevels(nn.Conv1d(LEVELS, 12, 3, padding=1, groups=3)),
}
"""Heads of layers of torch, for LEVELS levels."""


@pytest.mark.parametrize("name", BUILT)
def test_layers_of_torch_read_as_before_are_counted_and_can_be_stacked(name):
    reporter, z_NLD = BUILT[name]().double(), torch.randn(7, LEVELS, WIDTH).double()
    before = reporter(z_NLD).log_odds_NT
    named = name_layers(reporter, WIDTH, LEVELS).requires_grad_(False)
    torch.testing.assert_close(named(z_NLD).log_odds_NT, before, rtol=1e-12, atol=1e-12)
    sizes: dict[str, int] = {}
    for parameter, value in named.named_parameters():
        assert len(parse_axes(parameter)) == value.dim()
        for letter, size in zip(parse_axes(parameter), value.shape, strict=True):
            assert sizes.setdefault(letter, size) == size
    units = count_units(named, LEVELS)
    assert named.flops(units) == [count_flops(named, z_NLD[:1])] and named.flops(units)[0] > 0
    halved = {letter: torch.tensor([1.0, 0.5]) * size for letter, size in units.items()}
    whole, half = named.flops(halved)[0]
    assert whole == named.flops(units)[0] and half < 0.75 * whole
    weights = draw_stacked_weights(named, (1, 2, 1))
    stacked_SN = read_stack(named, weights, z_NLD[None]).log_odds_NT[0, :, 0, :, 0]
    for s in range(2):
        own = {parameter: value[0, s, 0] for parameter, value in weights.items()}
        alone_N = functional_call(named, own, (z_NLD,)).log_odds_N
        torch.testing.assert_close(stacked_SN[s], alone_N, rtol=1e-10, atol=1e-10)
    assert dict(name_layers(named, WIDTH, LEVELS).named_parameters()).keys() == weights.keys()


def test_a_block_adds_to_the_units_that_it_reads_and_gains_of_norms_are_weights():
    named = name_layers(OverLevels(make_encoder()), WIDTH, LEVELS)
    names = [name.removeprefix("layer.") for name, _ in named.named_parameters()]
    block = [name.removeprefix("layers.1.") for name in names if name.startswith("layers.1.")]
    assert block == [
        *("self_attn.in_proj_weight_KD", "self_attn.bias_K"),
        *("self_attn.out_proj.weight_DM", "self_attn.out_proj.bias_D"),
        *("linear1.weight_ND", "linear1.bias_N", "linear2.weight_DN", "linear2.bias_D"),
        *("norm1.gain_D", "norm1.bias_D", "norm2.gain_D", "norm2.bias_D"),
    ]
    of_norms = [name for name in names if "norm" in name]
    assert [name for name in of_norms if is_weight(name)] == [
        name for name in of_norms if name.endswith("gain_D")
    ]


class Chance(OverLevels):
    """Adds noise of its own."""

    def forward(self, z_NLD: Tensor) -> Reading:
        return super().forward(z_NLD + torch.rand_like(z_NLD))


class Uncounted(OverLevels):
    """Multiplies more than its layers do."""

    def forward(self, z_NLD: Tensor) -> Reading:
        return super().forward(z_NLD @ z_NLD.mT @ z_NLD)


class Branching(nn.Module):
    """Has a Python branch on data."""

    def forward(self, z_NLD: Tensor) -> Tensor:
        return z_NLD if z_NLD.sum() > 0 else -z_NLD


class Recurrent(Reporter):
    """Has a layer that no head can have."""

    reads: ClassVar = "all_levels"

    def __init__(self, n_levels: int, width: int, hidden: Count) -> None:
        super().__init__()
        self.memory = nn.GRU(width, hidden, batch_first=True)
        self.says = nn.Linear(hidden, 1)

    def forward(self, z_NLD: Tensor) -> Reading:
        log_odds_N1 = self.says(self.memory(z_NLD)[0][:, -1])
        return build_single_exit_reading(log_odds_N1.squeeze(1), z_NLD.shape[1])


class Noisy(Reporter):
    """Has a buffer of this value for each input."""

    reads: ClassVar = "one_level"

    def __init__(self, n_levels: int, width: int, is_random: bool = True) -> None:
        super().__init__()
        self.says = nn.Linear(n_levels * width, 1)
        offset_D = torch.randn(width) if is_random else torch.ones(width)
        self.register_buffer("offset_D", offset_D)

    def forward(self, z_NLD: Tensor) -> Reading:
        log_odds_N1 = self.says(z_NLD.flatten(1) + self.offset_D)
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


class Widened(Chain):
    """A chain that is given one input more than there are, and of which one output is read."""

    def forward(self, z_NLD: Tensor) -> Reading:
        output_NO = self.net(nn.functional.pad(z_NLD.flatten(1), (0, 1)))
        return build_single_exit_reading(output_NO[:, 0], z_NLD.shape[1])


def test_layers_of_other_widths_have_letters_of_their_own():
    reporter = Widened(1, WIDTH, 4)
    reporter.net = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 20), nn.Linear(20, 12))
    names = [name for name, _ in name_layers(reporter, WIDTH).named_parameters()]
    assert names[::2] == ["net.0.weight_IH", "net.2.weight_JI", "net.3.weight_KJ"]


def make_linear(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), *layers)


class Bare(Reporter):
    """Has no layers, and does not state its FLOPs."""

    reads: ClassVar = "one_level"

    def __init__(self) -> None:
        super().__init__()
        self.weight_1D = nn.Parameter(torch.ones(1, WIDTH))

    def forward(self, z_NLD: Tensor) -> Reading:
        return build_single_exit_reading((self.weight_1D @ z_NLD.flatten(1).T)[0], 1)


@pytest.mark.parametrize(
    ("reporter", "message"),
    [
        (Bare(), r"Bare does not state the FLOPs of its parameter weight_1D\."),
        (
            Unstated(1, WIDTH, 4),
            r"Unstated does not state the FLOPs of its parameter scale_D\. Give",
        ),
        (
            OverLevels(make_linear(nn.Dropout(0.1))),
            r"OverLevels's layer layer\.1 is an nn\.Dropout: heads .* Set its dropout to 0\.",
        ),
        (
            OverLevels(make_block(dropout=0.1)),
            r"OverLevels's layer layer\.self_attn is an nn\.MultiheadAttention: .* to 0\.",
        ),
        (
            OverLevels(make_linear(nn.BatchNorm1d(LEVELS))),
            r"OverLevels's layer layer\.1 is an nn\.BatchNorm1d: its answers .* nn\.LayerNorm\.",
        ),
        (Recurrent(LEVELS, WIDTH, 4), r"Recurrent's layer memory is an nn\.GRU: recurrent layers"),
        (
            OverLevels(nn.MultiheadAttention(WIDTH, 2, kdim=4)),
            r"OverLevels's layer layer is an nn\.MultiheadAttention with kdim",
        ),
        (
            OverLevels(nn.Sequential(*[nn.Linear(WIDTH + i, WIDTH + i) for i in range(1, 40)])),
            r"OverLevels has more kinds of units than there are letters",
        ),
        (OverLevels(nn.PReLU(WIDTH)), r"the name of OverLevels's parameter layer\.weight does"),
        (Chance(make_linear()), r"Chance cannot be run as a stack of heads, at its layer forward"),
        (
            OverLevels(make_linear(Branching())),
            r"OverLevels cannot be run as a stack of heads, at its layer layer\.1: .* data-depend",
        ),
        (
            Uncounted(make_linear()),
            r"Uncounted has 444 FLOPs an episode, and its layers account for",
        ),
    ],
)
def test_what_cannot_be_named_stacked_or_counted_is_refused(reporter, message):
    with pytest.raises(UserError, match=f"^reporter: {message}") as error:
        name_layers(reporter, WIDTH, 1 if reporter.reads == "one_level" else LEVELS)
    assert "\n" not in str(error.value)


def test_a_buffer_may_not_be_drawn_at_random():
    check_buffers(partial(Noisy, is_random=False), LEVELS, WIDTH)
    check_buffers(partial(Chain, hidden=4), LEVELS, WIDTH)
    with pytest.raises(UserError, match=r"^reporter: Noisy's buffer offset_D is drawn at random"):
        check_buffers(Noisy, LEVELS, WIDTH)


def test_a_reporter_stays_in_evaluation_mode():
    named = name_layers(OverLevels(make_linear(nn.Dropout(0.0))), WIDTH, LEVELS)
    named.train()
    assert not any(layer.training for layer in named.modules())


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
    done = run(Recurrent, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: reporter: Recurrent's layer memory is an nn.GRU: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
