"""Every reporter that has a YAML, small, in float64, and with parameters drawn at random.   Not a
test: what tests are made of.

N: episodes, L: levels, D: width.
"""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

from configs.build import maker
from reporters.reporter import Reporter

CONFIGS = Path(__file__).parents[2] / "configs"
REPORTERS = sorted(path.stem for path in (CONFIGS / "reporter").glob("*.yaml"))
LEVELS, WIDTH = 3, 8


@lru_cache
def choice(group: str, name: str) -> dict[str, Any]:
    """Returns the plain values of one choice of a group, as a run would get them."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return OmegaConf.to_container(compose("train", [f"{group}={name}"])[group], resolve=True)


def recipe(name: str, most: int = 8) -> partial[Reporter]:
    """Returns what makes a reporter from `n_levels` and `width`; of whatever its YAML counts there
    are so many at most.
    """
    small = {
        key: min(value, most) if isinstance(value, int) else value
        for key, value in choice("reporter", name).items()
    }
    return maker(small, "reporter", "n_levels", "width")


def made(name: str, seed: int = 0, width: int = WIDTH) -> Reporter:
    """Returns a reporter in float64 whose every parameter is drawn anew, so that no zero of its
    start hides anything.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        make = recipe(name)
        reporter = make(n_levels=1, width=width)
        reporter = (
            make(n_levels=LEVELS, width=width) if reporter.reads == "all_levels" else reporter
        ).double()
        for parameter in reporter.parameters():
            parameter.data.normal_(std=0.5)
    return reporter


def activations(reporter: Reporter, n: int = 20, seed: int = 0, width: int = WIDTH) -> Tensor:
    """Returns z_NLD, as many levels as the reporter is given."""
    levels = LEVELS if reporter.reads == "all_levels" else 1
    return torch.randn(
        n, levels, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
