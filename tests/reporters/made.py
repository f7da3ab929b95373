"""Every reporter that has a YAML, small, in float64, and with random parameters.   Helpers of the
tests.

N: episodes, L: levels, D: width.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from configs.build import bind
from reporters.layers import name_layers
from reporters.reporter import ClosedForm, Lesson, Reporter, SelfFitted

CONFIGS = Path(__file__).parents[2] / "configs"
REPORTERS = sorted(path.stem for path in (CONFIGS / "reporter").glob("*.yaml"))
LEVELS, WIDTH = 3, 8
FOLDER = TemporaryDirectory()
"""Where the files are that a reporter's YAML needs."""


@lru_cache
def load_choice(group: str, name: str) -> dict[str, Any]:
    """Returns the plain values of one choice of a group, as a run would get them."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_container(compose("train", [f"{group}={name}"])[group], resolve=True)


def get_maker(name: str, most: int = 8) -> Callable[..., Reporter]:
    """Returns a function that builds a reporter from `n_levels` and `width`. A reporter that needs
    a file is given one with a random probe of that width.

    Args:
        most: the largest value of every whole number in its YAML.
    """
    values = load_choice("reporter", name)
    small = {k: min(v, most) if isinstance(v, int) else v for k, v in values.items()}
    if "file" not in small:
        return bind(small, "reporter", "n_levels", "width")

    def make(n_levels: int, width: int) -> Reporter:
        file = write_probe(n_levels * width)
        own = bind(small | {"file": str(file)}, "reporter", "n_levels", "width")
        return own(n_levels=n_levels, width=width)

    return make


def write_probe(width: int) -> Path:
    """Writes a random probe into a file, and returns its path."""
    rng = np.random.default_rng(width)
    file = Path(FOLDER.name) / f"{width}.npz"
    if not file.exists():
        np.savez(file, coef_=rng.normal(size=(1, width)), intercept_=rng.normal(size=1))
    return file


def list_self_fitted(closed_form: bool = True) -> list[str]:
    """Returns the reporters that fit themselves.

    Args:
        closed_form: whether those in closed form are among them.
    """
    names = []
    for name in REPORTERS:
        reporter = get_maker(name)(n_levels=1, width=WIDTH)
        if isinstance(reporter, SelfFitted) and (
            closed_form or not isinstance(reporter, ClosedForm)
        ):
            names.append(name)
    return names


def build_reporter(name: str, seed: int = 0, width: int = WIDTH) -> Reporter:
    """Returns a reporter in float64 with random values for all parameters, so that no initial zero
    hides an error.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make = get_maker(name)
        reporter, n_levels = make(n_levels=1, width=width), 1
        if reporter.reads == "all_levels":
            reporter, n_levels = make(n_levels=LEVELS, width=width), LEVELS
        reporter = name_layers(reporter, width, n_levels).double()
        for parameter in reporter.parameters():
            parameter.data.normal_(std=0.5)
    return reporter


def draw_activations(reporter: Reporter, n: int = 20, seed: int = 0, width: int = WIDTH) -> Tensor:
    """Returns z_NLD with as many levels as the reporter is given."""
    rng = torch.Generator().manual_seed(seed)
    levels = LEVELS if reporter.reads == "all_levels" else 1
    return torch.randn(n, levels, width, generator=rng, dtype=torch.float64)


def draw_lesson(reporter: Reporter, n: int = 20, seed: int = 0) -> Lesson:
    """Returns what a reporter that fits itself learns from; the negations are other episodes."""
    z_NLD = draw_activations(reporter, n, seed)
    human_N = torch.arange(n, dtype=torch.float64) % 2
    mean_LD, std_LD = draw_activations(reporter, 2, seed + 1).exp()
    negated_NLD = draw_activations(reporter, n, seed + 2)
    return Lesson(z_NLD, human_N, mean_LD, std_LD, negated_NLD, std_LD)


def draw_stacked_weights(
    reporter: Reporter, grid: tuple[int, int, int], seed: int = 0
) -> dict[str, Tensor]:
    """Returns random weights of a stack of heads with leading axes of these lengths."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(*grid, *value.shape, generator=rng, dtype=torch.float64)
        for name, value in reporter.named_parameters()
    }


def count_flops(module: nn.Module, z_NLD: Tensor) -> int:
    """Returns the FLOPs of the matrix products in one forward pass as torch counts them; a
    multiply-add is 2.

    torch counts 0 for fused attention on a CPU, so attention runs as plain products.
    """
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        module(z_NLD)
    return counter.get_total_flops()
