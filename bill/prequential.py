"""Prequential bits: what the training labels cost when each block of them is predicted by a head
fitted to the blocks before it.

K: heads of one group, C: distinct circuits of them, B: blocks, E: edges, N: episodes, L: levels,
R: levels that a head reads, D: width; G, S, M: axes of the stack.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from bill.finished import FinishedHeads
from bill.measure import Item, Measure
from bill.naming import count_subset_bits
from bill.prefix_learners import PrefixLearners
from console.errors import UserError
from console.ranges import Count, Range
from reporters.reporter import Reporter, nll
from reporters.stack import Weights, describe_options, group_levels

SCHEDULE = "eleven blocks"
FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Where the blocks end, as shares of the training episodes (Voita and Titov 2020); empty blocks are
left out.
"""
FEWEST = 64
"""Episodes that the schedule needs at least."""
SHORT = 256
"""Prefixes up to this length are fitted as one batch."""

CACHE: dict[str, Tensor] = {}
"""Bits of each block but the first for circuits of all edges, by a digest of all that decides them:
the runs of a sweep share them.
"""


@dataclass(frozen=True)
class Prequential(Measure):
    """prequential_bits = bits to name the live edges + bits of each block of labels by a learner
    with these edges, fitted to the blocks before (Dawid 1984; Blier and Ollivier 2018).

    The code is mixed with a uniform code of one bit a label: which of the two is used, and the
    block from which on the learner is trusted, is averaged over and paid for (the switch code of
    van Erven, Grünwald and de Rooij 2012). So it is never longer than one bit a label and one more.
    Heads with the same live edges on the same level have the same code: it is the price of a
    circuit's shape, whatever its weights.

    Args:
        steps: steps of Adam with which a learner is fitted.
        rate: their learning rate at the start, in standard deviations of the learner's prior.
        scale: that standard deviation where a unit has one live edge in.
    """

    steps: Count
    rate: Annotated[float, Range(above=0, most=10)]
    scale: Annotated[float, Range(above=0, most=1000)]

    def check(self, n_examples: int) -> None:
        if n_examples < FEWEST:
            raise UserError(
                f"data.train: {n_examples} episodes are too few for a prequential code of"
                f" {SCHEDULE}. Use {FEWEST} or more, or bill.measures.prequential=null."
            )

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        bits_GSM = self.encode(heads.reporter, heads.live_edges, heads.z_NLD, heads.human_N)
        how = (
            f"bits; prequential code of the training labels, {SCHEDULE}, mixed with a uniform code,"
            " by learners with the head's live edges"
        )
        return {"prequential_bits": Item(bits_GSM.expand(heads.grid).flatten(), how)}

    def encode(self, reporter: Reporter, live: Weights, z_NLD: Tensor, human_N: Tensor) -> Tensor:
        """Returns the bits of every head of a stack, shape (G, S, M); (G, 1, 1) without edges.

        Args:
            reporter: its own parameters are where every learner starts.
            live: whether each weight is a live edge, with leading axes (G, S, M).
        """
        self.check(len(human_N))
        learners = PrefixLearners(reporter, self.steps, self.rate, self.scale)
        z_GNRD = group_levels(z_NLD, reporter)
        grid = next(iter(live.values())).shape[:3] if live else (len(z_GNRD), 1, 1)
        bits = []
        for g, z_NRD in enumerate(z_GNRD):
            of_group = {name: value[g].flatten(0, 1) for name, value in live.items()}
            bits.append(_encode_group(learners, of_group, z_NRD, human_N))
        return torch.stack(bits).view(grid)


def list_block_ends(n: int) -> list[int]:
    """Returns where the blocks of n episodes end.

    >>> list_block_ends(64)
    [1, 2, 4, 8, 16, 32, 64]
    """
    return sorted({max(1, round(n * fraction)) for fraction in FRACTIONS})


def _encode_group(
    learners: PrefixLearners, live: Weights, z_NRD: Tensor, human_N: Tensor
) -> Tensor:
    """Returns the bits of the heads of one group; heads with the same edges are measured once."""
    n = len(human_N)
    if not live:
        bits_1B = _compute_block_bits(learners, {}, 1, z_NRD, human_N)
        return _mix_with_uniform(bits_1B, torch.zeros(1), n)
    edges_KE = torch.cat([value.flatten(1) for value in live.values()], dim=1)
    edges_CE, circuit_K = edges_KE.unique(dim=0, return_inverse=True)
    sizes = [value[0].numel() for value in live.values()]
    masks = {}
    for name, edges in zip(live, edges_CE.split(sizes, dim=1), strict=True):
        masks[name] = edges.reshape(-1, *live[name].shape[1:]).to(z_NRD)
    bits_CB = _compute_circuit_bits(learners, edges_CE, masks, z_NRD, human_N)
    naming_C = count_subset_bits(edges_CE.shape[1], edges_CE.sum(dim=1))
    return _mix_with_uniform(bits_CB, naming_C, n)[circuit_K]


def _compute_circuit_bits(
    learners: PrefixLearners, edges_CE: Tensor, masks: Weights, z_NRD: Tensor, human_N: Tensor
) -> Tensor:
    """Returns the bits of each block but the first for every circuit, shape (C, B - 1).

    The circuit of all edges, which runs of a sweep share, is fitted by itself, once in a process;
    the others are fitted together. A fit's last digits depend on what it is fitted beside, and must
    not depend on the runs before.
    """

    def compute(which_C: Tensor) -> Tensor:
        chosen = {name: mask[which_C] for name, mask in masks.items()}
        return _compute_block_bits(learners, chosen, int(which_C.sum()), z_NRD, human_N)

    full_C = edges_CE.all(dim=1)
    parts = []
    if not full_C.all():
        parts.append(compute(~full_C))
    if full_C.any():
        key = _compute_digest(learners, z_NRD, human_N)
        if key not in CACHE:
            CACHE[key] = compute(full_C)
        parts.append(CACHE[key])
    order = torch.cat([(~full_C).nonzero(), full_C.nonzero()]).flatten().argsort()
    return torch.cat(parts)[order]


def _compute_block_bits(
    learners: PrefixLearners, masks: Weights, heads: int, z_NRD: Tensor, human_N: Tensor
) -> Tensor:
    """Returns the bits of each block but the first, by learners fitted to the blocks before it;
    infinite where a learner is no longer finite.
    """
    ends = list_block_ends(len(human_N))
    following = dict(pairwise(ends))
    short = [end for end in following if end <= SHORT]
    batches = [short, *([end] for end in following if end > SHORT)]

    def count_bits(weights: Weights, z_NRD: Tensor, human_N: Tensor) -> Tensor:
        log_odds_N = functional_call(learners.reporter, weights, (z_NRD,)).log_odds_N
        return nll(log_odds_N, human_N).sum() / math.log(2)

    over_heads = vmap(count_bits, in_dims=(0, None, None))
    blocks = []
    for batch in batches:
        fitted = learners.fit(masks, heads, z_NRD, human_N, batch)
        for learner, end in zip(fitted, batch, strict=True):
            block = slice(end, following[end])
            with torch.no_grad():
                blocks.append(over_heads(learner, z_NRD[block], human_N[block]))
    return torch.stack(blocks, dim=1).nan_to_num(nan=torch.inf)


def _compute_digest(learners: PrefixLearners, *tensors: Tensor) -> str:
    """Returns a digest of the learners, of where they start, and of tensors."""
    reporter = learners.reporter
    settings = (learners.steps, learners.rate, learners.scale)
    digest = hashlib.sha256(f"{describe_options(reporter)} {settings}".encode())
    for value in (*reporter.state_dict().values(), *tensors):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _mix_with_uniform(bits_CB: Tensor, naming_C: Tensor, n: int) -> Tensor:
    """Returns the bits of n labels by the mixed code: one bit a label, or the names of the live
    edges, one bit a label until some block, and the learner from there on.
    """
    uniform_B = torch.tensor(list_block_ends(n)[:-1], dtype=torch.float64)
    learner_CB = bits_CB.double().flip(1).cumsum(dim=1).flip(1)
    switched_C = _mix(uniform_B + learner_CB, dim=1)
    learner_C = naming_C.double() + switched_C + math.log2(bits_CB.shape[1])
    either_2C = torch.stack([torch.full_like(learner_C, n), learner_C])
    return (1 + _mix(either_2C, dim=0)).float()


def _mix(bits: Tensor, dim: int) -> Tensor:
    """Returns -log2 Σ 2^-bits along an axis."""
    return -torch.logsumexp(-bits * math.log(2), dim=dim) / math.log(2)
