"""Estimators of this project beside those of other packages, on the same activations, in one run;
Markdown tables.

    python -m benchmarks.rivals                     # everything
    python -m benchmarks.rivals heads sparse        # or some of: heads, sparse, swaps, texts

The other packages are no dependencies: rows of those that are missing are left out, and a line says
how to get them (benchmarks/README.md).
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from benchmarks import describe_machine
from benchmarks.rival_heads import compare, list_pairs
from benchmarks.rival_packages import ELK, LENS, SMOLLM2, TEXTS, describe_missing
from benchmarks.rival_sparse import compare_sparse
from benchmarks.rival_texts import compare_texts
from compute.trainer import Trainer
from configs.build import build, read_default
from configs.plan import Plan, Sizes
from core_model.predictor import Predictor
from core_model.reader import ActivationReader
from reporters.reporter import Lesson
from reporters.standardiser import compute_standardiser
from storage.cache import find_cache_folder
from training.examples import Examples
from training.material import draw_material, read_examples

LEVELS = (18, 24)
SIZES = Sizes(train=600, validation=20, test=400, disputed=2, twins=2, probe=20)
"""Of easy episodes alone; the others are not used."""


def main(parts: Sequence[str] = ()) -> None:
    """Prints the tables, line by line as they are measured."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    warnings.filterwarnings("ignore")
    print(describe_machine())
    for line in describe_missing():
        print(line)
    for name in parts or TABLES:
        for line in TABLES[name]():
            print(line, flush=True)


@cache
def load_predictor() -> Predictor:
    """Returns SmolLM2-135M."""
    trainer = Trainer(accelerator="cpu", save_every=1e9, bar=False)
    world = build(read_default("world/cities.yaml"), "world")
    recipe = build(read_default("core_model/smollm2.yaml"), "core_model")
    return recipe.predictor(world, find_cache_folder(), trainer)


@cache
def read_cities() -> tuple[Lesson, Examples]:
    """Returns statements on easy cities, with their negations, and held-out ones; standardised, at
    all levels.
    """
    world = build(read_default("world/cities.yaml"), "world")
    reader = ActivationReader(load_predictor(), world.reads, LEVELS, find_cache_folder())
    plan = Plan(0, 1, 1, False, [1.0], list(LEVELS), SIZES)
    material = draw_material(world, reader, plan)
    train, test = material.examples, read_examples(reader, material.test)
    mean_LD, std_LD = compute_standardiser(train.z_NLD)
    negated_NLD = reader.read(world.negate(material.train))
    lesson = Lesson(
        (train.z_NLD - mean_LD) / std_LD,
        train.human_N,
        mean_LD,
        std_LD,
        (negated_NLD - mean_LD) / std_LD,
    )
    return lesson, test._replace(z_NLD=(test.z_NLD - mean_LD) / std_LD)


def choose_level(i: int) -> tuple[Lesson, Examples]:
    """Returns the lesson and the held-out statements of the i-th level."""
    lesson, held_out = read_cities()
    assert lesson.negated_NLD is not None
    of_level = Lesson(
        lesson.z_NLD[:, [i]],
        lesson.human_N,
        lesson.mean_LD[[i]],
        lesson.std_LD[[i]],
        lesson.negated_NLD[:, [i]],
    )
    return of_level, held_out._replace(z_NLD=held_out.z_NLD[:, [i]])


def tabulate_heads() -> Iterator[str]:
    """Yields the table of heads."""
    if not SMOLLM2.is_installed:
        return
    import_first(ELK.module + ".training", ELK.is_installed)
    yield "\n| level | ours | theirs | AUROC | theirs | scores' correlation | time, of ours | |"
    yield "|---|---|---|---|---|---|---|---|"
    for pair in filter(lambda pair: pair.is_available, list_pairs()):
        for i, level in enumerate(LEVELS):
            found = compare(pair, *choose_level(i))
            result = pair.differs or ("equal" if found.is_equal else "not equal")
            yield (
                f"| {level} | {pair.ours} | {pair.theirs} | {found.ours:.4f} | {found.theirs:.4f} |"
                f" {found.correlation:.4f} | {found.times:.3g} | {result} |"
            )


def tabulate_sparse() -> Iterator[str]:
    """Yields the table of sparse probes."""
    if not (SMOLLM2.is_installed and LENS.is_installed):
        return
    import_first("transformer_lens.tools.analysis.sparse_probing", True)
    yield (
        "\n| level | edges | AUROC | theirs | our refit of theirs | nats an episode | theirs |"
        " edges in common | time, of ours |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for i, level in enumerate(LEVELS):
        lesson, held_out = choose_level(i)
        for row in compare_sparse(Examples(lesson.z_NLD, lesson.human_N), held_out):
            yield (
                f"| {level} | {row.edges} | {row.ours:.4f} | {row.theirs:.4f} | {row.refit:.4f} |"
                f" {row.ours_errors:.3f} | {row.theirs_errors:.3f} | {row.shared} |"
                f" {row.times:.2g} |"
            )


def tabulate_swaps() -> Iterator[str]:
    """Yields the table of swaps."""
    if not LENS.is_installed:
        return
    from benchmarks.rival_swaps import compare_swaps

    yield (
        "\n| predictor | level | part of | labels | rank | moves | theirs | leaks | theirs |"
        " off data | theirs | angle | theirs | time, of ours |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for row in compare_swaps():
        angles = [f"{angle:.1f}°" for angle in row.angle] if row.angle else ["", ""]
        times = "" if math.isnan(row.times) else f"{row.times:.2g}"
        outcomes = " | ".join(
            f"{own:.3f} | {other:.3f}" for own, other in zip(row.ours, row.theirs, strict=True)
        )
        part = "X" if row.variable == "concept" else "H"
        yield (
            f"| {row.predictor} | {row.level} | {part} | {row.labels} | {row.rank} | {outcomes} |"
            f" {angles[0]} | {angles[1]} | {times} |"
        )


def tabulate_texts() -> Iterator[str]:
    """Yields the table of texts of others."""
    if not (SMOLLM2.is_installed and TEXTS.is_installed):
        return
    yield "\n| texts | logistic | scikit-learn | with C chosen as sae-probes does | that C |"
    yield "|---|---|---|---|---|"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in compare_texts(load_predictor(), find_cache_folder(), Path(folder)):
            rows.append(row)
            yield (
                f"| {row.name} | {row.ours:.4f} | {row.scikit:.4f} | {row.chosen:.4f} |"
                f" {row.chosen_C:.2g} |"
            )
    ours, scikit, chosen = (
        sum(values) / len(rows) for values in zip(*(row[1:4] for row in rows), strict=True)
    )
    yield f"| mean of {len(rows)} | {ours:.4f} | {scikit:.4f} | {chosen:.4f} | |"


def import_first(module: str, is_installed: bool) -> None:
    """Imports a module, so that no fit is charged with that."""
    if is_installed:
        __import__(module)


TABLES = {
    "heads": tabulate_heads,
    "sparse": tabulate_sparse,
    "swaps": tabulate_swaps,
    "texts": tabulate_texts,
}


if __name__ == "__main__":
    main(sys.argv[1:])
