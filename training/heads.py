"""Finished heads: K of one architecture as one stack of weights, and what they predict.

K = G · S · M heads. G: groups of levels, S: seeds, M: strengths; N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from reporters.layers import name_layers
from reporters.reporter import Reporter
from reporters.stack import Weights, group_levels, map_over_heads, read_stack
from training.settling import Settling, join_settling

CHUNK = 2**26
"""Most activations times heads that are read at once: keeps memory bounded."""
PREFIX = "weights."
"""Before the names of weights among saved tensors."""


class Predictions(NamedTuple):
    """What K finished heads predict for N episodes, and where they stop."""

    log_odds_KN: Tensor
    """Log-odds that the concept holds, in nats."""
    level_KN: Tensor
    """The deepest level of the predictor that is read."""
    exit_KN: Tensor
    """The exit at which the head stops, from 0."""


@dataclass(frozen=True)
class Heads:
    """A finished population. All tables run over heads in the same order: level, then seed, then
    strength.
    """

    reporter: Reporter
    """One head, whose own parameters are not used."""
    weights: Weights
    """Parameters by name, each with leading axes (G, S, M)."""
    mean_LD: Tensor
    """What the training episodes' activations are standardised with: the mean, and below the
    standard deviation; of several predictors, one predictor after the other.
    """
    std_LD: Tensor
    levels: tuple[int, ...]
    """The levels given of each predictor, shallowest first."""
    seeds: tuple[int, ...]
    strengths: tuple[float, ...]
    validation_nll_K: Tensor
    """Nats an episode on held-out easy episodes, against the human's answers."""
    settling: Settling | None = None
    """How near the heads are to their optimum; None for heads that are read from a file."""
    predictors: int = 1
    """Number of predictors; groups of levels run over the first one's levels, then the next one's.
    """

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The levels that each group of heads reads."""
        if self.reporter.reads == "one_level":
            return tuple((level,) for level in self.levels) * self.predictors
        return (self.levels,) * self.predictors

    @property
    def table(self) -> list[tuple[tuple[int, ...], int, float]]:
        """Of each head: the levels it is given, its seed, its strength."""
        return list(product(self.groups, self.seeds, self.strengths))

    @torch.no_grad()
    def read(self, z_NLD: Tensor) -> Predictions:
        """Returns what the heads predict from activations as the predictor gives them."""
        size = max(1, CHUNK // (len(self.table) * z_NLD.shape[1:].numel()))
        parts = [self._read(chunk) for chunk in z_NLD.split(size)]
        return Predictions(*(torch.cat(part, dim=1) for part in zip(*parts, strict=True)))

    @torch.no_grad()
    def predict_log_odds(self, z_NLD: Tensor) -> Tensor:
        """Returns the log-odds alone, of shape (K, N), in half the time that `read` takes. All
        episodes are read at once, so there should be few.
        """

        def read(weights: Weights, z_NRD: Tensor) -> Tensor:
            return functional_call(self.reporter, weights, (z_NRD,)).log_odds_N

        read_all = map_over_heads(read, (0, 0), (0, None), (0, None))
        return read_all(self.weights, self._standardise(z_NLD)).reshape(len(self.table), -1)

    def _read(self, z_NLD: Tensor) -> Predictions:
        reading = read_stack(self.reporter, self.weights, self._standardise(z_NLD))
        exit_GSMN1 = map_over_heads(lambda head: head.exit_N)(reading)[..., None]
        n_heads = len(self.table)

        def take_at_exit(value_GSMNT: Tensor) -> Tensor:
            value_GSMNT = value_GSMNT.expand(*reading.log_odds_NT.shape)
            return value_GSMNT.gather(-1, exit_GSMN1).reshape(n_heads, -1)

        read_GSMT = reading.levels_T.long() - 1
        level_GSMR = torch.tensor(self.groups)[:, None, None].expand(*read_GSMT.shape[:3], -1)
        level_GSMNT = level_GSMR.gather(-1, read_GSMT)[..., None, :]
        return Predictions(
            take_at_exit(reading.log_odds_NT),
            take_at_exit(level_GSMNT),
            exit_GSMN1.reshape(n_heads, -1),
        )

    def _standardise(self, z_NLD: Tensor) -> Tensor:
        """Returns standardised activations with axis G first."""
        return group_levels((z_NLD - self.mean_LD) / self.std_LD, self.reporter, self.predictors)

    def split(self) -> list[Heads]:
        """Returns the heads of each predictor."""
        n = self.predictors
        settling = self.settling.split(n) if self.settling else [None] * n
        nll = self.validation_nll_K.chunk(n)
        of_predictors = []
        for i in range(n):
            weights = {name: value.chunk(n)[i] for name, value in self.weights.items()}
            of_predictors.append(
                replace(
                    self,
                    weights=weights,
                    mean_LD=self.mean_LD.chunk(n)[i],
                    std_LD=self.std_LD.chunk(n)[i],
                    validation_nll_K=nll[i],
                    settling=settling[i],
                    predictors=1,
                )
            )
        return of_predictors

    def to_tensors(self) -> Weights:
        """Returns everything that `load_heads` needs beside the plain values, by name."""
        weights = {f"{PREFIX}{name}": value for name, value in self.weights.items()}
        return {"mean_LD": self.mean_LD, "std_LD": self.std_LD} | weights

    def to_facts(self) -> dict[str, list[Any]]:
        """Returns the plain values."""
        return {
            "levels": list(self.levels),
            "seeds": list(self.seeds),
            "strengths": list(self.strengths),
        }


def join_heads(parts: Sequence[Heads]) -> Heads:
    """Returns the heads of several predictors as one population; `Heads.split` reverses it."""
    settling = [part.settling for part in parts if part.settling]
    weights = {}
    for name in parts[0].weights:
        weights[name] = torch.cat([part.weights[name] for part in parts])
    return replace(
        parts[0],
        weights=weights,
        mean_LD=torch.cat([part.mean_LD for part in parts]),
        std_LD=torch.cat([part.std_LD for part in parts]),
        validation_nll_K=torch.cat([part.validation_nll_K for part in parts]),
        settling=join_settling(settling) if settling else None,
        predictors=len(parts),
    )


def load_heads(
    make: Callable[[int, int], Reporter],
    tensors: Weights,
    facts: Mapping[str, Any],
    validation_nll_K: Tensor,
) -> Heads:
    """Returns finished heads from what `Heads.to_tensors` and `Heads.to_facts` returned.

    Args:
        make: from a number of levels and a width to a reporter.
    """
    weights = {}
    for name, value in tensors.items():
        if name.startswith(PREFIX):
            weights[name.removeprefix(PREFIX)] = value
    mean_LD, std_LD = tensors["mean_LD"], tensors["std_LD"]
    levels, seeds, strengths = (tuple(facts[key]) for key in ("levels", "seeds", "strengths"))
    reporter = make_reporter(make, len(levels), mean_LD.shape[1])
    return Heads(
        reporter,
        weights,
        mean_LD,
        std_LD,
        levels,
        seeds,
        strengths,
        validation_nll_K,
        predictors=len(mean_LD) // len(levels),
    )


def make_reporter(make: Callable[[int, int], Reporter], n_levels: int, width: int) -> Reporter:
    """Returns a reporter that is given one level, or all levels if it reads all.

    Args:
        make: from a number of levels and a width to a reporter.
    """
    reporter = make(1, width)
    if reporter.reads == "all_levels":
        reporter = make(n_levels, width)
    return name_layers(reporter, width, n_levels if reporter.reads == "all_levels" else 1)
