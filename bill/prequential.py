"""Prequential bits: what the training labels cost when each block of them is predicted by a head
fitted to those before.

K: heads of one group, B: blocks, E: edges, N: episodes, R: levels a head is given, D: width.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from console.errors import UserError
from reporters.adam import descended
from reporters.code_lengths import subset_bits
from reporters.reporter import ClosedForm, Reporter, is_weight, nll
from reporters.stack import Weights, grouped

SCHEDULE = "eleven blocks"
FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Where its blocks end, as shares of the training episodes (Voita and Titov 2020); blocks that
would be empty are left out.
"""
LEAST = 64
"""Fewest episodes that the schedule is for."""
SHORT = 256
"""Prefixes up to this length are fitted as one batch."""
STEPS, RATE, SCALE = 100, 0.2, 4.0
"""How the learner fits a prefix, all of it at once: steps of Adam, their first rate in standard
deviations of a Gaussian prior on its weights, and that standard deviation where a unit has one live
edge in; with k of them it is 1 / √k of that, so that units say as much whatever they hear.
"""

KNOWN: dict[str, Tensor] = {}
"""Bits of each block but the first where all edges are live, by a digest of all that decides them."""


def prequential_bits(reporter: Reporter, live: Weights, z_NLD: Tensor, human_N: Tensor) -> Tensor:
    """Returns bits of the training labels for every head of a stack, shape (G, S, M).

    The code (Dawid 1984; Blier and Ollivier 2018) is of the labels, by a learner of the head's
    architecture that has the head's live edges and no
    others: they are named first, then the labels come block by block, each by a learner fitted anew
    to all blocks before it. It is mixed with a uniform code of a bit a label: which of the two is
    used, and the block from which on the learner is trusted, is averaged over and paid for (the
    switch code of van Erven, Grünwald and de Rooij 2012), so that it is never longer than a bit a
    label and one more. Heads with the same live edges on the same level have the same code: it is a
    price of a circuit's shape, whatever numbers the circuit holds.

    Args:
        reporter: its own parameters are where every learner begins.
        live: which edges are live, by name, with leading axes (G, S, M).

    Raises:
        UserError: fewer than 64 episodes.
    """
    refuse_few(len(human_N))
    z_GNRD = grouped(z_NLD, reporter)
    grid = next(iter(live.values())).shape[:3] if live else (len(z_GNRD), 1, 1)
    return torch.stack(
        [
            _group(reporter, {n: v[g].flatten(0, 1) for n, v in live.items()}, z_GNRD[g], human_N)
            for g in range(grid[0])
        ]
    ).view(grid)


def _group(reporter: Reporter, live: Weights, z_NRD: Tensor, human_N: Tensor) -> Tensor:
    """Returns bits of the heads of one group; heads with the same edges are measured once."""
    sizes = {name: value[0].numel() for name, value in live.items()}
    if not live:
        return _coded(
            _learned(reporter, _start(reporter, {}, 1), {}, z_NRD, human_N), torch.zeros(1), human_N
        )
    edges_KE, which_K = torch.cat([value.flatten(1) for value in live.values()], dim=1).unique(
        dim=0, return_inverse=True
    )
    parts = edges_KE.split(list(sizes.values()), dim=1)
    masks = {
        name: part.reshape(-1, *live[name].shape[1:]).to(z_NRD)
        for name, part in zip(live, parts, strict=True)
    }
    n_K = edges_KE.sum(dim=1)
    named_K = torch.where(n_K == edges_KE.shape[1], 1.0, 1.0 + subset_bits(edges_KE.shape[1], n_K))
    return _coded(_learned_once(reporter, edges_KE, masks, z_NRD, human_N), named_K, human_N)[
        which_K
    ]


def _learned_once(
    reporter: Reporter, edges_KE: Tensor, masks: Weights, z_NRD: Tensor, human_N: Tensor
) -> Tensor:
    """Returns what `_learned` does. The circuit of all edges, which runs of a sweep share, is
    fitted by itself, once in a process; the others of a run together: a fit's last digits hang on
    what it is fitted beside, and must not hang on the runs before.
    """

    def fitted(which_K: Tensor) -> Tensor:
        some = {name: mask[which_K] for name, mask in masks.items()}
        return _learned(reporter, _start(reporter, some, int(which_K.sum())), some, z_NRD, human_N)

    whole_K, parts = edges_KE.all(dim=1), []
    if not whole_K.all():
        parts.append(fitted(~whole_K))
    if whole_K.any():
        given = _digest(reporter, z_NRD, human_N)
        if given not in KNOWN:
            KNOWN[given] = fitted(whole_K)
        parts.append(KNOWN[given])
    return torch.cat(parts)[
        torch.cat([(~whole_K).nonzero(), whole_K.nonzero()]).flatten().argsort()
    ]


def _digest(reporter: Reporter, *given: Tensor) -> str:
    """Returns a digest of a reporter, its parameters and its plain values, and of tensors."""
    plain = sorted(
        (name, value)
        for name, value in vars(reporter).items()
        if isinstance(value, (int, float, str))
    )
    digest = hashlib.sha256(f"{type(reporter)} {plain}".encode())
    for value in (*reporter.state_dict().values(), *given):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def refuse_few(n: int) -> None:
    """Raises UserError where so many episodes are too few for the schedule."""
    if n < LEAST:
        cure = f"Use {LEAST} or more, or bill.prequential=false."
        raise UserError(
            f"data.train: {n} episodes are too few for a prequential code of {SCHEDULE}. {cure}"
        )


def ends(n: int) -> list[int]:
    """Returns where the blocks of n episodes end."""
    return sorted({max(1, round(n * fraction)) for fraction in FRACTIONS})


def _start(reporter: Reporter, masks: Weights, heads: int) -> Weights:
    return {
        name: value.detach().expand(heads, *value.shape) * masks.get(name, 1)
        for name, value in reporter.named_parameters()
    }


def _learned(
    reporter: Reporter, start: Weights, masks: Weights, z_NRD: Tensor, human_N: Tensor
) -> Tensor:
    """Returns bits of each block but the first by learners fitted to those before it, shape (K, B -
    1); infinite where a learner broke.
    """
    places = ends(len(human_N))

    def bits(one: Weights, z_NRD: Tensor, human_N: Tensor) -> Tensor:
        return nll(functional_call(reporter, one, (z_NRD,)).log_odds_N, human_N).sum() / math.log(2)

    blocks = []
    short = [end for end in places[:-1] if end <= SHORT]
    for together in (
        short,
        *([end] for end in places[len(short) : -1]),
    ):  # short prefixes are fitted as one batch
        for learner, end in zip(
            _fitted(reporter, start, masks, z_NRD, human_N, together), together, strict=True
        ):
            following = places[places.index(end) + 1]
            with torch.no_grad():
                blocks.append(
                    vmap(bits, in_dims=(0, None, None))(
                        learner, z_NRD[end:following], human_N[end:following]
                    )
                )
    return torch.stack(blocks, dim=1).nan_to_num(nan=torch.inf)


def _fitted(
    reporter: Reporter,
    start: Weights,
    masks: Weights,
    z_NRD: Tensor,
    human_N: Tensor,
    upto: list[int],
) -> list[Weights]:
    """Returns learners fitted to the episodes up to each of these ends."""
    if isinstance(reporter, ClosedForm):
        heads = len(next(iter(start.values())))
        solved = [reporter.solve(z_NRD[:end], human_N[:end]) for end in upto]
        return [
            {
                name: value.expand(heads, *value.shape) * masks.get(name, 1)
                for name, value in one.items()
            }
            for one in solved
        ]

    z_NRD, human_N = z_NRD[: max(upto)], human_N[: max(upto)]
    end_P = torch.tensor(upto, device=z_NRD.device)
    share_PN = (torch.arange(max(upto), device=z_NRD.device) < end_P[:, None]) / end_P[:, None]
    scales = {
        name: _scale(masks[name]) if name in masks else torch.ones_like(value)
        for name, value in start.items()
    }

    def loss(one: Weights, scale: Weights, share_N: Tensor, end: Tensor) -> Tensor:
        reading = functional_call(
            reporter, {name: value * scale[name] for name, value in one.items()}, (z_NRD,)
        )
        return (share_N * reading.errors_N(human_N)).sum() + sum(
            value.square().sum() for name, value in one.items() if is_weight(name)
        ) / (2 * end)

    losses = vmap(vmap(loss, in_dims=(0, 0, None, None)), in_dims=(0, None, 0, 0))
    begun = {
        name: (value / scales[name].clamp_min(1e-9)).expand(len(upto), *value.shape)
        for name, value in start.items()
    }
    fitted = descended(
        begun, lambda now, _: losses(now, scales, share_PN.to(z_NRD), end_P), STEPS, RATE
    )
    return [
        {name: value[p] * scales[name] for name, value in fitted.items()} for p in range(len(upto))
    ]


def _scale(mask: Tensor) -> Tensor:
    """Returns the prior's standard deviation of each weight of K heads: 0 behind the mask, else by
    how many live edges a unit hears on average.
    """
    live_K = mask.flatten(1).sum(dim=1)
    hears_K = (live_K / mask.flatten(1, -2).any(dim=2).sum(dim=1).clamp_min(1)).clamp_min(1)
    return mask * (SCALE * hears_K.rsqrt()).view(-1, *[1] * (mask.dim() - 1))


def _coded(bits_KB: Tensor, named_K: Tensor, human_N: Tensor) -> Tensor:
    """Returns the mixed code: a bit a label, or the live edges' names, a bit a label until some
    block, and the learner from there on.
    """
    first, rest = ends(len(human_N))[0], len(human_N)
    uniform_B = torch.tensor([float(end) for end in ends(rest)[:-1]], dtype=torch.float64)
    assert uniform_B[0] == first
    switched_KB = uniform_B + bits_KB.double().flip(1).cumsum(dim=1).flip(1)
    learner_K = (
        named_K.double()
        - torch.logsumexp(-switched_KB * math.log(2), dim=1) / math.log(2)
        + math.log2(bits_KB.shape[1])
    )
    either_2K = torch.stack([torch.full_like(learner_K, rest), learner_K])
    return (1 - torch.logsumexp(-either_2K * math.log(2), dim=0) / math.log(2)).float()
